from typing_extensions import disjoint_base

from fastnet_c.poller import Watcher
from fastnet_c.reactor import Reactor

@disjoint_base
class SpareDescriptor:
    def __new__(cls, loop: Reactor) -> SpareDescriptor: ...

@disjoint_base
class Acceptor(Watcher): ...
