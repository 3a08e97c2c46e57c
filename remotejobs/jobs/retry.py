"""The targets of a job in some states or end reasons: for a job that tries them again, or as targets of any other.

Knows jobs, states and end reasons. Must not know how a job is started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from remotejobs.errors import JobError, UsageError
from remotejobs.jobs import lookup, presumed
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import JobSpec, Target
from remotejobs.ports import Clock, JobStore
from remotejobs.states import EndReason, JobState

DEFAULT_STATES = (JobState.Failed.name, JobState.Stopped.name)


class Retry(NamedTuple):
    """A job that runs the same command again, and what the user should be told of it."""

    spec: JobSpec
    notes: tuple[str, ...]


def retry(job: RemoteJob, state: Sequence[str] = (), reason: Sequence[str] = ()) -> Retry:
    """Make the job that tries some targets of `job` again: the same command and options, linked to it.

    Args:
        job: The job.
        state: States of its children.
        reason: End reasons of its children. Without either, what failed and what was stopped.

    Raises:
        UsageError: A word that is neither.
        JobError: No target is in them.
    """
    wanted = (*state, *reason) or DEFAULT_STATES
    chosen = _chosen(job, wanted)
    if not chosen:
        raise JobError(
            f"Job {job.id} has no target that is {' or '.join(wanted)}: there is nothing to run again. See them: "
            f"remotejob get {job.id} -IncludeChildJob",
            error_id="RetryNothingToDo",
            job=job.id,
        )
    notes: tuple[str, ...] = ()
    ends = [(job.child_jobs[index].location, job.child_jobs[index].outcome) for index in chosen]
    if names := [name for name, outcome in ends if outcome and outcome.reason is EndReason.Unknown]:
        shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
        notes = (f"In job {job.id} the script may have run on {shown} already.",)
    row = job.row
    targets = tuple(row.children[index].target for index in chosen)
    shells = tuple(row.spec.shell_name(index) for index in chosen) if row.spec.session_names else ()
    again: dict[str, Any] = {
        "targets": targets,
        "session_names": shells,
        "retry_of": job.id,
        "throttle_limit": row.throttle_limit or row.spec.throttle_limit,
    }
    return Retry(dataclasses.replace(row.spec, **again), notes)


def targets_of_job(expression: str, store: JobStore, clock: Clock | None = None) -> tuple[Target, ...]:
    """Read `42`, `Nightly`, `42/Failed` or `42/Unreachable`: the targets of a job, or those in a state or end reason.

    Raises:
        UsageError: A word that is neither a state nor an end reason.
        JobError: There is no such job, or several have this name.
    """
    named, slash, word = expression.removeprefix("@").removeprefix("job:").partition("/")
    if named.strip().isdecimal():
        found = lookup.by_id(store, int(named), children=False)
    else:
        found = lookup.by_name(store, named.strip(), children=False)
    if len(found) != 1:
        what = f"{len(found)} jobs are called {named}" if found else f"No job is called {named}"
        raise JobError(f"{what}: name one job by its id, as in @job:42. See them: remotejob get", name=named)
    job = RemoteJob(store, found[0].job_id, clock=clock)
    children = job.row.children
    chosen = _chosen(job, (word,)) if slash else range(len(children))
    return tuple(children[index].target for index in chosen)


def _chosen(job: RemoteJob, wanted: Sequence[str]) -> list[int]:
    """Indexes of the children in these states or end reasons; `TimedOut` stands for each of its kind."""
    words = {_known(word) for word in wanted}
    row = job.row
    return [
        index for index, child in enumerate(row.children) if not words.isdisjoint(_words(job.child_now(row, child)))
    ]


def _words(now: presumed.Presumed) -> set[str]:
    words = {now.state.name.casefold()}
    if now.outcome is not None:
        reason = now.outcome.reason.value.casefold()
        words |= {reason, reason.partition("(")[0]}
    return words


def _known(word: str) -> str:
    text = word.strip().casefold()
    states = [state.name for state in JobState]
    reasons = [reason.value for reason in EndReason]
    known = {*states, *reasons, *(reason.partition("(")[0] for reason in reasons)}
    if text not in {name.casefold() for name in known}:
        raise UsageError(
            f"{word!r} is neither a job state nor an end reason. States: {', '.join(states)}. Reasons: "
            f"{', '.join(reasons)}.",
            error_id="CannotConvertArgumentNoMessage",
        )
    return text
