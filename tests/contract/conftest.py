"""The stores that keep the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remotejobs.clock import ManualClock
from remotejobs.ports import JobStore
from remotejobs.store.memory import MemoryStore
from remotejobs.store.sqlite import SqliteStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[JobStore]:
    made: JobStore = MemoryStore(clock) if request.param == "memory" else SqliteStore(tmp_path / "jobs.db", clock)
    yield made
    made.close()
