"""Executors and names: run_in_executor, getaddrinfo, getnameinfo, shutdown of the default executor."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.running import run


def test_run_in_executor(loop):
    async def main():
        name = await loop.run_in_executor(None, threading.current_thread)
        assert name is not threading.current_thread()
        assert await loop.run_in_executor(None, pow, 2, 10) == 1024
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, divmod, 1, 0)
        await loop.shutdown_default_executor()

    run(loop, main())


def test_own_executor(loop):
    async def main():
        with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
            thread = await loop.run_in_executor(executor, threading.current_thread)
            assert thread.name.startswith("mine")
            loop.set_default_executor(executor)
            thread = await loop.run_in_executor(None, threading.current_thread)
            assert thread.name.startswith("mine")

    run(loop, main())


@pytest.mark.differs(uvloop="takes anything", run=False)
def test_set_default_executor_refuses_other_things(loop):
    with pytest.raises(TypeError):
        loop.set_default_executor(object())


def test_a_hundred_jobs(loop):
    async def main():
        jobs = [loop.run_in_executor(None, pow, i, 2) for i in range(100)]
        assert await asyncio.gather(*jobs) == [i * i for i in range(100)]
        await loop.shutdown_default_executor()

    run(loop, main())


def test_shutdown_refuses_new_jobs(loop):
    async def main():
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown"):
            await loop.run_in_executor(None, int)

    run(loop, main())


def test_shutdown_waits_for_running_jobs(loop):
    async def main():
        release = threading.Event()
        job = loop.run_in_executor(None, release.wait)
        ending = asyncio.ensure_future(loop.shutdown_default_executor())
        await asyncio.sleep(0.002)
        assert not ending.done()
        release.set()
        await ending
        assert await job is True

    run(loop, main())


def test_to_thread(loop):
    async def main():
        assert await asyncio.to_thread(sum, [1, 2, 3]) == 6
        await loop.shutdown_default_executor()

    run(loop, main())


def test_cancelled_job(loop):
    async def main():
        release = threading.Event()
        job = loop.run_in_executor(None, release.wait)
        await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        release.set()
        await loop.shutdown_default_executor()

    run(loop, main())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", b"127.0.0.1", "::1", None])
def test_getaddrinfo(loop, host):
    async def main():
        expected = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        assert await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM) == expected
        await loop.shutdown_default_executor()

    run(loop, main())


def test_getaddrinfo_of_a_service(loop):
    async def main():
        expected = socket.getaddrinfo("127.0.0.1", "80", family=socket.AF_INET, type=socket.SOCK_STREAM)
        infos = await loop.getaddrinfo("127.0.0.1", "80", family=socket.AF_INET, type=socket.SOCK_STREAM)
        assert infos == expected
        await loop.shutdown_default_executor()

    run(loop, main())


def test_getaddrinfo_of_an_unknown_name(loop):
    async def main():
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("not a number", 80, flags=socket.AI_NUMERICHOST)
        await loop.shutdown_default_executor()

    run(loop, main())


def test_getnameinfo(loop):
    async def main():
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")
        await loop.shutdown_default_executor()

    run(loop, main())
