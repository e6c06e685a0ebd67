"""Addresses, both ways, against what the kernel and Python's socket module make of the same bytes."""

import asyncio
import ctypes
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_c.testing import address_bytes, address_parse, address_round_trip
from tests.helpers.running import run
from tests.unit.support import PROPERTY

IPV6_FLOWINFO_SEND = 33  # linux/in6.h
_libc = ctypes.CDLL(None, use_errno=True)

PORTS = st.integers(0, 65535)


def bind(sock: socket.socket, raw: bytes) -> None:
    """bind(2) with an address in its C form."""
    if _libc.bind(sock.fileno(), raw, len(raw)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def asked(sock: socket.socket, call: str) -> bytes:
    """getsockname(2) or getpeername(2): the address in its C form."""
    buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint32(128)
    if getattr(_libc, call)(sock.fileno(), buffer, ctypes.byref(size)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return buffer.raw[: size.value]


def check_own_name(sock: socket.socket) -> None:
    """Our reading of the kernel's bytes is Python's, and gives the same bytes again."""
    raw, address = asked(sock, "getsockname"), sock.getsockname()
    assert address_parse(raw) == address
    assert address_bytes(sock.family, address) == raw


# -- IPv4 --


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "0.0.0.0", ""])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_ipv4_as_the_kernel_takes_it(host: str, kind: socket.SocketKind) -> None:
    """Bound to our bytes, a socket has the name that Python's bind() would have given it."""
    with socket.socket(socket.AF_INET, kind) as sock:
        bind(sock, address_bytes(socket.AF_INET, (host, 0)))
        name = sock.getsockname()
        assert name[0] == (host or "0.0.0.0")
        assert name[1] > 0
        check_own_name(sock)


@PROPERTY
@given(host=st.ip_addresses(v=4), port=PORTS)
def test_ipv4_on_the_wire(host: Any, port: int) -> None:
    """Family in the machine's order, the rest in the network's, and eight zeros."""
    raw = address_bytes(socket.AF_INET, (str(host), port))
    assert raw == struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + host.packed + bytes(8)
    assert address_round_trip(socket.AF_INET, (str(host), port)) == ((str(host), port), 16)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (("127.0.0.1",), TypeError),
        (("127.0.0.1", 1, 2), TypeError),
        ("127.0.0.1", TypeError),
        (["127.0.0.1", 1], TypeError),
        (None, TypeError),
        ((b"127.0.0.1", 1), TypeError),
        ((None, 1), TypeError),
        (("127.0.0.1", "1"), TypeError),
        (("127.0.0.1", 1.0), TypeError),
        (("127.0.0.1", None), TypeError),
        (("127.0.0.1", -1), OverflowError),
        (("127.0.0.1", 65536), OverflowError),
        (("127.0.0.1", 2**70), OverflowError),
        (("localhost", 1), ValueError),
        (("127.0.0", 1), ValueError),
        (("127.0.0.1 ", 1), ValueError),
        (("256.0.0.1", 1), ValueError),
        (("::1", 1), ValueError),
        (("127.0.0.1\0", 1), ValueError),
        (("127.0.0.1\0.example", 1), ValueError),
        (("\udcff", 1), ValueError),
    ],
)
def test_ipv4_that_is_none(address: Any, error: type[Exception]) -> None:
    """What is no address in numbers is refused; never does a name get looked up."""
    with pytest.raises(error):
        address_bytes(socket.AF_INET, address)


# -- IPv6 --


@pytest.fixture
def ipv6(guard: None) -> socket.socket:
    """A datagram socket for IPv6; skips where the system has none."""
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        pytest.skip("no IPv6 here")
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        sock.close()
        pytest.skip("no IPv6 here")
    return sock


@pytest.mark.parametrize(
    "address", [("::1", 0), ("::1", 0, 0), ("::1", 0, 0, 0), ("::", 0), ("", 0), ("::ffff:127.0.0.1", 0)]
)
def test_ipv6_as_the_kernel_takes_it(ipv6: socket.socket, address: tuple[Any, ...]) -> None:
    """Bound to our bytes; flow information and scope may be left out."""
    with ipv6 as sock:
        bind(sock, address_bytes(socket.AF_INET6, address))
        assert sock.getsockname()[0] == (address[0] or "::")
        check_own_name(sock)


