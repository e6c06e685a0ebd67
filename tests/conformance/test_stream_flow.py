"""Flow control of writing: limits, pause_writing, resume_writing, the size of what waits."""

import asyncio

import pytest

from tests.helpers.protocols import Recorder
from tests.helpers.running import run

CHUNK = b"x" * 1_000_000  # more than both kernel buffers of a small link take


@pytest.mark.differs(uvloop="its low-water mark is 16 bytes")
def test_default_limits(loop, link):
    async def main():
        async with link() as connection:
            assert connection.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)

    run(loop, main())


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, (16_384, 65_536)),
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 1000, "low": 0}, (0, 1000)),
        ({"high": 1000, "low": 1000}, (1000, 1000)),
        ({"high": 0}, (0, 0)),
        ({"low": 0}, (0, 0)),
        ({"high": 10_000_000, "low": 1}, (1, 10_000_000)),
    ],
    ids=str,
)
def test_set_write_buffer_limits(loop, accepted, given, limits):
    async def main():
        async with accepted() as connection:
            connection.transport.set_write_buffer_limits(**given)
            assert connection.transport.get_write_buffer_limits() == limits
            connection.transport.set_write_buffer_limits()
            assert connection.transport.get_write_buffer_limits() == (16_384, 65_536)

    run(loop, main())


@pytest.mark.parametrize("given", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1}, {"high": 10, "low": -1}], ids=str)
def test_bad_limits_are_refused(loop, accepted, given):
    async def main():
        async with accepted() as connection:
            before = connection.transport.get_write_buffer_limits()
            with pytest.raises(ValueError, match="must be >="):
                connection.transport.set_write_buffer_limits(**given)
            assert connection.transport.get_write_buffer_limits() == before

    run(loop, main())


def test_small_writes_never_pause(loop, link):
    async def main():
        async with link() as connection:
            for _ in range(100):
                connection.transport.write(b"x" * 100)
                await asyncio.sleep(0)
            assert await connection.peer.receive(10_000) == b"x" * 10_000
            assert connection.protocol.kinds == ["made"]

    run(loop, main())


def test_pause_comes_inside_write_and_resume_when_it_has_drained(loop, link):
    async def main():
        async with link(small=True) as connection:
            assert connection.transport.get_write_buffer_size() == 0
            connection.transport.write(CHUNK)
            assert connection.protocol.kinds == ["made", "pause"]
            assert connection.transport.get_write_buffer_size() > 64 * 1024
            assert len(await connection.peer.receive(len(CHUNK))) == len(CHUNK)
            await connection.protocol.until_seen("resume")
            assert connection.protocol.kinds == ["made", "pause", "resume"]
            assert connection.transport.get_write_buffer_size() <= 16 * 1024

    run(loop, main())


def test_pause_comes_inside_a_write_of_data_received(loop, link):
    async def main():
        def answer(protocol, data):
            protocol.transport.write(CHUNK)
            seen.append(protocol.count("pause"))
            protocol.transport.write(b"one more")
            seen.append(protocol.count("pause"))

        seen: list[int] = []
        async with link(lambda: Recorder(data=answer), small=True) as connection:
            connection.peer.send(b"?")
            await connection.protocol.until_seen("data")
            assert await connection.peer.receive(len(CHUNK) + 8) == CHUNK + b"one more"
            assert seen == [1, 1]
            await connection.protocol.until_seen("resume")
            assert connection.protocol.count("resume") == 1

    run(loop, main())


def test_pause_once_however_much_is_written(loop, link):
    async def main():
        async with link(small=True) as connection:
            for _ in range(5):
                connection.transport.write(CHUNK)
            connection.transport.writelines([CHUNK, CHUNK])
            assert connection.protocol.kinds == ["made", "pause"]
            await connection.peer.receive(7 * len(CHUNK))
            await connection.protocol.until_seen("resume")
            assert connection.protocol.kinds == ["made", "pause", "resume"]

    run(loop, main())


