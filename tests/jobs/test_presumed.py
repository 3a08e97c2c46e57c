"""What a job that nobody runs any more looks like: arithmetic, no network."""

from __future__ import annotations

import itertools
import uuid

import pytest

from remotejobs.jobs import presumed
from remotejobs.model import JobSpec, Outcome, ScriptCommand, SessionOption, Target
from remotejobs.rows import LEASE_SECONDS, ChildRow, Fresh, JobRow, Lease, Phase
from remotejobs.states import EndReason, JobState

BEGAN = 1000.0
STATES = {
    "queued": (JobState.NotStarted, Phase.QUEUED),
    "starting": (JobState.NotStarted, Phase.STARTING),
    "started": (JobState.Running, Phase.STARTED),
    "left": (JobState.Disconnected, Phase.STARTED),
    "done": (JobState.Completed, Phase.ENDED),
}


def job(*children: str, lease: float | None = None, idle: float | None = 100.0, seen: float | None = BEGAN) -> JobRow:
    """A job whose lease was renewed at `lease`, with children as named above."""
    rows = []
    counts: dict[JobState, int] = {}
    for number, name in enumerate(children):
        state, phase = STATES[name]
        ids = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        row = ChildRow(number + 2, uuid.uuid4(), Target(f"web{number}"), ids, state, phase)
        row.seen = seen if phase >= Phase.STARTED else None
        row.outcome = Outcome(EndReason.Completed) if phase is Phase.ENDED else None
        rows.append(row)
        counts[state] = counts.get(state, 0) + 1
    spec = JobSpec(ScriptCommand("1"), (), session_option=SessionOption(idle_timeout=idle))
    held = None if lease is None else Lease("host 1", 1, lease)
    return JobRow(1, "Job1", uuid.uuid4(), spec, "", rows, BEGAN, counts, lease=held)


def names(row: JobRow, now: float) -> list[str]:
    return [presumed.child_now(row, child, now).state.name for child in row.children]


def test_while_somebody_has_the_lease_nothing_is_presumed() -> None:
    row = job("queued", "started", "done", lease=BEGAN)
    now = BEGAN + LEASE_SECONDS - 0.1
    assert not presumed.abandoned(row, now)
    assert names(row, now) == ["NotStarted", "Running", "Completed"]
    assert presumed.state_now(row, now) is JobState.Running


def test_a_job_just_submitted_waits_for_its_worker() -> None:
    row = job("queued", "queued")
    assert presumed.state_now(row, BEGAN + LEASE_SECONDS - 0.1) is JobState.Running
    assert presumed.state_now(row, BEGAN + LEASE_SECONDS) is JobState.Disconnected
    assert names(row, BEGAN + LEASE_SECONDS) == ["NotStarted", "NotStarted"]


def test_after_the_lease_the_shells_idle_timeout_decides() -> None:
    row = job("queued", "starting", "started", "left", "done", lease=BEGAN)
    soon, late = BEGAN + LEASE_SECONDS, BEGAN + 100.0
    assert names(row, soon) == ["NotStarted", "Disconnected", "Disconnected", "Disconnected", "Completed"]
    assert names(row, late) == ["NotStarted", "Failed", "Failed", "Disconnected", "Completed"]
    outcome = presumed.child_now(row, row.children[2], late).outcome
    assert outcome is not None
    assert (outcome.reason, outcome.details) == (EndReason.Unknown, {"presumed": True})
    assert outcome.message.startswith("[web2] ")
    assert "may have run" in outcome.message
    assert "remotejob connect 1" in outcome.message
    assert row.children[2].outcome is None  # nothing is stored


def test_a_sign_of_life_counts_from_when_it_came() -> None:
    row = job("started", lease=BEGAN, seen=BEGAN + 50)
    assert names(row, BEGAN + 149) == ["Disconnected"]
    assert names(row, BEGAN + 150) == ["Failed"]


def test_a_shell_lasts_two_hours_unless_told_otherwise() -> None:
    row = job("started", lease=BEGAN, idle=None)
    assert names(row, BEGAN + 7199) == ["Disconnected"]
    assert names(row, BEGAN + 7200) == ["Failed"]


@pytest.mark.parametrize("now", [BEGAN, BEGAN + 20, BEGAN + 100, BEGAN + 1e6])
@pytest.mark.parametrize("lease", [None, BEGAN])
def test_never_running_without_somebody_who_runs_it(now: float, lease: float | None) -> None:
    for children in itertools.product(STATES, repeat=3):
        row = job(*children, lease=lease)
        state = presumed.state_now(row, now)
        if presumed.owned(row, now):
            continue
        assert state.persistent, children
        open_ended = [n for n in names(row, now) if n in ("NotStarted", "Disconnected")]
        assert (state is JobState.Disconnected) == bool(open_ended), children
        if not open_ended:
            assert state.name == ("Failed" if "Failed" in names(row, now) else "Completed")
