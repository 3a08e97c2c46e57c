"""Deleting the rows of removed jobs in steps that nobody waits long for, and giving the space back.

Knows tables. Must not know jobs as Python objects. What a process that ended in between leaves is swept by the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from remotejobs.store.schema import SHIFT

_ROWS: Final = 2000
_PAGES: Final = 1000
_LOW: Final = (1 << SHIFT) - 1
# Jobs that a process began to adopt, and left: a blob in place of the specification is the time of its last step.
_STALE: Final = (
    "SELECT job FROM plan WHERE typeof(spec) = 'blob' "
    "AND CAST(CAST(spec AS TEXT) AS INTEGER) < CAST(strftime('%s', 'now') AS INTEGER) - 600"
)


def sweep(connection: sqlite3.Connection, go_on: Callable[[], bool] = lambda: True) -> None:
    """Delete what the trash lists; the rest is left to the next one as soon as `go_on` says no between two steps."""
    for stale in connection.execute(_STALE).fetchall():
        connection.execute("INSERT OR IGNORE INTO trash VALUES (?)", stale)
    for (job_id,) in connection.execute("SELECT job FROM trash").fetchall():
        base = job_id << SHIFT
        for table in ("record", "progress", "mark"):
            while _step(connection, table, base, base | _LOW):
                if not go_on():
                    return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM plan WHERE job = ?", (job_id,))
        connection.execute("DELETE FROM trash WHERE job = ?", (job_id,))
        connection.execute("COMMIT")
    _give_back(connection, go_on)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # the file is shortened by this; waits for nobody


def _step(connection: sqlite3.Connection, table: str, first: int, last: int) -> bool:
    """Delete the first rows of a range; True where there are more."""
    found = connection.execute(
        f"SELECT id FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1 OFFSET ?",  # noqa: S608 - our own names
        (first, last, _ROWS),
    ).fetchone()
    connection.execute(
        f"DELETE FROM {table} WHERE id BETWEEN ? AND ?",  # noqa: S608
        (first, last if found is None else found[0] - 1),
    )
    return found is not None


def _give_back(connection: sqlite3.Connection, go_on: Callable[[], bool]) -> None:
    """Shorten the file step by step: each is a transaction of its own."""
    free = _free(connection)
    while free and go_on():
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        left = _free(connection)
        if left >= free:
            return
        free = left


def _free(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])
