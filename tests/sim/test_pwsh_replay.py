"""Simulated hosts whose PowerShell is a recording of a real one: its packets, its timing, its acknowledgements."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from remotejobs.sim.packets import POOL, Packet, parse_packet
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.pwsh_host import Patience, PwshHost, pwsh_shell_factory
from remotejobs.sim.shells import HostInfo
from tests.recordings import RECORDINGS, needs_recordings
from tests.sim.psrp_conversation import CASES, CTRL_C, Sink, in_loop

TERMINATE = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/terminate"
REPLAY = Path(__file__).with_name("pwsh_replay.py")
PAUSE = 0.01
# Every so-many-th of the recorded cases: each is a process.
SOME = sorted(CASES.glob("*.wire.jsonl"))[::8]
HANDMADE = sorted((RECORDINGS / "pwsh" / "handmade").glob("*.wire.jsonl")) if RECORDINGS else []
# PowerShell's own client, and what needs a client that breaks rules that the bridge keeps, or waits without a sign.
NOT_OURS = ("client-", "eof-running", "close-pool-first", "foreign-rpid", "empty-end-fragment")
REFUSED = ("input-bad", "rejected-", "v23-request")


class Row(NamedTuple):
    direction: str
    packet: Packet


def rows_of(path: Path) -> list[Row]:
    rows = [row for row in map(json.loads, path.read_text("utf-8").splitlines()) if row["conn"] == 1]
    return [Row(row["dir"], parse_packet(row["line"])) for row in rows if row["dir"] in ("c2s", "s2c")]


def replay(path: Path, patience: Patience = Patience()) -> tuple[PwshHost, Sink]:  # noqa: B008
    sink = Sink()
    command = (sys.executable, "-I", "-S", str(REPLAY), str(path), str(PAUSE))
    shell = pwsh_shell_factory(command, patience)(HostInfo("WEB07"), sink)
    assert isinstance(shell, PwshHost)
    return shell, sink


def came(sink: Sink) -> dict[uuid.UUID, bytes]:
    """The bytes for each guid so far."""
    found: dict[uuid.UUID, bytes] = {}
    for command_id, data in sink.raw:
        guid = uuid.UUID(command_id) if command_id else POOL
        found[guid] = found.get(guid, b"") + data
    return found


async def play(path: Path, shell: PwshHost, sink: Sink, *, closes: bool = True) -> dict[uuid.UUID, bytes]:
    """Do what the recorded client did, each step when what came before it has come; returns what should come."""
    due: dict[uuid.UUID, bytes] = {}
    ended: set[uuid.UUID] = set()  # nothing of them is read any more
    begun: set[uuid.UUID] = set()
    for direction, packet in rows_of(path):
        guid, command_id = packet.guid, str(packet.guid).upper()
        if direction == "s2c":
            if packet.kind == "Data" and guid not in ended:
                due[guid] = due.get(guid, b"") + packet.data
            continue
        await sink.until(lambda: all(len(came(sink).get(each, b"")) >= len(data) for each, data in due.items()))
        if packet.kind == "Data" and guid not in begun:
            begun.add(guid)
            if guid == POOL:
                shell.create(packet.data)
            else:
                shell.command(command_id, "", [base64.b64encode(packet.data).decode()], {})
        elif packet.kind == "Data":
            stream = "pr" if packet.stream == "PromptResponse" else "stdin"
            shell.send(stream, packet.data, None if guid == POOL else command_id, False)
        elif packet.kind == "Signal":
            shell.signal(command_id, CTRL_C)
        elif packet.kind == "Close" and closes:
            ended.add(guid)
            if guid == POOL:
                shell.close()
            else:
                shell.signal(command_id, TERMINATE)
    return due


async def end(shell: PwshHost) -> int | None:
    shell.close()
    assert shell.task
    async with asyncio.timeout(30):
        await shell.task
    return shell._process.returncode if shell._process else None


@pytest.mark.parametrize("path", SOME, ids=lambda path: path.name.partition(".")[0])
def test_fragments_pass_unchanged(path: Path) -> None:
    """The other way the replaying process compares: it ends with 70 where anything is not as it was."""

    @in_loop
    async def run() -> None:
        shell, sink = replay(path)
        due = await play(path, shell, sink)
        assert await end(shell) == 160
        assert came(sink) == due
        commands = Counter(command_id for command_id, state in sink.states if state == "Done")
        assert set(commands.values()) <= {1}

    run()


@needs_recordings
@pytest.mark.parametrize(
    "path",
    [path for path in HANDMADE if not path.name.startswith((*NOT_OURS, *REFUSED))],
    ids=lambda path: path.name.partition(".")[0],
)
def test_odd_conversations_pass_unchanged(path: Path) -> None:
    @in_loop
    async def run() -> None:
        shell, sink = replay(path)
        due = await play(path, shell, sink)
        assert await end(shell) == 160
        assert came(sink) == due

    run()


@needs_recordings
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rejected-init", "Remote transport error: Remoting data is missing ApplicationArguments property."),
        ("rejected-create", "Remote transport error:"),
        ("v23-request", "Remote transport error:"),
    ],
)
def test_what_powershell_refuses_ends_with_its_words(name: str, words: str) -> None:
    """It says so on stderr only, and would wait for ever."""

    @in_loop
    async def run() -> None:
        assert RECORDINGS
        path = RECORDINGS / "pwsh" / "handmade" / f"{name}.wire.jsonl"
        shell, sink = replay(path, Patience(trouble=0.05))
        playing = asyncio.create_task(play(path, shell, sink, closes=False))
        await sink.until(lambda: any('"RunspaceState">5<' in seen.clixml for seen in sink.seen))
        playing.cancel()
        last = sink.seen[-1]
        assert last.type == MessageType.RUNSPACEPOOL_STATE
        assert words in last.clixml
        await end(shell)

    run()