def test_ipv6_scope_goes_to_the_kernel(ipv6: socket.socket) -> None:
    """A link-local address (here a multicast group of the loopback) exists on one interface only: its scope."""
    with ipv6 as sock:
        loopback = socket.if_nametoindex("lo")
        with pytest.raises(OSError):
            bind(sock, address_bytes(socket.AF_INET6, ("ff02::1", 0)))
        bind(sock, address_bytes(socket.AF_INET6, ("ff02::1", 0, 0, loopback)))
        assert sock.getsockname()[3] == loopback
        check_own_name(sock)


def test_ipv6_flow_label_comes_from_the_kernel(ipv6: socket.socket) -> None:
    """A peer's flow label, as the kernel tells it, is the number that Python gives."""
    with ipv6 as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1)
        try:
            sock.connect(("::1", 9, 0xABCDE, 0))
        except OSError:
            pytest.skip("flow labels are restricted here")
        raw, peer = asked(sock, "getpeername"), sock.getpeername()
        assert peer == ("::1", 9, 0xABCDE, 0)
        assert address_parse(raw) == peer
        assert address_bytes(socket.AF_INET6, peer) == raw


@PROPERTY
@given(host=st.ip_addresses(v=6), port=PORTS, flow=st.integers(0, 0xFFFFF), scope=st.integers(0, 0xFFFFFFFF))
def test_ipv6_on_the_wire(host: Any, port: int, flow: int, scope: int) -> None:
    """Flow information in the network's order, the scope in the machine's; the text is inet_ntop's."""
    raw = address_bytes(socket.AF_INET6, (str(host), port, flow, scope))
    head = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, flow)
    assert raw == head + host.packed + struct.pack("=I", scope)
    text = socket.inet_ntop(socket.AF_INET6, host.packed)
    assert address_parse(raw) == (text, port, flow, scope)
    assert address_round_trip(socket.AF_INET6, (text, port, flow, scope)) == ((text, port, flow, scope), 28)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (("::1",), TypeError),
        (("::1", 1, 2, 3, 4), TypeError),
        ((b"::1", 1), TypeError),
        (("::1", 1, None), TypeError),
        (("::1", 1, 0, "lo"), TypeError),
        (("::1", 65536), OverflowError),
        (("::1", 1, -1), OverflowError),
        (("::1", 1, 0x100000), OverflowError),
        (("::1", 1, 0, -1), OverflowError),
        (("::1", 1, 0, 2**32), OverflowError),
        (("::1%lo", 1), ValueError),
        (("::g", 1), ValueError),
        (("127.0.0.1", 1), ValueError),
        (("::1\0junk", 1), ValueError),
    ],
)
def test_ipv6_that_is_none(address: Any, error: type[Exception]) -> None:
    """As with IPv4; flow information has 20 bits, as Python's."""
    with pytest.raises(error):
        address_bytes(socket.AF_INET6, address)


# -- Unix --


@pytest.mark.parametrize("make", [str, os.fsencode, Path], ids=["str", "bytes", "path"])
@pytest.mark.parametrize("name", ["s", "ünïx", "with space", os.fsdecode(b"not-utf8-\xff")], ids=ascii)
def test_unix_path(short_tmp: Path, make: Callable[[str], Any], name: str) -> None:
    """A file of any name; it comes back as str, with the bytes that are no text escaped as os.fsdecode() does."""
    path = f"{short_tmp}/{name}"
    with socket.socket(socket.AF_UNIX) as sock:
        bind(sock, address_bytes(socket.AF_UNIX, make(path)))
        assert sock.getsockname() == path
        assert os.path.exists(path)
        check_own_name(sock)


def test_unix_path_of_every_length(short_tmp: Path) -> None:
    """Up to 107 bytes and their NUL; the kernel's answer is read to its last byte."""
    for length in range(len(str(short_tmp)) + 2, 108):
        path = f"{short_tmp}/".ljust(length, "x")
        with socket.socket(socket.AF_UNIX) as sock:
            bind(sock, address_bytes(socket.AF_UNIX, path))
            assert sock.getsockname() == path
            check_own_name(sock)
        os.unlink(path)
    for length in (108, 109, 5000):
        with pytest.raises(OSError, match="too long"):
            address_bytes(socket.AF_UNIX, "x" * length)
    # 108 bytes without a NUL: Linux allows them (unix(7)), though we do not make them.
    raw = struct.pack("=H", socket.AF_UNIX) + f"{short_tmp}/".ljust(108, "y").encode()
    with socket.socket(socket.AF_UNIX) as sock:
        bind(sock, raw)
        assert address_parse(asked(sock, "getsockname")) == os.fsdecode(raw[2:])
        os.unlink(raw[2:])


