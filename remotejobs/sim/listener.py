"""A small HTTP/1.1 server as http.sys is one: requests in, answers out, one at a time on a connection.

Knows bytes, headers, keep-alive and limits. Must not know WS-Man, credentials or hosts: each connection is given a
Session that answers its requests. It can also answer as no server should (`How`), for those who script faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

_log = logging.getLogger(__name__)

MAX_HEAD: Final = 16384  # http.sys: MaxRequestBytes
_MAX_HEADERS: Final = 100
_BACKLOG: Final = 512
_ASKING: Final = 200  # looks for a client's certificate, which nothing tells us of
_ASKING_EVERY: Final = 0.002  # seconds between them
_NO_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # close() sends a reset


class HttpRequest(NamedTuple):
    """One request; `headers` by name in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class How(Enum):
    """How an answer is sent."""

    WHOLE = "whole"
    RAW = "raw"  # the body is all that is sent, then the connection is closed
    TRUNCATED = "truncated"  # half of the body, then the connection is closed
    ENDLESS = "endless"  # the body, then more of its last byte for as long as somebody reads
    RESET = "reset"  # nothing but a TCP reset


@dataclass(slots=True)
class HttpAnswer:
    """One answer.

    Attributes:
        status: HTTP status.
        body: Whole.
        headers: Beside those that every answer has.
        how: How it is sent.
        undelivered: Called when it is known not to have reached the client whole.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    how: How = How.WHOLE
    undelivered: Callable[[], None] = field(default=lambda: None)


class Peer(NamedTuple):
    """Who is at the other end of a connection.

    Attributes:
        address: Its address.
        secure: TLS lies between.
        certificate: Gives its certificate, as ssl has it; empty where it has none. In TLS 1.3 it is asked for it then.
    """

    address: str
    secure: bool
    certificate: Callable[[], Awaitable[Mapping[str, Any]]]


class Session(Protocol):
    """The host's side of one connection."""

    def answer(self, request: HttpRequest) -> Awaitable[HttpAnswer]:
        """Answer one request; cancelled when the client goes away."""
        ...


Accept = Callable[[Peer], Session | None]
"""Takes a connection in; None resets it."""


