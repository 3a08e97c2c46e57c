"""A real PowerShell behind a simulated host: fragments pass unchanged between a ShellSink and `pwsh -s`.

Knows the packets and when each may be sent. Must not know WS-Man, and of PSRP only where pools open and pipelines end.
PowerShell works its lines on several threads and silently loses what comes too early, so nothing is sent that depends
on a packet whose acknowledgement has not come: one Data at a time for each guid, CREATE_PIPELINE after CommandAck and
after the pool is open, Close(pool) after every pipeline's CloseAck, end of stdin after the pool's.

A process that does not do as PowerShell does is given up, and its client told why: one that ends, that writes on stderr
(a refusal; Start-Job gives up too), that prints something else than packets, or that owes an answer and says nothing.
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
from typing import NamedTuple

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
_SAID = 500  # characters of what a process said that are passed on
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


class Patience(NamedTuple):
    """How long a process may take, in seconds.

    Attributes:
        opening: To open its pool; PowerShell's clients wait as long (OpenTimeout).
        answer: To acknowledge what it got, while it says nothing else either; PowerShell's own client waits as long.
        ending: To end in order, then it is killed.
        trouble: From the first sign of trouble, so that the others can be told with it: the exit code above all.
    """

    opening: float = 180.0
    answer: float = 60.0
    ending: float = 10.0
    trouble: float = 0.5


def pwsh_shell_factory(command: Sequence[str], patience: Patience = Patience()) -> ShellFactory:  # noqa: B008 - a value
    """A factory of shells, each a process of `command`."""
    return lambda host, sink: PwshHost(tuple(command), host, sink, patience)


@dataclass(slots=True)
class _Lane:
    """What goes to one guid, and what came from it."""

    guid: uuid.UUID
    command_id: str | None
    ready: bool = False  # its Command is acknowledged
    waiting: bool = False  # a Data of it is not acknowledged yet
    begun: bool = False  # its first Data was sent
    asked: str = ""  # Signal or Close, which must not overtake what was sent before
    ended: bool = False
    queue: deque[tuple[str, bytes]] = field(default_factory=deque)
    requests: Defragmenter = field(default_factory=Defragmenter)
    answers: Defragmenter = field(default_factory=Defragmenter)


class PwshHost:
    """One shell: one PowerShell process."""

    def __init__(self, command: tuple[str, ...], host: HostInfo, sink: ShellSink, patience: Patience) -> None:
        self._command, self._patience = command, patience
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
        self._troubles: deque[str] = deque(maxlen=20)  # what the process said that it should not have
        self._moves = 0  # packets in either direction
        self._failure: ErrorRecord | None = None  # why it was given up

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
        whole = int.from_bytes(data[17:21], "big") >= 40 and len(data) >= 61  # the head of its message
        guid = uuid.UUID(bytes_le=data[45:61]) if whole else uuid.UUID(command_id)
        self._ids[command_id] = guid
        self._lanes[guid] = _Lane(guid, command_id)
        if self._failure:
            self._fail(self._lanes[guid])
            return
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
            lane.asked = "Signal"
            self._advance(lane)
        else:
            lane.command_id = None  # nobody reads its output any more
            self._end(lane)

    def close(self) -> None:
        """End in order: pipelines, pool, stdin; in the background, and by force when it takes too long."""
        self._closing = True
        self._close_asked.set()
        for lane in [lane for lane in self._lanes.values() if lane is not self._pool and not lane.ended]:
            self._end(lane)
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
        """Send what may go now of a lane."""
        if lane.waiting or not lane.ready:
            return
        if lane.asked == "Close" or (lane.asked and lane.begun):
            self._write(Packet(lane.asked, lane.guid))
            lane.asked = ""
        if lane.ended or not lane.queue or (lane is not self._pool and not self._open):
            return
        stream, data = lane.queue.popleft()
        while lane.queue and lane.queue[0][0] == stream and len(data) < _PACKET_SIZE:
            data += lane.queue.popleft()[1]
        lane.waiting = lane.begun = True
        self._write(Packet("Data", lane.guid, data, stream))

    def _end(self, lane: _Lane) -> None:
        lane.ended, lane.asked = True, "Close"
        self._advance(lane)

    def _close_pool(self) -> None:
        if self._closing and set(self._lanes) == {POOL}:
            self._write(Packet("Close", POOL))

    def _write(self, packet: Packet) -> None:
        self._moves += 1
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
        watches = [asyncio.get_running_loop().create_task(watch()) for watch in (self._watch_end, self._watch_silence)]
        opening = asyncio.get_running_loop().call_later(self._patience.opening, self._not_open)
        try:
            await reader
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._patience.ending)
                await asyncio.wait_for(errors, self._patience.ending)  # a child of its own may hold it open
            if not self._closed.is_set():
                how = "closed its output" if process.returncode is None else f"ended with {_exit(process.returncode)}"
                self._broken(f"PowerShell {how}. {self._said_wrong()}".rstrip())
        finally:
            opening.cancel()
            for task in (reader, errors, *watches):
                task.cancel()
            self._kill()
            await process.wait()
            # a child of its own may hold the pipes open, and asyncio has no public way to close them
            process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001
            await asyncio.sleep(0)

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _watch_end(self) -> None:
        """Once close is asked for, give PowerShell its time, then kill it."""
        await self._close_asked.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), self._patience.ending)
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), self._patience.ending)
            return
        self._kill()

    async def _watch_silence(self) -> None:
        """An acknowledgement comes when a packet has been worked through: scripts do not hold it up."""
        moves = quiet = 0
        while quiet < 4:
            await asyncio.sleep(self._patience.answer / 4)
            owed = any(lane.waiting or not lane.ready for lane in self._lanes.values() if not lane.ended)
            quiet = quiet + 1 if self._open and owed and moves == self._moves else 0
            moves = self._moves
        self._give_up(f"PowerShell has not answered for {self._patience.answer:g} seconds.")

    def _not_open(self) -> None:
        if not self._open:
            self._give_up(f"PowerShell has not opened a runspace pool within {self._patience.opening:g} seconds.")

    async def _read_errors(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: what follows is more of it
                continue
            if not line:
                return
            self._trouble(line.decode("utf-8", "replace"))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            while not self._closing and self._sink.full:
                self._moves += 1
                await asyncio.sleep(0.02)
            try:
                raw = await stream.readline()
            except ValueError:
                self._trouble(f"It sent a line of more than {_LINE_LIMIT:,} bytes.")
                continue
            if not raw:
                return
            line = raw.decode("utf-8", "replace").removeprefix("\ufeff")
            if self._failure or not line.strip():
                continue
            try:
                packet = parse_packet(line)
            except ValueError:
                what = f"It printed {line.strip()[:200]!r}, which is no packet: a profile or a wrapper may do that."
                self._trouble(what)
                continue
            try:
                self._take(packet)
            except WireError as error:
                self._trouble(f"It sent what cannot be read: {error}.")

    def _take(self, packet: Packet) -> None:
        self._moves += 1
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
            if lane.command_id:
                self._sink.command_state(lane.command_id, "Done", 0)
            self._end(lane)

    def _trouble(self, said: str) -> None:
        """Note what the process should not have said; soon it is given up, unless it ends by itself."""
        if self._closing or not said.strip():
            return
        if not self._troubles:
            asyncio.get_running_loop().call_later(self._patience.trouble, self._tell_troubles)
        self._troubles.append(said.strip())

    def _tell_troubles(self) -> None:
        if self._process and self._process.returncode is None:  # else its end is told
            self._give_up(f"PowerShell is not as it should be. {self._said_wrong()}")

    def _said_wrong(self) -> str:
        return " ".join(self._troubles)[-_SAID:]

    def _give_up(self, reason: str) -> None:
        if not self._closing:
            self._broken(reason)
            self._kill()

    def _broken(self, reason: str) -> None:
        """Nobody is left waiting: pipelines fail and the pool breaks, with what is known as the reason."""
        if self._failure:
            return
        self._failure = ErrorRecord(
            runtime_exception(reason, "Remoting.PSRemotingTransportException"), "PSSessionStateBroken", "OpenError"
        )
        for lane in list(self._lanes.values()):
            self._fail(lane)
        if not self._closing:
            broken = payload(state("RunspaceState", 5, self._failure))
            self._send(MessageType.RUNSPACEPOOL_STATE, broken, self._pool)

    def _fail(self, lane: _Lane) -> None:
        if lane is self._pool or lane.ended:
            return
        lane.ended = True
        if lane.command_id:
            self._send(MessageType.PIPELINE_STATE, payload(state("PipelineState", 5, self._failure)), lane)
            self._sink.command_state(lane.command_id, "Done", 0)

    def _send(self, kind: int, clixml: str, lane: _Lane) -> None:
        for fragment in self._pack(kind, clixml, lane):
            self._sink.output("stdout", fragment, lane.command_id)

    def _pack(self, kind: int, clixml: str, lane: _Lane) -> list[bytes]:
        self._objects += _FAR  # beyond any id that PowerShell has used
        return list(fragments(self._objects, pack_message(kind, self._pool_id, lane.guid, clixml.encode())))


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
