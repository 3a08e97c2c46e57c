"""Recorded conversations with cmd shells of Windows: our client is given the answers, and ends as the command did."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import uuid
from collections import defaultdict
from pathlib import Path

import pytest

from remotejobs.clock import SystemClock
from remotejobs.model import CmdCommand, JobSpec, SessionOption, Stream, Target
from remotejobs.ports import Attempt, ChildTask
from remotejobs.rows import Fresh
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import WinrsRunner
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.winrs import CMD
from tests.fidelity.exchanges import Exchange, windows
from tests.recorded import recorded
from tests.recordings import RECORDINGS
from tests.session import replay
from tests.session.fakes import FreeControl, ListLedger

CONVERSATIONS = sorted((RECORDINGS / "windows").glob("*.yml")) if RECORDINGS else []
_STREAM = re.compile(r'<rsp:Stream Name="(\w+)"[^>]*>([^<]*)<')
_EXIT = re.compile(r"<rsp:ExitCode>(\d+)<")


def of_cmd(exchanges: list[Exchange]) -> list[list[Exchange]]:
    """The exchanges of each command of cmd shells."""
    commands: defaultdict[str, list[Exchange]] = defaultdict(list)
    for each in exchanges:
        if f"{CMD}<" in each.request and each.operation == "Receive" and each.command_id:
            commands[each.command_id].append(each)
    return list(commands.values())


def lines(data: bytes) -> list[str]:
    return [line.removesuffix("\n") for line in io.StringIO(data.decode("utf-8", "replace"), newline=None)]


def converse(answers: replay.Replay) -> tuple[Attempt, ListLedger]:
    spec = JobSpec(CmdCommand("any"), (Target("h"),), session_option=SessionOption(max_connection_retry_count=0))

    async def main() -> tuple[Attempt, ListLedger]:
        runner = WinrsRunner(prepare(spec, answers.connect, asyncio.Semaphore(1)), SystemClock())
        ledger = ListLedger()
        fresh = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        attempt = await runner.run(ChildTask(0, spec.targets[0], fresh), ledger, FreeControl())
        await runner.cleanup(attempt)
        return attempt, ledger

    return asyncio.run(main())


@recorded("windows", CONVERSATIONS, lambda path: path.stem)
def test_our_client_ends_as_the_command_did(case: Path) -> None:
    """Each command of a cmd shell is played by itself, in a shell as the recorded one was created."""
    exchanges = windows(case)
    for received in of_cmd(exchanges):
        command_id, answers = received[0].command_id, replay.Replay()
        for each in exchanges:
            cmd = f"{CMD}<" in each.request
            ours = each.command_id in ("", command_id) or each.operation == "Command"
            if cmd and ours and each.answer and (each.operation != "Command" or command_id in each.answer.upper()):
                answers.add(each.request, each.answer, each.status)
        attempt, ledger = converse(answers)
        said = {"stdout": b"", "stderr": b""}
        for name, data in _STREAM.findall("".join(each.answer for each in received)):
            said[name] += base64.b64decode(data)
        text = {s: [str(from_clixml(s, deserialize(r.raw))) for r in ledger.records if r.stream is s] for s in Stream}
        assert text[Stream.Output] == lines(said["stdout"])
        if b"#< CLIXML" not in said["stderr"]:  # which powershell.exe writes: its errors are in there
            assert text[Stream.Error] == lines(said["stderr"])
        code = next((int(found) for each in received for found in _EXIT.findall(each.answer)), None)
        if code is None:
            assert attempt.outcome.reason is EndReason.Unknown
        else:
            assert (attempt.outcome.reason, attempt.outcome.details) == (
                EndReason.Completed,
                {"shell": "cmd", "exit_code": code},
            )
        assert answers.asked[-1] == "Delete"


@pytest.mark.skipif(not CONVERSATIONS, reason="shared/recordings is not beside the repository")
def test_there_are_commands_to_play() -> None:
    assert sum(len(of_cmd(windows(path))) for path in CONVERSATIONS) >= 5
