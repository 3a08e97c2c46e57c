"""What only a store in a file must do with a job of another: let others write meanwhile, and leave nothing behind."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import JobError, StoreError
from remotejobs.model import JobSpec, Record, ScriptCommand, Stream, Target
from remotejobs.rows import Arrival, ChildRow, Fresh, JobRow, Phase
from remotejobs.states import JobState
from remotejobs.store import adopt as adopt_module
from remotejobs.store.schema import connect
from remotejobs.store.sqlite import SqliteStore

SPEC = JobSpec(ScriptCommand("1"), (Target("a"),))
TABLES = ("job", "plan", "progress", "mark", "record", "trash")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "jobs.db", ManualClock())
    yield made
    made.close()


def carried() -> JobRow:
    start = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
    child = ChildRow(0, uuid.uuid4(), SPEC.targets[0], start, JobState.Disconnected, Phase.STARTED)
    return JobRow(0, "", uuid.uuid4(), SPEC, "a", [child], 1.0, {})


def pages(
    count: int, raw: bytes = b"<S>x</S>", between: Callable[[int], object] = lambda _: None
) -> Iterator[list[Arrival]]:
    for page in range(count):
        between(page)
        numbers = range(page * 10 + 1, page * 10 + 11)
        yield [Arrival(n, 0, Record(n, Stream.Output, raw, n, 1.0)) for n in numbers]


def rows(store: SqliteStore) -> dict[str, int]:
    with sqlite3.connect(store.path) as file:
        found = {name: file.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}
    file.close()
    return {name: count for name, count in found.items() if count}


def test_others_write_meanwhile_and_see_the_job_only_when_it_is_whole(store: SqliteStore) -> None:
    seen: list[int] = []

    def write(_: int) -> None:
        other = SqliteStore(store.path, ManualClock())
        asyncio.run(other.submit(SPEC))
        seen.append(len(other.jobs()))
        other.close()

    async def main() -> None:
        row = await store.adopt(carried(), [1], pages(4, between=write))
        assert row.id == 1
        assert seen == [1, 2, 3, 4]
        assert [each.id for each in store.jobs()] == [1, 3, 5, 7, 9]
        assert len(store.read(1, 0, 99)) == 40

    asyncio.run(main())


def test_a_full_disk_leaves_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:

    def small(path: Path, *, durable: bool) -> sqlite3.Connection:
        connection = connect(path, durable=durable)
        connection.execute("PRAGMA max_page_count = 100")
        return connection

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(adopt_module, "connect", small)
            with pytest.raises(StoreError, match="the disk is full"):
                await store.adopt(carried(), [1], pages(1000, b"x" * 5000))
        assert rows(store) == {}
        assert (await store.adopt(carried(), [1], pages(2))).id == 3

    asyncio.run(main())


def test_one_that_is_cancelled_leaves_nothing(store: SqliteStore) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(page: int) -> None:
        if page == 2:
            begun.set()
            assert go.wait(30)

    async def main() -> None:
        adopting = asyncio.create_task(store.adopt(carried(), [1], pages(5, between=wait)))
        await asyncio.to_thread(begun.wait, 30)
        adopting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adopting
        go.set()

    asyncio.run(main())  # waits for its threads
    assert rows(store) == {}


def stopped(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends in the middle: nothing is undone."""

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(adopt_module, "sweep", lambda _: None)

            def end(page: int) -> None:
                if page == 2:
                    raise KeyError("killed")

            with pytest.raises(KeyError):
                await store.adopt(carried(), [1], pages(5, between=end))
        with sqlite3.connect(store.path) as file:
            file.execute("DELETE FROM trash")
        file.close()

    asyncio.run(main())


def test_what_a_killed_process_left_is_swept_when_it_is_old(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(store, monkeypatch)
    left = {"plan": 1, "record": 20}
    assert rows(store) == left
    assert store.jobs() == []
    with pytest.raises(JobError):
        store.job(1)
    store.sweep()
    assert rows(store) == left  # it may still be at it
    with sqlite3.connect(store.path) as file:
        file.execute("UPDATE plan SET spec = CAST(CAST(spec AS TEXT) - 601 AS BLOB)")
    file.close()
    store.sweep()
    assert rows(store) == {}


def test_one_that_was_taken_for_dead_says_so(store: SqliteStore) -> None:
    def late(page: int) -> None:
        if page == 2:
            with sqlite3.connect(store.path) as file:
                file.execute("UPDATE plan SET spec = CAST('1000' AS BLOB)")
            file.close()
            other = SqliteStore(store.path, ManualClock())
            other.sweep()
            other.close()

    async def main() -> None:
        with pytest.raises(StoreError, match="Import it again"):
            await store.adopt(carried(), [1], pages(5, between=late))
        assert rows(store) == {}

    asyncio.run(main())
