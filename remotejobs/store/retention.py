"""What is kept, and for how long: removes jobs that ended long ago, or the oldest beyond a total size.

Knows the store of the file and its settings. Must not know who asks. A job that has not ended, or whose lease somebody
holds, stays.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from remotejobs.config.load import load
from remotejobs.config.settings import RETENTION
from remotejobs.errors import JobError, RemoteJobsError
from remotejobs.ports import JobStore
from remotejobs.rows import LEASE_SECONDS, JobRow
from remotejobs.store.sqlite import SqliteStore

_log = logging.getLogger(__name__)
_DAY: Final = 86_400.0
_PAUSE: Final = 3600.0  # seconds between two times that a store is tidied


class Retention(NamedTuple):
    """How long jobs are kept: so many days after their end, and so many bytes of them; None is no limit."""

    days: float | None
    size: int | None


def retention(environment: Mapping[str, str] | None = None) -> Retention:
    """Read the settings: `[retention]` of the configuration, REMOTEJOBS_RETENTION_DAYS, REMOTEJOBS_RETENTION_SIZE.

    Raises:
        ConfigurationError: One of them means nothing, or a file of the configuration is refused.
    """
    values = load(environment).values
    return Retention(values[f"{RETENTION}.days"].value, values[f"{RETENTION}.size"].value)


def tidy(store: JobStore, seconds: float | None = None) -> None:
    """Remove what the settings no longer keep, once an hour at most. A failure is a line in the log.

    Args:
        store: A store in memory keeps everything.
        seconds: That it may take; what is left is for the next one.
    """
    if not isinstance(store, SqliteStore):
        return
    try:
        kept, now = retention(), store.clock.time()
        stamp = store.path.with_name(store.path.name + "-tidied")
        if not _due(stamp, now):
            return
        # before the work: of two that end at the same time one does it
        stamp.touch(mode=0o600)
        os.utime(stamp, (now, now))
        until = math.inf if seconds is None else store.clock.monotonic() + seconds
        removed = prune(store, days=kept.days, size=kept.size, go_on=lambda: store.clock.monotonic() < until)
        if removed:
            _log.info("removed by the retention settings: jobs %s", ", ".join(map(str, removed)))
        if store.clock.monotonic() >= until:
            stamp.unlink(missing_ok=True)
    except (RemoteJobsError, OSError, sqlite3.Error) as error:
        _log.warning("old jobs were not removed: %s", error)


def prune(
    store: SqliteStore, *, days: float | None = None, size: int | None = None, go_on: Callable[[], bool] = lambda: True
) -> list[int]:
    """Remove jobs by age, then by size. What ended less than a day ago stays: nobody may have seen it yet.

    Args:
        store: The store.
        days: Jobs that ended longer ago than this are removed; None removes none for their age.
        size: Bytes that the file may hold: the jobs that ended first are removed until it holds no more; None is no
            limit.
        go_on: Asked between steps; after a no the rest is left to the next one.

    Returns:
        The ids of the jobs that were removed, in the order in which they were.
    """
    now = store.clock.time()
    ended = sorted((row for row in store.jobs() if _over(row, now)), key=lambda row: (row.ended, row.id))
    removed = []
    for row in ended:
        assert row.ended is not None
        age = now - row.ended
        old = days is not None and age > days * _DAY
        if age <= _DAY or not (old or (size is not None and store.size() > size)):
            break
        if not go_on():
            break
        with suppress(JobError):  # somebody else was faster
            store.remove(row.id, go_on=go_on)
            removed.append(row.id)
    if not removed:
        store.sweep(go_on)  # what a process left that ended while it removed
    return removed


def _due(stamp: Path, now: float) -> bool:
    try:
        return not 0 <= now - stamp.stat().st_mtime < _PAUSE
    except FileNotFoundError:
        return True


def _over(row: JobRow, now: float) -> bool:
    return row.ended is not None and (row.lease is None or row.lease.seen + LEASE_SECONDS <= now)
