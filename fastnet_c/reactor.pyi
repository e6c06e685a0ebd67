from typing_extensions import disjoint_base

from fastnet_c.poller import Watcher

@disjoint_base
class Waker(Watcher): ...

@disjoint_base
class Reactor:
    def __new__(cls, *args: object, **kwargs: object) -> Reactor: ...