@pytest.mark.parametrize("tail", [b"name", b"a\0b", b"\0", b"end\0\0", b"\xff\xfe", b"x" * 60], ids=ascii)
def test_unix_abstract(tail: bytes) -> None:
    """Every byte of an abstract name counts, NULs too; it comes back as bytes."""
    name = b"\0fastnet-%d-" % os.getpid() + tail
    with socket.socket(socket.AF_UNIX) as sock:
        raw = address_bytes(socket.AF_UNIX, name)
        assert len(raw) == 2 + len(name)
        bind(sock, raw)
        assert sock.getsockname() == name
        check_own_name(sock)
        with socket.socket(socket.AF_UNIX) as other, pytest.raises(OSError, match="in use"):
            other.bind(name)
    assert address_bytes(socket.AF_UNIX, "\0text") == address_bytes(socket.AF_UNIX, b"\0text")
    assert address_bytes(socket.AF_UNIX, bytearray(b"\0text")) == address_bytes(socket.AF_UNIX, b"\0text")


def test_unix_abstract_length() -> None:
    """108 bytes with the leading NUL, and no more."""
    name = (b"\0%d-" % os.getpid()).ljust(108, b"z")
    with socket.socket(socket.AF_UNIX) as sock:
        bind(sock, address_bytes(socket.AF_UNIX, name))
        assert sock.getsockname() == name
        check_own_name(sock)
    with pytest.raises(OSError, match="too long"):
        address_bytes(socket.AF_UNIX, name + b"z")


def test_unix_unnamed() -> None:
    """A socket without a name has the name ''; bound to that, it gets an abstract one (unix(7), autobind)."""
    with socket.socket(socket.AF_UNIX) as sock:
        raw = asked(sock, "getsockname")
        assert address_parse(raw) == sock.getsockname() == ""
        assert address_bytes(socket.AF_UNIX, "") == raw == struct.pack("=H", socket.AF_UNIX)
        bind(sock, raw)
        assert sock.getsockname()[:1] == b"\0"
        check_own_name(sock)


@pytest.mark.parametrize(
    ("address", "error"),
    [(None, TypeError), (1, TypeError), (("path",), TypeError), ("a\0b", ValueError), (b"a\0", ValueError)],
)
def test_unix_that_is_none(address: Any, error: type[Exception]) -> None:
    """No other types, and no NUL in a path, where the kernel would cut the name."""
    with pytest.raises(error):
        address_bytes(socket.AF_UNIX, address)


# -- all --


@pytest.mark.parametrize("family", [socket.AF_UNSPEC, socket.AF_NETLINK, -1, 12345])
def test_other_families_are_refused(family: int) -> None:
    """The core connects and binds by three families only."""
    with pytest.raises(ValueError, match="not supported"):
        address_bytes(family, ("127.0.0.1", 1))


def test_other_families_are_read() -> None:
    """What the kernel says of a foreign socket comes as Python gives what it does not know: (family, bytes)."""
    assert address_parse(struct.pack("=H", 99) + b"whatever") == (99, b"whatever")
    assert address_parse(b"") is None
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        raw = asked(sock, "getsockname")
        assert address_parse(raw) == (socket.AF_NETLINK, raw[2:])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_names_of_a_connection(loop: asyncio.AbstractEventLoop, family: socket.AddressFamily) -> None:
    """What transports tell of both ends is what Python's sockets tell, also after the end."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    if family == socket.AF_INET6:
        try:
            with socket.socket(family) as probe:
                probe.bind((host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
    accepted: list[asyncio.Transport] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            accepted.append(transport)

    async def connect() -> None:
        server = await loop.create_server(Server, host, 0)
        bound = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(asyncio.Protocol, host, bound[1])
        while not accepted:
            await asyncio.sleep(0)
        sock = transport.get_extra_info("socket")
        ends = sock.getsockname(), sock.getpeername()
        assert ends[1] == bound
        for each, names in ((transport, ends), (accepted[0], ends[::-1])):
            assert (each.get_extra_info("sockname"), each.get_extra_info("peername")) == names
            each.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for each, names in ((transport, ends), (accepted[0], ends[::-1])):
            assert (each.get_extra_info("sockname"), each.get_extra_info("peername")) == names
        server.close()
        await server.wait_closed()

    run(loop, connect())
