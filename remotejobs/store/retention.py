"""What is kept, and for how long: removes jobs that ended long ago, or the oldest beyond a total size.

Knows the store of the file. Must not know who asks. A job that has not ended, or whose lease somebody holds, stays.
"""

from __future__ import annotations

from remotejobs.ports import LEASE_SECONDS, JobRow
from remotejobs.store.sqlite import SqliteStore

_DAY = 86_400.0


def prune(store: SqliteStore, *, days: float | None = None, size: int | None = None) -> list[int]:
    """Remove jobs by age, then by size.

    Args:
        store: The store.
        days: Jobs that ended longer ago than this are removed; None removes none for their age.
        size: Bytes that the file may hold: the jobs that ended first are removed until it holds no more; None is no
            limit.

    Returns:
        The ids of the jobs that were removed, in the order in which they were.
    """
    now = store.clock.time()
    ended = sorted((row for row in store.jobs() if _over(row, now)), key=lambda row: (row.ended, row.id))
    removed = []
    for row in ended:
        assert row.ended is not None
        old = days is not None and row.ended < now - days * _DAY
        if not old and (size is None or store.size() <= size):
            break
        store.remove(row.id)
        removed.append(row.id)
    if not removed:
        store.sweep()  # what a process left that ended while it removed
    return removed


def _over(row: JobRow, now: float) -> bool:
    return row.ended is not None and (row.lease is None or row.lease.seen + LEASE_SECONDS <= now)
