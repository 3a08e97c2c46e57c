"""How a job ended, in a line that always adds up, and as an exit code.

Knows outcomes and names. Must not know records, formats or terminals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from remotejobs.jobs.job import ChildEnd
from remotejobs.model import Outcome
from remotejobs.states import EndReason
from remotejobs.targets.ranges import fold

_MOST_NAMES = 200  # characters of folded names in one line

_WORDS = {
    EndReason.Completed: "completed",
    EndReason.CommandFailed: "failed",
    EndReason.Unreachable: "unreachable",
    EndReason.TimedOutConnect: "timed out connecting",
    EndReason.TimedOutAuthenticate: "timed out authenticating",
    EndReason.TimedOutSilence: "timed out in silence",
    EndReason.TimedOutTotal: "timed out",
    EndReason.TimedOutDeadline: "cut off by the deadline",
    EndReason.AuthenticationFailed: "failed authentication",
    EndReason.AccessDenied: "denied access",
    EndReason.QuotaExceeded: "out of quota",
    EndReason.Stopped: "stopped",
    EndReason.NotStarted: "not started",
    EndReason.NotStartedGuard: "not started (credential refused elsewhere)",
    EndReason.Unknown: "unknown",
    EndReason.Disconnected: "disconnected",
}


def exit_code(outcomes: Iterable[Outcome], *, fail_on_error: bool = False) -> int:
    """Return the exit code of a job: 0, 2 for failed or stopped, 3 for not reached, 4 for both, 6 for not ended.

    Args:
        outcomes: How each child ended.
        fail_on_error: -FailOnError: a completed child counts as failed that gave an exit code other than 0, or has
            records on its Error stream; these count for nothing with cmd, whose programs write there what they like.
    """
    classes = set()
    for outcome in outcomes:
        classes.add(outcome.reason.exit_code)
        details = outcome.details
        errors = 0 if details.get("shell") == "cmd" else outcome.error_count
        if fail_on_error and (details.get("exit_code") or errors):
            classes.add(2)
    if {2, 3} <= classes:
        return 4
    return max(classes & {2, 3}, default=6 if 6 in classes else 0)


def summary(ends: Sequence[ChildEnd], targets: int, seconds: float, notes: Iterable[str] = ()) -> list[str]:
    """Return the summary and its hints: `18 completed, 1 failed (web03), 1 unreachable (web07): 20 hosts in 3.2 s`.

    Args:
        ends: The children that have ended.
        targets: How many there are; those without an end are named as still running, so that the counts add up.
        seconds: How long it took.
        notes: Of the job, written while it ran.
    """
    names: defaultdict[EndReason, list[str]] = defaultdict(list)
    for end in ends:
        names[end.outcome.reason].append(end.computer_name)
    parts = [_part(reason, names[reason]) for reason in EndReason if names[reason]]
    running = targets - len(ends)
    if running:
        parts.append(f"{running} still running")
    hosts = "1 host" if targets == 1 else f"{targets:,} hosts"
    erring = [end for end in ends if end.outcome.error_count]
    lines = [f"{', '.join(parts) or 'nothing to do'}: {hosts} in {duration(seconds)}"]
    if erring:
        count = sum(end.outcome.error_count for end in erring)
        lines.append(f"{_errors(count)} on {_names(end.computer_name for end in erring)}")
    return [*lines, *_exit_codes(ends), *_hints(names), *notes]


def pending(names: Sequence[str], targets: int) -> str:
    """Return what the first Ctrl-C says: who still runs, and what a second one does.

    Args:
        names: The targets that have not ended.
        targets: How many there are in all.
    """
    if not names:
        return "All hosts have ended; closing their shells. Press Ctrl-C again to leave at once."
    are, them = ("host is", "it") if len(names) == 1 else ("hosts are", "them")
    of = f" of {targets:,}" if targets != len(names) else ""
    who = f"{len(names):,}{of} {are} still running: {_names(names)}"
    return f"{who}; stopping {them}. Press Ctrl-C again to leave at once."


def duration(seconds: float) -> str:
    """Return a duration as people say it: `3.2 s`, `4 min 05 s`, `2 h 03 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _exit_codes(ends: Sequence[ChildEnd]) -> list[str]:
    """`exit code 3 on web[01-02], 5 on web07`: of those that completed with another than 0."""
    names: defaultdict[int, list[str]] = defaultdict(list)
    for end in ends:
        code = end.outcome.details.get("exit_code")
        if code and end.outcome.reason is EndReason.Completed:
            names[code].append(end.computer_name)
    parts = [f"{code} on {_names(names[code])}" for code in sorted(names)]
    return [f"exit code {', '.join(parts)}"] if parts else []


def _part(reason: EndReason, names: Sequence[str]) -> str:
    shown = "" if reason is EndReason.Completed else f" ({_names(names)})"
    return f"{len(names):,} {_WORDS[reason]}{shown}"


def _errors(count: int) -> str:
    return "1 error" if count == 1 else f"{count:,} errors"


def _names(names: Iterable[str]) -> str:
    folded = fold(names)
    return folded if len(folded) <= _MOST_NAMES else folded[: _MOST_NAMES - 1] + "…"


def _hints(names: defaultdict[EndReason, list[str]]) -> list[str]:
    hints = []
    if names[EndReason.Unknown]:
        hints.append("Unknown: the script may have run there, in part or to its end. Look before it is run again.")
    return hints
