"""One authenticated connection to one host: the Transport port over HTTP/1.1, in clear or over TLS.

Knows asyncio's protocols, the order of requests and answers, and how a connection can end. Must not know WS-Man, what
an answer means, or time: the caller's clock cancels, and cancelling drops the connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Generator, Sequence
from concurrent.futures import Executor
from typing import Any, cast

from remotejobs.errors import AuthenticationError, ProtocolError, RemoteJobsError, UnreachableError
from remotejobs.model import Endpoint, Limits
from remotejobs.ports import AuthContext, Lost, NotSent, Reply, Sealer
from remotejobs.transport.answers import AnswerReader
from remotejobs.transport.certificates import packed_address
from remotejobs.transport.failures import cut_off, no_handshake, place_of, reset
from remotejobs.transport.handoff import Handoff
from remotejobs.transport.names import Names
from remotejobs.transport.sealed import is_sealed, seal, unseal
from remotejobs.transport.tcp import connect
from remotejobs.transport.tls import ClientContext, TlsLayer

USER_AGENT = "remotejobs"
CONTENT_TYPE = "application/soap+xml;charset=UTF-8"

# CredSSP, the longest, takes seven
_MOST_STEPS = 16
_BLOCK = 64 * 1024
_CLEAR_TYPE = CONTENT_TYPE.encode("ascii")
_LABEL = r"[^\x00-\x20\x7f/\\@?#%:.\[\]]{1,63}"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_PLAIN_PATH = re.compile(r"/[!-~]*")


class HttpTransport(asyncio.BufferedProtocol):
    """Implements ports.Transport. Opened once; when it has ended, another one is made.

    Args:
        endpoint: Where to.
        auth: A fresh authentication context, None to send no Authorization.
        tls: The job's context, for https only.
        names: The job's look-ups.
        seals: Bodies go encrypted by the authentication context, and answers must come so.
        threads: Where steps of the context run that wait for a server of its own.
        limits: What the host may send.
        block: Where bytes go that come: shared by the connections of one loop that reads when it has asked for it.
            None on a loop that asks beforehand (Windows' Proactor): then each connection has one of its own.
    """

    __slots__ = (
        "_anew",
        "_answer",
        "_auth",
        "_block",
        "_context",
        "_ended",
        "_endpoint",
        "_head",
        "_limits",
        "_loop",
        "_names",
        "_opener",
        "_place",
        "_reader",
        "_sealed",
        "_sealer",
        "_seals",
        "_shaken",
        "_steps",
        "_threads",
        "_tls",
        "_wire",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        auth: AuthContext | None,
        *,
        tls: ClientContext | None,
        names: Names,
        limits: Limits,
        seals: bool = False,
        threads: Executor | None = None,
        block: bytearray | None = None,
    ) -> None:
        if endpoint.ssl and tls is None:
            raise ValueError("an https endpoint needs a TLS context")
        self._endpoint, self._auth, self._names, self._limits = endpoint, auth, names, limits
        self._seals, self._threads = seals and auth is not None, threads
        self._sealer: Sealer | None = None
        self._anew: AuthContext | None = None
        self._sealed = 0  # answers that came sealed
        self._context = tls if endpoint.ssl else None
        self._place = place_of(endpoint)
        self._head = b""
        self._block = block or bytearray(_BLOCK)
        self._opener: asyncio.Task[object] | None = None
        self._wire: asyncio.Transport | None = None
        self._tls: TlsLayer | None = None
        self._reader = AnswerReader(limits, self._place)
        self._steps: Generator[str, Sequence[str], None] | None = None
        self._shaken: asyncio.Future[None] | None = None
        self._answer: Handoff[Reply | Lost] | None = None
        self._ended: RemoteJobsError | None = None

    async def open(self) -> None:
        """Look the name up and connect, TLS included. Cancelling it leaves nothing behind; close() ends it.

        Raises:
            UnreachableError: With `details["step"]` one of name, tcp, tls.
        """
        opener = self._opener = asyncio.current_task()
        try:
            await self._connect()
        except asyncio.CancelledError:
            if self._opener is None and self._ended is not None and opener is not None:
                opener.uncancel()
                raise self._ended from None
            raise
        finally:
            self._opener = None

    async def _connect(self) -> None:
        endpoint = self._endpoint
        name = server_name(endpoint)
        self._head = _head(endpoint, name)
        addresses = await self._names.addresses(endpoint.host, endpoint.port)
        try:
            sock = await connect(self._place, addresses)
        except UnreachableError:
            self._names.forget(endpoint.host)
            raise
        loop = self._loop = asyncio.get_running_loop()
        try:
            if self._context is not None:
                self._tls = TlsLayer(self._context, name, self._place)
                self._shaken = loop.create_future()
            await loop.create_connection(lambda: self, sock=sock)
            if self._shaken is not None:
                await self._shaken
                self._shaken = None
            self._begin_authentication()
        except BaseException:
            if self._shaken is not None:
                self._shaken.cancel()
            sock.close()
            self.close()
            raise

    def post(self, body: bytes) -> Coroutine[Any, Any, Reply | NotSent | Lost]:
        """Send one request, wait for its whole answer. Cancelling it drops the connection.

        NotSent where the connection had ended before: from the moment that the first byte was given to the system a
        request that gets no answer is Lost.

        Raises:
            RemoteJobsError: The authentication context gave up (AuthenticationError as a rule); what it raises.
        """
        if self._answer is not None:
            raise RuntimeError("one request at a time: this connection waits for an answer")
        steps, self._steps = self._steps, None
        if steps is None and self._anew is not None:
            steps = self._anew.steps(self.channel_binding())
        if steps is not None:
            return self._authenticate(steps, body)
        return self._exchange(self._head, body) if self._sealer is None else self._exchange_sealed(self._sealer, body)

    def close(self) -> None:
        """Drop the connection; further posts are NotSent. Never blocks, may be repeated."""
        self._drop(cut_off(self._place, "is no longer connected: the connection was closed here"))
        opener = self._opener
        if opener is not None and opener is not asyncio.current_task():
            self._opener = None
            opener.cancel()

    @property
    def closed(self) -> bool:
        """True when no request can be sent any more (or yet)."""
        return self._wire is None or self._wire.is_closing()

    def channel_binding(self) -> bytes | None:
        """`tls-server-end-point` (RFC 5929) as application data for GSS, None over http.

        Raises:
            UnreachableError: The host's certificate cannot be read.
        """
        return self._tls.channel_binding() if self._tls else None

    def _begin_authentication(self) -> None:
        if self._auth is None:
            return
        if self._auth.every_request:
            self._head = _with_authorization(self._head, next(self._auth.steps(None)))
        elif self._auth.anew:
            self._anew = self._auth
        else:
            self._steps = self._auth.steps(self.channel_binding())

    async def _authenticate(self, steps: Generator[str, Sequence[str], None], body: bytes) -> Reply | NotSent | Lost:
        """Send the request with one step after the other, until the host accepts or there is nothing more to say.

        Where bodies are sealed there is no key yet: the steps go without one, and the request after them.
        """
        assert self._auth is not None
        try:
            reply = await self._shake_hands(steps, b"" if self._seals else body)
            if not self._seals or not isinstance(reply, Reply) or reply.status != 200:
                return reply
            self._sealer = self._auth.sealer()
            if self._sealer is None:
                raise AuthenticationError(
                    f"{self._place} has accepted {self._auth.mechanism}, but nothing can be encrypted with it."
                )
            return await self._exchange_sealed(self._sealer, body)
        except RemoteJobsError:
            self.close()
            raise
        finally:
            steps.close()

    async def _shake_hands(self, steps: Generator[str, Sequence[str], None], body: bytes) -> Reply | NotSent | Lost:
        value = await self._step(steps, None)
        for _ in range(_MOST_STEPS):
            assert value is not None
            reply = await self._exchange(_with_authorization(self._head, value), body)
            if not isinstance(reply, Reply):
                return reply
            value = await self._step(steps, reply.challenges)
            if value is None or reply.status != 401:
                return reply
            if self.closed:
                return NotSent(cut_off(self._place, "closed the connection in the middle of authentication"))
        return reply

    async def _step(self, steps: Generator[str, Sequence[str], None], challenges: Sequence[str] | None) -> str | None:
        """The next value of Authorization; None when there is nothing more to say."""

        def step() -> str | None:
            try:
                return next(steps) if challenges is None else steps.send(challenges)
            except StopIteration:
                return None

        if self._auth is not None and self._auth.waits:
            return await self._loop.run_in_executor(self._threads, step)
        return step()

    async def _exchange_sealed(self, sealer: Sealer, body: bytes) -> Reply | NotSent | Lost:
        """One request encrypted, its answer decrypted. What comes in clear is taken for a status and nothing more."""
        content_type, message = seal(sealer, body)
        reply = await self._exchange(self._head.replace(_CLEAR_TYPE, content_type.encode("ascii")), message)
        if not isinstance(reply, Reply):
            return reply
        if is_sealed(reply.content_type):
            try:
                clear = unseal(sealer, reply.body)
            except RemoteJobsError:
                self.close()
                raise
            self._sealed += 1
            return reply._replace(body=clear, content_type=CONTENT_TYPE)
        if reply.status == 200:
            self.close()
            raise ProtocolError(f"{self._place} answered an encrypted request in clear: somebody may be in between.")
        if reply.status == 400 and self._sealed:
            # it has lost the keys, so it has read nothing of this (an idle connection that something in between ended)
            self.close()
            return NotSent(cut_off(self._place, "no longer has the keys of this connection"))
        return reply._replace(body=b"")

    async def _exchange(self, head: bytes, body: bytes) -> Reply | NotSent | Lost:
        wire = self._wire
        if wire is None or wire.is_closing():
            return NotSent(self._ended or cut_off(self._place, "is not connected"))
        self._reader.expect()
        answer: Handoff[Reply | Lost] = Handoff(self._loop)
        self._answer = answer
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        try:
            wire.write(self._tls.seal(request) if self._tls else request)
            del body, request
            return await answer
        except UnreachableError as error:
            self._drop(error)
            return Lost(error)
        except BaseException:  # cancelled, as a rule
            self.close()
            raise
        finally:
            self._answer = None

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP stands."""
        self._wire = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        if self._tls is not None:
            self._shake(self._tls, b"")

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio always says -1
        """Where bytes go that come."""
        # not asyncio.Protocol, which asks the system for 256 KiB, and gives them back, for each block that comes
        return self._block

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        data = memoryview(self._block)[:nbytes]
        tls = self._tls
        if tls is None:
            self._take(data)
        elif self._shaken is not None and not self._shaken.done():
            self._shake(tls, data)
        else:
            self._unseal(tls, data)
        if self._answer is not None:
            self._answer.wake()

    def eof_received(self) -> None:
        """The host closed its side; returning None closes ours."""
        self._over(clean=self._tls is None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, with the system's error or in order."""
        if self._ended is not None:
            return
        if not isinstance(exc, OSError):
            self._over(clean=False)
        elif self._shaken is not None:
            self._drop(no_handshake(self._place, exc))
        else:
            waiting = self._answer is not None and not self._answer.done()
            when = "before its answer was complete" if waiting else "while it was idle"
            self._drop(reset(self._place, exc, when))

    # between the wire and the one who waits

    def _shake(self, tls: TlsLayer, data: bytes | memoryview) -> None:
        assert self._shaken is not None
        try:
            complete = tls.handshake(data)
        except UnreachableError as error:
            self._drop(error)
            return
        self._flush(tls)
        if complete and not self._shaken.done():
            self._shaken.set_result(None)

    def _unseal(self, tls: TlsLayer, data: bytes | memoryview) -> None:
        try:
            for clear in tls.unseal(data):
                self._take(clear)
        except UnreachableError as error:
            self._drop(error)
            return
        self._flush(tls)
        if tls.ended:
            self._over(clean=True)

    def _flush(self, tls: TlsLayer) -> None:
        """Send what TLS itself has to say."""
        outgoing = tls.outgoing()
        if outgoing and self._wire is not None:
            self._wire.write(outgoing)

    def _take(self, data: bytes | memoryview) -> None:
        answer = self._answer
        if answer is None or answer.done():
            self._drop(ProtocolError(f"{self._place} sent something that nobody asked for."))
            return
        try:
            reply = self._reader.feed(data)
        except ProtocolError as error:
            self._drop(error)
            return
        if reply is not None:
            answer.set(reply)
            if not self._reader.reusable:
                self._drop(cut_off(self._place, "closed the connection after its last answer"))

    def _over(self, *, clean: bool) -> None:
        """The host sends nothing more. `clean`: it said so, nobody cut it short."""
        if self._ended is not None:
            return
        if self._shaken is not None:
            self._drop(no_handshake(self._place, None))
        elif self._answer is None or self._answer.done():
            self._drop(cut_off(self._place, "closed the connection while it was idle"))
        else:
            reply = self._reader.end() if clean else None
            if reply is not None:
                self._answer.set(reply)
            where = "in the middle of its answer" if self._reader.begun else "without an answer"
            self._drop(cut_off(self._place, f"closed the connection {where}"))

    def _drop(self, error: RemoteJobsError) -> None:
        """End the connection because of `error`. The first error counts; who waits is told."""
        if self._ended is not None:
            return
        self._ended = error
        if self._answer is not None:
            self._answer.set(Lost(error))
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_exception(error)
        wire, tls = self._wire, self._tls
        self._wire = self._tls = self._steps = None
        self._reader.close()
        if wire is not None:
            if tls is not None and not wire.is_closing():
                wire.write(tls.end())
            wire.abort()
        if self._answer is not None:
            self._answer.wake()


def shared_block() -> bytearray | None:
    """The `block` for all connections of the running loop."""
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    return None if proactor and isinstance(asyncio.get_running_loop(), proactor) else bytearray(_BLOCK)


def server_name(endpoint: Endpoint) -> str:
    """The host as certificates and the Host header have it: ASCII, without scope and final dot.

    Raises:
        UnreachableError: It cannot be a host name.
    """
    host = endpoint.server_name or endpoint.host
    if packed_address(host):
        return host.partition("%")[0]
    try:
        name = host.removesuffix(".")
        name = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not name or not _HOST_NAME.fullmatch(name):
        raise UnreachableError(f"{host!r} cannot be a host name.", error_id="ComputerNotFound", step="name", host=host)
    return name


def _head(endpoint: Endpoint, name: str) -> bytes:
    """The head of each request, up to what differs."""
    path = endpoint.path
    if not _PLAIN_PATH.fullmatch(path):
        from urllib.parse import quote

        path = quote(path, safe="/?&=%:@!$'()*+,;~")
    host = f"[{name}]" if ":" in name else name
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\nUser-Agent: {USER_AGENT}\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\nAccept-Encoding: identity\r\nConnection: Keep-Alive\r\n"
    ).encode("ascii")


def _with_authorization(head: bytes, value: str) -> bytes:
    return b"%bAuthorization: %b\r\n" % (head, value.encode("ascii")) if value else head
