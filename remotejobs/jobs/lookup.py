"""Which jobs are meant: by id, name, instance id, state or command, with PowerShell's rules and errors.

Knows rows of the store and wildcards. Must not know what is then done with a job.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from remotejobs.errors import JobError, UsageError
from remotejobs.jobs import presumed
from remotejobs.ports import JobStore
from remotejobs.states import JobState

_WILDCARD = re.compile(r"\*|\?|\[[^\]]+\]|`?.", re.DOTALL)


class Found(NamedTuple):
    """A job, or one of its children by index."""

    job_id: int
    child: int | None = None


def by_id(store: JobStore, number: int, *, children: bool = True) -> list[Found]:
    """The job or child job with this id.

    Raises:
        JobError: JobWithSpecifiedSessionNotFound.
    """
    with contextlib.suppress(JobError):
        return [Found(store.job(number).id)]
    # Children take the ids that follow their parent's, so one job at most has to be looked into.
    before = [row for row in store.jobs() if row.id < number] if children else []
    if before:
        row, index = before[-1], number - before[-1].id - 1
        if index < len(row.children) and row.children[index].id == number:
            return [Found(row.id, index)]
    raise JobError(
        f"The command cannot find a job with the job ID {number}. Verify the value of the Id parameter and then try "
        "the command again.",
        error_id="JobWithSpecifiedSessionNotFound",
        job=number,
    )


def by_name(store: JobStore, name: str, *, children: bool = True) -> list[Found]:
    """The jobs, and child jobs, whose name matches; nothing where a pattern with wildcards matches none.

    Raises:
        JobError: JobWithSpecifiedNameNotFound.
    """
    pattern, found = wildcard(name), list[Found]()
    plain = not has_wildcards(name)
    for row in store.jobs():
        if pattern.fullmatch(row.name):
            found.append(Found(row.id))
        # children are called Job<id>: most names need no look at them
        if children and (not plain or re.fullmatch(r"job\d+", name, re.IGNORECASE)):
            found += [Found(row.id, i) for i, child in enumerate(row.children) if pattern.fullmatch(f"Job{child.id}")]
    if found or not plain:
        return found
    raise JobError(
        f"The command cannot find the job because the job name {name} was not found. Verify the value of the Name "
        "parameter, and then try the command again.",
        error_id="JobWithSpecifiedNameNotFound",
        name=name,
    )


def by_instance_id(store: JobStore, number: uuid.UUID, *, children: bool = True) -> list[Found]:
    """The job or child job with this instance id.

    Raises:
        JobError: JobWithSpecifiedInstanceIdNotFound.
    """
    rows = store.jobs()
    for row in rows:
        if row.instance_id == number:
            return [Found(row.id)]
    for row in rows if children else ():
        for index, child in enumerate(row.children):
            if child.instance_id == number:
                return [Found(row.id, index)]
    raise JobError(
        f"The command cannot find a job with the instance identifier {number}. Verify the value of the InstanceId "
        "parameter, and then try the command again.",
        error_id="JobWithSpecifiedInstanceIdNotFound",
        instance_id=str(number),
    )


def by_state(store: JobStore, state: JobState, now: float) -> list[Found]:
    """The jobs in this state; children are not looked at."""
    return [Found(row.id) for row in store.jobs() if presumed.state_now(row, now) is state]


def by_command(store: JobStore, commands: Sequence[str]) -> Iterator[Found]:
    """The jobs whose script, without the blanks around it and case aside, is one of these or matches its wildcards."""
    texts = {command.strip().casefold() for command in commands}
    patterns = [wildcard(command) for command in commands if has_wildcards(command)]
    for row in store.jobs():
        text = row.spec.command.text.strip()
        if text.casefold() in texts or any(pattern.fullmatch(text) for pattern in patterns):
            yield Found(row.id)


def has_wildcards(name: str) -> bool:
    """True where a name is a pattern."""
    return any((len(part) > 1 and part[0] == "[") or part in "*?" for part in _WILDCARD.findall(name))


def wildcard(pattern: str) -> re.Pattern[str]:
    """A PowerShell wildcard (`*`, `?`, `[a-c]`, backtick escapes) as a regular expression, case ignored."""

    def part(match: re.Match[str]) -> str:
        text = match[0]
        if text in "*?":
            return ".*" if text == "*" else "."
        if text.startswith("[") and len(text) > 2:
            return "[" + re.sub(r"([\\^\[])", r"\\\1", text[1:-1]) + "]"
        return re.escape(text[-1] if text.startswith("`") else text)

    try:
        return re.compile(_WILDCARD.sub(part, pattern), re.IGNORECASE | re.DOTALL)
    except re.error:
        raise UsageError(
            f"The specified wildcard character pattern is not valid: {pattern}", error_id="RuntimeException"
        ) from None


def state_named(name: JobState | str) -> JobState:
    """A state by its name, case ignored.

    Raises:
        UsageError: There is none with this name.
    """
    if isinstance(name, JobState):
        return name
    for state in JobState:
        if state.name.casefold() == name.strip().casefold():
            return state
    raise UsageError(
        f"{name!r} is not a job state. Job states are {', '.join(state.name for state in JobState)}.",
        error_id="CannotConvertArgumentNoMessage",
    )
