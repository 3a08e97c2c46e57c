"""Our client against the recorded answers of real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from tests.recordings import RECORDINGS, needs_recordings
from tests.session.replay import converse, windows


def recorded(folder: str, pattern: str) -> list[Path]:
    return sorted((RECORDINGS / folder).glob(pattern)) if RECORDINGS else []


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
