"""The core of fastnet: an epoll loop and its transports as C extensions. Use the package fastnet, not this one."""

from fastnet_c.loop import Loop, live_objects

__all__ = ["Loop", "live_objects"]
