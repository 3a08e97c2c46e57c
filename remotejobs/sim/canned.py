"""Canned hosts: one PSRP conversation answered from prebuilt bytes, cheap enough to measure clients with.

Knows the recorded answers of Create, Receive, Command, Signal, Send and Delete, and where ids stand in them. Parses
nothing: ids are found by bytes.find and put in by bytes.replace, in base64 too, where RPID and PID of a fragment always
fall on the same 48 characters. Must not know hosts, faults or scripts: whatever is run, the same objects come, in every
command with the same object ids, as is fit for one command in a shell. Any number of connections is one host each.

    python -m remotejobs.sim.canned --objects 200 --latency 0.2 --ssl --ca-file ca.pem

prints `canned hosts listen on 127.0.0.1:PORT` once it does, and runs until it is ended. The logon is Basic, sim, sim.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from remotejobs.sim.certificates import CertificateAuthority
from remotejobs.sim.channels import MAX_BATCH
from remotejobs.sim.listener import raise_file_limit
from remotejobs.sim.psrp_wire import MessageType, fragments, pack_message
from remotejobs.sim.soap import POWERSHELL, SHELL, TRANSFER, envelope, fault_envelope
from remotejobs.sim.wsman_faults import WsmanFault

_LOGON: Final = b64encode(b"sim:sim")
_POLL: Final = 20.0  # seconds that a Receive without an answer waits
_MAX_REQUEST: Final = 1 << 20

# Ids that no client has; they are replaced in the prebuilt answers.
_MESSAGE_ID: Final = "uuid:MMMMMMMM-MMMM-MMMM-MMMM-MMMMMMMMMMMM"
_SHELL_ID: Final = "SSSSSSSS-SSSS-SSSS-SSSS-SSSSSSSSSSSS"
_COMMAND_ID: Final = "CCCCCCCC-CCCC-CCCC-CCCC-CCCCCCCCCCCC"
_POOL: Final = uuid.UUID("7e1a5f00-0000-4000-8000-00000000aaaa")
_PIPELINE: Final = uuid.UUID("7e1a5f00-0000-4000-8000-00000000bbbb")
_NIL: Final = uuid.UUID(int=0)


def _ids_text(kind: int, pool: bytes, pipeline: bytes) -> bytes:
    """Return characters 36 to 83 of a fragment's base64: bytes 27 to 62, of which 29 to 60 are the ids.

    Before them are two bytes of the message's type, the same for all of a pipeline and for all of an open pool, behind
    them two of the byte order mark.
    """
    return b64encode(kind.to_bytes(4, "little")[2:] + pool + pipeline + b"\xef\xbb")


class _Answers(NamedTuple):
    """The prebuilt bodies of a conversation."""

    created: bytes
    pool: list[bytes]
    batches: list[bytes]
    command: bytes
    simple: dict[bytes, bytes]
    timed_out: bytes
    unknown: bytes


def _http(status: int, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %d \r\nContent-Type: application/soap+xml;charset=UTF-8\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (status, len(body), body)
    )


_REFUSAL: Final = (
    b'HTTP/1.1 401 \r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: Basic realm="WSMAN"\r\n'
    b"Server: Microsoft-HTTPAPI/2.0\r\nContent-Length: 0\r\n\r\n"
)


def prebuild(objects: int, *, pool_answers: int = 2) -> _Answers:
    """Build the answers of a conversation whose pipeline gives `objects` objects: one string, or services.

    The pool's three messages come in one answer or in two, as recorded.
    """
    capability = _obj(
        '<Version N="protocolversion">2.3</Version><Version N="PSVersion">2.0</Version>'
        '<Version N="SerializationVersion">1.1.0.1</Version>'
    )
    private = _obj(
        '<Obj N="ApplicationPrivateData" RefId="1"><TN RefId="0"><T>System.Management.Automation.PSPrimitiveDictionary'
        "</T><T>System.Collections.Hashtable</T><T>System.Object</T></TN><DCT/></Obj>"
    )
    opened = [
        _stream(1, MessageType.SESSION_CAPABILITY, capability),
        _stream(2, MessageType.APPLICATION_PRIVATE_DATA, private),
        _stream(3, MessageType.RUNSPACEPOOL_STATE, _obj('<I32 N="RunspaceState">2</I32>')),
    ]
    pool = [opened[:2], opened[2:]] if pool_answers == 2 else [opened]
    payloads = ["<S>canned</S>"] if objects == 1 else [_service(n) for n in range(objects)]
    output = [_stream(4 + n, MessageType.PIPELINE_OUTPUT, payload) for n, payload in enumerate(payloads)]
    output.append(_stream(4 + objects, MessageType.PIPELINE_STATE, _obj('<I32 N="PipelineState">4</I32>')))
    batches = list(_cut(output))
    batches[-1] += (
        f'<rsp:CommandState CommandId="{_COMMAND_ID}" State="{SHELL}/CommandState/Done"><rsp:ExitCode>0</rsp:ExitCode>'
        "</rsp:CommandState>"
    )
    return _Answers(
        created=_answer(f"{TRANSFER}/CreateResponse", _CREATED),
        pool=[_received("".join(streams)) for streams in pool],
        batches=[_received(batch) for batch in batches],
        command=_answer(
            f"{SHELL}/CommandResponse",
            f"<rsp:CommandResponse><rsp:CommandId>{_COMMAND_ID}</rsp:CommandId></rsp:CommandResponse>",
        ),
        simple={
            b"Signal": _answer(f"{SHELL}/SignalResponse", "<rsp:SignalResponse/>"),
            b"Send": _answer(f"{SHELL}/SendResponse", "<rsp:SendResponse/>"),
            b"Delete": _answer(f"{TRANSFER}/DeleteResponse", ""),
        },
        timed_out=fault_envelope(WsmanFault(2150858793), _MESSAGE_ID, "canned"),
        unknown=fault_envelope(WsmanFault(2150858843), _MESSAGE_ID, "canned"),
    )


class _Shell:
    """One shell: how much of the pool's messages and of each command's output has gone out."""

    __slots__ = ("commands", "pool_id", "pool_sent")

    def __init__(self, pool_id: bytes) -> None:
        self.pool_id = pool_id
        self.pool_sent = 0
        self.commands: dict[bytes, int] = {}


class CannedHosts:
    """What all connections share: the answers, and the shells by id.

    Args:
        answers: See prebuild().
        latency: Seconds by which each answer is held back.
    """

    def __init__(self, answers: _Answers, latency: float = 0.0) -> None:
        self.latency = latency
        self._answers = answers
        self._shells: dict[bytes, _Shell] = {}

    def answer(self, body: bytes) -> tuple[bytes, float]:
        """Return the answer to one envelope as HTTP, and how many seconds it is held back."""
        at = body.find(b"Action")
        end = body.find(b"<", at)
        operation = body[body.rfind(b"/", at, end) + 1 : end]
        at = body.find(b":", body.find(b"MessageID")) - 4  # `uuid:`
        message_id = body[at : at + 41]
        simple = self._answers.simple.get(operation)
        if simple is not None:
            if operation == b"Delete":
                self._shells.pop(_after(body, b'"ShellId">'), None)
            return _http(200, simple.replace(_MESSAGE_BYTES, message_id, 1)), self.latency
        status, text, delay = 200, self._answers.unknown, self.latency
        if operation == b"Create":
            text = self._create(body)
        else:
            shell = self._shells.get(_after(body, b'"ShellId">'))
            if operation == b"Command" and shell is not None:
                command_id = _after(body, b'CommandId="')
                shell.commands[command_id] = 0
                text = self._answers.command.replace(_COMMAND_BYTES, command_id)
            elif operation == b"Receive" and shell is not None:
                text = self._receive(shell, body)
        if text is self._answers.timed_out or text is self._answers.unknown:
            status = 500
            delay = _POLL if text is self._answers.timed_out else delay
        return _http(status, text.replace(_MESSAGE_BYTES, message_id, 1)), delay

    def _create(self, body: bytes) -> bytes:
        shell_id = _after(body, b'ShellId="')
        at = body.find(b"creationXml")
        if at < 0:
            return self._answers.unknown  # a cmd shell
        at = body.find(b">", at) + 1
        self._shells[shell_id] = _Shell(b64decode(body[at : at + 64])[29:45])
        return self._answers.created.replace(_SHELL_BYTES, shell_id)

    def _receive(self, shell: _Shell, body: bytes) -> bytes:
        at = body.find(b"CommandId=")
        if at < 0:
            sent, shell.pool_sent = shell.pool_sent, shell.pool_sent + 1
            if sent >= len(self._answers.pool):
                return self._answers.timed_out
            ids = _ids_text(MessageType.RUNSPACEPOOL_STATE, shell.pool_id, _NIL.bytes)
            return self._answers.pool[sent].replace(_POOL_IDS, ids)
        command_id = body[at + 11 : at + 47]
        sent = shell.commands.get(command_id, len(self._answers.batches))
        if sent >= len(self._answers.batches):
            return self._answers.unknown
        shell.commands[command_id] = sent + 1
        ids = _ids_text(MessageType.PIPELINE_OUTPUT, shell.pool_id, uuid.UUID(command_id.decode("ascii")).bytes_le)
        return self._answers.batches[sent].replace(_COMMAND_BYTES, command_id).replace(_PIPELINE_IDS, ids)


class CannedConnection(asyncio.Protocol):
    """One connection: requests are answered in order, each when its time has come."""

    def __init__(self, hosts: CannedHosts) -> None:
        self._hosts = hosts
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: D102
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        head = buffer[:end].lower() if end > 0 else b""
        at = head.find(b"content-length:")
        if at < 0:
            self._keep(buffer)
            return
        stop = head.find(b"\r", at)
        length = int(head[at + 15 : stop if stop > 0 else end])
        if len(buffer) < end + 4 + length:
            self._keep(buffer)
            return
        self._buffer = buffer[end + 4 + length :]
        if _LOGON not in buffer[:end]:
            self._transport.write(_REFUSAL)
            return
        answer, delay = self._hosts.answer(buffer[end + 4 : end + 4 + length])
        if delay:
            asyncio.get_running_loop().call_later(delay, self._write, answer)
        else:
            self._transport.write(answer)

    def _keep(self, buffer: bytes) -> None:
        self._buffer = buffer
        if len(buffer) > _MAX_REQUEST:
            self._transport.abort()

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _after(body: bytes, mark: bytes) -> bytes:
    at = body.find(mark) + len(mark)
    return body[at : at + 36]


def _answer(action: str, body: str) -> bytes:
    return envelope(action, body, _MESSAGE_ID, activity_id=True)


def _received(content: str) -> bytes:
    return _answer(f"{SHELL}/ReceiveResponse", f"<rsp:ReceiveResponse>{content}</rsp:ReceiveResponse>")


def _obj(members: str) -> str:
    return f'<Obj RefId="0"><MS>{members}</MS></Obj>'


def _stream(object_id: int, kind: MessageType, clixml: str) -> str:
    of_pipeline = kind >= MessageType.PIPELINE_INPUT
    pool = _NIL if kind == MessageType.SESSION_CAPABILITY else _POOL  # the first message of a host has no pool yet
    message = pack_message(kind, pool, _PIPELINE if of_pipeline else None, clixml.encode())
    of = f' CommandId="{_COMMAND_ID}"' if of_pipeline else ""
    (fragment,) = fragments(object_id, message)
    return f'<rsp:Stream Name="stdout"{of}>{b64encode(fragment).decode("ascii")}</rsp:Stream>'


def _cut(streams: Iterable[str]) -> Iterator[str]:
    """Join streams to answers as long as a host makes them."""
    batch: list[str] = []
    size = 0
    for stream in streams:
        if batch and size + len(stream) > MAX_BATCH:
            yield "".join(batch)
            batch, size = [], 0
        batch.append(stream)
        size += len(stream)
    yield "".join(batch)


def _service(number: int) -> str:
    """A service as Get-Service gives it, on its way to a client."""
    name = f"Service{number:03}"
    status = "Running" if number % 2 else "Stopped"
    return (
        '<Obj RefId="0"><TN RefId="0"><T>System.ServiceProcess.ServiceController</T>'
        "<T>System.ComponentModel.Component</T><T>System.MarshalByRefObject</T><T>System.Object</T></TN>"
        f"<ToString>System.ServiceProcess.ServiceController</ToString><Props>"
        f'<B N="CanPauseAndContinue">false</B><B N="CanShutdown">false</B><B N="CanStop">true</B>'
        f'<S N="DisplayName">Simulated service {number}</S><Obj N="DependentServices" RefId="1"><TN RefId="1">'
        "<T>System.ServiceProcess.ServiceController[]</T><T>System.Array</T><T>System.Object</T></TN><LST/></Obj>"
        f'<S N="MachineName">.</S><S N="ServiceName">{name}</S><Obj N="ServicesDependedOn" RefId="2"><TNRef RefId="1"/>'
        '<LST/></Obj><Nil N="ServiceHandle"/><Obj N="Status" RefId="3"><TN RefId="2">'
        "<T>System.ServiceProcess.ServiceControllerStatus</T><T>System.Enum</T><T>System.ValueType</T>"
        f"<T>System.Object</T></TN><ToString>{status}</ToString><I32>{4 if number % 2 else 1}</I32></Obj>"
        '<Obj N="ServiceType" RefId="4"><TN RefId="3"><T>System.ServiceProcess.ServiceType</T><T>System.Enum</T>'
        "<T>System.ValueType</T><T>System.Object</T></TN><ToString>Win32OwnProcess</ToString><I32>16</I32></Obj>"
        '<Obj N="StartType" RefId="5"><TN RefId="4"><T>System.ServiceProcess.ServiceStartMode</T><T>System.Enum</T>'
        "<T>System.ValueType</T><T>System.Object</T></TN><ToString>Automatic</ToString><I32>2</I32></Obj>"
        f'<Nil N="Site"/><Nil N="Container"/></Props><MS><S N="Name">{name}</S><S N="RequiredServices"></S></MS></Obj>'
    )


_CREATED: Final = (
    "<x:ResourceCreated><a:Address>http://127.0.0.1:5985/wsman</a:Address><a:ReferenceParameters>"
    f"<w:ResourceURI>{POWERSHELL}/Microsoft.PowerShell</w:ResourceURI><w:SelectorSet>"
    f'<w:Selector Name="ShellId">{_SHELL_ID}</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>'
    f"<rsp:Shell><rsp:ShellId>{_SHELL_ID}</rsp:ShellId><rsp:ResourceUri>{POWERSHELL}/Microsoft.PowerShell"
    r"</rsp:ResourceUri><rsp:Owner>CANNED\sim</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>"
    "<rsp:ProcessId>2852</rsp:ProcessId><rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut>"
    "<rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout</rsp:OutputStreams>"
    "<rsp:MaxIdleTimeOut>PT2147483.647S</rsp:MaxIdleTimeOut><rsp:Locale>en-US</rsp:Locale>"
    "<rsp:DataLocale>en-US</rsp:DataLocale><rsp:CompressionMode>NoCompression</rsp:CompressionMode>"
    "<rsp:ProfileLoaded>Yes</rsp:ProfileLoaded><rsp:Encoding>UTF8</rsp:Encoding><rsp:BufferMode>Block</rsp:BufferMode>"
    "<rsp:State>Connected</rsp:State><rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime>"
    "<rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>"
)
_MESSAGE_BYTES: Final = _MESSAGE_ID.encode("ascii")
_SHELL_BYTES: Final = _SHELL_ID.encode("ascii")
_COMMAND_BYTES: Final = _COMMAND_ID.encode("ascii")
_PIPELINE_IDS: Final = _ids_text(MessageType.PIPELINE_OUTPUT, _POOL.bytes_le, _PIPELINE.bytes_le)
_POOL_IDS: Final = _ids_text(MessageType.RUNSPACEPOOL_STATE, _POOL.bytes_le, _NIL.bytes)


async def serve(hosts: CannedHosts, port: int = 0, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Listen on loopback; the server's socket says on which port."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: CannedConnection(hosts), "127.0.0.1", port, ssl=tls, backlog=4096)


async def _run(hosts: CannedHosts, port: int, tls: ssl.SSLContext | None) -> None:
    server = await serve(hosts, port, tls)
    print(f"canned hosts listen on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _tls(pem: str | None, ca_file: str | None) -> ssl.SSLContext | None:
    if pem is None:
        return None
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context
    authority = CertificateAuthority()
    if ca_file:
        Path(ca_file).write_text(authority.pem, encoding="ascii")
    return authority.server_context("canned")


def main(words: list[str] | None = None) -> None:
    """Run canned hosts until ended."""
    parser = argparse.ArgumentParser(prog="python -m remotejobs.sim.canned", description="Canned hosts for benchmarks.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--objects", type=int, default=1, help="objects that a pipeline gives")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds by which each answer is held back")
    parser.add_argument("--pool-answers", type=int, choices=(1, 2), default=2, help="answers in which the pool opens")
    parser.add_argument("--ssl", nargs="?", const="", metavar="PEM", help="https; a file with certificate and key")
    parser.add_argument("--ca-file", metavar="PEM", help="where the certificate of the authority is written")
    arguments = parser.parse_args(words)
    hosts = CannedHosts(prebuild(arguments.objects, pool_answers=arguments.pool_answers), arguments.latency)
    raise_file_limit(1 << 16)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(hosts, arguments.port, _tls(arguments.ssl, arguments.ca_file)))


if __name__ == "__main__":
    main()