def test_pause_and_resume_again_and_again(loop, accepted):
    async def main():
        async with accepted(small=True) as connection:
            for i in range(1, 6):
                connection.transport.write(CHUNK)
                assert connection.protocol.count("pause") == i
                assert len(await connection.peer.receive(len(CHUNK))) == len(CHUNK)
                await connection.protocol.until(lambda count=i: connection.protocol.count("resume") == count)

    run(loop, main())


def test_a_write_in_resume_writing(loop, accepted):
    """The usual producer: it fills the buffer whenever it may."""

    async def main():
        written = 0

        def produce(protocol):
            nonlocal written
            while written < 3_000_000 and protocol.count("pause") == protocol.count("resume"):
                protocol.transport.write(CHUNK[:300_000])
                written += 300_000

        async with accepted(lambda: Recorder(resume=produce), small=True) as connection:
            produce(connection.protocol)
            assert connection.protocol.kinds == ["made", "pause"]
            assert len(await connection.peer.receive(3_000_000)) == 3_000_000
            await connection.protocol.until(
                lambda: connection.protocol.count("pause") == connection.protocol.count("resume")
            )
            assert written == 3_000_000

    run(loop, main())


def test_high_water_of_zero_pauses_at_any_backlog(loop, accepted):
    async def main():
        async with accepted(small=True) as connection:
            connection.transport.set_write_buffer_limits(high=0)
            connection.transport.write(b"fits the kernel's buffer")
            assert connection.protocol.kinds == ["made"]
            connection.transport.write(CHUNK)
            assert connection.protocol.kinds == ["made", "pause"]
            await connection.peer.receive(len(CHUNK) + 24)
            await connection.protocol.until_seen("resume")
            assert connection.transport.get_write_buffer_size() == 0

    run(loop, main())


def test_high_water_mark_is_a_mark(loop, accepted):
    """Up to the mark, and not above it: no pause."""

    async def main():
        async with accepted(small=True) as connection:
            connection.transport.set_write_buffer_limits(high=10_000_000)
            connection.transport.write(CHUNK)
            waiting = connection.transport.get_write_buffer_size()
            assert 0 < waiting < len(CHUNK)
            assert connection.protocol.kinds == ["made"]
            connection.transport.set_write_buffer_limits(high=waiting + 10)
            connection.transport.write(b"x" * 10)
            assert connection.protocol.kinds == ["made"]
            connection.transport.write(b"x")
            assert connection.protocol.kinds == ["made", "pause"]

    run(loop, main())


def test_resume_waits_for_the_low_water_mark(loop, accepted):
    async def main():
        def resumed(protocol):
            sizes.append(protocol.transport.get_write_buffer_size())

        sizes: list[int] = []
        async with accepted(lambda: Recorder(resume=resumed), small=True) as connection:
            connection.transport.set_write_buffer_limits(high=200_000, low=100_000)
            connection.transport.write(CHUNK)
            await connection.peer.receive(len(CHUNK))
            await connection.protocol.until_seen("resume")
            assert len(sizes) == 1
            assert sizes[0] <= 100_000

    run(loop, main())


