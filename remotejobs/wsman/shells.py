"""Requests and answers of shells, and of PowerShell shells, under WS-Man (MS-WSMV 3.1.4, MS-PSRP 3.1.5.3): bodies only.

Knows the `rsp` schema. Must not know what the base64 in it means, nor connections.
"""

from __future__ import annotations

import re

from pybase64 import b64decode, b64encode_as_string

from remotejobs.errors import ProtocolError
from remotejobs.wsman.envelopes import (
    POWERSHELL,
    SHELL,
    TRANSFER,
    Request,
    Requests,
    escape,
    option,
    option_set,
    quoteattr,
    read_answer,
    selector_set,
)
from remotejobs.wsman.plain import END, body_of

_RSP = f"{{{SHELL}}}"
KEEPALIVE = option_set(option("WSMAN_CMDSHELL_OPTION_KEEPALIVE", "True"))
_NO_CMD = option_set(option("WINRS_SKIP_CMD_SHELL", "False"))

_COMMAND = re.compile(
    rb"<rsp:CommandResponse><rsp:CommandId>([\w-]{1,128})</rsp:CommandId></rsp:CommandResponse>" + re.escape(END)
)

_CREATED = re.compile(
    rb"<x:ResourceCreated><a:Address>[\w:/.\[\]-]*</a:Address><a:ReferenceParameters>"
    rb'<w:ResourceURI>[\w:/.-]*</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">[\w-]+</w:Selector>'
    rb"</w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>"
    rb'<rsp:Shell(?: xmlns:rsp="' + re.escape(SHELL.encode()) + rb'")?><rsp:ShellId>([\w-]{1,128})</rsp:ShellId>'
    rb"(?:<(rsp:\w+)>[ -%'-;=?-~]*</\2>)*</rsp:Shell>" + re.escape(END)
)

# The misspelling is the real constant, in PowerShell's client and server alike; anything else closes the command.
STOP = "powershell/signal/crtl_c"


class Shell:
    """What shells of every kind have in common: an id, Send, Signal and Delete.

    Args:
        requests: Renders envelopes for this host and configuration.
        shell_id: The id to ask for; 2008 R2 invents another, which counts from then on.
    """

    __slots__ = ("_requests", "_selectors", "shell_id")

    def __init__(self, requests: Requests, shell_id: str) -> None:
        self._requests = requests
        self._selectors = selector_set(ShellId=shell_id)
        self.shell_id = shell_id

    @property
    def payload_size(self) -> int:
        """Bytes of input, or of PSRP, that fit one request."""
        return self._requests.payload_size

    def resize(self, envelope_size: int) -> None:
        """Set the MaxEnvelopeSize of the requests from now on."""
        self._requests.envelope_size = envelope_size

    def created(self, shell_id: str) -> None:
        """Take the id that the host has given the shell."""
        if shell_id != self.shell_id:
            self.shell_id = shell_id
            self._selectors = selector_set(ShellId=shell_id)

    def send(self, payload: bytes, command_id: str | None, stream: str = "stdin") -> Request:
        """Send bytes to a command, or to the shell; `pr` is the stream of answers to host calls."""
        which = f" CommandId={quoteattr(command_id)}" if command_id else ""
        body = f'<rsp:Send><rsp:Stream Name="{stream}"{which}>{b64encode_as_string(payload)}</rsp:Stream></rsp:Send>'
        return self._requests.request(f"{SHELL}/Send", body, selectors=self._selectors)

    def signal(self, command_id: str, code: str) -> Request:
        """Signal a command."""
        body = f"<rsp:Signal CommandId={quoteattr(command_id)}><rsp:Code>{code}</rsp:Code></rsp:Signal>"
        return self._requests.request(f"{SHELL}/Signal", body, selectors=self._selectors)

    def delete(self) -> Request:
        """Close the shell."""
        return self._requests.request(f"{TRANSFER}/Delete", selectors=self._selectors)


