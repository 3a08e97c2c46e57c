"""The cursor moves behind what its reader has written out, and a reader reads nothing twice before that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from remotejobs.clock import ManualClock
from remotejobs.jobs.child import ChildEnd
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.manager import JobManager
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream, Target
from remotejobs.states import EndReason
from remotejobs.store.sqlite import SqliteStore


@pytest.mark.parametrize("count", [3, 1200])
@pytest.mark.parametrize("wait", [True, False])
def test_what_is_held_back_is_not_consumed(tmp_path: Path, wait: bool, count: int) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "jobs.db", ManualClock())
        row = await store.submit(JobSpec(ScriptCommand("1"), (Target("a"), Target("b"))))
        epoch = await store.lease(row.id, "me")
        for index in (1, 0):
            ledger = store.ledger(row.id, index, epoch)
            await ledger.started("S", "C")
            await ledger.append([Record(n, Stream.Output, b"<S>x</S>", n, 0.0) for n in range(1, count + 1)])
            await ledger.finish(Outcome(EndReason.Completed))
        moves: list[Callable[[], None]] = []
        received: list[str] = []
        ends = 0
        async for item in JobManager(store).receive(row.id, wait=wait, written=moves.append):
            if isinstance(item, ReceivedRecord):
                received.append(item.computer_name)
            ends += isinstance(item, ChildEnd)
        assert received == ["a"] * count + ["b"] * count
        assert ends == 2
        again = RemoteJob(store, row.id).receive(keep=True)
        assert len(again) == 2 * count
        for move in moves:
            move()
        assert not store.unread(row.id)
        store.close()

    asyncio.run(main())
