"""A client's half of a PSRP conversation with a simulated shell: psrpcore's own client, and a sink for tests."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

from psrpcore import ClientPowerShell, ClientRunspacePool, PSRPPayload, StreamType
from psrpcore.types import HostInfo as ClientHost

from remotejobs.sim.packets import parse_packet
from remotejobs.sim.psrp_wire import Defragmenter, MessageType, fragments, pack_message, unpack_message
from remotejobs.sim.shells import Shell
from tests.recordings import RECORDINGS

P = ParamSpec("P")
CASES = RECORDINGS / "pwsh" / "cases" if RECORDINGS else Path(__file__).parents[1] / "data" / "pwsh"
"""Recorded scripts: all, or the few that are kept here."""
CTRL_C = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/powershell/signal/crtl_c"


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


class Seen(NamedTuple):
    """One message of the server."""

    command_id: str | None
    type: int
    clixml: str

    @property
    def name(self) -> str:
        return MessageType(self.type).name


class Sink:
    """Where a shell writes; tests wait for what they expect."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.raw: list[tuple[str | None, bytes]] = []
        self.states: list[tuple[str, str]] = []
        self.cuts: list[int] = []
        self.full = False
        self._joined: dict[str | None, Defragmenter] = {}
        self._news = asyncio.Event()

    def output(self, stream: str, data: bytes, command_id: str | None, end: bool = False) -> None:
        assert stream == "stdout"
        self.raw.append((command_id, data))
        for message in self._joined.setdefault(command_id, Defragmenter()).feed(data):
            unpacked = unpack_message(message, to=1)
            self.seen.append(Seen(command_id, unpacked.type, unpacked.payload.decode()))
        self._news.set()

    def cut(self, command_id: str | None) -> None:
        self.cuts.append(len(self.seen))

    def command_state(self, command_id: str, state: str, exit_code: int | None) -> None:
        self.states.append((command_id, state))
        self._news.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds; each message and state is a reason to look."""
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def done(self, command_id: str) -> list[Seen]:
        """Wait for the end of a pipeline and give its messages."""
        await self.until(lambda: (command_id, "Done") in self.states)
        return self.of(command_id)

    def of(self, command_id: str | None) -> list[Seen]:
        """The messages of one pipeline, or of the pool."""
        return [seen for seen in self.seen if seen.command_id == command_id]


class Client:
    """psrpcore's client pool on a shell."""

    def __init__(self, shell: Shell, sink: Sink, *, interactive: bool = False) -> None:
        self.shell = shell
        self.sink = sink
        null = not interactive
        host = ClientHost(IsHostNull=null, IsHostUINull=null, IsHostRawUINull=null, UseRunspaceHost=False)
        self.pool = ClientRunspacePool(host=host, max_runspaces=2)
        self._read = 0

    async def open(self) -> None:
        self.pool.open()
        self.shell.create(self.sent())
        await self.sink.until(lambda: any(s.name == "RUNSPACEPOOL_STATE" for s in self.sink.seen))
        self.events()

    def sent(self) -> bytes:
        """What psrpcore's client wants to send."""
        data = b""
        while payload := self.pool.data_to_send():
            data += payload.data
        return data

    def events(self) -> list[Any]:
        """What psrpcore's client makes of all that has come since the last time."""
        found = []
        for command_id, data in self.sink.raw[self._read :]:
            pipeline = uuid.UUID(command_id) if command_id else None
            self.pool.receive_data(PSRPPayload(data, StreamType.default, pipeline))
            while event := self.pool.next_event():
                found.append(event)
        self._read = len(self.sink.raw)
        return found

    def start(self, script: str, *arguments: Any, no_input: bool = True) -> str:
        """Send Command for a script; returns its id."""
        power_shell = ClientPowerShell(self.pool, no_input=no_input)
        power_shell.add_script(script)
        for argument in arguments:
            power_shell.add_argument(argument)
        power_shell.start()
        command_id = str(power_shell.pipeline_id).upper()
        self.shell.command(command_id, "", [base64.b64encode(self.sent()).decode()], {})
        return command_id

    async def run(self, script: str, *arguments: Any) -> list[Seen]:
        """Run a script to its end."""
        return await self.sink.done(self.start(script, *arguments))

    async def outputs(self, script: str, *arguments: Any) -> list[str]:
        """The CLIXML of what a script that completes puts out."""
        seen = await self.run(script, *arguments)
        assert seen[-1].clixml.count('"PipelineState">4<'), seen[-1].clixml
        return [s.clixml for s in seen if s.name == "PIPELINE_OUTPUT"]

    def message(self, kind: int, clixml: str, command_id: str | None = None, stream: str = "stdin") -> None:
        """Send a message of the test's own making."""
        pipeline = uuid.UUID(command_id) if command_id else None
        raw = pack_message(kind, self.pool.runspace_pool_id, pipeline, clixml.encode(), to=2)
        for fragment in fragments(1000 + self._read, raw):
            self.shell.send(stream, fragment, command_id, False)


def recorded_requests(path: Path) -> dict[str, bytes]:
    """What the client of a recording sent, joined for each guid in order of appearance."""
    joined: dict[str, bytes] = {}
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["conn"] == 1 and row["dir"] == "c2s" and row["line"].startswith("<Data"):
            packet = parse_packet(row["line"])
            joined[str(packet.guid)] = joined.get(str(packet.guid), b"") + packet.data
    return joined


_MASKS = [
    (re.compile(r'<DT N="TimeGenerated">[^<]*'), '<DT N="TimeGenerated">'),
    (re.compile(r'<S N="(User|Computer)">[^<]*'), r'<S N="\1">'),
    (re.compile(r'<U32 N="(ProcessId|NativeThreadId|ManagedThreadId)">\d+'), r'<U32 N="\1">'),
    (re.compile(r'<I64 N="HistoryId">-?\d+'), '<I64 N="HistoryId">'),
    (re.compile(r'<(?:S|Nil) N="(StackTrace|TargetSite|Source)"(?: /|>[^<]*</S)>'), r'<S N="\1" />'),
    (re.compile(r"_x000A_   at [^<]*?(?=_x000A_ ---|_x000A_   ---|<)"), ""),
    (re.compile(r'<DCT><En><S N="Key">[^<]*InterpretedFrameInfo</S>.*?</En></DCT>'), "<DCT />"),
]


def masked(clixml: str) -> str:
    """A payload without what differs from run to run (times, processes) and what a simulated host lacks (.NET stacks).

    In error records type names but those of exceptions, and all numbers of references, are left out as well: they
    shift with the stacks.
    """
    for pattern, replacement in _MASKS:
        clixml = pattern.sub(replacement, clixml)
    if "ErrorRecord" in clixml:
        clixml = re.sub(r' RefId="\d+"', "", clixml)
        clixml = re.sub(
            r"<TNRef />|<TN>(?:(?!</TN>).)*</TN>", lambda m: m[0] if "Exception" in m[0] else "<TN/>", clixml
        )
    return clixml
