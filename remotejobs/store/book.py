"""The ledger's side of the file: what the run of a job writes, gathered within one transaction.

Knows tables and the state tables. Must not know threads or event loops; used by the writer's thread only.

Only who has a job's lease writes its progress, and the lease is compared once in each transaction: so what this book
remembers of a job between transactions is true as long as the epoch is. After a rollback it remembers nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from remotejobs.errors import JobError, LeaseLostError
from remotejobs.model import JobSpec, Outcome, Record, Stream
from remotejobs.rows import LEASE_SECONDS, Phase, Request
from remotejobs.states import JobState, parent_state, transition
from remotejobs.store.encoding import encode_outcome, encode_spec
from remotejobs.store.schema import SHIFT
from remotejobs.store.tail import Appended

STATES: Final = tuple(JobState(number) for number in range(len(JobState)))
ID_BYTES: Final = 64
_LOW: Final = (1 << SHIFT) - 1
_ERROR: Final = int(Stream.Error)
# Columns of `progress`, as they are written.
(_ID, _STATE, _PHASE, _BEGAN, _ENDED, _SEEN, _SEQ, _OBJECT, _ERRORS) = range(9)
(_SHELL, _COMMAND, _LAST, _ORDER, _CHANGED, _OUTCOME, _FAILURE) = range(9, 16)
_ROWS: Final = 32  # in one statement


def _statements(head: str, columns: int) -> tuple[str, ...]:
    """For 0 to 32 rows: each step of SQLite is a chance for the interpreter to be given to another thread."""
    row = f"({','.join('?' * columns)})"
    return tuple([f"{head} VALUES {','.join([row] * rows)}" for rows in range(_ROWS + 1)])


_PROGRESS: Final = _statements("REPLACE INTO progress", 16)
_RECORD: Final = _statements("INSERT INTO record (id, child, seq, stream, object_id, time, raw)", 7)


class News(NamedTuple):
    """What a transaction wrote of a job: rows of `progress`, and records."""

    rows: list[tuple[Any, ...]]
    appended: list[Appended]


class _Run:
    """What the book remembers of a job that this process runs."""

    __slots__ = ("base", "changed", "children", "counts", "ended", "ends", "epoch", "last", "last_change", "seen")

    def __init__(self, job_id: int, epoch: int, total: int, last: int) -> None:
        self.base = job_id << SHIFT
        self.epoch = epoch
        self.last = last
        self.children: dict[int, list[Any]] = {}
        self.counts = {JobState.NotStarted: total}
        self.ends = 0
        self.last_change: int | None = None
        self.ended: float | None = None
        self.seen = 0.0
        self.changed = 0


class Book:
    """What one writer writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._runs: dict[int, _Run] = {}
        self._checked: dict[int, _Run | None] = {}
        self._touched: dict[int, list[Any]] = {}
        self._records: list[Any] = []
        self._consumed: dict[int, tuple[int, int]] = {}  # cursor, ends told: go with what else is written of a job
        self.news: dict[int, News] = {}

    def forget(self) -> None:
        """The transaction failed: nothing that is remembered can be trusted."""
        self._runs.clear()
        self.begin()

    def begin(self) -> None:
        """A transaction begins: every lease must be compared anew."""
        self._checked.clear()
        self._touched.clear()
        self._records.clear()
        self._consumed.clear()
        self.news = {}

    def flush(self) -> None:
        """Write what the operations of this transaction came to."""
        self._many(_RECORD, self._records)
        self._records.clear()
        rows = list(self._touched.values())
        self._many(_PROGRESS, rows)
        for row in rows:
            self._news(row[_ID] >> SHIFT).rows.append(tuple(row))
        self._touched.clear()
        for job_id, run in self._checked.items():
            if run is not None and run.seen:
                counts, consumed = encode_counts(run.counts), self._consumed.pop(job_id, (0, 0))
                self._execute(
                    "UPDATE job SET counts = ?, last_change = ?, ended = ?, last_number = ?, version = ?, "
                    "lease_seen = max(lease_seen, ?), cursor = max(cursor, ?), told = max(told, ?) WHERE id = ?",
                    (counts, run.last_change, run.ended, run.last, run.changed, run.seen, *consumed, job_id),
                )
                run.seen = 0.0
        for job_id, consumed in self._consumed.items():
            self._execute(CONSUMED, (*consumed, job_id))
        self._consumed.clear()

    # What the store asks: each is one queued operation.

    def submit(self, spec: JobSpec, notes: Sequence[str], now: float) -> int:
        """Store a job and its plan; returns its id. Its children's ids follow it."""
        total = len(spec.targets)
        (job_id,) = self._execute("SELECT next FROM sequence").fetchone()
        self._execute("UPDATE sequence SET next = ?", (job_id + 1 + total,))
        self._execute(
            "INSERT INTO job (id, name, location, instance_id, began, counts, notes, children) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job_id,
                _clean(spec.name or f"Job{job_id}"),
                _clean(",".join([target.name for target in spec.targets])),
                os.urandom(16),
                now,
                encode_counts({JobState.NotStarted: total}),
                json.dumps(list(notes)),
                total,
            ),
        )
        self._execute("INSERT INTO plan VALUES (?, ?, ?)", (job_id, encode_spec(spec), os.urandom(ID_BYTES * total)))
        return int(job_id)

    def lease(self, job_id: int, owner: str, now: float) -> int:
        """Take a job over; returns the epoch."""
        found = self._execute(
            "SELECT lease_owner, lease_epoch, lease_seen, requests FROM job WHERE id = ?", (job_id,)
        ).fetchone()
        if found is None:
            raise no_job(job_id)
        held, epoch, seen, requests = found
        if held is not None and seen + LEASE_SECONDS > now:
            raise JobError(f"Job {job_id} is run by {held}.", owner=held)
        self.flush()
        self._execute(
            "UPDATE job SET lease_owner = ?, lease_epoch = ?, lease_seen = ?, requests = ?, version = version + 1 "
            "WHERE id = ?",
            (_clean(owner), epoch + 1, now, requests if held is None else _served(requests), job_id),
        )
        self._checked.pop(job_id, None)
        return int(epoch) + 1

    def renew(self, job_id: int, epoch: int, now: float) -> None:
        """The owner lives."""
        done = self._execute(
            "UPDATE job SET lease_seen = max(lease_seen, ?) WHERE id = ? AND lease_epoch = ? AND lease_owner NOT NULL",
            (now, job_id, epoch),
        )
        if not done.rowcount:
            raise lease_lost(job_id)

    def release(self, job_id: int, epoch: int) -> None:
        """Nothing of the job runs any more: a disconnect that was asked for is over with it."""
        self.flush()
        found = self._execute(
            "SELECT requests FROM job WHERE id = ? AND lease_epoch = ? AND lease_owner NOT NULL", (job_id, epoch)
        ).fetchone()
        if found is not None:
            self._execute(
                "UPDATE job SET lease_owner = NULL, requests = ?, version = version + 1 WHERE id = ?",
                (_served(found[0]), job_id),
            )
            self._checked.pop(job_id, None)
            self._runs.pop(job_id, None)

    def advance(self, job_id: int, number: int) -> None:
        """All up to `number` has been consumed."""
        cursor, told = self._consumed.get(job_id, (0, 0))
        self._consumed[job_id] = max(cursor, number), told

    def tell(self, job_id: int, children: Sequence[int]) -> None:
        """The ends of these children have been received."""
        tell(self._execute, job_id, children)

    def told(self, job_id: int, count: int) -> None:
        """The first `count` ends have been received."""
        cursor, told = self._consumed.get(job_id, (0, 0))
        self._consumed[job_id] = cursor, max(told, count)

    def starting(self, job_id: int, child: int, epoch: int, now: float) -> None:
        """The host may have the command from now on."""
        run = self._run(job_id, epoch)
        row = self._child(run, child)
        row[_PHASE] = max(row[_PHASE], int(Phase.STARTING))
        self._touch(run, row, now)

    def started(self, job_id: int, child: int, epoch: int, now: float, shell_id: str, command_id: str) -> None:
        """The host has the command."""
        run = self._run(job_id, epoch)
        row = self._child(run, child)
        self._move(run, row, JobState.Running)
        row[_SHELL], row[_COMMAND], row[_PHASE], row[_SEEN] = shell_id, command_id, int(Phase.STARTED), now
        row[_OUTCOME] = None
        if row[_BEGAN] is None:
            row[_BEGAN] = now
        self._touch(run, row, now)

    def append(self, job_id: int, child: int, epoch: int, now: float, records: Sequence[Record]) -> None:
        """Number the records that are new, and write them."""
        run = self._run(job_id, epoch)
        row = self._child(run, child)
        key, last = run.base | child, row[_OBJECT]
        for record in records:
            if record.object_id <= last:
                records = self._new(key, records)
                break
            last = record.object_id
        at, errors, add = run.base + run.last, row[_ERRORS], self._records.append
        for seq, stream, raw, object_id, arrived in records:
            at += 1
            kind = int(stream)
            if kind == _ERROR:
                errors += 1
            last = max(last, object_id)
            add((at, key, seq, kind, object_id, arrived, raw))
        row[_SEEN] = now
        if records:
            self._news(job_id).appended.append(Appended(run.last + 1, child, records))
            row[_SEQ], row[_SEEN], row[_OBJECT], row[_ERRORS] = records[-1].seq, records[-1].time, last, errors
            run.last = row[_LAST] = at - run.base
        self._touch(run, row, now)

    def disconnected(self, job_id: int, child: int, epoch: int, now: float, why: Outcome | None) -> None:
        """The shell was left on its host; why stands where the outcome will."""
        run = self._run(job_id, epoch)
        row = self._child(run, child)
        self._move(run, row, JobState.Disconnected)
        row[_SEEN], row[_OUTCOME] = now, why and encode_outcome(why)
        self._touch(run, row, now)

    def finish(self, job_id: int, child: int, epoch: int, now: float, outcome: Outcome) -> None:
        """The end; the first one counts."""
        run = self._run(job_id, epoch)
        row = self._child(run, child)
        if row[_ORDER] is not None:
            return
        text = encode_outcome(outcome)
        self._move(run, row, outcome.state)
        run.ends += 1
        row[_PHASE], row[_ENDED], row[_ORDER] = int(Phase.ENDED), now, run.ends
        row[_OUTCOME], row[_FAILURE] = text, outcome.failure
        if parent_state(run.counts).finished:
            run.ended = now
        self._touch(run, row, now)

    def _run(self, job_id: int, epoch: int) -> _Run:
        """What is remembered of a job, once its lease has been compared."""
        if job_id in self._checked:
            run = self._checked[job_id]
        else:
            run = self._checked[job_id] = self._compare(job_id)
        if run is None or run.epoch != epoch:
            raise lease_lost(job_id)
        return run

    def _compare(self, job_id: int) -> _Run | None:
        found = self._execute(
            "SELECT lease_owner, lease_epoch, version, children, last_number FROM job WHERE id = ?", (job_id,)
        ).fetchone()
        if found is None or found[0] is None:
            self._runs.pop(job_id, None)
            return None
        _, epoch, version, total, last = found
        run = self._runs.get(job_id)
        if run is None or run.epoch != epoch:
            run = self._runs[job_id] = self._load(job_id, epoch, total, last)
        run.changed = version + 1
        return run

    def _load(self, job_id: int, epoch: int, total: int, last: int) -> _Run:
        """Read what an earlier run, or an earlier owner, came to."""
        run = _Run(job_id, epoch, total, last)
        run.last_change, run.ended = self._execute(
            "SELECT last_change, ended FROM job WHERE id = ?", (job_id,)
        ).fetchone()
        for row in self._execute("SELECT * FROM progress WHERE id BETWEEN ? AND ?", (run.base, run.base | _LOW)):
            run.children[row[_ID] & _LOW] = list(row)
            state = STATES[row[_STATE]]
            run.counts[JobState.NotStarted] -= 1
            run.counts[state] = run.counts.get(state, 0) + 1
            run.ends += row[_ORDER] is not None
        return run

    def _news(self, job_id: int) -> News:
        news = self.news.get(job_id)
        if news is None:
            news = self.news[job_id] = News([], [])
        return news

    def _child(self, run: _Run, child: int) -> list[Any]:
        row = run.children.get(child)
        if row is None:
            row = [run.base | child, 0, 0, None, None, None, 0, 0, 0, "", "", 0, None, 0, None, None]
            run.children[child] = row
        return row

    def _touch(self, run: _Run, row: list[Any], now: float) -> None:
        row[_CHANGED] = run.changed
        run.seen = now
        self._touched[row[_ID]] = row

    def _move(self, run: _Run, row: list[Any], state: JobState) -> None:
        old = STATES[row[_STATE]]
        if old is state:
            return  # said again, after a takeover
        new = transition(old, state)
        run.counts[old] -= 1
        run.counts[new] = run.counts.get(new, 0) + 1
        row[_STATE] = run.last_change = int(new)

    def _new(self, key: int, records: Sequence[Record]) -> list[Record]:
        """Those that are not there yet; asked only where an object id does not rise."""
        self._many(_RECORD, self._records)
        self._records.clear()
        lowest = min(record.object_id for record in records)
        known = {
            object_id
            for (object_id,) in self._execute(
                "SELECT object_id FROM record WHERE child = ? AND object_id >= ?", (key, lowest)
            )
        }
        kept = []
        for record in records:
            if record.object_id not in known:
                known.add(record.object_id)
                kept.append(record)
        return kept

    def _many(self, statements: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        for at in range(0, len(rows), _ROWS):
            some = rows[at : at + _ROWS]
            self._execute(statements[len(some)], [value for row in some for value in row])


CONSUMED: Final = "UPDATE job SET cursor = max(cursor, ?), told = max(told, ?) WHERE id = ?"


def tell(execute: Any, job_id: int, children: Iterable[int]) -> None:
    """The ends of these children have been received."""
    marks = next_mark(execute, job_id)
    for child in children:
        execute(
            "INSERT INTO mark (id, told, changed) VALUES (?, 1, ?) "
            "ON CONFLICT (id) DO UPDATE SET told = 1, changed = excluded.changed",
            (job_id << SHIFT | child, marks),
        )


def next_mark(execute: Any, job_id: int) -> int:
    """The number of the change that a reader makes to a job's children."""
    execute("UPDATE job SET marks = marks + 1 WHERE id = ?", (job_id,))
    found = execute("SELECT marks FROM job WHERE id = ?", (job_id,)).fetchone()
    if found is None:
        raise no_job(job_id)
    return int(found[0])


def encode_counts(counts: dict[JobState, int]) -> str:
    """`0:12 1:3`: state numbers and how many children are in each."""
    return " ".join([f"{int(state)}:{number}" for state, number in counts.items() if number])


def decode_counts(text: str) -> dict[JobState, int]:
    """Read them back."""
    pairs = [pair.split(":") for pair in text.split()]
    return {STATES[int(state)]: int(number) for state, number in pairs}


def no_job(job_id: int) -> JobError:
    """There is no job with this id."""
    return JobError(
        f"The command cannot find a job with the job ID {job_id}.", error_id="JobWithSpecifiedSessionNotFound"
    )


def lease_lost(job_id: int) -> LeaseLostError:
    """Another process has it, or nobody."""
    return LeaseLostError(f"Job {job_id} is no longer run by this process.")


def _served(requests: str) -> str:
    return " ".join(name for name in requests.split() if name != Request.DISCONNECT)


def _clean(text: str) -> str:
    """Half a surrogate pair, from an odd command line, has no UTF-8."""
    return text.encode("utf-8", "replace").decode()
