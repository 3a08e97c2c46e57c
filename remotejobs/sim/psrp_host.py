"""A PowerShell session as a server has it: one runspace pool behind a ShellSink (MS-PSRP 3.2).

Knows messages, pools and pipelines. Must not know WS-Man, nor what a script means: an Interpreter runs it.
What a client gets wrong is never silent here, unlike in PowerShell, which lets such a client wait for ever: a refused
message of a pipeline ends it as Failed, one of the pool breaks the pool.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import uuid
from typing import Any

from remotejobs.sim import psrp_requests as requests
from remotejobs.sim.clixml_build import to_clixml
from remotejobs.sim.clixml_parse import ClixmlError, from_clixml
from remotejobs.sim.identity import version_table
from remotejobs.sim.interpreter import Interpreter, Runspace
from remotejobs.sim.psrp_pipeline import Pipeline
from remotejobs.sim.psrp_wire import (
    Defragmenter,
    Message,
    MessageType,
    WireError,
    fragments,
    pack_message,
    unpack_message,
)
from remotejobs.sim.records import ErrorRecord, payload, runtime_exception, state
from remotejobs.sim.session_key import SessionKey
from remotejobs.sim.shells import HostInfo, ShellFactory, ShellSink
from remotejobs.sim.values import Hashtable, Int64, PSObject, Version

CTRL_C = "powershell/signal/crtl_c"  # PowerShell's own spelling; the right one closes the command
_PROTOCOL = re.compile(rb'N="protocolversion">([0-9.]+)<')
_DICTIONARY = ("System.Management.Automation.PSPrimitiveDictionary", "System.Collections.Hashtable", "System.Object")
_SECURE = b"<SS"  # in text, `<` is escaped
_NIL = uuid.UUID(int=0)


def psrp_shell_factory(interpreter: Interpreter) -> ShellFactory:
    """A factory of PowerShell shells whose scripts `interpreter` runs."""
    return lambda host, sink: PsrpHost(interpreter, host, sink)


class PsrpHost:
    """One shell: one runspace pool and its pipelines."""

    def __init__(self, interpreter: Interpreter, host: HostInfo, sink: ShellSink) -> None:
        self.host = host
        self.sink = sink
        self.pool_host = True  # the client announced a host with a user interface
        self._interpreter = interpreter
        self._key = SessionKey()
        self._protocol = "2.3"
        self._pool_id = _NIL
        self._objects = 0
        self._incoming: dict[tuple[str, str], Defragmenter] = {}  # by stream and command, `""` for the pool
        self._pipelines: dict[str, Pipeline] = {}
        self._limits = (1, 1)  # MinRunspaces, MaxRunspaces
        self._idle: list[Runspace] = []
        self._busy = 0
        self._waiting: list[Pipeline] = []
        self.opened = False
        self._closed = False

    # What the WS-Man side calls

    def create(self, creation_xml: bytes) -> None:
        """Take SESSION_CAPABILITY and INIT_RUNSPACEPOOL; the rest of them may come by `send`."""
        self.send("stdin", creation_xml, None, False)

    def connect(self, connect_xml: bytes) -> bytes:  # noqa: ARG002 - whatever a client asks for, it gets this pool
        """Answer SESSION_CAPABILITY and CONNECT_RUNSPACEPOOL of a client that takes this pool over."""
        self._incoming.clear()
        low, high = self._limits
        data = PSObject((), extended={"MinRunspaces": low, "MaxRunspaces": high})
        answer = self._pack(MessageType.SESSION_CAPABILITY, self._capability(), None)
        answer += self._pack(MessageType.RUNSPACEPOOL_INIT_DATA, payload(data), None)
        asyncio.get_running_loop().call_soon(self._private_data)
        return b"".join(answer)

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:  # noqa: ARG002
        """Begin a pipeline; its CREATE_PIPELINE may continue by `send`."""
        self._pipelines[command_id] = Pipeline(self, command_id)
        try:
            data = base64.b64decode(arguments[0] if arguments else "", validate=True)
        except binascii.Error:
            data = b""
        self.send("stdin", data, command_id, False)

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None:  # noqa: ARG002
        """Take fragments. Host responses come with or without the id of their pipeline, on either stream."""
        pipeline = self._pipelines.get(command_id or "")
        if command_id and not pipeline:
            return  # it has ended: PowerShell takes what comes late and drops it
        incoming = self._incoming.setdefault((stream, command_id or ""), Defragmenter())
        try:
            for raw in incoming.feed(data):
                self._take(unpack_message(raw), raw, pipeline)
        except (WireError, ClixmlError, requests.RequestError) as error:
            self._refuse(str(error), pipeline)

    def signal(self, command_id: str, code: str) -> None:
        """Stop a pipeline in an orderly way on PowerShell's own code; close it on any other."""
        pipeline = self._pipelines.get(command_id)
        if not pipeline:
            return
        if code.lower().endswith(CTRL_C):
            pipeline.stop()
        else:
            pipeline.close()
            self.forget(command_id)

    def close(self) -> None:
        """Stop everything; nothing is written any more."""
        self._closed = True
        for pipeline in self._pipelines.values():
            pipeline.close()
        self._pipelines.clear()

    # What pipelines call

    def write(self, kind: int, clixml: str, pipeline_id: uuid.UUID | None, command_id: str | None) -> int:
        """Send one message in fragments; returns its size in bytes."""
        if self._closed:
            return 0
        size = 0
        for fragment in self._pack(kind, self._key.seal(clixml), pipeline_id):
            self.sink.output("stdout", fragment, command_id)
            size += len(fragment)
        return size

    def decode(self, data: bytes) -> Any:
        """Read one value that a client sent. PowerShell asks for a key where it needs one, and refuses the value."""
        if not self._key.told and _SECURE in data:
            self.write(MessageType.PUBLIC_KEY_REQUEST, "<S></S>", None, None)
        return from_clixml(data, self._key.decrypt)

    def forget(self, command_id: str) -> None:
        """A pipeline has ended."""
        self._pipelines.pop(command_id, None)
        for key in [key for key in self._incoming if key[1] == command_id]:
            del self._incoming[key]

    def acquire(self, pipeline: Pipeline) -> Runspace | None:
        """A runspace for a pipeline, or None: it is started when it gets one."""
        if not self.opened or self._busy >= self._limits[1]:
            self._waiting.append(pipeline)
            return None
        self._busy += 1
        return self._idle.pop() if self._idle else self._interpreter.open(self.host)

    def release(self, runspace: Runspace) -> None:
        """Take a runspace back and start what waits for one."""
        self._busy -= 1
        self._idle.append(runspace)
        self._start_waiting()

    # Inside

    def _start_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for pipeline in waiting:
            if not pipeline.ended:
                pipeline.start()

    def _take(self, message: Message, raw: bytes, pipeline: Pipeline | None) -> None:
        if self.opened and message.pool_id != self._pool_id:
            raise WireError("a message for another runspace pool")
        if message.type == MessageType.CREATE_PIPELINE and pipeline:
            pipeline.create(requests.create_pipeline(self.decode(message.payload)), message.pipeline_id)
        elif message.type == MessageType.GET_COMMAND_METADATA and pipeline:
            raise requests.RequestError(
                "Command metadata (Import-PSSession, Get-Command of a session) is not simulated."
            )
        elif message.pipeline_id != _NIL:
            for known in [p for p in self._pipelines.values() if p.pipeline_id == message.pipeline_id]:
                known.take(message)
        else:
            self._take_pool(message, raw)

    def _take_pool(self, message: Message, raw: bytes) -> None:
        if message.type == MessageType.SESSION_CAPABILITY:
            found = _PROTOCOL.search(message.payload)
            offered = found[1].decode() if found else ""
            self._protocol = min(offered, "2.3") if re.fullmatch(r"2\.[0-9]", offered) else "2.3"
            self.write(MessageType.SESSION_CAPABILITY, self._capability(), None, None)
        elif message.type == MessageType.INIT_RUNSPACEPOOL:
            init = requests.init_runspacepool(self.decode(message.payload))
            self._pool_id, self._limits, self.pool_host = message.pool_id, init.limits, init.interactive
            self._private_data()
            self.sink.cut(None)  # real hosts open a pool in two answers
            self._opened()
        elif message.type == MessageType.PUBLIC_KEY:
            try:
                answer = self._key.answer(raw)
            except ValueError as error:
                raise WireError(str(error)) from None
            self.write(MessageType.ENCRYPTED_SESSION_KEY, answer.decode(), None, None)
        elif message.type in requests.AVAILABILITY:
            self._availability(message)

    def _capability(self) -> str:
        versions = {"protocolversion": self._protocol, "PSVersion": "2.0", "SerializationVersion": "1.1.0.1"}
        return to_clixml(PSObject((), extended={name: Version(v) for name, v in versions.items()}))

    def _private_data(self) -> None:
        table = PSObject(_DICTIONARY, value=version_table(self._protocol))
        data = PSObject(_DICTIONARY, value=Hashtable(iter([("PSVersionTable", table)])))
        message = payload(PSObject((), extended={"ApplicationPrivateData": data}))
        self.write(MessageType.APPLICATION_PRIVATE_DATA, message, None, None)

    def _opened(self) -> None:
        self.write(MessageType.RUNSPACEPOOL_STATE, payload(state("RunspaceState", 2)), None, None)
        self.opened = True
        self._start_waiting()

    def _availability(self, message: Message) -> None:
        call_id, count = requests.availability(self.decode(message.payload))
        low, high = self._limits
        answer: Any = True
        if message.type == MessageType.GET_AVAILABLE_RUNSPACES:
            answer = Int64(high - self._busy)
        elif message.type == MessageType.RESET_RUNSPACE_STATE:
            answer = high == 1 and not self._busy
            self._idle = [] if answer else self._idle
        elif message.type == MessageType.SET_MAX_RUNSPACES:
            answer = count >= max(low, 1) and count != high
            self._limits = (low, count) if answer else self._limits
            self._start_waiting()
        else:
            answer = 1 <= count <= high and count != low
            self._limits = (count, high) if answer else self._limits
        reply = PSObject((), extended={"SetMinMaxRunspacesResponse": answer, "ci": Int64(call_id)})
        self.write(MessageType.RUNSPACE_AVAILABILITY, payload(reply), None, None)

    def _refuse(self, reason: str, pipeline: Pipeline | None) -> None:
        record = ErrorRecord(
            runtime_exception(
                f"The simulated host refuses a message of the client: {reason}", "PSRemotingDataStructureException"
            ),
            "PSRemotingDataStructure",
            "InvalidData",
        )
        if pipeline:
            pipeline.fail(record)
        else:
            self.write(MessageType.RUNSPACEPOOL_STATE, payload(state("RunspaceState", 5, record)), None, None)

    def _pack(self, kind: int, clixml: str, pipeline_id: uuid.UUID | None) -> list[bytes]:
        self._objects += 1
        return list(fragments(self._objects, pack_message(kind, self._pool_id, pipeline_id, clixml.encode())))
