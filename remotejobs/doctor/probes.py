"""Raw questions over HTTP and TLS: what the product's own connection never asks, and more of the answer than it keeps.

Knows sockets, TLS by transport's layer, and HTTP's bytes. Must not know steps, credentials or what an answer means.
Nothing secret goes over these connections: their TLS may be unverified.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar, cast

from remotejobs.errors import UnreachableError
from remotejobs.model import Endpoint, Limits
from remotejobs.ports import Reply
from remotejobs.transport.answers import AnswerReader
from remotejobs.transport.failures import cut_off, no_handshake, place_of, reset
from remotejobs.transport.http import CONTENT_TYPE, USER_AGENT, server_name
from remotejobs.transport.names import Address
from remotejobs.transport.tcp import connect
from remotejobs.transport.tls import ClientContext, TlsLayer
from remotejobs.wsman.about import IDENTIFY, WITHOUT_LOGON

T = TypeVar("T")

_BLOCK = 16 * 1024
_LIMITS = Limits(body_bytes=256 * 1024)
_VALUE_LIMIT = 100


class Answer(NamedTuple):
    """An answer with the headers that the product's connection does not look at; empty where they are not there."""

    reply: Reply
    date: str
    server: str


def without_length(endpoint: Endpoint) -> bytes:
    """A POST without a length: http.sys, which is in front of WinRM, answers 411."""
    return f"{_head(endpoint)}\r\n".encode("ascii")


def without_logon(endpoint: Endpoint) -> bytes:
    """An empty POST without Authorization: WinRM answers 401 and the mechanisms that it offers."""
    return f"{_head(endpoint)}Content-Type: {CONTENT_TYPE}\r\nContent-Length: 0\r\n\r\n".encode("ascii")


def identify(endpoint: Endpoint) -> bytes:
    """Identify for everybody."""
    head = f"{_head(endpoint)}Content-Type: {CONTENT_TYPE}\r\n{WITHOUT_LOGON}\r\nContent-Length: {len(IDENTIFY.data)}"
    return f"{head}\r\n\r\n".encode("ascii") + IDENTIFY.data


def _head(endpoint: Endpoint) -> str:
    from urllib.parse import quote

    name = server_name(endpoint)
    host = f"[{name}]" if ":" in name else name
    path = quote(endpoint.path, safe="/?&=%:@!$'()*+,;~")
    return f"POST {path} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\nUser-Agent: {USER_AGENT}\r\n"


@asynccontextmanager
async def dialled(
    endpoint: Endpoint, addresses: Sequence[Address], tls: ClientContext | None = None
) -> AsyncIterator[Wire]:
    """A connection, with `tls` after its handshake.

    Raises:
        UnreachableError: With `details["step"]` one of tcp, tls.
    """
    place = place_of(endpoint)
    layer = TlsLayer(tls, server_name(endpoint), place) if tls is not None else None
    sock = await connect(place, addresses)
    try:
        wire = Wire(sock, place, layer)
        if layer is not None:
            await wire.shake(layer)
        yield wire
    finally:
        sock.close()


class Wire:
    """One connection for one question."""

    def __init__(self, sock: socket.socket, place: str, tls: TlsLayer | None) -> None:
        self._sock, self._place, self._tls = sock, place, tls
        self._loop = asyncio.get_running_loop()

    @property
    def address(self) -> str:
        """Whom it is connected to; empty where that has hung up already."""
        try:
            return str(self._sock.getpeername()[0])
        except OSError:
            return ""

    def peer(self) -> tuple[bytes, str]:
        """The server's certificate (DER) and the version of TLS; nothing over http."""
        return self._tls.peer() if self._tls else (b"", "")

    async def shake(self, tls: TlsLayer) -> None:
        """Do the TLS handshake.

        Raises:
            UnreachableError: With `details["step"] == "tls"` and a `reason`.
        """
        data = b""
        while True:
            try:
                done = tls.handshake(data)
            except UnreachableError:
                with contextlib.suppress(OSError):
                    await self._send(tls.outgoing())  # the alert: the host's log says why then
                raise
            try:
                await self._send(tls.outgoing())
                if done:
                    return
                data = await self._loop.sock_recv(self._sock, _BLOCK)
            except OSError as error:
                raise no_handshake(self._place, error) from None
            if not data:
                raise no_handshake(self._place, None)

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its whole answer.

        Raises:
            UnreachableError, ProtocolError: There was none, or it is not HTTP.
        """
        reader = _Reader(_LIMITS, self._place)
        reply: Reply | None = None
        try:
            await self._send(self._tls.seal(request) if self._tls else request)
            while reply is None:
                data = await self._loop.sock_recv(self._sock, _BLOCK)
                if not data:
                    reply = reader.end()
                    break
                for clear in self._tls.unseal(data) if self._tls else (data,):
                    reply = reply or reader.feed(clear)
                if self._tls and self._tls.ended and reply is None:
                    reply = reader.end()
                    break
        except OSError as error:
            raise reset(self._place, error, "before its answer was complete") from None
        if reply is None:
            where = "in the middle of its answer" if reader.begun else "without an answer"
            raise cut_off(self._place, f"closed the connection {where}")
        return Answer(reply, reader.date, reader.server)

    async def _send(self, data: bytes) -> None:
        if data:
            await self._loop.sock_sendall(self._sock, data)


class _Reader(AnswerReader):
    """Reads an answer, and keeps two headers more."""

    __slots__ = ("date", "server")

    def __init__(self, limits: Limits, place: str) -> None:
        self.date = self.server = ""
        super().__init__(limits, place)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        super().on_header(name, value)
        if name.lower() == b"date":
            self.date = value[:_VALUE_LIMIT].decode("latin-1")
        elif name.lower() == b"server":
            self.server = ascii(value[:_VALUE_LIMIT].decode("latin-1"))[1:-1]


async def speaks_tls(endpoint: Endpoint, addresses: Sequence[Address], tls: ClientContext) -> bool:
    """Whether a port speaks TLS, whoever it is."""
    try:
        async with dialled(endpoint, addresses, tls):
            return True
    except UnreachableError:
        return False


async def name_of(address: Address) -> str:
    """Ask the resolver for the name of an address; empty where it has none."""

    def look() -> str:
        try:
            return socket.getnameinfo((address.sockaddr[0], 0), socket.NI_NAMEREQD)[0]
        except OSError:
            return ""

    return await in_thread(look)


async def in_thread(work: Callable[[], T]) -> T:
    """Run what may wait for a server in a thread of its own. One that hangs holds up nobody, the process neither."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result, error = work(), None
        except BaseException as caught:  # noqa: BLE001 - it is raised where it is waited for
            result, error = None, caught

        def settle() -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(cast("T", result))

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=run, daemon=True, name="remotejobs-doctor").start()
    return await done
