"""Retention: what the settings say, what goes when, and what never does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import ConfigurationError, StoreError
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream, Target
from remotejobs.states import EndReason
from remotejobs.store.memory import MemoryStore
from remotejobs.store.retention import Retention, prune, retention, tidy
from remotejobs.store.sqlite import SqliteStore

SPEC = JobSpec(ScriptCommand("1"), (Target("a"), Target("b")))
DONE = Outcome(EndReason.Completed)
DAY = 86_400.0
DAYS, SIZE = "REMOTEJOBS_RETENTION_DAYS", "REMOTEJOBS_RETENTION_SIZE"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "jobs.db", clock)
    yield opened
    opened.close()


async def ended(store: SqliteStore, raw: bytes = b"<S>x</S>", records: int = 1) -> int:
    """A job that has run to its end; returns its id."""
    row = await store.submit(SPEC)
    epoch = await store.lease(row.id, "me")
    for child in (0, 1):
        ledger = store.ledger(row.id, child, epoch)
        await ledger.append([Record(n, Stream.Output, raw, n, 1.0) for n in range(1, records + 1)])
        await ledger.finish(DONE)
    await store.release(row.id, epoch)
    return row.id


def ids(store: SqliteStore) -> list[int]:
    return [row.id for row in store.jobs()]


def test_old_jobs_are_pruned_and_none_that_runs(store: SqliteStore, clock: ManualClock) -> None:
    async def main() -> None:
        old = await ended(store)
        running = await store.submit(SPEC)
        leased = await store.submit(SPEC)
        epoch = await store.lease(leased.id, "me")
        for child in (0, 1):
            await store.ledger(leased.id, child, epoch).finish(DONE)
        clock.advance(10 * 86_400)
        await store.renew(leased.id, epoch)
        young = await ended(store)
        assert prune(store, days=11) == []
        assert prune(store, days=9) == [old]
        assert [row.id for row in store.jobs()] == [running.id, leased.id, young]
        await store.release(leased.id, epoch)
        assert prune(store, days=9) == [leased.id]

    asyncio.run(main())


def test_the_oldest_go_beyond_a_size(store: SqliteStore, clock: ManualClock) -> None:
    async def main() -> None:
        jobs = []
        for _ in range(4):
            clock.advance(1)
            jobs.append(await ended(store, raw=b"x" * 100_000))
        limit = store.size() - 300_000
        assert prune(store, size=limit) == []  # what has just ended nobody may have seen yet
        clock.advance(86_401)
        assert prune(store, size=limit) == jobs[:2]
        assert store.size() <= limit
        assert prune(store, size=limit) == []
        assert prune(store, size=0) == jobs[2:]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("days", "size", "meant"),
    [
        ("", "", Retention(90.0, None)),
        ("30", "500MB", Retention(30.0, 500 << 20)),
        ("off", "Off", Retention(None, None)),
        (" 1.5 ", "1.5gb", Retention(1.5, 3 << 29)),
        ("1", "4096", Retention(1.0, 4096)),
        ("90", "2 TB", Retention(90.0, 2 << 40)),
    ],
)
def test_settings(days: str, size: str, meant: Retention) -> None:
    assert retention({DAYS: days, SIZE: size}) == meant


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[(DAYS, text) for text in ("0", "0.5", "-1", "ten", "nan", "inf", "30d", "1e9")],
        *[(SIZE, text) for text in ("0", "-1", "big", "1XB", "GB", "0.0001", "1e3", "nan")],
    ],
)
def test_a_setting_that_means_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is '{text}'"):
        retention({name: text})


def test_a_store_is_tidied_once_an_hour(
    store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        first = await ended(store)
        clock.advance(31 * DAY)
        monkeypatch.setenv(DAYS, "40")
        tidy(store)
        monkeypatch.setenv(DAYS, "30")
        tidy(store)
        assert ids(store) == [first]
        clock.advance(3601)
        tidy(store)
        assert ids(store) == []

    asyncio.run(main())


def test_what_takes_too_long_is_left_to_the_next_one(
    store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(0.1)
            return super().monotonic()

    async def main() -> None:
        for _ in range(3):
            await ended(store)
        clock.advance(100 * DAY)
        store.clock = Slow()
        store.clock.advance(clock.time() - store.clock.time())
        tidy(store, 0.15)
        assert ids(store) == [4, 7]
        tidy(store, 60)
        assert ids(store) == []
        assert store._connection.execute("SELECT count(*) FROM record").fetchone() == (0,)

    asyncio.run(main())


def test_what_goes_wrong_is_a_line_in_the_log(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise StoreError("The job store is damaged.")

    tidy(MemoryStore(ManualClock()))
    monkeypatch.setattr(store, "jobs", broken)
    with caplog.at_level(logging.WARNING):
        tidy(store)
    assert caplog.messages == ["old jobs were not removed: The job store is damaged."]
    monkeypatch.setenv(DAYS, "ten")
    tidy(store)
    assert "REMOTEJOBS_RETENTION_DAYS is 'ten'" in caplog.messages[1]


def test_the_file_gets_smaller(store: SqliteStore, clock: ManualClock) -> None:
    async def main() -> None:
        await ended(store, b"x" * 1000, records=2000)
        store.sweep()
        full = store.path.stat().st_size
        assert full > 4_000_000
        clock.advance(91 * DAY)
        tidy(store)
        assert store.path.stat().st_size < full / 10

    asyncio.run(main())
