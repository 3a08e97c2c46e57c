"""What only a store in a file must do: replays, takeovers, full disks, large jobs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import JobError, LeaseLostError, StoreError
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream, Target
from remotejobs.rows import LEASE_SECONDS, Phase, Request
from remotejobs.states import EndReason, JobState
from remotejobs.store import sqlite as sqlite_module
from remotejobs.store import sweep as sweep_module
from remotejobs.store.room import SPARE_BYTES, spare_file
from remotejobs.store.rows import Query, StoredJob
from remotejobs.store.sqlite import SqliteStore

SPEC = JobSpec(ScriptCommand("1"), (Target("a"), Target("b")))
DONE = Outcome(EndReason.Completed)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_store(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[[], SqliteStore]]:
    made: list[SqliteStore] = []

    def open_() -> SqliteStore:
        made.append(SqliteStore(tmp_path / "jobs.db", clock))
        return made[-1]

    yield open_
    for store in made:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], SqliteStore]) -> SqliteStore:
    return open_store()


def record(seq: int, object_id: int = 0, raw: bytes = b"<S>x</S>", stream: Stream = Stream.Output) -> Record:
    return Record(seq, stream, raw, object_id or seq, 1.0)


async def ended(store: SqliteStore, raw: bytes = b"<S>x</S>") -> int:
    """A job that has run to its end; returns its id."""
    row = await store.submit(SPEC)
    epoch = await store.lease(row.id, "me")
    for child in (0, 1):
        ledger = store.ledger(row.id, child, epoch)
        await ledger.append([record(1, raw=raw)])
        await ledger.finish(DONE)
    await store.release(row.id, epoch)
    return row.id


# Replays


def test_a_replay_writes_nothing_twice_and_takes_no_number(store: SqliteStore) -> None:
    async def main() -> None:
        row = await store.submit(SPEC)
        epoch = await store.lease(row.id, "me")
        one, two = store.ledger(row.id, 0, epoch), store.ledger(row.id, 1, epoch)
        error = Stream.Error
        await one.append([record(1, 5), record(2, 6, stream=error), record(3, -6)])
        await one.append([record(2, 6, stream=error), record(3, -6)])
        await one.append([record(2, 6, stream=error), record(4, 7), record(5, 7), record(6, 3)])
        await asyncio.gather(one.append([record(7, 8)]), one.append([record(7, 8)]))  # in one transaction, maybe
        await two.append([record(1, 5)])
        read = [(a.number, a.child, a.record.object_id) for a in store.read(row.id, 0, 99)]
        assert read == [(1, 0, 5), (2, 0, 6), (3, 0, -6), (4, 0, 7), (5, 0, 3), (6, 0, 8), (7, 1, 5)]
        child = store.job(row.id).children[0]
        assert (child.error_count, child.object_id) == (1, 8)

    asyncio.run(main())


def test_a_takeover_goes_on_where_the_ledger_stands(open_store: Callable[[], SqliteStore], clock: ManualClock) -> None:
    async def main() -> None:
        first, second = open_store(), open_store()
        row = await first.submit(SPEC)
        old = first.ledger(row.id, 0, await first.lease(row.id, "first"))
        await old.starting()
        await old.started("S", "C")
        await old.append([record(1), record(2)])
        clock.advance(LEASE_SECONDS)
        new = second.ledger(row.id, 0, await second.lease(row.id, "second"))
        for write in (old.starting(), old.append([record(3)]), old.finish(DONE)):
            with pytest.raises(LeaseLostError):
                await write
        await new.append([record(2), record(3)])
        await new.finish(DONE)
        assert [a.number for a in first.read(row.id, 0, 99)] == [1, 2, 3]
        child = first.job(row.id).children[0]
        assert (child.seq, child.object_id, child.state, child.began) == (3, 3, JobState.Completed, 1_000_000.0)
        assert {state: n for state, n in first.job(row.id).counts.items() if n} == {
            JobState.Completed: 1,
            JobState.NotStarted: 1,
        }

    asyncio.run(main())


# Several of them on one file


def test_two_stores_share_ids_leases_requests_and_news(
    open_store: Callable[[], SqliteStore], clock: ManualClock
) -> None:
    async def main() -> None:
        one, two = open_store(), open_store()
        rows = [await one.submit(SPEC), await two.submit(SPEC), await one.submit(SPEC)]
        assert [row.id for row in rows] == [1, 4, 7]
        assert [row.id for row in two.jobs()] == [1, 4, 7]
        epoch = await one.lease(1, "one")
        with pytest.raises(JobError, match="run by one"):
            await two.lease(1, "two")
        seen = two.job(1)
        child = seen.children[0]
        waiting = asyncio.create_task(two.wait_change(1, two.version(1)))
        await clock.until_waiting(0.02)
        await one.ledger(1, 0, epoch).started("S", "C")
        clock.advance(0.2)
        await waiting
        assert two.job(1) is seen  # a row that was handed out shows what is read later
        assert two.job(1).children[0] is child
        assert (child.state, seen.counts[JobState.Running]) == (JobState.Running, 1)
        two.request(1, Request.STOP)
        assert one.job(1).stop_requested
        await one.ledger(1, 0, epoch).append([record(1)])
        two.advance(1, 1)
        assert not one.unread(1)
        await one.ledger(1, 0, epoch).finish(DONE)
        two.tell(1, [0])
        assert one.job(1).children[0].told
        assert list(two.job(1).ends) == [0]
        two.remove(1)
        with pytest.raises(JobError, match="job ID 1"):
            one.job(1)
        with pytest.raises(LeaseLostError):
            await one.ledger(1, 1, epoch).starting()
        assert [row.id for row in one.jobs()] == [4, 7]

    asyncio.run(main())


def test_polling_slows_down_while_nothing_happens(store: SqliteStore, clock: ManualClock) -> None:
    async def main() -> None:
        await store.submit(SPEC)
        waiting = asyncio.create_task(store.wait_change(1, store.version(1)))
        for pause in (0.02, 0.04, 0.08, 0.16, 0.2, 0.2):
            await clock.until_waiting(pause)
            clock.advance(pause - 0.001)
            await asyncio.sleep(0)
            clock.advance(0.001)
            await asyncio.sleep(0)
        assert not waiting.done()
        store.request(1, Request.STOP)
        await waiting

    asyncio.run(main())


# A disk that fills


def test_a_full_disk_fails_who_writes_and_nothing_else(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[sqlite3.Connection] = []
    spare = spare_file(tmp_path / "jobs.db")

    def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
        opened.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        opened[-1].execute("PRAGMA max_page_count = 60")
        return opened[-1]

    monkeypatch.setattr(sqlite_module, "connect", connect)

    async def main() -> None:
        row = await store.submit(SPEC)
        epoch = await store.lease(row.id, "me")
        ledger = store.ledger(row.id, 0, epoch)
        await ledger.started("S", "C")
        assert spare.stat().st_size == SPARE_BYTES
        seq = 0
        with pytest.raises(StoreError, match="the disk is full") as caught:
            for seq in range(1, 1000):
                await ledger.append([record(seq, raw=b"x" * 2000)])
        assert str(tmp_path) in caught.value.message
        assert seq > 10
        assert len(store.read(row.id, 0, 1000)) == seq - 1
        results = await asyncio.gather(
            *(store.ledger(row.id, child, epoch).append([record(seq, raw=b"x" * 200_000)]) for child in (0, 1)),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [StoreError, StoreError]
        assert results[0] is not results[1]
        assert not spare.exists()  # given up for the ends
        mixed = await asyncio.gather(
            ledger.append([record(seq, raw=b"x" * 200_000)]),
            store.ledger(row.id, 1, epoch).finish(Outcome(EndReason.Unknown, "the disk is full")),
            return_exceptions=True,
        )
        assert [type(result) for result in mixed] == [StoreError, type(None)]
        assert list(store.job(row.id).ends) == [1]
        opened[0].execute("PRAGMA max_page_count = 100000")  # somebody has made room
        await ledger.append([record(seq, raw=b"x" * 2000)])
        assert spare.exists()
        await ledger.finish(DONE)
        child = store.job(row.id).children[0]
        assert (child.seq, child.state) == (seq, JobState.Completed)
        assert [a.number for a in store.read(row.id, 0, 1000)] == list(range(1, seq + 1))

    asyncio.run(main())


def test_what_cannot_be_written_fails_nobody_else(store: SqliteStore) -> None:
    async def main() -> None:
        row = await store.submit(SPEC)
        epoch = await store.lease(row.id, "me")
        ledger = store.ledger(row.id, 0, epoch)
        await ledger.started("S", "C")
        hostile = ledger.append([record(1, 2**64 - 1)])
        results = await asyncio.gather(
            hostile, store.ledger(row.id, 1, epoch).append([record(1)]), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreError, type(None)]
        await ledger.append([record(1)])
        assert [child.seq for child in store.job(row.id).children] == [1, 1]
        assert [a.child for a in store.read(row.id, 0, 9)] == [1, 0]

    asyncio.run(main())


def test_a_closed_store_says_so(store: SqliteStore) -> None:
    async def main() -> None:
        await store.submit(SPEC)
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.submit(SPEC)
        with pytest.raises(StoreError, match="closed"):
            store.jobs()

    asyncio.run(main())


def test_who_stops_waiting_takes_nothing_back(store: SqliteStore) -> None:
    async def main() -> None:
        row = await store.submit(SPEC)
        epoch = await store.lease(row.id, "me")
        writing = asyncio.create_task(store.ledger(row.id, 0, epoch).append([record(1)]))
        await asyncio.sleep(0)
        writing.cancel()
        await store.renew(row.id, epoch)
        assert len(store.read(row.id, 0, 9)) == 1

    asyncio.run(main())


# Reading


def test_a_list_of_jobs_reads_no_children_and_no_specifications(store: SqliteStore) -> None:
    async def main() -> None:
        for _ in range(3):
            await ended(store)

    asyncio.run(main())
    asked: list[str] = []
    store._rows.clear()
    store._stale()
    store._connection.set_trace_callback(asked.append)
    rows = store.jobs()
    shown = [(row.id, row.name, row.location, row.counts, row.ended, len(row.children)) for row in rows]
    again = store.jobs()
    store._connection.set_trace_callback(None)
    assert shown[0] == (1, "Job1", "a,b", {JobState.Completed: 2}, 1_000_000.0, 2)
    assert [a is b for a, b in zip(rows, again, strict=True)] == [True] * 3
    assert [statement.split()[0] for statement in asked] == ["PRAGMA", "SELECT", "PRAGMA"]
    assert rows[1].spec == SPEC


def counted(query: Query, reads: list[list[int]]) -> Query:
    """`query`, and how many rows it gave each time."""
    mine: list[int] = []
    reads.append(mine)

    def ask(statement: str, values: tuple[Any, ...]) -> list[Any]:
        found = query(statement, values)
        mine.append(len(found))
        return found

    return ask


def test_of_a_large_job_only_what_changed_is_read_again(
    store: SqliteStore, open_store: Callable[[], SqliteStore]
) -> None:
    spec = JobSpec(ScriptCommand("1"), tuple(Target(f"web{n}") for n in range(50)))

    async def main() -> None:
        row = await store.submit(spec)
        epoch = await store.lease(row.id, "me")
        for child in range(50):
            await store.ledger(row.id, child, epoch).starting()
        other = open_store()
        reads: list[list[int]] = []
        for reader in (store, other):
            now = reader.job(row.id)
            assert {child.phase for child in now.children} == {Phase.STARTING}
            assert isinstance(now, StoredJob)
            now.query = counted(now.query, reads)
        await store.ledger(row.id, 7, epoch).finish(DONE)
        for reader in (store, other):
            now = reader.job(row.id)
            assert now.children[7].outcome == DONE
            assert list(now.ends) == [7]
        assert reads == [[], [1]]  # what this process committed itself it need not read at all
        other.request(row.id, Request.STOP, 3)
        await store.ledger(row.id, 8, epoch).finish(DONE)
        for reader in (store, other):
            now = reader.job(row.id)
            assert (list(now.ends), now.children[3].stop_requested) == ([7, 8], True)
        assert reads == [[1, 1], [1, 1, 1]]

    asyncio.run(main())


def test_pages_are_larger_than_one_read(store: SqliteStore) -> None:
    async def main() -> None:
        row = await store.submit(SPEC)
        epoch = await store.lease(row.id, "me")
        for child in (0, 1):
            await store.ledger(row.id, child, epoch).append([record(seq) for seq in range(1, 1301)])
        assert [a.number for a in store.read(row.id, 0, 2000)] == list(range(1, 2001))
        assert [a.number for a in store.read(row.id, 100, 5000, children=[1])] == list(range(1301, 2601))
        store.advance(row.id, 1310, [1])
        assert [a.number for a in store.read(row.id, 0, 5000, children=[1])] == list(range(1311, 2601))
        assert len(store.read(row.id, 0, 5000)) == 2590
        assert len(store.read(row.id, 0, 5000, again=True)) == 2600

    asyncio.run(main())


def test_what_was_consumed_is_read_again_when_asked(store: SqliteStore, open_store: Callable[[], SqliteStore]) -> None:
    asyncio.run(ended(store))
    store.advance(1, 2)
    other = open_store()
    for reader in (store, other):
        assert reader.read(1, 0, 9) == []
        assert [a.number for a in reader.read(1, 0, 9, again=True)] == [1, 2]
        assert [a.number for a in reader.read(1, 1, 9, children=[1], again=True)] == [2]


def test_a_cursor_that_goes_with_the_next_commit_is_heeded_at_once(
    store: SqliteStore, open_store: Callable[[], SqliteStore]
) -> None:
    async def main() -> None:
        row = await store.submit(SPEC)
        ledger = store.ledger(row.id, 0, await store.lease(row.id, "me"))
        await ledger.append([record(1), record(2)])
        writing = asyncio.create_task(ledger.finish(DONE))
        await asyncio.sleep(0)
        store.advance(row.id, 2)
        store.tell(row.id, [0])
        assert store.read(row.id, 0, 9) == []
        assert not store.unread(row.id)
        assert store.job(row.id).children[0].told
        await writing

    asyncio.run(main())
    store.close()
    other = open_store()
    assert not other.unread(1)
    assert other.job(1).children[0].told


def test_odd_names_are_kept(store: SqliteStore) -> None:
    async def main() -> None:
        spec = JobSpec(ScriptCommand("'\udce4'"), (Target("b\udcfcro"),), name="\u00fc\udcff")
        row = await store.submit(spec, ["\udcff"])
        store._rows.clear()
        store._stale()
        again = store.job(row.id)
        assert (again.name, again.location, again.notes) == ("\u00fc?", "b?ro", ("\udcff",))
        assert again.spec == row.spec

    asyncio.run(main())


# Removing


def test_space_is_given_back_in_small_steps(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sweep_module, "_ROWS", 10)
    monkeypatch.setattr(sweep_module, "_PAGES", 3)

    async def main() -> None:
        row = await store.submit(SPEC)
        epoch = await store.lease(row.id, "me")
        await store.ledger(row.id, 0, epoch).append([record(seq, raw=b"x" * 4000) for seq in range(1, 100)])
        await ended(store)

    asyncio.run(main())
    before = (tmp_path / "jobs.db").stat().st_size + (tmp_path / "jobs.db-wal").stat().st_size
    assert before > 99 * 4000
    store.remove(1)
    assert store._connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert (tmp_path / "jobs.db").stat().st_size < 100_000
    assert [row.id for row in store.jobs()] == [4]
    assert len(store.read(4, 0, 9)) == 2


def test_what_a_killed_process_left_is_swept_by_the_next(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, open_store: Callable[[], SqliteStore]
) -> None:
    asyncio.run(ended(store))
    with monkeypatch.context() as killed:
        killed.setattr(sqlite_module, "sweep", lambda *_: None)
        store.remove(1)
    assert store._connection.execute("SELECT count(*) FROM record").fetchone() == (2,)
    open_store().sweep()
    for table in ("job", "plan", "record", "progress", "mark", "trash"):
        assert store._connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_ends_told_in_their_order_and_out_of_it_are_told_in_every_process(
    open_store: Callable[[], SqliteStore],
) -> None:
    async def main() -> None:
        writer, reader = open_store(), open_store()
        spec = JobSpec(ScriptCommand("1"), tuple(Target(name) for name in "abcde"))
        row = await writer.submit(spec)
        epoch = await writer.lease(row.id, "me")
        for child in (3, 0, 4, 1):
            await writer.ledger(row.id, child, epoch).finish(DONE)

        def told(store: SqliteStore) -> list[int]:
            return [index for index, child in enumerate(store.job(row.id).children) if child.told]

        def marks() -> int:
            return int(reader._query("SELECT count(*) FROM mark")[0][0])

        writer.tell(row.id, [3, 0])
        assert told(writer) == told(reader) == [0, 3]
        assert marks() == 0
        reader.tell(row.id, [1])  # of one child alone, before its turn
        assert told(writer) == told(reader) == [0, 1, 3]
        assert marks() == 1
        writer.tell(row.id, [4])
        await writer.ledger(row.id, 2, epoch).finish(DONE)
        reader.tell(row.id, [2])
        assert told(writer) == told(reader) == told(open_store()) == [0, 1, 2, 3, 4]

    asyncio.run(main())