class HttpConnection(asyncio.Protocol):
    """One connection.

    Args:
        accept: Gives the session.
        max_body: Bytes of a request's body that are read, at most.
        connections: Where it is while it lasts.
    """

    def __init__(self, accept: Accept, max_body: int, connections: set[HttpConnection]) -> None:
        self._accept = accept
        self._max_body = max_body
        self._connections = connections
        self._buffer = bytearray()
        self._need = 0  # bytes of the buffer without which looking at it again is in vain
        self._task: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._asked = False
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        name = transport.get_extra_info("peername") or ("",)
        self._connections.add(self)
        secure = transport.get_extra_info("sslcontext") is not None
        self._session = self._accept(Peer(str(name[0]), secure, self._certificate))
        if self._session is None:
            self.reset()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._buffer += data
        if len(self._buffer) > MAX_HEAD + self._max_body:
            self.reset()
        elif self._task is None and len(self._buffer) >= self._need:
            self._next()

    def pause_writing(self) -> None:  # noqa: D102
        self._writable.clear()

    def resume_writing(self) -> None:  # noqa: D102
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002, D102
        self._writable.set()
        self._gone.set()
        if self._task is not None:
            self._task.cancel()
        self._connections.discard(self)

    # What its listener does

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        await self._gone.wait()

    async def _certificate(self) -> Mapping[str, Any]:
        """The client's certificate, asked for after the handshake, as http.sys does when it has read a request.

        In TLS 1.2 that would be a renegotiation, which OpenSSL has given up: there the handshake has asked.
        """
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None or tls.context.verify_mode is ssl.CERT_NONE:
            return {}
        if not self._asked and tls.version() == "TLSv1.3":
            self._asked = True
            try:
                tls.verify_client_post_handshake()
                tls.do_handshake()  # writes the request
            except ssl.SSLError:  # the client does not take part in it
                return {}
            # asyncio has no word for this; the next answer would take the request along, too late. Nor does it send
            # the alert that a certificate of somebody unknown gets.
            protocol = self._transport._ssl_protocol  # type: ignore[attr-defined]  # noqa: SLF001
            protocol._process_outgoing()  # noqa: SLF001
            give_up = protocol._fatal_error  # noqa: SLF001

            def alert_and_give_up(*about: Any) -> None:
                protocol._process_outgoing()  # noqa: SLF001
                give_up(*about)

            protocol._fatal_error = alert_and_give_up  # noqa: SLF001
            for _ in range(_ASKING):
                if tls.getpeercert() or self._transport.is_closing():
                    break
                await asyncio.sleep(_ASKING_EVERY)
        return tls.getpeercert() or {}

    # Reading

    def _next(self) -> None:
        """Take the next request from the buffer, if it is there whole."""
        if self._session is None or self._transport.is_closing():
            return
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            self._need = 0
            if len(self._buffer) >= MAX_HEAD:
                self._refuse(400)
            return
        try:
            method, path, headers = _head(bytes(self._buffer[:end]))
        except ValueError:
            self._refuse(400)
            return
        length = headers.get("content-length", "0" if method in ("GET", "HEAD") else "")
        if not length.isascii() or not length.isdigit():
            self._refuse(400 if length else 411)
            return
        if len(length) > 10 or int(length) > self._max_body:
            self._refuse(413)
            return
        start = end + 4
        self._need = start + int(length)
        if len(self._buffer) < self._need:
            if len(self._buffer) == start and headers.get("expect", "").lower() == "100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._buffer[start : self._need])
        del self._buffer[: self._need]
        self._need = 0
        request = HttpRequest(method, path, headers, body)
        self._task = asyncio.get_running_loop().create_task(self._serve(self._session, request))

    async def _serve(self, session: Session, request: HttpRequest) -> None:
        try:
            answer = await session.answer(request)
        except Exception:  # noqa: BLE001 - one bad request must not end the host
            _log.exception("A simulated host failed; it answers HTTP 500")
            answer = HttpAnswer(500)
        close = request.headers.get("connection", "").lower() == "close"
        try:
            await self._send(answer, close=close)
        finally:
            self._task = None
        if not self._transport.is_closing():
            self._next()

    def _refuse(self, status: int) -> None:
        text = f"<!DOCTYPE html><HTML><HEAD><TITLE>{status}</TITLE></HEAD><BODY>HTTP Error {status}</BODY></HTML>\r\n"
        content_type = (("Content-Type", "text/html; charset=us-ascii"),)
        self._transport.write(_render(HttpAnswer(status, text.encode(), content_type), close=True))
        self._transport.close()

    # Writing

    async def _send(self, answer: HttpAnswer, *, close: bool) -> None:
        transport = self._transport
        if transport.is_closing():
            answer.undelivered()
            return
        if answer.how is How.WHOLE:
            transport.write(_render(answer, close=close))
            if close:
                transport.close()
            return
        answer.undelivered()
        if answer.how is How.RESET:
            self.reset()
            return
        if answer.how is How.ENDLESS:
            await self._send_endless(answer)
            return
        data = answer.body if answer.how is How.RAW else _render(answer, close=False)[: -len(answer.body) // 2 or None]
        transport.write(data)
        transport.close()

    async def _send_endless(self, answer: HttpAnswer) -> None:
        head = _render(HttpAnswer(answer.status, b"", answer.headers), close=False)
        self._transport.write(head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        self._transport.write(_chunk(answer.body))
        more = _chunk(answer.body[-1:] * 65536)
        while not self._transport.is_closing():
            await self._writable.wait()
            self._transport.write(more)
            await asyncio.sleep(0)


def _head(data: bytes) -> tuple[str, str, dict[str, str]]:
    """Read request line and headers; ValueError where they are malformed."""
    first, *lines = data.decode("latin-1").split("\r\n")
    method, path, version = first.split(" ")
    if not version.startswith("HTTP/1.") or len(lines) > _MAX_HEADERS:
        raise ValueError(first)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name.strip() != name:
            raise ValueError(line)
        name, value = name.lower(), value.strip()
        if name == "content-length" and headers.get(name, value) != value:
            raise ValueError(line)
        headers[name] = value
    if version == "HTTP/1.0":
        headers["connection"] = "close"
    return method, path, headers


def _render(answer: HttpAnswer, *, close: bool) -> bytes:
    # http.sys writes no reason phrase for WinRM.
    lines = [f"HTTP/1.1 {answer.status} "]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines += ["Server: Microsoft-HTTPAPI/2.0", f"Date: {formatdate(usegmt=True)}"]
    if close:
        lines.append("Connection: close")
    lines += [f"Content-Length: {len(answer.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + answer.body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Listener:
    """One port on loopback.

    Args:
        accept: Takes connections in.
        tls: For https.
        max_body: Bytes of a request's body, at most.
    """

    def __init__(self, accept: Accept, tls: ssl.SSLContext | None = None, *, max_body: int = 4 << 20) -> None:
        self._accept = accept
        self._tls = tls
        self._max_body = max_body
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._connections: set[HttpConnection] = set()
        self.port = 0

    async def start(self, *, refuse: bool = False, address: str = "127.0.0.1", port: int = 0) -> None:
        """Bind, and listen unless `refuse`: then the port is taken and nobody answers."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            self.port = sock.getsockname()[1]
            if refuse:
                self._socket = sock
                return
            options: dict[str, Any] = {"backlog": _BACKLOG}
            if self._tls is not None:
                options["ssl"] = self._tls
            self._server = await asyncio.get_running_loop().create_server(
                lambda: HttpConnection(self._accept, self._max_body, self._connections), sock=sock, **options
            )
        except BaseException:
            sock.close()
            raise

    def reset(self) -> None:
        """End all connections with a TCP reset."""
        for connection in self._connections:
            connection.reset()

    async def close(self) -> None:
        """Listen no more, and reset the connections."""
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
        self.reset()
        for connection in list(self._connections):
            await connection.wait_closed()


def raise_file_limit(wanted: int) -> None:
    """Raise the soft limit of open files to `wanted` and some, as far as the hard limit allows."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        goal = wanted + 1024 if hard == resource.RLIM_INFINITY else min(wanted + 1024, hard)
        if soft != resource.RLIM_INFINITY and soft < goal:
            with contextlib.suppress(ValueError, OSError):  # macOS refuses what its kernel does not have
                resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
