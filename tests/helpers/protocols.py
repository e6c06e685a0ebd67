"""Protocols that write down what is called, so that a test can say what it expects as a list."""

import asyncio
from collections.abc import Callable
from typing import Any


class _Recording:
    """What every recording protocol does; `events` is the list of (name, argument...) in order of the calls."""

    def __init__(self, *, keep_open: bool = False, **hooks: Callable[..., object]) -> None:
        """HOOKS are called by name (made, data, eof, lost, pause, resume) after the event was noted."""
        self.events: list[tuple[Any, ...]] = []
        self.received = bytearray()
        self.transport: Any = None
        self.error: BaseException | None = None
        self.keep_open = keep_open
        self.hooks = hooks
        self._waiters: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    def note(self, *event: Any) -> Any:
        """Writes the event down, wakes those whose condition it fulfils, and calls the test's hook."""
        self.events.append(event)
        try:
            hook = self.hooks.get(event[0])
            return hook(self, *event[1:]) if hook else None
        finally:
            for condition, waiter in self._waiters:
                if not waiter.done() and condition():
                    waiter.set_result(None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until CONDITION holds after an event. Without a deadline: run() has one."""
        if not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, waiter))
            await waiter

    async def until_seen(self, *names: str) -> None:
        """Waits until each of the events NAMES has happened."""
        await self.until(lambda: set(names) <= set(self.kinds))

    async def until_received(self, count: int) -> bytes:
        """Waits for COUNT bytes at least, and returns all that have come."""
        await self.until(lambda: len(self.received) >= count)
        return bytes(self.received)

    @property
    def kinds(self) -> list[str]:
        """The names of the events in order; neighbouring data events count as one, however the bytes were split."""
        names = [event[0] for event in self.events]
        return [name for i, name in enumerate(names) if name != "data" or i == 0 or names[i - 1] != "data"]

    def count(self, name: str) -> int:
        """How often NAME happened."""
        return sum(event[0] == name for event in self.events)

    def connection_made(self, transport: Any) -> None:
        """Notes 'made'."""
        self.transport = transport
        self.note("made")

    def eof_received(self) -> Any:
        """Notes 'eof'; returns keep_open, or what the hook returns."""
        answer = self.note("eof")
        return self.keep_open if answer is None else answer

    def connection_lost(self, exc: BaseException | None) -> None:
        """Notes 'lost' with the exception."""
        self.error = exc
        self.note("lost", exc)

    def pause_writing(self) -> None:
        """Notes 'pause'."""
        self.note("pause")

    def resume_writing(self) -> None:
        """Notes 'resume'."""
        self.note("resume")


class Recorder(_Recording, asyncio.Protocol):
    """A streaming protocol that writes everything down."""

    def data_received(self, data: bytes) -> None:
        """Notes 'data' with the bytes."""
        self.received += data
        self.note("data", bytes(data))


class BufferedRecorder(_Recording, asyncio.BufferedProtocol):
    """A buffered protocol that writes everything down; SIZE is the length of its buffer."""

    def __init__(self, *, size: int = 65536, keep_open: bool = False, **hooks: Callable[..., object]) -> None:
        """As Recorder's."""
        super().__init__(keep_open=keep_open, **hooks)
        self.buffer = bytearray(size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> Any:
        """Gives the buffer, or what the hook 'buffer' returns."""
        self.hints.append(sizehint)
        hook = self.hooks.get("buffer")
        return hook(self, sizehint) if hook else self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Notes 'data' with the bytes."""
        self.received += self.buffer[:nbytes]
        self.note("data", bytes(self.buffer[:nbytes]))


class Echo(asyncio.Protocol):
    """Sends back what comes, and reads no more while the peer does not take it."""

    def connection_made(self, transport: Any) -> None:
        """Keeps the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Sends the bytes back."""
        self.transport.write(data)

    def pause_writing(self) -> None:
        """Stops reading while the output waits."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Goes on reading."""
        self.transport.resume_reading()