def test_write_buffer_size_counts_what_the_kernel_has_not_taken(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(b"x" * 100)
            assert connection.transport.get_write_buffer_size() == 0
            connection.transport.write(CHUNK)
            first = connection.transport.get_write_buffer_size()
            assert 0 < first <= len(CHUNK)
            connection.transport.write(b"y" * 1234)
            assert connection.transport.get_write_buffer_size() == first + 1234

    run(loop, main())


@pytest.mark.differs(asyncio="since 3.12 writelines() tries to send once more", strict=False)
def test_write_buffer_size_counts_what_writelines_added(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(CHUNK)
            first = connection.transport.get_write_buffer_size()
            connection.transport.writelines([b"z" * 1000, bytearray(234), b""])
            assert connection.transport.get_write_buffer_size() == first + 1234

    run(loop, main())


def test_write_buffer_size_inside_a_callback(loop, link):
    """Held writes count as sent: they are sent before the answer is given."""

    async def main():
        def answer(protocol, data):
            protocol.transport.write(b"x" * 100)
            sizes.append(protocol.transport.get_write_buffer_size())

        sizes: list[int] = []
        async with link(lambda: Recorder(data=answer)) as connection:
            connection.peer.send(b"?")
            await connection.peer.receive(100)
            assert sizes == [0]

    run(loop, main())


def test_write_buffer_size_falls_to_zero(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(CHUNK)
            await connection.peer.receive(len(CHUNK))
            while connection.transport.get_write_buffer_size():
                await asyncio.sleep(0.001)
            connection.transport.abort()
            await connection.protocol.until_seen("lost")
            assert connection.transport.get_write_buffer_size() == 0

    run(loop, main())


def test_no_resume_after_abort(loop, link):
    async def main():
        async with link(small=True) as connection:
            connection.transport.write(CHUNK)
            connection.transport.abort()
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "pause", "lost"]

    run(loop, main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_in_pause_writing(loop, link, way):
    async def main():
        def end(protocol):
            getattr(protocol.transport, way)()

        async with link(lambda: Recorder(pause=end), small=True) as connection:
            connection.transport.write(CHUNK)
            assert connection.transport.is_closing()
            if way == "close":
                assert await connection.peer.receive_to_end() == CHUNK
            await connection.protocol.until_seen("lost")
            assert connection.protocol.error is None
            assert connection.protocol.count("lost") == 1

    run(loop, main())


@pytest.mark.differs(asyncio="calls connection_lost twice, the second time in vain", strict=False)
@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_in_resume_writing(loop, link, errors, way):
    async def main():
        def end(protocol):
            getattr(protocol.transport, way)()

        async with link(lambda: Recorder(resume=end), small=True) as connection:
            connection.transport.write(CHUNK)
            received = await connection.peer.receive_to_end()
            assert len(received) <= len(CHUNK)
            if way == "close":
                assert received == CHUNK
            await connection.protocol.until_seen("lost")
            assert connection.protocol.kinds == ["made", "pause", "resume", "lost"]

    run(loop, main())
    told = [context["message"] for context in errors]
    errors.clear()
    assert told == []


@pytest.mark.parametrize("callback", ["pause", "resume"])
def test_an_exception_in_pause_or_resume_is_reported_and_harmless(loop, link, errors, callback):
    async def main():
        def fail(protocol):
            raise LookupError("mine")

        async with link(lambda: Recorder(**{callback: fail}), small=True) as connection:
            connection.transport.write(CHUNK)
            assert await connection.peer.receive(len(CHUNK)) == CHUNK
            await connection.protocol.until_seen("resume")
            connection.transport.write(b"still here")
            assert await connection.peer.receive(10) == b"still here"

    run(loop, main())
    context = errors.pop()
    assert isinstance(context["exception"], LookupError)
    assert f"protocol.{callback}_writing() failed" in context["message"]
    assert {"transport", "protocol"} <= set(context)


def test_a_protocol_that_ignores_pause_writing(loop, accepted):
    async def main():
        async with accepted(small=True) as connection:
            for _ in range(10):
                connection.transport.write(CHUNK)
            assert connection.protocol.count("pause") == 1
            assert len(await connection.peer.receive(10 * len(CHUNK))) == 10 * len(CHUNK)

    run(loop, main())


def test_limits_may_change_in_mid_flight(loop, accepted):
    async def main():
        async with accepted(small=True) as connection:
            connection.transport.set_write_buffer_limits(high=10_000_000)
            connection.transport.write(CHUNK)
            assert connection.protocol.count("pause") == 0
            connection.transport.set_write_buffer_limits(high=1000)
            connection.transport.write(b"x")
            assert connection.protocol.count("pause") == 1
            assert len(await connection.peer.receive(len(CHUNK) + 1)) == len(CHUNK) + 1
            await connection.protocol.until_seen("resume")

    run(loop, main())
