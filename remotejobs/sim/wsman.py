"""The WS-Man service of one simulated host: each operation on a shell, and what may be asked of the service itself.

Knows actions, bodies, quotas and who may do what (MS-WSMV 3.1.4). Must not know HTTP, credentials, PSRP or what a
command does: shells are made by factories, chosen by resource URI.
"""

from __future__ import annotations

import binascii
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from lxml import etree

from remotejobs.sim.channels import MAX_BATCH, Channel
from remotejobs.sim.enumerations import Enumerations
from remotejobs.sim.hosted_shell import HostedShell
from remotejobs.sim.shells import HostInfo, ShellFactories, ShellFactory
from remotejobs.sim.soap import (
    CONFIG,
    ENUMERATION,
    IDENTITY,
    POWERSHELL,
    SHELL,
    SOAP,
    TRANSFER,
    WSMAN,
    Element,
    SoapRequest,
    envelope,
    fault_envelope,
    new_id,
    seconds,
    selectors,
)
from remotejobs.sim.winrm_config import config
from remotejobs.sim.wsman_faults import SHELL_PROVIDER, WsmanFault

_RSP: Final = f"{{{SHELL}}}"
_SELECTOR_FILTER: Final = "http://schemas.dmtf.org/wbem/wsman/1/wsman/SelectorFilter"
_OPTIONS: Final = {
    "protocolversion",
    "wsman_cmdshell_option_keepalive",
    *("winrs_noprofile", "winrs_codepage", "winrs_consolemode_stdin", "winrs_skip_cmd_shell"),
}
_DEFAULT_TIMEOUT: Final = 60.0
_ENVELOPE_ROOM: Final = 4096


class Answer(NamedTuple):
    """What goes back: an HTTP status and an envelope. `channel` is to be told if it does not reach the client."""

    status: int
    body: bytes
    channel: Channel | None = None


