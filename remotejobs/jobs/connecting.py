"""How a connect comes along: which scripts were found on their hosts again, which were not, and why.

Knows rows and states. Must not know stores, engines or who connects.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from remotejobs.errors import JobError
from remotejobs.rows import ChildRow, JobRow, Phase
from remotejobs.states import JobState

CONNECT_SECONDS = 120.0
"""How long a connect waits for the hosts: the clocks for connecting and authenticating, and some tries."""


class Standing(NamedTuple):
    """The children that are connected again.

    Attributes:
        failed: Those that were not got hold of, or whose script is not there any more.
        waiting: Those whose hosts are still being asked.
        over: Waiting is over: what is left waits for a free slot, or nothing is left.
    """

    failed: list[ChildRow]
    waiting: list[ChildRow]
    over: bool


def begun(row: JobRow) -> list[int]:
    """The children whose scripts may be on their hosts."""
    return [n for n, child in enumerate(row.children) if child.outcome is None and child.phase is not Phase.QUEUED]


def standing(row: JobRow, children: Collection[int], *, owned: bool) -> Standing:
    """How it stands with these children.

    Args:
        row: The job.
        children: Indexes.
        owned: Somebody runs the job.
    """
    chosen = [row.children[index] for index in children]
    failed = [child for child in chosen if child.left or (child.outcome and child.outcome.reason.exit_code == 3)]
    waiting = [child for child in chosen if child.state is JobState.Disconnected and not child.left]
    running = row.counts.get(JobState.Running, 0)
    live = any(count and not state.persistent for state, count in row.counts.items())
    # who has got hold of nothing gives the job back: then another may try
    over = running >= row.spec.slots or (not waiting and (live or not failed))
    return Standing(failed, waiting, over or not owned)


def not_connected(row: JobRow, now: Standing, *, late: float | None, owner: str) -> JobError | None:
    """What Connect-PSSession says of those that were not connected; None where all were, or follow by themselves.

    Args:
        row: The job.
        now: How it stands.
        late: The seconds that were waited, where they were not enough.
        owner: Who runs the job; empty where nobody does.
    """
    words = {child.id: child.left or child.outcome for child in now.failed}
    failed = [
        {"target": child.target.name, "message": why.message, "error_id": why.error_id}
        for child in now.failed
        if (why := words[child.id])
    ]
    waiting = [child.target.name for child in now.waiting] if late is not None or not owner else []
    if not failed and not waiting:
        return None
    said = [f"{len(failed):,} were not connected ({failed[0]['target']}: {failed[0]['message']})"] if failed else []
    if waiting and owner:
        said.append(f"{len(waiting):,} have not answered within {late:g} s; {owner} goes on asking")
    elif waiting:
        said.append(f"{len(waiting):,} were not asked to the end: the process that did is gone, connect again")
    hosts = len(row.children)
    return JobError(
        f"Job {row.id}, of {'1 host' if hosts == 1 else f'{hosts:,} hosts'}: {'; '.join(said)}.",
        error_id="PSSessionConnectFailed",
        job=row.id,
        failed=failed,
        waiting=waiting,
    )
