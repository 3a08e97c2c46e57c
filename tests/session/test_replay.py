"""Our client against the recorded answers of real servers."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from remotejobs.clock import SystemClock
from remotejobs.model import JobSpec, ScriptCommand, SessionOption, Stream, Target
from remotejobs.ports import Attempt, ChildTask, Ends
from remotejobs.rows import Fresh
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import PsrpRunner
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from tests.recordings import RECORDINGS, needs_recordings
from tests.session.fakes import FreeControl, ListLedger
from tests.session.replay import Replay, psrp_omi, windows


def recorded(folder: str, pattern: str) -> list[Path]:
    return sorted((RECORDINGS / folder).glob(pattern)) if RECORDINGS else []


def converse(replay: Replay, ends: Ends | None = None) -> tuple[Attempt, ListLedger]:
    spec = JobSpec(
        ScriptCommand("whatever"), (Target("h"),), session_option=SessionOption(max_connection_retry_count=0)
    )

    async def main() -> tuple[Attempt, ListLedger]:
        job = prepare(spec, replay.connect, asyncio.Semaphore(1))
        runner = PsrpRunner(job, SystemClock())
        ledger = ListLedger()
        fresh = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        attempt = await runner.run(ChildTask(0, spec.targets[0], fresh), ledger, FreeControl(ends))
        await runner.cleanup(attempt)
        return attempt, ledger

    return asyncio.run(main())


WINDOWS = {
    "test_client_execute_ps": EndReason.Completed,
    "test_client_execute_ps_environment": EndReason.Completed,
    "test_client_fetch_file": EndReason.Completed,
    "test_client_fetch_file_fail_dir": EndReason.CommandFailed,
    "test_client_fetch_file_fail_missing": EndReason.CommandFailed,
    "test_psrp_application_args": EndReason.Completed,
    "test_psrp_clear_commands": EndReason.Completed,
    "test_psrp_error_failed": EndReason.CommandFailed,
    "test_psrp_no_profile": EndReason.Completed,
    "test_psrp_run_protocol_version_2.3": EndReason.Completed,
    "test_psrp_stream_output_invocation": EndReason.Completed,
    "test_psrp_long_running_cmdlet": EndReason.Completed,
}


@needs_recordings
@pytest.mark.parametrize("path", [p for p in recorded("windows", "*.yml") if p.stem in WINDOWS], ids=lambda p: p.stem)
def test_conversations_with_real_windows(path: Path) -> None:
    replay = windows(path)
    attempt, ledger = converse(replay)
    assert attempt.outcome.reason is WINDOWS[path.stem], attempt.outcome
    assert replay.asked[0] == "Create"
    assert replay.asked.index("Command") > replay.asked.index("Receive")
    assert replay.asked[-1] == "Delete"
    assert not replay.answers["Receive+"], "not everything was received"
    assert [r.seq for r in ledger.records] == list(range(1, len(ledger.records) + 1))
    assert ledger.calls[:2] == ["starting", "started"]
    for record in ledger.records:
        deserialize(record.raw)
    if attempt.outcome.reason is EndReason.CommandFailed:
        assert attempt.outcome.message
        assert attempt.outcome.failure


# Where the recorded client did what ours does not: input, several pipelines, a killed server, requests of a hand.
SKIP = ("raw-", "input-", "server-", "connection-cut", "session-two", "two-sessions", "asjob", "stop-", "silence")


@needs_recordings
@pytest.mark.parametrize(
    "path", [p for p in recorded("psrp-omi", "*.jsonl") if not p.name.startswith(SKIP)], ids=lambda p: p.stem
)
def test_conversations_with_real_powershell_behind_omi(path: Path) -> None:
    replay = psrp_omi(path)
    if not replay.answers["Command"] or not replay.answers["Receive+"]:
        assert not replay.answers["Receive+"]
        return  # the recorded client was refused before, or never came to a pipeline
    attempt, ledger = converse(replay)
    case = json.loads(path.with_suffix(".json").read_text())
    ends = (EndReason.Completed, EndReason.CommandFailed, EndReason.Unknown, EndReason.Disconnected)
    assert attempt.outcome.reason in ends, case["call"]
    # Where the recorded client disconnected in the middle, the connection is lost to ours.
    cut_short = path.stem in ("pool-disconnect", "runspace-disconnect-running")
    assert (attempt.outcome.reason is EndReason.Disconnected) == cut_short, case["call"]
    for record in ledger.records:
        value = deserialize(record.raw)
        if record.stream is Stream.Output and isinstance(value, str) and len(value) < 40 and "\n" not in value:
            assert value.strip() in json.dumps(case["output"], ensure_ascii=False) or case["jobs"] or case["errors"]
