"""The connections of one attempt, under a library that uses requests: made here, watched here, ended from here.

Knows sockets, TLS and urllib3's connections. Must not know WS-Man, or which library asks.

Why not the library's own: the address of a target that is not its name, our clocks and messages, certificates checked
by our rules, no proxy, no redirect, nothing sent a second time. And a thread that waits in the library goes on when its
sockets are shut down.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import requests
import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from remotejobs.errors import LimitError, UnreachableError
from remotejobs.model import Endpoint, Limits
from remotejobs.ports import Reply
from remotejobs.transport.certificates import packed_address, read_certificate
from remotejobs.transport.failures import cut_off, handshake_error, no_handshake, place_of, unreadable, wrong_name
from remotejobs.transport.http import server_name
from remotejobs.transport.names import Names
from remotejobs.transport.tcp import connect
from remotejobs.transport.tls import ClientContext

# their debug lines hold whole messages and tokens, their warnings go to the terminal
for _name in ("pypsrp", "winrm", "urllib3", "requests", "requests_ntlm", "requests_kerberos", "requests_credssp"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

# With these a host answers who it has let in; 403 and 500 are WinRM's refusals and faults.
_ACCEPTED = (200, 403, 500)


class Lines:
    """All connections of one attempt to one host. Its methods may be called from any thread.

    Args:
        endpoint: Where to.
        tls: The job's context, for https only.
        names: The job's look-ups.
        limits: What the host may send.
        accepted: Called in the thread that asks, once: the host has let us in.

    Attributes:
        reply: The head of the last answer; status 0 while the answer to a request is missing.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tls: ClientContext | None,
        names: Names,
        limits: Limits,
        accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.place = place_of(endpoint)
        self.reply = Reply(0, b"")
        self.ended = threading.Event()
        self._tls = tls if endpoint.ssl else None
        self._names, self._limits, self._accepted = names, limits, accepted
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._sockets: list[weakref.ref[socket.socket]] = []
        self._dialling: concurrent.futures.Future[socket.socket] | None = None
        self._ready: socket.socket | None = None
        self._session: requests.Session | None = None
        self._steps, self._dropped = 0, False

    def __enter__(self) -> None:
        """A step of the library begins."""
        with self._lock:
            self._steps += 1

    def __exit__(self, *error: object) -> None:
        """It is over."""
        with self._lock:
            self._steps -= 1
        if self._dropped:
            self.drop()

    def connect(self) -> None:
        """Connect, TLS included; the first request takes this connection. Blocks.

        Raises:
            UnreachableError: With `details["step"]` one of name, tcp, tls.
        """
        self._ready = self._connected()

    def attach(self, session: requests.Session) -> None:
        """Have a session use these connections and nothing of the environment (proxies, .netrc, CA bundles)."""
        if session is self._session:
            return
        self._session = session
        session.trust_env = False
        session.proxies = {}
        session.verify = False  # verified when it is connected, by the job's own context
        adapter = requests.adapters.HTTPAdapter(max_retries=0)
        pools: dict[str, Any] = {
            "http": functools.partial(_pool, self, HTTPConnectionPool, _Plain),
            "https": functools.partial(_pool, self, HTTPSConnectionPool, _Encrypted),
        }
        adapter.poolmanager.pool_classes_by_scheme = pools
        session.mount("http://", adapter)
        session.mount("https://", adapter)

    def close(self) -> None:
        """End what is pending, for good. Never blocks, may be repeated."""
        self.ended.set()
        if self._dialling is not None:
            self._dialling.cancel()
        for sock in self._alive():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's: another thread is in there

    def drop(self) -> None:
        """The same, and the files are closed too: now, or when the last step is over."""
        self.close()
        with self._lock:
            self._dropped = True
            if self._steps:
                return
        if self._session is not None:
            self._session.close()
        for sock in self._alive():
            # what a library has raised may hold an answer half read, and that the socket: close() would wait for it
            number = socket.socket.detach(sock)
            if number >= 0:
                socket.close(number)

    def _alive(self) -> list[socket.socket]:
        with self._lock:
            return [found for reference in self._sockets if (found := reference()) is not None]

    # what the connections call

    def take(self) -> socket.socket:
        """A connection for a request: the first is there already."""
        sock, self._ready = self._ready, None
        return sock or self._connected()

    def asked(self) -> None:
        """A request begins."""
        self.reply = Reply(0, b"")

    def heard(self, response: Any) -> Any:
        """An answer begins: note its head, bound its body, follow it nowhere."""
        headers = response.headers
        self.reply = Reply(
            response.status, b"", headers.get("Content-Type", ""), tuple(headers.getlist("WWW-Authenticate"))
        )
        headers.discard("Location")
        response.stream = functools.partial(self._bounded, response.stream)
        if response.status in _ACCEPTED:
            accepted, self._accepted = self._accepted, lambda: None
            accepted()
        return response

    def _bounded(self, stream: Callable[..., Iterator[bytes]], *args: Any, **kwargs: Any) -> Iterator[bytes]:
        size = 0
        for piece in stream(*args, **kwargs):
            size += len(piece)
            if size > self._limits.body_bytes:
                raise LimitError(
                    f"{self.place} sent an answer of more than {self._limits.body_bytes} bytes.", limit="body_bytes"
                )
            yield piece

    def _connected(self) -> socket.socket:
        sock = self._watched(self._dialled())
        sock.settimeout(None)  # the attempt's clocks end what waits
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # urllib3 sends head and body apart
        return sock if self._tls is None else self._encrypted(sock, self._tls)

    def _dialled(self) -> socket.socket:
        with self._lock:
            if self.ended.is_set():
                raise self._cut_off()
            dialling = asyncio.run_coroutine_threadsafe(self._dial(), self._loop)
            self._dialling = dialling
        try:
            return dialling.result()
        except concurrent.futures.CancelledError:
            raise self._cut_off() from None

    async def _dial(self) -> socket.socket:
        endpoint = self.endpoint
        addresses = await self._names.addresses(endpoint.host, endpoint.port)
        try:
            return await connect(self.place, addresses)
        except UnreachableError:
            self._names.forget(endpoint.host)
            raise

    def _encrypted(self, sock: socket.socket, tls: ClientContext) -> ssl.SSLSocket:
        name = server_name(self.endpoint)
        indicated = None if packed_address(name) else name
        wrapped = tls.wrap_socket(sock, server_hostname=indicated, do_handshake_on_connect=False)
        self._watched(wrapped)
        try:
            wrapped.do_handshake()
            if tls.checks_name:
                certificate = read_certificate(wrapped.getpeercert(True) or b"")
                if not certificate.matches(name):
                    raise wrong_name(self.place, name, certificate.names)
            return wrapped
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            failure = no_handshake(self.place, None)
        except ssl.SSLError as error:
            failure = handshake_error(self.place, error)
        except OSError as error:
            failure = no_handshake(self.place, error)
        except UnreachableError as error:
            failure = error
        except ValueError as error:
            failure = unreadable(self.place, error)
        wrapped.close()
        raise failure

    def _watched(self, sock: Any) -> Any:
        with self._lock:
            self._sockets = [reference for reference in self._sockets if reference() is not None]
            self._sockets.append(weakref.ref(sock))
            if not self.ended.is_set():
                return sock
        sock.close()
        raise self._cut_off()

    def _cut_off(self) -> UnreachableError:
        return cut_off(self.place, "is no longer connected: the connection was closed here")


class _Watched:
    """A connection of urllib3's that has its socket from Lines, and tells it what comes."""

    sock: Any
    timeout: Any

    def __init__(self, lines: Lines, **settings: Any) -> None:
        super().__init__(**settings)
        self._lines = lines

    def connect(self) -> None:
        self.sock = self._lines.take()
        self.sock.settimeout(self.timeout)
        self.is_verified = True

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._lines.asked()
        super().request(*args, **kwargs)  # type: ignore[misc]

    def getresponse(self) -> Any:
        return self._lines.heard(super().getresponse())  # type: ignore[misc]


class _Plain(_Watched, HTTPConnection):
    pass


class _Encrypted(_Watched, HTTPSConnection):
    pass


def _pool(lines: Lines, kind: Callable[..., Any], connection: type[_Watched], *args: Any, **settings: Any) -> Any:
    pool = kind(*args, **settings)
    pool.ConnectionCls = functools.partial(connection, lines)
    return pool
