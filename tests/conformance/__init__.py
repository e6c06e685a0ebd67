"""The same assertions on asyncio, uvloop and fastnet: asyncio's documented behaviour, tested on real sockets."""
