"""The JobStore and ChildLedger ports on one SQLite file, shared by any number of processes.

Knows tables, rows and the writer. Must not know hosts, engines or readers. What is awaited goes through the writer's
thread and is on the disk when it returns; what is not async is a short transaction on the loop's own connection. No
read is left open: 20 readers do not keep the write-ahead log from being emptied.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from remotejobs.model import JobSpec, Outcome, Record, Stream
from remotejobs.ports import Clock
from remotejobs.rows import REFUSAL_SECONDS, Arrival, JobRow, Request
from remotejobs.store.adopt import adopt
from remotejobs.store.book import CONSUMED, Book, News, next_mark, no_job, tell
from remotejobs.store.home import log_path
from remotejobs.store.rows import CURSOR, CURSORS, JOB_COLUMNS, LAST_NUMBER, VERSION, Children, StoredJob
from remotejobs.store.schema import SHIFT, connect, store_error
from remotejobs.store.sweep import sweep
from remotejobs.store.tail import Tail
from remotejobs.store.writer import Writer

_LOW: Final = (1 << SHIFT) - 1
_STREAMS: Final = (Stream.Output, *Stream)  # by number; 0 is none
_FEW: Final = 16
_PAGE: Final = 512
_FIRST_POLL, _LAST_POLL = 0.02, 0.2
_JOBS: Final = f"SELECT {JOB_COLUMNS} FROM job ORDER BY id"  # noqa: S608 - names of ours, here and below
_JOB: Final = f"SELECT {JOB_COLUMNS} FROM job WHERE id = ?"  # noqa: S608
_SELECT: Final = "SELECT id, child, seq, stream, raw, object_id, time FROM record"
_OLD: Final = "abs(time - ?1) >= ?2"  # a clock may have been set back
_REFUSALS: Final = (
    f"SELECT count(*) FILTER (WHERE {_OLD}), count(*) FILTER (WHERE account = ?3 AND NOT {_OLD}) FROM refusal"  # noqa: S608
)
_DROP_OLD: Final = f"DELETE FROM refusal WHERE {_OLD}"  # noqa: S608
_NOT_TAKEN: Final = " AND NOT EXISTS (SELECT 1 FROM mark WHERE mark.id = child AND cursor >= record.id & ?)"


class SqliteStore:
    """Jobs in a file.

    Args:
        path: The file, made if it is not there; its folder is.
        clock: Time.

    Raises:
        StoreError: The file cannot be used.
    """

    commits = 0
    """Short transactions of all stores of this process: another one on the same file sees them within its turn."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._connection = connect(path, durable=False)
        self._writer: Writer | None = None
        self._rows: dict[int, StoredJob] = {}
        self._data_version = -1
        self._looked = -1
        self._fresh: set[int] = set()  # jobs whose rows are as new as `_data_version`
        self._all_fresh = False
        self._ahead: dict[int, int] = {}  # cursors on their way to the file
        self._tails: dict[int, Tail] = {}  # of jobs that are read here while they are written here
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False

    async def submit(self, spec: JobSpec, notes: Sequence[str] = ()) -> JobRow:
        """Store a job; parent and children take their ids from one sequence, the parent first (PowerShell's rule)."""
        job_id = await self.write(Book.submit, spec, notes, self.clock.time())
        row = self._row(job_id)
        row.spec = spec
        return row

    async def adopt(self, row: JobRow, unread: Sequence[int | None], pages: Iterable[Sequence[Arrival]]) -> JobRow:
        """Store a job that another store had."""
        return self._row(await adopt(self.path, row, unread, pages))

    async def lease(self, job_id: int, owner: str) -> int:
        """Take the job over."""
        epoch: int = await self.write(Book.lease, job_id, owner, self.clock.time())
        return epoch

    async def renew(self, job_id: int, epoch: int) -> None:
        """Say that the owner lives."""
        await self.write(Book.renew, job_id, epoch, self.clock.time())

    async def release(self, job_id: int, epoch: int) -> None:
        """Give the lease back."""
        await self.write(Book.release, job_id, epoch)

    def ledger(self, job_id: int, child: int, epoch: int) -> SqliteLedger:
        """The ledger of one child; `child` is its index."""
        return SqliteLedger(self, job_id, child, epoch)

    def write(self, method: Any, *arguments: Any) -> asyncio.Future[Any]:
        """Queue an operation of the book for the writer; committed when the future has its result."""
        if self._writer is None:
            if self._closed:
                raise store_error(self.path, RuntimeError("it was closed"))
            self._writer = Writer(self.path, lambda: connect(self.path, durable=True), self._committed)
        return self._writer.put(method, *arguments)

    def jobs(self) -> list[JobRow]:
        """Return every job."""
        self._look()
        if not self._all_fresh:
            self._rows = {raw[0]: self._taken(raw) for raw in self._query(_JOBS)}
            self._fresh = set(self._rows)
            self._all_fresh = True
        return list(self._rows.values())

    def job(self, job_id: int) -> JobRow:
        """Return a job's row.

        Raises:
            JobError: There is none.
        """
        return self._row(job_id)

    def read(
        self, job_id: int, after: int, limit: int, *, children: Collection[int] | None = None, again: bool = False
    ) -> list[Arrival]:
        """Return records after arrival number `after`, at most `limit`. They stay until the job is removed."""
        row, base = self._row(job_id), job_id << SHIFT
        if not again:
            after = max(after, row.raw[CURSOR], self._ahead.get(job_id, 0))
        whole = children is None and not again and not row.raw[CURSORS]
        tail = self._tails.get(job_id) if whole else None
        if tail is not None and (page := tail.read(after, limit)):
            return page
        if after >= row.raw[LAST_NUMBER] or limit <= 0:
            if whole and tail is None and self._writer is not None:
                self._tails[job_id] = Tail(after)
            return []
        page = []
        while len(page) < limit:
            size = min(limit - len(page), _PAGE)
            found = self._page(row, base, after, size, children, again)
            page += [
                Arrival(key - base, child - base, Record(seq, _STREAMS[stream], raw, object_id, time))
                for key, child, seq, stream, raw, object_id, time in found
            ]
            if len(found) < size:
                break
            after = page[-1].number
        return page

    def advance(self, job_id: int, number: int, children: Collection[int] | None = None) -> None:
        """Move the cursor. While this process writes it goes with the next commit, and the loop need not wait."""
        if job_id not in self._rows:
            self._row(job_id)
        if children is None:
            if self._writer is not None and self._writer.busy:
                self._ahead[job_id] = max(number, self._ahead.get(job_id, 0))
                self._writer.send(Book.advance, job_id, number)
                return
            with self._transaction() as execute:
                execute(CONSUMED, (number, 0, job_id))
            return
        with self._transaction() as execute:
            for child in children:
                execute(
                    "INSERT INTO mark (id, cursor) VALUES (?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET cursor = max(cursor, excluded.cursor)",
                    (job_id << SHIFT | child, number),
                )
            execute("UPDATE job SET cursors = 1 WHERE id = ?", (job_id,))

    def tell(self, job_id: int, children: Collection[int]) -> None:
        """Say that the ends of these children have been received."""
        row, told = self._row(job_id), list(children)
        if not told:
            return
        assert isinstance(row.children, Children)
        count = row.children.told(told)  # as when all is read: one number for all of them
        if self._writer is not None and self._writer.busy:
            self._writer.send(*((Book.told, job_id, count) if count else (Book.tell, job_id, told)))
            return
        with self._transaction() as execute:
            if count:
                execute(CONSUMED, (0, count, job_id))
            else:
                tell(execute, job_id, told)

    def unread(self, job_id: int, child: int | None = None) -> bool:
        """True while something lies unread, of one child or of any."""
        row, base = self._row(job_id), job_id << SHIFT
        cursor = max(row.raw[CURSOR], self._ahead.get(job_id, 0))
        if row.raw[LAST_NUMBER] <= cursor:
            return False
        if child is None and not row.raw[CURSORS]:
            return True
        lowest, highest = (base, base | _LOW) if child is None else (base | child, base | child)
        return bool(
            self._query(
                "SELECT 1 FROM progress LEFT JOIN mark USING (id) WHERE id BETWEEN ? AND ? "
                "AND last_number > max(?, coalesce(cursor, 0)) LIMIT 1",
                (lowest, highest, cursor),
            )
        )

    def held(self, job_id: int) -> bool:
        """Never: what lies unread lies on the disk."""
        self._row(job_id)
        return False

    def request(self, job_id: int, request: Request, child: int | None = None) -> None:
        """Note what is asked."""
        self._row(job_id)
        with self._transaction() as execute:
            if child is None:
                held = execute("SELECT requests FROM job WHERE id = ?", (job_id,)).fetchone()
                requests = " ".join(sorted({*(held[0] if held else "").split(), request}))
                execute("UPDATE job SET requests = ?, version = version + 1 WHERE id = ?", (requests, job_id))
            else:
                execute(
                    "INSERT INTO mark (id, stop_requested, changed) VALUES (?, 1, ?) "
                    "ON CONFLICT (id) DO UPDATE SET stop_requested = 1, changed = excluded.changed",
                    (job_id << SHIFT | child, next_mark(execute, job_id)),
                )
                execute("UPDATE job SET version = version + 1 WHERE id = ?", (job_id,))
        self._wake()

    def throttle(self, job_id: int, limit: int) -> None:
        """Set the limit."""
        self._row(job_id)
        with self._transaction() as execute:
            execute("UPDATE job SET throttle_limit = ?, version = version + 1 WHERE id = ?", (limit, job_id))
        self._wake()

    def note(self, job_id: int, text: str) -> None:
        """Add a note."""
        notes = list(dict.fromkeys((*self._row(job_id).notes, text)))
        with self._transaction() as execute:
            execute("UPDATE job SET notes = ?, version = version + 1 WHERE id = ?", (json.dumps(notes), job_id))
        self._wake()

    def refusals(self, account: str) -> int:
        """How often the account was refused of late."""
        since = (self.clock.time(), REFUSAL_SECONDS)
        ((old, recent),) = self._query(_REFUSALS, (*since, account))
        if old:
            with self._transaction() as execute:
                execute(_DROP_OLD, since)
        return int(recent)

    def refused(self, account: str) -> None:
        """The account was refused once more."""
        now = self.clock.time()
        with self._transaction() as execute:
            execute(_DROP_OLD, (now, REFUSAL_SECONDS))
            execute("INSERT INTO refusal VALUES (?, ?)", (account, now))

    def accepted(self, account: str) -> None:
        """Forget its refusals."""
        with self._transaction() as execute:
            execute("DELETE FROM refusal WHERE account = ?", (account,))

    def remove(self, job_id: int, *, go_on: Callable[[], bool] = lambda: True) -> None:
        """Remove a job: gone at once, its rows in small steps after that, as long as `go_on` says so."""
        self._row(job_id)
        with self._transaction() as execute:
            execute("DELETE FROM job WHERE id = ?", (job_id,))
            execute("INSERT OR IGNORE INTO trash VALUES (?)", (job_id,))
        self._rows.pop(job_id, None)
        self._tails.pop(job_id, None)
        with suppress(OSError):
            log_path(self.path.parent, job_id).unlink()
        self._wake()
        self.sweep(go_on)

    def sweep(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Delete what removed jobs left, and give the space back."""
        try:
            sweep(self._connection, go_on)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def version(self, job_id: int) -> int:
        """A number that changes with everything that happens to the job."""
        return int(self._row(job_id).raw[VERSION])

    async def wait_change(self, job_id: int, version: int) -> None:
        """Return when the job's version is no longer `version`: own commits wake, others are asked for now and then."""
        pause = _FIRST_POLL
        row: StoredJob | None = self._row(job_id)
        while row is not None and row.raw[VERSION] == version:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                with self.clock.timeout(pause):
                    await waiter
                pause = _FIRST_POLL
            except TimeoutError:
                pause = min(2 * pause, _LAST_POLL)
            finally:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
            row = self._found(job_id)

    def close(self) -> None:
        """Commit what is queued, end the thread, close the file."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._connection.close()

    def size(self) -> int:
        """Bytes of the file that are in use."""
        ((pages,),) = self._query("PRAGMA page_count")
        ((free,),) = self._query("PRAGMA freelist_count")
        ((page,),) = self._query("PRAGMA page_size")
        return int((pages - free) * page)

    def _page(
        self, row: StoredJob, base: int, after: int, size: int, children: Collection[int] | None, again: bool
    ) -> list[Any]:
        taken, masks = ("", ()) if again or not row.raw[CURSORS] else (_NOT_TAKEN, (_LOW,))
        first, last = base + after + 1, base | _LOW
        if children is None:
            where, which = f"id BETWEEN ? AND ?{taken}", (first, last, *masks)
        else:
            places = ",".join("?" * len(children)) if len(children) <= _FEW else ""
            if places:  # the index has each child's records together
                keys = [base | child for child in children]
                where = (
                    f"id IN (SELECT id FROM record INDEXED BY record_once WHERE child IN ({places}) "  # noqa: S608
                    f"AND id >= ?{taken} ORDER BY id LIMIT ?)"
                )
                which = (*keys, first, *masks, size)
            else:
                listed = ",".join([str(base | int(child)) for child in children])
                where, which = f"id BETWEEN ? AND ? AND +child IN ({listed}){taken}", (first, last, *masks)
        return self._query(f"{_SELECT} WHERE {where} ORDER BY id LIMIT ?", (*which, size))

    def _row(self, job_id: int) -> StoredJob:
        row = self._found(job_id)
        if row is None:
            raise no_job(job_id)
        return row

    def _found(self, job_id: int) -> StoredJob | None:
        """The row of a job, read again only where some process has written since."""
        self._look()
        if job_id not in self._fresh:
            found = self._query(_JOB, (job_id,))
            if not found:
                self._rows.pop(job_id, None)
                return None
            self._rows[job_id] = self._taken(found[0])
            self._fresh.add(job_id)
        return self._rows[job_id]

    def _taken(self, raw: tuple[Any, ...]) -> StoredJob:
        row = self._rows.get(raw[0])
        if row is None:
            return StoredJob(self._query, raw)
        if row.raw != raw:
            row.update(raw)
        if self._ahead and self._ahead.get(raw[0], -1) <= raw[CURSOR]:
            self._ahead.pop(raw[0], None)
        return row

    def _look(self) -> None:
        """Trust no row where another connection, the writer's among them, has committed since the last look.

        One look serves a turn of the event loop: what comes in the middle of it is seen in the next.
        """
        if self._looked == SqliteStore.commits:
            return
        ((version,),) = self._query("PRAGMA data_version")
        if version != self._data_version:
            self._data_version = version
            self._stale()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._looked = SqliteStore.commits
        loop.call_soon(self._turned)

    def _turned(self) -> None:
        self._looked = -1

    def _stale(self) -> None:
        self._fresh.clear()
        self._all_fresh = False

    def _query(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A short write on the loop's connection."""
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            yield execute
            execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._failed(error) from error
            raise
        finally:
            SqliteStore.commits += 1
            self._stale()

    def _failed(self, error: sqlite3.Error) -> Exception:
        if self._closed and isinstance(error, sqlite3.ProgrammingError):
            return store_error(self.path, RuntimeError("it was closed"))
        return store_error(self.path, error)

    def _committed(self, news: dict[int, News]) -> None:
        """The writer has committed these rows of children, and these records."""
        SqliteStore.commits += 1
        for job_id, (found, appended) in news.items():
            row, tail = self._rows.get(job_id), self._tails.get(job_id)
            if row is not None and isinstance(row.children, Children) and found[0][13] == found[-1][13]:
                row.children.push(found)
            if tail is not None and not tail.add(appended):
                del self._tails[job_id]
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


class SqliteLedger:
    """The ChildLedger of one child in a file."""

    __slots__ = ("_child", "_epoch", "_job_id", "_store")

    def __init__(self, store: SqliteStore, job_id: int, child: int, epoch: int) -> None:
        self._store = store
        self._job_id = job_id
        self._child = child
        self._epoch = epoch

    async def starting(self) -> None:
        """Commit that the host may have the command from now on."""
        await self._write(Book.starting)

    async def started(self, shell_id: str, command_id: str) -> None:
        """Commit the host's own ids, and that the pipeline runs."""
        await self._write(Book.started, shell_id, command_id)

    async def append(self, records: Sequence[Record]) -> None:
        """Commit records; those that are there already are passed over."""
        if records:
            await self._write(Book.append, records)

    async def disconnected(self, why: Outcome | None = None) -> None:
        """Commit that the shell was left on its host."""
        await self._write(Book.disconnected, why)

    async def finish(self, outcome: Outcome) -> None:
        """Commit the end; the first one counts."""
        await self._write(Book.finish, outcome)

    def _write(self, method: Any, *more: Any) -> asyncio.Future[Any]:
        store = self._store
        return store.write(method, self._job_id, self._child, self._epoch, store.clock.time(), *more)
