"""Job states and end reasons, and the two functions that change or derive them. Knows tables; no time, no I/O, no jobs.

The states are PowerShell's (System.Management.Automation.JobState); the derivation of a parent's state is that of
PSRemotingJob with the deviations that the documentation of `parent_state` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from remotejobs.errors import JobError


class JobState(IntEnum):
    """PowerShell's job states with PowerShell's numbers."""

    NotStarted = 0
    Running = 1
    Completed = 2
    Failed = 3
    Stopped = 4
    Blocked = 5
    Suspended = 6
    Disconnected = 7
    Suspending = 8
    Stopping = 9
    AtBreakpoint = 10

    @property
    def finished(self) -> bool:
        """True for Completed, Failed and Stopped: nothing more will come."""
        return self in _FINISHED

    @property
    def persistent(self) -> bool:
        """True for the finished states, Disconnected and Suspended: what Wait-Job waits for."""
        return self in _PERSISTENT


_FINISHED = frozenset({JobState.Completed, JobState.Failed, JobState.Stopped})
_PERSISTENT = _FINISHED | {JobState.Disconnected, JobState.Suspended}


class EndReason(StrEnum):
    """Why a child ended: a closed set, so that counts always sum to the number of targets."""

    Completed = "Completed"
    CommandFailed = "CommandFailed"
    Unreachable = "Unreachable"
    TimedOutConnect = "TimedOut(connect)"
    TimedOutAuthenticate = "TimedOut(authenticate)"
    TimedOutSilence = "TimedOut(silence)"
    TimedOutTotal = "TimedOut(total)"
    TimedOutDeadline = "TimedOut(deadline)"
    AuthenticationFailed = "AuthenticationFailed"
    AccessDenied = "AccessDenied"
    QuotaExceeded = "QuotaExceeded"
    Stopped = "Stopped"
    NotStarted = "NotStarted"
    NotStartedGuard = "NotStarted(guard)"
    Unknown = "Unknown"
    Disconnected = "Disconnected"

    @property
    def state(self) -> JobState:
        """The PowerShell state that goes with this reason."""
        return _REASONS[self][0]

    @property
    def exit_code(self) -> int:
        """The exit code class: 0 fine, 2 the command failed or was stopped, 3 not reached, 6 not ended."""
        return _REASONS[self][1]


_REASONS: dict[EndReason, tuple[JobState, int]] = {
    EndReason.Completed: (JobState.Completed, 0),
    EndReason.CommandFailed: (JobState.Failed, 2),
    EndReason.Unreachable: (JobState.Failed, 3),
    EndReason.TimedOutConnect: (JobState.Failed, 3),
    EndReason.TimedOutAuthenticate: (JobState.Failed, 3),
    EndReason.TimedOutSilence: (JobState.Failed, 3),
    EndReason.TimedOutTotal: (JobState.Failed, 3),
    EndReason.TimedOutDeadline: (JobState.Failed, 3),
    EndReason.AuthenticationFailed: (JobState.Failed, 3),
    EndReason.AccessDenied: (JobState.Failed, 3),
    EndReason.QuotaExceeded: (JobState.Failed, 3),
    EndReason.Stopped: (JobState.Stopped, 2),
    EndReason.NotStarted: (JobState.Stopped, 2),
    EndReason.NotStartedGuard: (JobState.Stopped, 3),
    EndReason.Unknown: (JobState.Failed, 3),
    EndReason.Disconnected: (JobState.Disconnected, 6),
}

_S = JobState
_CHILD_MOVES: dict[JobState, frozenset[JobState]] = {
    _S.NotStarted: frozenset({_S.Running, _S.Completed, _S.Failed, _S.Stopped, _S.Disconnected}),
    _S.Running: frozenset({_S.Blocked, _S.Stopping, _S.Completed, _S.Failed, _S.Stopped, _S.Disconnected}),
    _S.Blocked: frozenset({_S.Running, _S.Stopping, _S.Completed, _S.Failed, _S.Stopped, _S.Disconnected}),
    _S.Stopping: frozenset({_S.Completed, _S.Failed, _S.Stopped, _S.Disconnected}),
    _S.Disconnected: frozenset({_S.Running, _S.Blocked, _S.Completed, _S.Failed, _S.Stopped}),
}


def transition(current: JobState, new: JobState) -> JobState:
    """Return `new` when a child job may go there from `current`.

    Raises:
        JobError: The move is not in the table (PowerShell's base class takes anything; semantics 2.1).
    """
    if new not in _CHILD_MOVES.get(current, frozenset()):
        raise JobError(
            f"A child job cannot go from {current.name} to {new.name}.",
            error_id="InvalidJobState",
            current=current.name,
            expected=sorted(s.name for s in _CHILD_MOVES.get(current, ())),
        )
    return new


def parent_state(
    counts: Mapping[JobState, int], *, stop_requested: bool = False, last_change: JobState | None = None
) -> JobState:
    """Derive a parent's state from its children's, as PSRemotingJob does.

    Deviations from PowerShell, on purpose: children stopped one by one make the parent Stopped, not Completed, and a
    child that is stopped while Blocked no longer counts as blocked.

    Args:
        counts: How many children are in each state.
        stop_requested: The parent itself was stopped: then even children that all completed make it Stopped.
        last_change: The state that the last child to change went to; decides between Disconnected and Blocked where
            only such children are left (the order of events decides in PowerShell too).
    """
    total = sum(counts.values())
    finished = sum(counts.get(state, 0) for state in _FINISHED)
    disconnected, blocked = counts.get(_S.Disconnected, 0), counts.get(_S.Blocked, 0)
    if blocked and not (disconnected + finished + blocked == total and last_change is _S.Disconnected):
        return _S.Blocked
    if finished + disconnected + blocked < total or not total:
        return _S.Running
    if disconnected:
        return _S.Disconnected
    if counts.get(_S.Failed):
        return _S.Failed
    return _S.Stopped if counts.get(_S.Stopped) or stop_requested else _S.Completed
