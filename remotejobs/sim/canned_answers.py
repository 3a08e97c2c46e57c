"""The prebuilt answers of canned hosts: the recorded conversation as bytes, with marks where ids belong.

Knows the answers of Create, Receive, Command, Signal, Send and Delete, and where ids stand in them: as text, and in the
base64 of a fragment, where RPID and PID always fall on the same 48 characters. Must not know requests or sockets.
"""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from remotejobs.sim.channels import MAX_BATCH
from remotejobs.sim.psrp_wire import MessageType, fragments, pack_message
from remotejobs.sim.soap import POWERSHELL, SHELL, TRANSFER, envelope, fault_envelope
from remotejobs.sim.wsman_faults import WsmanFault

# Ids that no client has; they are replaced in the prebuilt answers.
_MESSAGE_ID: Final = "uuid:MMMMMMMM-MMMM-MMMM-MMMM-MMMMMMMMMMMM"
_SHELL_ID: Final = "SSSSSSSS-SSSS-SSSS-SSSS-SSSSSSSSSSSS"
_COMMAND_ID: Final = "CCCCCCCC-CCCC-CCCC-CCCC-CCCCCCCCCCCC"
_POOL: Final = uuid.UUID("7e1a5f00-0000-4000-8000-00000000aaaa")
_PIPELINE: Final = uuid.UUID("7e1a5f00-0000-4000-8000-00000000bbbb")
_NIL: Final = uuid.UUID(int=0)


def ids_text(kind: int, pool: bytes, pipeline: bytes) -> bytes:
    """Return characters 36 to 83 of a fragment's base64: bytes 27 to 62, of which 29 to 60 are the ids.

    Before them are two bytes of the message's type, the same for all of a pipeline and for all of an open pool, behind
    them two of the byte order mark.
    """
    return b64encode(kind.to_bytes(4, "little")[2:] + pool + pipeline + b"\xef\xbb")


class Answers(NamedTuple):
    """The prebuilt bodies of a conversation."""

    created: bytes
    pool: list[bytes]
    batches: list[bytes]
    text: bytes
    command: bytes
    simple: dict[bytes, bytes]
    timed_out: bytes
    unknown: bytes


def prebuild(objects: int, *, pool_answers: int = 2) -> Answers:
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
    return Answers(
        created=_answer(f"{TRANSFER}/CreateResponse", _CREATED),
        pool=[_received("".join(streams)) for streams in pool],
        batches=[_received(batch) for batch in batches],
        text=_received(_text(objects)),
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


def _text(lines: int) -> str:
    """All that a command of a cmd shell says."""
    text = "".join(f"Service{n:03}  Running  Simulated service {n}\r\n" for n in range(lines))
    ends = "".join(f'<rsp:Stream Name="{name}" CommandId="{_COMMAND_ID}" End="true"/>' for name in ("stdout", "stderr"))
    return (
        f'<rsp:Stream Name="stdout" CommandId="{_COMMAND_ID}">{b64encode(text.encode()).decode()}</rsp:Stream>{ends}'
        f'<rsp:CommandState CommandId="{_COMMAND_ID}" State="{SHELL}/CommandState/Done"><rsp:ExitCode>0</rsp:ExitCode>'
        "</rsp:CommandState>"
    )


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

MESSAGE_MARK: Final = _MESSAGE_ID.encode("ascii")
SHELL_MARK: Final = _SHELL_ID.encode("ascii")
COMMAND_MARK: Final = _COMMAND_ID.encode("ascii")
PIPELINE_MARK: Final = ids_text(MessageType.PIPELINE_OUTPUT, _POOL.bytes_le, _PIPELINE.bytes_le)
POOL_MARK: Final = ids_text(MessageType.RUNSPACEPOOL_STATE, _POOL.bytes_le, _NIL.bytes)
