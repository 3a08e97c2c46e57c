from __future__ import annotations

import errno
import socket
import sys

import pytest

from remotejobs.errors import UnreachableError
from remotejobs.model import Endpoint
from remotejobs.transport.failures import not_connected, place_of, shown
from remotejobs.transport.names import Address
from remotejobs.transport.tcp import connect
from tests.transport.loopback import run


def listening(backlog: int = 5) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=backlog)


def address(sock: socket.socket) -> Address:
    return Address(socket.AF_INET, sock.getsockname())


@pytest.fixture
def dead() -> Address:
    with listening() as sock:
        return address(sock)


def test_the_first_that_answers(dead: Address) -> None:
    with listening() as first, listening() as second:
        for addresses in ([dead, address(first)], [Address(socket.AF_INET6, ("::1", 9)), dead, address(first)]):
            with run(connect("web01:5985", [*addresses, address(second)])) as sock:
                assert sock.getpeername() == first.getsockname()
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert not sock.getblocking()


def test_none_answers_says_what_the_first_did(dead: Address) -> None:
    unroutable = Address(socket.AF_INET, ("255.255.255.255", 9))
    with pytest.raises(UnreachableError) as caught:
        run(connect("web01:5985", [dead, unroutable]))
    assert caught.value.message.startswith("web01:5985 (127.0.0.1) refused the connection: nothing listens there.")
    assert caught.value.details == {"step": "tcp", "reason": "ECONNREFUSED"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs a listener that drops what does not fit its backlog")
def test_one_that_is_silent_makes_way() -> None:
    with listening(backlog=0) as silent, listening() as good:
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
            fillers.append(filler)
        with run(connect("web01:5985", [address(silent), address(good)], patience=0.01)) as sock:
            assert sock.getpeername() == good.getsockname()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("error", "words", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "refused the connection", "ECONNREFUSED"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "reset the connection", "ECONNRESET"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to it", "EHOSTUNREACH"),
        (OSError(errno.ENETUNREACH, "x"), "no route to its network", "ENETUNREACH"),
        (TimeoutError(), "does not answer", "ETIMEDOUT"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "does not answer", "ETIMEDOUT"),
        (PermissionError(errno.EACCES, "x"), "firewall", "EACCES"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "no free local port", "EADDRNOTAVAIL"),
        (OSError(errno.EPROTO, "odd thing"), "odd thing", "EPROTO"),
        (OSError("no number"), "no number", ""),
        (OSError(errno.ENFILE, "x"), "no free descriptor", "EMFILE"),
    ],
)
def test_errors_in_words(error: OSError, words: str, reason: str) -> None:
    mapped = not_connected("web01:5985", error)
    assert mapped.message.startswith("web01:5985 ")
    assert words in mapped.message
    assert mapped.details == {"step": "tcp", "reason": reason}


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        (Endpoint("web01", 5985, False), "web01:5985"),
        (Endpoint("web01", 5985, False, server_name="web01"), "web01:5985"),
        (Endpoint("10.0.0.7", 5986, True, server_name="web01"), "web01:5986 (at 10.0.0.7)"),
        (Endpoint("::1", 5985, False), "[::1]:5985"),
    ],
)
def test_places(endpoint: Endpoint, place: str) -> None:
    assert place_of(endpoint) == place


def test_what_a_server_sent_is_harmless_on_a_terminal() -> None:
    assert shown(b"\x1b[2Jhi\r\n\xff") == r"'\x1b[2Jhi\r\n\xff'"
    assert shown(b"a" * 100) == "'" + "a" * 40 + "'..."
