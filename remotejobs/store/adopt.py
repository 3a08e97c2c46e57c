"""A job of another store, written into the file: in steps that hold up nobody who writes, and whole or not at all.

Knows tables. Must not know where the records come from. A job is seen once its row is in `job`, and that is the last
thing written. Until then its row in `plan` holds the time of the last step in place of the specification (a blob, not
a text): what a process leaves that ended in between is known by its age, and swept like a removed job.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from remotejobs.errors import JobError, StoreError
from remotejobs.rows import Arrival, ChildRow, JobRow, Phase
from remotejobs.states import JobState
from remotejobs.store.book import encode_counts
from remotejobs.store.encoding import encode_outcome, encode_spec
from remotejobs.store.schema import SHIFT, connect, store_error
from remotejobs.store.sweep import sweep

_NOW: Final = "CAST(strftime('%s', 'now') AS BLOB)"
_RECORD: Final = "INSERT INTO record (id, child, seq, stream, object_id, time, raw) VALUES (?, ?, ?, ?, ?, ?, ?)"


async def adopt(path: Path, row: JobRow, unread: Sequence[int | None], pages: Iterable[Sequence[Arrival]]) -> int:
    """Write a job, in a thread; returns its id. Cancelled, it ends after the step that it is at, and undoes it all."""
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(_adopt, path, row, unread, pages, cancelled)
    finally:
        cancelled.set()


def counts_of(children: Iterable[ChildRow]) -> dict[JobState, int]:
    """How many children are in each state."""
    counts: dict[JobState, int] = {}
    for child in children:
        counts[child.state] = counts.get(child.state, 0) + 1
    return counts


def there_already(job_id: int, name: str) -> JobError:
    """The refusal of a second copy."""
    return JobError(
        f"This job is here already: it is job {job_id} ({name}). Remove that one first (remotejob remove {job_id}) if "
        "the file is to take its place.",
        error_id="JobAlreadyImported",
        job=job_id,
    )


def comes_twice(arrival: Arrival, location: str) -> JobError:
    """The refusal of two records that claim to be one."""
    return JobError(f"[{location}] Record {arrival.number} has the object id of an earlier one: nothing was imported.")


def _adopt(
    path: Path,
    row: JobRow,
    unread: Sequence[int | None],
    pages: Iterable[Sequence[Arrival]],
    cancelled: threading.Event,
) -> int:
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path, durable=False)
        job_id = _begin(connection, row)
        try:
            last = [0] * len(row.children)
            first_unread = 0
            for page in pages:
                if cancelled.is_set():
                    raise asyncio.CancelledError
                with _transaction(connection) as execute:
                    _still_ours(execute, path, job_id)
                    _insert(connection, job_id, row, page)
                for number, child, _ in page:
                    last[child] = number
                    new = unread[child]
                    if not first_unread and new is not None and number >= new:
                        first_unread = number
            connection.execute("PRAGMA synchronous = FULL")  # the last commit takes all that came before to the disk
            with _transaction(connection) as execute:
                _still_ours(execute, path, job_id)
                _end(execute, job_id, row, unread, last, first_unread)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # where it fails, the next sweep finds it
                connection.execute("INSERT OR IGNORE INTO trash VALUES (?)", (job_id,))
                sweep(connection)
            raise
    except sqlite3.Error as error:
        raise store_error(path, error) from error
    finally:
        if connection is not None:
            connection.close()
    return job_id


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection.execute
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _begin(connection: sqlite3.Connection, row: JobRow) -> int:
    """Take the ids, and say that something comes."""
    with _transaction(connection) as execute:
        _refuse_second(execute, row)
        (job_id,) = execute("SELECT next FROM sequence").fetchone()
        execute("UPDATE sequence SET next = ?", (job_id + 1 + len(row.children),))
        ids = b"".join([each.bytes for child in row.children for each in (child.instance_id, *child.start)])
        execute(f"INSERT INTO plan VALUES (?, {_NOW}, ?)", (job_id, ids))  # noqa: S608 - words of ours, here and below
    return int(job_id)


def _insert(connection: sqlite3.Connection, job_id: int, row: JobRow, page: Sequence[Arrival]) -> None:
    base = job_id << SHIFT
    rows = [
        (base | number, base | child, seq, int(stream), object_id, time, raw)
        for number, child, (seq, stream, raw, object_id, time) in page
    ]
    try:
        connection.executemany(_RECORD, rows)
    except sqlite3.IntegrityError:
        seen: set[tuple[int, int]] = set()
        for arrival in page:
            key = arrival.child, arrival.record.object_id
            there = connection.execute(
                "SELECT 1 FROM record WHERE child = ? AND object_id = ? AND id < ?",
                (base | key[0], key[1], base | arrival.number),
            ).fetchone()
            if key in seen or there:
                raise comes_twice(arrival, row.children[key[0]].target.name) from None
            seen.add(key)
        raise


def _still_ours(execute: Any, path: Path, job_id: int) -> None:
    done = execute(
        f"UPDATE plan SET spec = {_NOW} WHERE job = ? AND NOT EXISTS (SELECT 1 FROM trash WHERE trash.job = plan.job)",  # noqa: S608
        (job_id,),
    )
    if not done.rowcount:
        raise StoreError(
            f"The job store {path}: the import stood still for so long that another process took it for dead and "
            "removed what was there of it. Import it again.",
            path=str(path),
        )


def _refuse_second(execute: Any, row: JobRow) -> None:
    wanted = row.instance_id
    # The file has sixteen random bytes, of which the bits of a UUID's version are set when they are read.
    found = execute("SELECT id, name, instance_id FROM job WHERE substr(instance_id, 1, 6) = ?", (wanted.bytes[:6],))
    for job_id, name, raw in found.fetchall():
        if uuid.UUID(bytes=raw, version=4) == wanted:
            raise there_already(job_id, name)


def _end(
    execute: Any, job_id: int, row: JobRow, unread: Sequence[int | None], last: Sequence[int], first_unread: int
) -> None:
    """Write how far the children are, and the row that makes the job seen."""
    _refuse_second(execute, row)
    base, highest = job_id << SHIFT, max(last, default=0)
    cursor = first_unread - 1 if first_unread else highest
    order = {index: place for place, index in enumerate(row.ends, 1)}
    cursors = 0
    for index, child in enumerate(row.children):
        outcome = child.outcome or child.left
        if child.phase is not Phase.QUEUED or last[index]:
            execute(
                "INSERT INTO progress (id, state, phase, began, ended, seen, seq, object_id, error_count, shell_id, "
                "command_id, last_number, end_order, changed, outcome, failure) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                (
                    *(base | index, int(child.state), int(child.phase), child.began, child.ended, child.seen),
                    *(child.seq, child.object_id, child.error_count, child.shell_id, child.command_id),
                    *(last[index], order.get(index), outcome and encode_outcome(outcome)),
                    outcome and outcome.failure,
                ),
            )
        first = unread[index]
        received = last[index] if first is None else min(first - 1, last[index])
        ahead = received if received > cursor else 0
        if ahead or child.told or child.stop_requested:
            execute(
                "INSERT INTO mark (id, cursor, told, stop_requested, changed) VALUES (?, ?, ?, ?, 1)",
                (base | index, ahead, child.told, child.stop_requested),
            )
            cursors = cursors or int(ahead > 0)
    name = row.spec.name or f"Job{job_id}"
    execute(
        "INSERT INTO job (id, name, location, instance_id, began, ended, counts, last_change, notes, requests, cursor, "
        "last_number, version, marks, cursors, children) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1, ?, ?)",
        (
            *(job_id, _clean(name), _clean(row.location), row.instance_id.bytes, row.began, row.ended),
            *(encode_counts(counts_of(row.children)), row.last_change, json.dumps(row.notes)),
            *(" ".join(sorted(row.requests)), cursor, highest, cursors, len(row.children)),
        ),
    )
    execute("UPDATE plan SET spec = ? WHERE job = ?", (encode_spec(row.spec), job_id))


def _clean(text: str) -> str:
    """Half a surrogate pair has no UTF-8."""
    return text.encode("utf-8", "replace").decode()
