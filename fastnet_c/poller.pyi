from typing_extensions import disjoint_base

from fastnet_c.handle import Runnable

@disjoint_base
class Watcher(Runnable): ...

@disjoint_base
class Poller: ...
