from socket import socket
from typing import Any

from typing_extensions import disjoint_base

from fastnet_c.transport import BaseTransport

@disjoint_base
class Endpoint(BaseTransport):
    def __del__(self) -> None: ...
    @property
    def _sock(self) -> socket | None: ...
    @property
    def _sock_fd(self) -> int: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...
