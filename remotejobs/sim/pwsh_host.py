"""A real PowerShell behind a simulated host: fragments pass unchanged between a ShellSink and `pwsh -s`.

Knows the packets and when each may be sent. Must not know WS-Man, and of PSRP only where pools open and pipelines end.
PowerShell works its lines on several threads and silently loses what comes too early, so nothing is sent that depends
on a packet whose acknowledgement has not come: one Data at a time for each guid, CREATE_PIPELINE after CommandAck and
after the pool is open, Close(pool) after every pipeline's CloseAck, end of stdin after the pool's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import shutil
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from remotejobs.errors import ConfigurationError
from remotejobs.sim.clixml_parse import ClixmlError, from_clixml
from remotejobs.sim.packets import POOL, Packet, parse_packet
from remotejobs.sim.psrp_host import CTRL_C
from remotejobs.sim.psrp_requests import RequestError, create_pipeline, init_runspacepool
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
from remotejobs.sim.shells import HostInfo, ShellFactory, ShellSink
from remotejobs.sim.values import PSObject

ARGUMENTS = ("-s", "-NoLogo", "-NoProfile")
_LINE_LIMIT = 64 * 1024 * 1024
_FAR = 1 << 32
_PACKET_SIZE = 256 * 1024
_PATIENCE = 10.0  # seconds for an orderly end, then the process is killed
_TERMINAL = (b'"PipelineState">3<', b'"PipelineState">4<', b'"PipelineState">5<')


def find_pwsh() -> tuple[str, ...] | None:
    """The command line of PowerShell's server mode: REMOTEJOBS_PWSH, else `pwsh` on the PATH, else None.

    Raises:
        ConfigurationError: REMOTEJOBS_PWSH names no file.
    """
    named = os.environ.get("REMOTEJOBS_PWSH")
    if named and not Path(named).is_file():
        raise ConfigurationError(f"REMOTEJOBS_PWSH is {named}, and there is no such file. Correct it or unset it.")
    path = named or shutil.which("pwsh")
    return (path, *ARGUMENTS) if path else None


def pwsh_shell_factory(command: Sequence[str]) -> ShellFactory:
    """A factory of shells, each a process of `command`."""
    return lambda host, sink: PwshHost(tuple(command), host, sink)


@dataclass(slots=True)
class _Lane:
    """What goes to one guid, and what came from it."""

    guid: uuid.UUID
    command_id: str | None
    ready: bool = False  # its Command is acknowledged
    waiting: bool = False  # a Data of it is not acknowledged yet
    stopping: bool = False
    ended: bool = False
    queue: deque[tuple[str, bytes]] = field(default_factory=deque)
    requests: Defragmenter = field(default_factory=Defragmenter)
    answers: Defragmenter = field(default_factory=Defragmenter)


class PwshHost:
    """One shell: one PowerShell process."""

    def __init__(self, command: tuple[str, ...], host: HostInfo, sink: ShellSink) -> None:
        self._command = command
        self._host = host
        self._sink = sink
        self._pool = _Lane(POOL, None, ready=True)
        self._lanes: dict[uuid.UUID, _Lane] = {POOL: self._pool}
        self._ids: dict[str, uuid.UUID] = {}
        self._early: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._pool_id = POOL
        self._objects = 0
        self._limits = (1, 1)
        self._said: dict[int, str] = {}  # what the pool's opening messages were
        self._open = self._closing = False
        self._close_asked = asyncio.Event()
        self._closed = asyncio.Event()
        self._stderr: deque[str] = deque(maxlen=20)

    # What the WS-Man side calls

    def create(self, creation_xml: bytes) -> None:
        """Start the process; it gets capability and INIT in one packet."""
        self.send("stdin", creation_xml, None, False)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def connect(self, connect_xml: bytes) -> bytes:  # noqa: ARG002 - whatever a client asks for, it gets this pool
        """Answer for PowerShell, whose stdio knows no other client: capability, size of the pool, private data."""
        low, high = self._limits
        data = payload(PSObject((), extended={"MinRunspaces": low, "MaxRunspaces": high}))
        answer = self._pack(
            MessageType.SESSION_CAPABILITY, self._said.get(MessageType.SESSION_CAPABILITY, ""), self._pool
        )
        answer += self._pack(MessageType.RUNSPACEPOOL_INIT_DATA, data, self._pool)
        private = self._said.get(MessageType.APPLICATION_PRIVATE_DATA, "")
        asyncio.get_running_loop().call_soon(self._send, MessageType.APPLICATION_PRIVATE_DATA, private, self._pool)
        return b"".join(answer)

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:  # noqa: ARG002
        """Announce a pipeline under the id that its CREATE_PIPELINE has."""
        try:
            data = base64.b64decode(arguments[0] if arguments else "", validate=True)
        except binascii.Error:
            data = b""
        guid = uuid.UUID(bytes_le=data[45:61]) if len(data) >= 61 else uuid.UUID(command_id)
        self._ids[command_id] = guid
        self._lanes[guid] = _Lane(guid, command_id)
        self._write(Packet("Command", guid))
        self.send("stdin", data, command_id, False)

    def send(self, stream: str, data: bytes, command_id: str | None, end: bool) -> None:  # noqa: ARG002
        """Pass fragments on, when their turn has come."""
        lane = self._lanes.get(self._ids.get(command_id, POOL) if command_id else POOL)
        if not lane or (command_id and lane is self._pool) or not data:
            return
        self._count(lane, data)
        lane.queue.append(("PromptResponse" if stream == "pr" else "Default", data))
        self._advance(lane)

    def signal(self, command_id: str, code: str) -> None:
        """Stop a pipeline, or close it."""
        lane = self._lanes.get(self._ids.get(command_id, POOL))
        if not lane or lane is self._pool or lane.ended:
            return
        if code.lower().endswith(CTRL_C):
            self._write(Packet("Signal", lane.guid))
        else:
            lane.command_id = None  # nobody reads its output any more
            self._write(Packet("Close", lane.guid))
            lane.ended = True

    def close(self) -> None:
        """End in order: pipelines, pool, stdin; in the background, and by force when it takes too long."""
        self._closing = True
        self._close_asked.set()
        for lane in [lane for lane in self._lanes.values() if lane is not self._pool and not lane.ended]:
            lane.ended = True
            self._write(Packet("Close", lane.guid))
        self._close_pool()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What runs the process; done when the process is gone."""
        return self._task

    # Towards PowerShell

    def _count(self, lane: _Lane, data: bytes) -> None:
        """Learn the pool's id, and count scripts as every shell does; what cannot be read is PowerShell's to refuse."""
        with contextlib.suppress(WireError, ClixmlError, RequestError):
            for raw in lane.requests.feed(data):
                message = unpack_message(raw)
                if message.type == MessageType.INIT_RUNSPACEPOOL:
                    self._pool_id = message.pool_id
                    self._limits = init_runspacepool(from_clixml(message.payload, lambda _: "")).limits
                elif message.type == MessageType.CREATE_PIPELINE:
                    created = create_pipeline(from_clixml(message.payload, lambda _: ""))
                    self._host.counters.scripts[created.invocation.text] += not created.internal

    def _advance(self, lane: _Lane) -> None:
        """Send the next Data of a lane, if it may go."""
        if (
            lane.waiting
            or lane.ended
            or not lane.queue
            or not lane.ready
            or (lane is not self._pool and not self._open)
        ):
            return
        stream, data = lane.queue.popleft()
        while lane.queue and lane.queue[0][0] == stream and len(data) < _PACKET_SIZE:
            data += lane.queue.popleft()[1]
        lane.waiting = True
        self._write(Packet("Data", lane.guid, data, stream))

    def _close_pool(self) -> None:
        if self._closing and set(self._lanes) == {POOL}:
            self._write(Packet("Close", POOL))

    def _write(self, packet: Packet) -> None:
        if self._process is None:
            self._early.append(packet.line())
        elif self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(packet.line())

    # From PowerShell

    async def _run(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "REMOTEJOBS_PASSWORD"}
        environment |= {
            "COMPUTERNAME": self._host.name,
            "HOSTNAME": self._host.name,
            "POWERSHELL_TELEMETRY_OPTOUT": "1",
        }
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, limit=_LINE_LIMIT
            )
        except OSError as error:
            self._broken(f"PowerShell ({self._command[0]}) does not start: {error.strerror}.")
            return
        self._process = process
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.writelines(self._early)
        self._early.clear()
        errors = asyncio.get_running_loop().create_task(self._read_errors(process.stderr))
        reader = asyncio.get_running_loop().create_task(self._read(process.stdout))
        watch = asyncio.get_running_loop().create_task(self._watch())
        try:
            await reader
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _PATIENCE)
                await errors
            if not self._closed.is_set():
                said = " ".join(self._stderr)[-500:]
                self._broken(f"PowerShell ended with exit code {process.returncode}. {said}".rstrip())
        finally:
            for task in (reader, errors, watch):
                task.cancel()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _watch(self) -> None:
        """Once close is asked for, give PowerShell its time, then kill it."""
        await self._close_asked.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), _PATIENCE)
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _PATIENCE)
            return
        self._process.kill()

    async def _read_errors(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self._stderr.append(line.decode("utf-8", "replace").strip())

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            while not self._closing and self._sink.full:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit
                return
            if not line:
                return
            try:
                self._take(parse_packet(line.decode("utf-8", "replace")))
            except (ValueError, WireError) as error:
                self._stderr.append(str(error))

    def _take(self, packet: Packet) -> None:
        lane = self._lanes.get(packet.guid)
        if not lane:
            return
        if packet.kind == "Data":
            self._take_data(lane, packet.data)
        elif packet.kind == "DataAck":
            lane.waiting = False
            self._advance(lane)
        elif packet.kind == "CommandAck":
            lane.ready = True
            self._advance(lane)
        elif packet.kind == "CloseAck" and lane is self._pool:
            self._closed.set()
        elif packet.kind == "CloseAck":
            del self._lanes[packet.guid]
            self._ids = {command: guid for command, guid in self._ids.items() if guid != packet.guid}
            self._close_pool()

    def _take_data(self, lane: _Lane, data: bytes) -> None:
        silent = self._closing or (lane is not self._pool and lane.command_id is None)
        messages = lane.answers.feed(data)
        if not silent:
            self._sink.output("stdout", data, lane.command_id)
        for message in (unpack_message(raw, to=1) for raw in messages):
            self._objects += 1
            self._follow(lane, message)

    def _follow(self, lane: _Lane, message: Message) -> None:
        if lane is self._pool:
            self._said.setdefault(message.type, message.payload.decode())
            if message.type == MessageType.APPLICATION_PRIVATE_DATA:
                self._sink.cut(None)
            elif message.type == MessageType.RUNSPACEPOOL_STATE and b'"RunspaceState">2<' in message.payload:
                self._open = True
                for other in list(self._lanes.values()):
                    self._advance(other)
        elif (
            message.type == MessageType.PIPELINE_STATE
            and any(t in message.payload for t in _TERMINAL)
            and not lane.ended
        ):
            lane.ended = True
            if lane.command_id:
                self._sink.command_state(lane.command_id, "Done", 0)
            self._write(Packet("Close", lane.guid))

    def _broken(self, reason: str) -> None:
        """Nobody is left waiting: pipelines fail and the pool breaks, with what is known as the reason."""
        record = ErrorRecord(
            runtime_exception(reason, "Remoting.PSRemotingTransportException"), "PSSessionStateBroken", "OpenError"
        )
        for lane in [lane for lane in self._lanes.values() if lane is not self._pool and not lane.ended]:
            lane.ended = True
            if lane.command_id:
                self._send(MessageType.PIPELINE_STATE, payload(state("PipelineState", 5, record)), lane)
                self._sink.command_state(lane.command_id, "Done", 0)
        if not self._closing:
            self._send(MessageType.RUNSPACEPOOL_STATE, payload(state("RunspaceState", 5, record)), self._pool)

    def _send(self, kind: int, clixml: str, lane: _Lane) -> None:
        for fragment in self._pack(kind, clixml, lane):
            self._sink.output("stdout", fragment, lane.command_id)

    def _pack(self, kind: int, clixml: str, lane: _Lane) -> list[bytes]:
        self._objects += _FAR  # beyond any id that PowerShell has used
        return list(fragments(self._objects, pack_message(kind, self._pool_id, lane.guid, clixml.encode())))
