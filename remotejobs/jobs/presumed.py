"""What to think of a job that nobody runs any more: arithmetic on a row of the store and the time, nothing else.

Knows rows, states and leases. Must not know stores, hosts or clocks: nothing is asked, and nothing is written. Connect
finds out how things really are.

A job is abandoned when a child has neither ended nor been left Disconnected, and nobody has the job's lease. Then a
child that its host may be running is Disconnected while its shell can still be there, and after that Failed with the
reason Unknown; one that was never sent is NotStarted.
"""

from __future__ import annotations

from typing import NamedTuple

from remotejobs.model import Outcome
from remotejobs.rows import LEASE_SECONDS, ChildRow, JobRow, Phase
from remotejobs.states import EndReason, JobState, parent_state

DEFAULT_IDLE_TIMEOUT = 7200.0  # seconds; IdleTimeoutMs of WinRM


class Presumed(NamedTuple):
    """The state that a child is shown in, and how it ended; None while it has not."""

    state: JobState
    outcome: Outcome | None


def owned(row: JobRow, now: float) -> bool:
    """True while somebody runs the job, or may be about to: a worker has some seconds to take its first lease."""
    if row.lease is None:
        return now < row.began + LEASE_SECONDS and not any(row.counts[s] for s in row.counts if s is not _NEW)
    return now < row.lease.seen + LEASE_SECONDS


def abandoned(row: JobRow, now: float) -> bool:
    """True when somebody should be running the job, and nobody does."""
    live = any(count and not state.persistent for state, count in row.counts.items())
    return live and not owned(row, now)


def child_now(row: JobRow, child: ChildRow, now: float) -> Presumed:
    """What to show of a child."""
    if child.state.persistent or not abandoned(row, now):
        return Presumed(child.state, child.outcome)
    return _presumed(row, child, now)


def state_now(row: JobRow, now: float) -> JobState:
    """The state to show of the job: never Running where nobody runs it."""
    if not abandoned(row, now):
        return parent_state(row.counts, stop_requested=row.stop_requested, last_change=row.last_change)
    counts: dict[JobState, int] = {}
    for child in row.children:
        state = child.state if child.state.persistent else _presumed(row, child, now).state
        # what was never sent waits to be connected too
        state = JobState.Disconnected if state is _NEW else state
        counts[state] = counts.get(state, 0) + 1
    return parent_state(counts, stop_requested=row.stop_requested, last_change=JobState.Disconnected)


_NEW = JobState.NotStarted


def _presumed(row: JobRow, child: ChildRow, now: float) -> Presumed:
    if child.phase < Phase.STARTING:
        return Presumed(_NEW, None)
    idle = row.spec.session_option.idle_timeout or DEFAULT_IDLE_TIMEOUT
    seen = row.began if child.seen is None else child.seen
    if now < seen + idle:
        return Presumed(JobState.Disconnected, None)
    outcome = Outcome(
        EndReason.Unknown,
        f"[{child.target.name}] The process that ran job {row.id} is gone, and so, after {idle:g} seconds without a "
        "client, is the shell on the host: the script may have run, in part or to its end. Look there before you run "
        f"it again. `remotejob connect {row.id}` asks the host once more.",
        error_count=child.error_count,
        details={"presumed": True},
    )
    return Presumed(JobState.Failed, outcome)