class PowerShellShell(Shell):
    """One PowerShell shell: its requests, and the ids that the host answered with."""

    __slots__ = ()

    def create(
        self,
        payload: bytes,
        *,
        protocol: str,
        no_profile: bool,
        idle_timeout: float | None,
        buffer_mode: str = "None",
        name: str = "",
    ) -> Request:
        """Create the shell; `payload` is the first PSRP bytes (creationXml)."""
        idle = f"<rsp:IdleTimeOut>PT{idle_timeout:.3f}S</rsp:IdleTimeOut>" if idle_timeout is not None else ""
        idle += _buffering(buffer_mode)
        title = f" Name={quoteattr(_one_line(name))}" if name else ""
        options = [option("protocolversion", protocol, must_comply=True)]
        if no_profile:
            options.append(option("WINRS_NOPROFILE", "TRUE"))
        body = (
            f'<rsp:Shell ShellId="{self.shell_id}"{title}><rsp:InputStreams>stdin pr</rsp:InputStreams>'
            f"<rsp:OutputStreams>stdout</rsp:OutputStreams>{idle}"
            f'<creationXml xmlns="{POWERSHELL}">{b64encode_as_string(payload)}</creationXml></rsp:Shell>'
        )
        return self._requests.request(f"{TRANSFER}/Create", body, options=option_set(*options))

    def command(self, command_id: str, payload: bytes) -> Request:
        """Start a pipeline; `payload` is the first fragment of CREATE_PIPELINE."""
        body = (
            f'<rsp:CommandLine CommandId="{command_id}"><rsp:Command/>'
            f"<rsp:Arguments>{b64encode_as_string(payload)}</rsp:Arguments></rsp:CommandLine>"
        )
        return self._requests.request(f"{SHELL}/Command", body, selectors=self._selectors, options=_NO_CMD)

    def receive(self, command_id: str | None) -> Request:
        """Ask for output: of one pipeline, or of the pool."""
        which = f" CommandId={quoteattr(command_id)}" if command_id else ""
        body = f"<rsp:Receive><rsp:DesiredStream{which}>stdout</rsp:DesiredStream></rsp:Receive>"
        return self._requests.request(f"{SHELL}/Receive", body, selectors=self._selectors, options=KEEPALIVE)

    def disconnect(self, *, idle_timeout: float | None, buffer_mode: str) -> Request:
        """Leave the shell on its host; what runs in it goes on."""
        # The element is spelt otherwise than in Create (MS-WSMV 2.2.4.13).
        idle = f"<rsp:IdleTimeout>PT{idle_timeout:.3f}S</rsp:IdleTimeout>" if idle_timeout is not None else ""
        body = f"<rsp:Disconnect>{idle}{_buffering(buffer_mode)}</rsp:Disconnect>"
        return self._requests.request(f"{SHELL}/Disconnect", body, selectors=self._selectors)

    def reconnect(self, command_id: str | None = None) -> Request:
        """Take the shell, or one of its commands, back as the client that left it (same SessionId)."""
        body = f"<rsp:Reconnect CommandId={quoteattr(command_id)}/>" if command_id else ""
        return self._requests.request(f"{SHELL}/Reconnect", body, selectors=self._selectors)

    def connect(self, payload: bytes, *, protocol: str) -> Request:
        """Take a disconnected shell over as a new client; `payload` is what PSRP says to that (connectXml)."""
        body = (
            f'<rsp:Connect><connectXml xmlns="{POWERSHELL}">{b64encode_as_string(payload)}</connectXml></rsp:Connect>'
        )
        options = option_set(option("protocolversion", protocol, must_comply=True))
        return self._requests.request(f"{SHELL}/Connect", body, selectors=self._selectors, options=options)

    def connect_command(self, command_id: str) -> Request:
        """Take over a command of a shell that connect() has got."""
        body = f"<rsp:Connect CommandId={quoteattr(command_id)}/>"
        return self._requests.request(f"{SHELL}/Connect", body, selectors=self._selectors)


def _one_line(name: str) -> str:
    """A name without what XML cannot carry."""
    return "".join([c if c.isprintable() else " " for c in name])


def _buffering(mode: str) -> str:
    return f"<rsp:BufferMode>{escape(mode)}</rsp:BufferMode>" if mode in ("Block", "Drop") else ""


def read_connected(data: bytes, message_id: str) -> bytes:
    """Read the answer to Connect: what PSRP says in it (connectResponseXml), empty for a command.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it is no ConnectResponse, or not base64.
    """
    answer = read_answer(data, message_id)
    if answer.tag != f"{_RSP}ConnectResponse":
        raise ProtocolError("The answer to Connect is not a ConnectResponse.")
    text = answer.findtext(f"{{{POWERSHELL}}}connectResponseXml") or ""
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ProtocolError("The answer to Connect is not base64.") from None


def read_created(data: bytes, message_id: str) -> str:
    """Read the answer to Create: the shell's id, from rsp:Shell, else from the selector (OMI).

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it names no shell.
    """
    at = body_of(data, message_id)
    if at is not None and data.find(b' xmlns:x="', 0, at) > 0 and data.find(b' xmlns:w="', 0, at) > 0:
        plain = _CREATED.fullmatch(data, at)
        if plain:
            return plain[1].decode("ascii")
    answer = read_answer(data, message_id)
    parent = answer.getparent()
    body = answer if parent is None else parent
    selectors = (element for element in body.iter("{*}Selector") if element.get("Name") == "ShellId")
    named = next(body.iter(f"{_RSP}ShellId"), None)
    element = next(selectors, None) if named is None else named
    shell_id = "" if element is None else (element.text or "").strip()
    if not 0 < len(shell_id) <= 128:
        raise ProtocolError("The answer to Create names no shell.")
    return shell_id


def read_command(data: bytes, message_id: str) -> str:
    """Read the answer to Command: the command's id (2008 R2 ignores ours), empty where it names none.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says.
    """
    at = body_of(data, message_id)
    plain = _COMMAND.fullmatch(data, at) if at is not None else None
    if plain:
        return plain[1].decode("ascii")
    given = (read_answer(data, message_id).findtext(f"{_RSP}CommandId") or "").strip()
    return given if len(given) <= 128 else ""
