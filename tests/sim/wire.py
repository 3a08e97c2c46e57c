"""A client of bytes for simulated hosts: requests written by hand, answers looked at as they came."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import uuid
from base64 import b64decode, b64encode
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeVar
from xml.sax.saxutils import escape

from lxml import etree

from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostInfo, HostSettings, ShellFactories, ShellSink

T = TypeVar("T")
CMD = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
POWERSHELL = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
LOGON = b64encode(b"sim:sim").decode("ascii")
SESSION = "uuid:11111111-2222-3333-4444-555555555555"


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; one that hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await main

    return asyncio.run(bounded())


class Reply(NamedTuple):
    """One answer; `headers` as they came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def xml(self) -> etree._Element:
        """The envelope."""
        return etree.fromstring(self.body)

    @property
    def action(self) -> str:
        """The last word of its action."""
        return (self.xml.findtext("{*}Header/{*}Action") or "").rsplit("/", 1)[-1]

    @property
    def fault(self) -> int:
        """Its fault code, 0 where it is none."""
        fault = self.xml.find(".//{*}WSManFault")
        return int(fault.get("Code", "0")) if fault is not None else 0

    @property
    def subcode(self) -> str:
        """The subcode of its fault."""
        return self.xml.findtext(".//{*}Subcode/{*}Value") or ""

    def text(self, name: str) -> str:
        """The text of the first element of this name."""
        return self.xml.findtext(f".//{{*}}{name}") or ""

    def challenges(self) -> list[str]:
        """The values of WWW-Authenticate."""
        return [value for name, value in self.headers if name.lower() == "www-authenticate"]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None, name: str | None = None) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name if tls else None))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection, however it stands."""
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()

    async def send(self, body: bytes | str, *, logon: str | None = LOGON, path: str = "/wsman", more: str = "") -> None:
        """Send one request."""
        data = body.encode() if isinstance(body, str) else body
        authorization = f"Authorization: Basic {logon}\r\n" if logon else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: web01\r\nContent-Type: application/soap+xml;charset=UTF-8\r\n"
            f"{authorization}{more}Content-Length: {len(data)}\r\n\r\n"
        )
        self.writer.write(head.encode() + data)
        await self.writer.drain()

    async def reply(self) -> Reply:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = [(line.partition(": ")[0], line.partition(": ")[2]) for line in lines]
        length = next(int(value) for name, value in headers if name.lower() == "content-length")
        return Reply(int(first.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def post(self, body: bytes | str, **how: Any) -> Reply:
        """Send one request and read its answer."""
        await self.send(body, **how)
        return await self.reply()


def envelope(
    action: str,
    body: str = "",
    *,
    resource: str = CMD,
    selectors: Mapping[str, str] | None = None,
    options: str = "",
    headers: str = "",
    message_id: str | None = None,
    timeout: str = "PT20S",
    size: int = 153600,
    session: str = SESSION,
) -> str:
    """Write one request."""
    chosen = "".join(
        f'<w:Selector Name="{name}">{escape(value)}</w:Selector>' for name, value in (selectors or {}).items()
    )
    identifier = message_id or f"uuid:{uuid.uuid4()}".upper().replace("UUID", "uuid")
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" '
        f'xmlns:n="{ENUMERATION}" '
        'xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd" '
        f'xmlns:rsp="{SHELL}"><s:Header><a:To>http://web01:5985/wsman</a:To>'
        f'<w:ResourceURI s:mustUnderstand="true">{resource}</w:ResourceURI>'
        f'<a:Action s:mustUnderstand="true">{action}</a:Action><w:MaxEnvelopeSize>{size}</w:MaxEnvelopeSize>'
        f"<a:MessageID>{identifier}</a:MessageID><w:OperationTimeout>{timeout}</w:OperationTimeout>"
        f"<p:SessionId>{session}</p:SessionId>{headers}"
        f"<w:OptionSet>{options}</w:OptionSet><w:SelectorSet>{chosen}</w:SelectorSet>"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def create(resource: str = CMD, shell_id: str = "", more: str = "", **how: Any) -> str:
    """Write Create."""
    wanted = f' ShellId="{shell_id}"' if shell_id else ""
    xml = "" if resource == CMD else '<creationXml xmlns="http://schemas.microsoft.com/powershell">AAAA</creationXml>'
    body = (
        f"<rsp:Shell{wanted}><rsp:InputStreams>stdin</rsp:InputStreams>"
        f"<rsp:OutputStreams>stdout stderr</rsp:OutputStreams>{more}{xml}</rsp:Shell>"
    )
    return envelope(f"{TRANSFER}/Create", body, resource=resource, **how)


def command(shell_id: str, line: str, *arguments: str, command_id: str = "", resource: str = CMD, **how: Any) -> str:
    """Write Command."""
    wanted = f' CommandId="{command_id}"' if command_id else ""
    rest = "".join(f"<rsp:Arguments>{escape(argument)}</rsp:Arguments>" for argument in arguments)
    body = f"<rsp:CommandLine{wanted}><rsp:Command>{escape(line)}</rsp:Command>{rest}</rsp:CommandLine>"
    return on_shell("Command", shell_id, body, resource=resource, **how)


def receive(shell_id: str, command_id: str = "", *, resource: str = CMD, **how: Any) -> str:
    """Write Receive."""
    of = f' CommandId="{command_id}"' if command_id else ""
    body = f"<rsp:Receive><rsp:DesiredStream{of}>stdout stderr</rsp:DesiredStream></rsp:Receive>"
    return on_shell("Receive", shell_id, body, resource=resource, **how)


def signal(shell_id: str, command_id: str, code: str = f"{SHELL}/signal/Terminate", **how: Any) -> str:
    """Write Signal."""
    return on_shell(
        "Signal", shell_id, f'<rsp:Signal CommandId="{command_id}"><rsp:Code>{code}</rsp:Code></rsp:Signal>', **how
    )


def send(shell_id: str, data: bytes, command_id: str, *, end: bool = False, **how: Any) -> str:
    """Write Send."""
    attributes = f'Name="stdin" CommandId="{command_id}"' + (' End="True"' if end else "")
    stream = f"<rsp:Stream {attributes}>{b64encode(data).decode('ascii')}</rsp:Stream>"
    return on_shell("Send", shell_id, f"<rsp:Send>{stream}</rsp:Send>", **how)


def on_shell(operation: str, shell_id: str, body: str = "", **how: Any) -> str:
    """Write an operation on a shell."""
    action = f"{TRANSFER if operation in ('Get', 'Delete') else SHELL}/{operation}"
    return envelope(action, body, selectors={"ShellId": shell_id}, **how)


def streams(reply: Reply) -> list[tuple[str, bytes, bool]]:
    """The streams of a ReceiveResponse: name, bytes and whether it is the end."""
    return [
        (stream.get("Name", ""), b64decode(stream.text or ""), stream.get("End") == "true")
        for stream in reply.xml.iterfind(".//{*}Stream")
    ]


def state(reply: Reply) -> tuple[str, str | None]:
    """The state of a command and its exit code."""
    found = reply.xml.find(".//{*}CommandState")
    if found is None:
        return "", None
    return found.get("State", "").rsplit("/", 1)[-1], found.findtext("{*}ExitCode")


class PuppetShell:
    """A shell that does nothing by itself, and can be connected to: a test speaks by `sink`, and reads `calls`."""

    def __init__(self, host: HostInfo, sink: ShellSink) -> None:
        self.host = host
        self.sink = sink
        self.calls: list[tuple[Any, ...]] = []

    def create(self, creation_xml: bytes) -> None:
        self.calls.append(("create", creation_xml))

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
        self.calls.append(("command", command_id, command, arguments, options))

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None:
        self.calls.append(("send", stream, data, command_id, end))

    def signal(self, command_id: str, code: str) -> None:
        self.calls.append(("signal", command_id, code))

    def connect(self, connect_xml: bytes) -> bytes:
        self.calls.append(("connect", connect_xml))
        return b"connected"

    def close(self) -> None:
        self.calls.append(("close",))


class Puppets:
    """A factory of PuppetShells that keeps them in `shells`."""

    def __init__(self) -> None:
        self.shells: list[PuppetShell] = []

    def __call__(self, host: HostInfo, sink: ShellSink) -> PuppetShell:
        self.shells.append(PuppetShell(host, sink))
        return self.shells[-1]

    @property
    def last(self) -> PuppetShell:
        """The newest."""
        return self.shells[-1]


class CmdPuppet(PuppetShell):
    """A puppet that cannot be connected to: what a cmd shell is."""

    connect = None  # type: ignore[assignment]


class CmdPuppets(Puppets):
    """A factory of those."""

    def __call__(self, host: HostInfo, sink: ShellSink) -> PuppetShell:
        self.shells.append(CmdPuppet(host, sink))
        return self.shells[-1]


def one_host(
    faults: str = "", factories: ShellFactories | None = None, *, https: bool = False, **settings: Any
) -> Fleet:
    """A fleet of one host, web01, with http and Basic."""
    behaviour = HostSettings(allow_unencrypted=True, **settings)
    scripts = {"web01": faults} if faults else {}
    return Fleet(["web01"], FleetOptions(settings=behaviour, faults=scripts, factories=factories, https=https))


def host_of(fleet: Fleet) -> SimulatedHost:
    """The only host."""
    (host,) = fleet.hosts.values()
    return host


async def connected(fleet: Fleet) -> Client:
    """A connection to the http port of the only host."""
    return await Client.open(host_of(fleet).http_port)


def masked(text: str) -> str:
    """A text without what differs from run to run."""
    return re.sub(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", "GUID", text)


def names(elements: Iterable[etree._Element]) -> list[str]:
    """Local names."""
    return [etree.QName(element).localname for element in elements]
