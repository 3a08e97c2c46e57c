"""One simulated host: its ports, its logon, its WS-Man service, and the faults that its script holds.

Knows in which order these come to a request. Must not know what any of them does inside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from remotejobs.sim.accounts import Account
from remotejobs.sim.authentication import MUTUAL, Authentication, Channel, Result, check
from remotejobs.sim.certificates import ServerContext
from remotejobs.sim.counters import PATH as COUNTERS
from remotejobs.sim.counters import Counters
from remotejobs.sim.faults import SPOILERS, FaultScript, ScriptedFault
from remotejobs.sim.listener import How, HttpAnswer, HttpRequest, Listener, Peer
from remotejobs.sim.sealed import is_sealed
from remotejobs.sim.shells import HostInfo, HostSettings, ShellFactories
from remotejobs.sim.soap import BadRequest, read_request
from remotejobs.sim.wsman import Answer, Wsman
from remotejobs.sim.wsman_faults import WsmanFault

_SOAP: Final = (("Content-Type", "application/soap+xml;charset=UTF-8"),)
_JSON: Final = (("Content-Type", "application/json"),)
_HTML: Final = (("Content-Type", "text/html; charset=UTF-8"),)
_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Welcome</h1>"
    b"<p>This network asks you to sign in before you go on.</p></body></html>"
)
_GARBAGE: Final = b"\x00\x15\x03\x01\x00\x02SSH-2.0-none of yours\r\n\xff\xfe\r\n\r\n"
_MAX_SHELLS: Final = 2150859173


class SimulatedHost:
    """One host.

    Args:
        name: The computer name.
        factories: What runs in its shells, by resource URI.
        settings: How it behaves.
        faults: What goes wrong.

    Raises:
        ConfigurationError: The settings name a mechanism that there is none of, or a keytab that cannot be used.
    """

    def __init__(
        self,
        name: str,
        factories: ShellFactories,
        settings: HostSettings | None = None,
        faults: FaultScript | None = None,
    ) -> None:
        self.name = name
        self.counters = Counters()
        self.faults = faults or FaultScript()
        self.settings = self.faults.settings(settings or HostSettings())
        check(self.settings)
        self._account = Account(self.settings)
        self._channel_binding = b""
        self.https_port = 0
        self.http_port = 0
        self._wsman = Wsman(HostInfo(name, self.settings.user, self.settings, self.counters), factories)
        self._listeners: list[Listener] = []
        self._down_until = 0.0

    async def start(self, tls: ServerContext | None, *, http: bool = True) -> None:
        """Listen: with `tls` on a port for https, with `http` on one for http."""
        for context in ([tls] if tls is not None else []) + ([None] if http else []):
            listener = Listener(self._accept, context)
            await listener.start(refuse=self.faults.refuses)
            self._listeners.append(listener)
            if context is not None:
                self.https_port = listener.port
                self._channel_binding = context.channel_binding
            else:
                self.http_port = listener.port

    async def stop(self) -> None:
        """Go down for good."""
        self._wsman.close()
        for listener in self._listeners:
            await listener.close()

    def reboot(self, seconds: float) -> None:
        """Lose all shells and reset all connections; for `seconds` new ones are reset too."""
        self._down_until = asyncio.get_running_loop().time() + seconds
        self._wsman.close()
        for listener in self._listeners:
            listener.reset()

    async def respond(self, request: HttpRequest, peer: Peer, logon: Authentication) -> HttpAnswer:
        """Answer one request."""
        faults = self.faults.take("")
        # First of all, as the keys count messages: a fault that answers in its place must not put them out of step.
        sealed = is_sealed(request.headers.get("content-type", ""))
        clear = logon.unseal(request.body) if sealed else request.body
        answer = await self._before(faults)
        if answer is None:
            answer = HttpAnswer(400)
            if clear is not None:
                answer = await self._exchange(request._replace(body=clear), peer, logon, sealed=sealed)
            answer = await self._after(answer, faults, self.settings.latency)
        if sealed and logon.logged_on and answer.headers == _SOAP:
            content_type, answer.body = logon.seal(answer.body)
            answer.headers = (("Content-Type", content_type),)
        return answer

    async def _exchange(self, request: HttpRequest, peer: Peer, logon: Authentication, *, sealed: bool) -> HttpAnswer:
        path = request.path.partition("?")[0].lower()
        if path not in ("/wsman", COUNTERS):
            return HttpAnswer(404)
        if request.method != ("GET" if path == COUNTERS else "POST"):
            return HttpAnswer(405)
        authorization = request.headers.get("authorization", "")
        anonymous = (
            not authorization
            and not logon.logged_on
            and path != COUNTERS
            and request.headers.get("wsmanidentify", "").lower() == "unauthenticated"
        )
        token: tuple[tuple[str, str], ...] = ()
        if authorization:
            if authorization == MUTUAL:
                logon.client = _client(await peer.certificate())
            result, header = logon.take(authorization, request.method, request.path)
            if result in (Result.CHALLENGE, Result.REFUSED):
                return _unauthorized([header] if header else logon.challenges())
            token = (("WWW-Authenticate", header),) if header else ()
            if result is Result.LOGGED_ON and not request.body:
                return HttpAnswer(200, b"", token)
        elif not anonymous and not logon.logged_on:
            return _unauthorized(logon.challenges())
        if path == COUNTERS:
            return HttpAnswer(200, json.dumps(self.counters.to_dict()).encode(), _JSON)
        if not (sealed or anonymous or logon.may_be_clear):
            return HttpAnswer(500)
        answer = await self._act(request.body, peer, anonymous=anonymous)
        answer.headers += token
        return answer

    async def _act(self, body: bytes, peer: Peer, *, anonymous: bool) -> HttpAnswer:
        if len(body) > self.settings.max_envelope_size:
            return _soap(self._wsman.fault(WsmanFault(2150858824)))
        try:
            soap = read_request(body, peer.address)
        except BadRequest as error:
            return _soap(self._wsman.fault(error.fault, error.message_id))
        self.counters.requests[soap.operation] += 1
        faults = self.faults.take(soap.operation)
        answer = await self._before(faults, soap.message_id, soap.machine)
        if answer is not None:
            return answer
        return await self._after(_soap(await self._wsman.act(soap, anonymous=anonymous)), faults)

    def _accept(self, peer: Peer) -> _Connection | None:
        self.counters.connections += 1
        up = asyncio.get_running_loop().time() >= self._down_until
        if not up:
            return None
        channel = Channel(peer.secure, self._channel_binding if peer.secure else b"")
        spoiled = self.faults.refuses_credential
        logon = Authentication(self.settings, self._account, self.counters, channel, spoiled)
        return _Connection(self, peer, logon)

    async def _before(self, faults: list[ScriptedFault], message_id: str = "", machine: str = "") -> HttpAnswer | None:
        """What happens instead of acting on the request."""
        for fault in faults:
            match fault.name:
                case "slow":
                    await asyncio.sleep(fault.argument)
                case "reset":
                    return HttpAnswer(how=How.RESET)
                case "stall":
                    await asyncio.get_running_loop().create_future()
                case "status":
                    return HttpAnswer(int(fault.argument))
                case "html":
                    return HttpAnswer(200, _PAGE, _HTML)
                case "garbage":
                    return HttpAnswer(body=_GARBAGE, how=How.RAW)
                case "fault" | "wmi-fault" | "quota":
                    code = _MAX_SHELLS if fault.name == "quota" else int(fault.argument)
                    wmi = fault.name == "wmi-fault"
                    return _soap(self._wsman.fault(WsmanFault(code, wmi=wmi), message_id, machine))
                case "reboot":
                    self.reboot(fault.argument)
                    return HttpAnswer(how=How.RESET)
        return None

    async def _after(self, answer: HttpAnswer, faults: list[ScriptedFault], latency: float = 0.0) -> HttpAnswer:
        """What happens to the answer on its way out."""
        try:
            if latency:
                await asyncio.sleep(latency)
            for fault in faults:
                await _spoil(answer, fault)
        except asyncio.CancelledError:
            answer.undelivered()
            raise
        return answer


class _Connection:
    """The session of one connection."""

    def __init__(self, host: SimulatedHost, peer: Peer, logon: Authentication) -> None:
        self._host = host
        self._peer = peer
        self._logon = logon

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        return await self._host.respond(request, self._peer, self._logon)


def _client(certificate: Mapping[str, Any]) -> str:
    """The common name of a client's certificate: whom it is mapped to (WinRM's ClientCertificate listener map)."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if names else ""


async def _spoil(answer: HttpAnswer, fault: ScriptedFault) -> None:
    if fault.name in SPOILERS:
        answer.body = SPOILERS[fault.name](answer.body, fault.argument)
    match fault.name:
        case "endless":
            answer.how = How.ENDLESS
        case "truncate":
            answer.how = How.TRUNCATED
        case "reset-after":
            answer.how = How.RESET
        case "stall-after":
            await asyncio.get_running_loop().create_future()
        case "replay":
            answer.undelivered()


def _unauthorized(values: list[str]) -> HttpAnswer:
    return HttpAnswer(401, b"", tuple(("WWW-Authenticate", value) for value in values))


def _soap(answer: Answer) -> HttpAnswer:
    http = HttpAnswer(answer.status, answer.body, _SOAP)
    if answer.channel is not None:
        http.undelivered = answer.channel.undelivered
    return http