class Wsman:
    """The service of one host.

    Args:
        host: Name, settings and counters.
        factories: What the host can run, by resource URI.
        clock: Monotonic seconds.
    """

    def __init__(self, host: HostInfo, factories: ShellFactories, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._factories = factories
        self._clock = clock
        self._shells: dict[str, HostedShell] = {}
        self._enumerations = Enumerations(host.settings, clock)
        self._handlers: dict[str, Callable[[SoapRequest], str]] = {
            f"{TRANSFER}/Create": self._create,
            f"{TRANSFER}/Delete": self._delete,
            f"{TRANSFER}/Get": self._get,
            f"{ENUMERATION}/Enumerate": self._enumerate,
            f"{ENUMERATION}/Pull": self._pull,
            f"{ENUMERATION}/Release": self._release,
            f"{SHELL}/Command": self._command,
            f"{SHELL}/Send": self._send,
            f"{SHELL}/Signal": self._signal,
            f"{SHELL}/Disconnect": self._disconnect,
            f"{SHELL}/Reconnect": self._reconnect,
            f"{SHELL}/Connect": self._connect,
        }

    async def act(self, request: SoapRequest, *, anonymous: bool = False) -> Answer:
        """Act on one request.

        Args:
            request: As read.
            anonymous: Nobody is logged on: only Identify is answered, and without the version of the system.
        """
        self._sweep()
        try:
            if not request.action:
                return Answer(200, _identify(anonymous))
            if anonymous:
                raise WsmanFault(5)
            if request.action == f"{SHELL}/Receive":
                return await self._receive(request)
            handler = self._handlers.get(request.action)
            if handler is None:
                raise WsmanFault(2150858753)
            return self._answered(request, handler(request))
        except WsmanFault as fault:
            return self.fault(fault, request.message_id, request.machine)

    def fault(self, fault: WsmanFault, message_id: str = "", machine: str = "") -> Answer:
        """Answer a fault. `message_id` and `machine` are those of the request, empty where it could not be read."""
        self._host.counters.faults[fault.code] += 1
        activity_id = self._host.settings.activity_id
        return Answer(500, fault_envelope(fault, message_id, machine or self._host.name, activity_id=activity_id))

    def close(self) -> None:
        """The host goes down, or comes up anew: its shells are gone, pending Receives fault."""
        for shell_id in list(self._shells):
            self._close(shell_id, 1115)

    # Shells

    def _create(self, request: SoapRequest) -> str:
        host, settings = self._host, self._host.settings
        body = _body(request, f"{_RSP}Shell")
        factory = self._factory(request.resource_uri)
        unknown = [name for name in request.must_comply if name.lower() not in _OPTIONS]
        if unknown:
            raise WsmanFault(2150858809, f"The option {unknown[0]} is not known. ")
        if len(self._shells) >= settings.max_shells:
            raise WsmanFault(2150859173, wmi=settings.quota_as_wmi_error)
        wanted = (body.get("ShellId") or "").strip()
        shell_id = new_id() if not wanted or settings.invents_ids else wanted.upper()
        if shell_id in self._shells or len(shell_id) > 128:
            raise WsmanFault(2150859202)
        info = replace(host, resource_uri=request.resource_uri, options=request.options)
        hosted = HostedShell(shell_id, info, factory, body, request, self._clock)
        creation = body.find(f"{{{POWERSHELL}}}creationXml")
        hosted.shell.create(_unbase64(creation.text) if creation is not None else etree.tostring(body))
        self._shells[shell_id] = hosted
        host.counters.shell_opened()
        return (
            f"<x:ResourceCreated><a:Address>{escape(request.to)}</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{escape(request.resource_uri)}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{escape(shell_id)}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f"</x:ResourceCreated>{hosted.describe()}"
        )

    def _delete(self, request: SoapRequest) -> str:
        self._close(self._shell(request).id)
        return ""

    def _get(self, request: SoapRequest) -> str:
        if request.resource_uri == CONFIG:
            return config(self._host.settings)
        if request.resource_uri != SHELL:
            raise WsmanFault(2150858811)
        shell_id = _shell_id(request)
        if shell_id not in self._shells:
            raise WsmanFault(2150858843, provider=SHELL_PROVIDER, nested=True)
        return self._shells[shell_id].describe(with_usage=True)

    def _enumerate(self, request: SoapRequest) -> str:
        body = _body(request, f"{{{ENUMERATION}}}Enumerate")
        if request.resource_uri == SHELL:
            items = [shell.describe(with_usage=True) for shell in self._shells.values()]
        elif request.resource_uri == f"{SHELL}/Command":
            chosen = body.find(f"{{{WSMAN}}}Filter")
            if chosen is None or chosen.get("Dialect") != _SELECTOR_FILTER:
                raise WsmanFault(2150859200)
            shell_id = selectors(chosen.find(f"{{{WSMAN}}}SelectorSet")).get("shellid", "").upper()
            if shell_id not in self._shells:
                raise WsmanFault(2150858843)
            items = self._shells[shell_id].describe_commands()
        else:
            raise WsmanFault(2150858811)
        return self._enumerations.begin(body, items)

    def _pull(self, request: SoapRequest) -> str:
        return self._enumerations.pull(_body(request, f"{{{ENUMERATION}}}Pull"))

    def _release(self, request: SoapRequest) -> str:
        return self._enumerations.release(_body(request, f"{{{ENUMERATION}}}Release"))

    # Commands

    def _command(self, request: SoapRequest) -> str:
        settings = self._host.settings
        shell, body = self._live_shell(request), _body(request, f"{_RSP}CommandLine")
        if sum(hosted.operations for hosted in self._shells.values()) >= settings.max_operations:
            raise WsmanFault(2150859174, wmi=settings.quota_as_wmi_error)
        line = body.findtext(f"{_RSP}Command") or ""
        arguments = [(element.text or "").strip() for element in body.iterfind(f"{_RSP}Arguments")]
        command_id = shell.start((body.get("CommandId") or "").strip()[:128], line, arguments, request.options)
        return f"<rsp:CommandResponse><rsp:CommandId>{escape(command_id)}</rsp:CommandId></rsp:CommandResponse>"

    async def _receive(self, request: SoapRequest) -> Answer:
        shell, body = self._live_shell(request), _body(request, f"{_RSP}Receive")
        stream = body.find(f"{_RSP}DesiredStream")
        if stream is None:
            raise WsmanFault(2150858817)
        timeout = _DEFAULT_TIMEOUT if request.timeout is None else request.timeout
        channel, content = await shell.receive(
            (stream.get("CommandId") or "").strip() or None,
            request.message_id,
            min(timeout, self._host.settings.max_timeout),
            (request.max_envelope_size or MAX_BATCH + _ENVELOPE_ROOM) - _ENVELOPE_ROOM,
        )
        return self._answered(request, content, channel)

    def _send(self, request: SoapRequest) -> str:
        shell, body = self._live_shell(request), _body(request, f"{_RSP}Send")
        for stream in body.iterfind(f"{_RSP}Stream"):
            command_id = (stream.get("CommandId") or "").strip() or None
            ends = (stream.get("End") or "").strip().lower() in ("true", "1")
            shell.send(stream.get("Name", ""), _unbase64(stream.text), command_id, ends)
        return "<rsp:SendResponse/>"

    def _signal(self, request: SoapRequest) -> str:
        shell, body = self._live_shell(request), _body(request, f"{_RSP}Signal")
        command_id = (body.get("CommandId") or "").strip()
        if not command_id:
            raise WsmanFault(87)
        shell.signal(command_id, (body.findtext(f"{_RSP}Code") or "").strip())
        return "<rsp:SignalResponse/>"

    # Disconnecting

    def _disconnect(self, request: SoapRequest) -> str:
        shell, body = self._shell(request), _body(request, f"{_RSP}Disconnect")
        idle = (body.findtext(f"{_RSP}IdleTimeout") or body.findtext(f"{_RSP}IdleTimeOut") or "").strip()
        mode = (body.findtext(f"{_RSP}BufferMode") or "").strip()
        if mode not in ("", "Block", "Drop"):
            raise WsmanFault(2150858817)
        shell.disconnect(request.session_id, seconds(idle) if idle else None, mode)
        return ""

    def _reconnect(self, request: SoapRequest) -> str:
        shell = self._shell(request)
        command_id = request.body.get("CommandId") if request.body is not None else None
        if command_id:
            shell.channel(command_id.strip())  # the native client asks for each command too
        else:
            shell.reconnect(request.session_id)
        return ""

    def _connect(self, request: SoapRequest) -> str:
        shell, body = self._shell(request), _body(request, f"{_RSP}Connect")
        command_id = (body.get("CommandId") or "").strip()
        if command_id:
            shell.channel(command_id)
            return "<rsp:ConnectResponse/>"
        connect_xml = body.find(f"{{{POWERSHELL}}}connectXml")
        if connect_xml is None:
            raise WsmanFault(2150858817)
        answer, (inputs, outputs) = shell.connect(_unbase64(connect_xml.text), request.session_id)
        return (
            f"<rsp:ConnectResponse><rsp:InputStreams>{escape(inputs)}</rsp:InputStreams>"
            f"<rsp:OutputStreams>{escape(outputs)}</rsp:OutputStreams>"
            f'<connectResponseXml xmlns="{POWERSHELL}">{b64encode(answer).decode("ascii")}</connectResponseXml>'
            "</rsp:ConnectResponse>"
        )

    # Helpers

    def _answered(self, request: SoapRequest, body: str, channel: Channel | None = None) -> Answer:
        action, activity_id = f"{request.action}Response", self._host.settings.activity_id
        return Answer(200, envelope(action, body, request.message_id, activity_id=activity_id), channel)

    def _factory(self, resource_uri: str) -> ShellFactory:
        for known, factory in self._factories.items():
            if resource_uri == known or (known.endswith("/") and resource_uri.startswith(known)):
                return factory
        raise WsmanFault(2150858811)

    def _shell(self, request: SoapRequest) -> HostedShell:
        shell = self._shells.get(_shell_id(request))
        if shell is None or request.resource_uri.lower() not in (shell.host.resource_uri.lower(), SHELL):
            raise WsmanFault(
                2150858843,
                f"The request for the Windows Remote Shell with ShellId {_shell_id(request)} failed because the shell "
                "was not found on the server. Possible causes are: the specified ShellId is incorrect or the shell no "
                "longer exists on the server. Provide the correct ShellId or create a new shell and retry the "
                "operation. ",
            )
        return shell

    def _live_shell(self, request: SoapRequest) -> HostedShell:
        shell = self._shell(request)
        shell.touch()
        return shell

    def _close(self, shell_id: str, code: int = 995) -> None:
        self._shells.pop(shell_id).close(code)
        self._host.counters.shell_closed()

    def _sweep(self) -> None:
        for shell_id in [shell_id for shell_id, shell in self._shells.items() if shell.expired]:
            self._close(shell_id)


def _shell_id(request: SoapRequest) -> str:
    found = request.selectors.get("shellid", "")
    if not found:
        raise WsmanFault(2150858842)
    if len(request.selectors) > 1:
        raise WsmanFault(2150858843)
    return found.upper()


def _body(request: SoapRequest, tag: str) -> Element:
    if request.body is None or request.body.tag != tag:
        raise WsmanFault(2150858817)
    return request.body


def _unbase64(text: str | None) -> bytes:
    try:
        return b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise WsmanFault(2150858817, "A stream is not base64. ") from None


def _identify(anonymous: bool) -> bytes:
    version = "OS: 0.0.0 SP: 0.0 Stack: 3.0" if anonymous else "OS: 10.0.20348 SP: 0.0 Stack: 3.0"
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}"><s:Header/><s:Body>'
        f'<wsmid:IdentifyResponse xmlns:wsmid="{IDENTITY}"><wsmid:ProtocolVersion>{WSMAN}</wsmid:ProtocolVersion>'
        "<wsmid:ProductVendor>Microsoft Corporation</wsmid:ProductVendor>"
        f"<wsmid:ProductVersion>{version}</wsmid:ProductVersion></wsmid:IdentifyResponse></s:Body></s:Envelope>"
    ).encode()
