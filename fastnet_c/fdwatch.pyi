from typing_extensions import disjoint_base

from fastnet_c.poller import Watcher

@disjoint_base
class FdWatcher(Watcher): ...
