"""What every JobStore must do; each implementation is a parameter of `store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import JobError
from remotejobs.jobs.job import ChildEnd, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream, Target
from remotejobs.ports import JobRow, JobStore
from remotejobs.states import EndReason, JobState
from remotejobs.store.memory import MemoryStore

SPEC = JobSpec(ScriptCommand("1"), (Target("a"), Target("b"), Target("a")))


@pytest.fixture(params=[MemoryStore])
def store(request: pytest.FixtureRequest) -> JobStore:
    made: JobStore = request.param(ManualClock(), unread_bytes=100)
    return made


def record(seq: int, raw: bytes = b"<S>x</S>", stream: Stream = Stream.Output) -> Record:
    return Record(seq, stream, raw, seq, 0.0)


def run(store: JobStore, body: Callable[[JobRow], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await body(await store.submit(SPEC))

    asyncio.run(main())


def test_ids_come_from_one_sequence_and_are_chosen_at_submit(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        other = await store.submit(SPEC)
        assert [row.id, *(c.id for c in row.children)] == [1, 2, 3, 4]
        assert other.id == 5
        assert row.name == "Job1"
        starts = {i for r in (row, other) for c in r.children for i in c.start}
        assert len(starts) == 18
        assert RemoteJob(store, row.id).state is JobState.Running
        assert row.children[0].state is JobState.NotStarted
        with pytest.raises(JobError, match="job ID 99"):
            store.job(99)

    run(store, body)


def test_a_child_goes_from_not_started_to_its_end(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        job = RemoteJob(store, row.id)
        ledger = store.ledger(row.id, 1)
        await ledger.starting()
        await ledger.started("SHELL", "COMMAND")
        child = job.child_jobs[1]
        assert child.state is JobState.Running
        assert child.ps_begin_time is not None
        assert child.has_more_data
        await ledger.append([record(1, stream=Stream.Error)])
        await ledger.finish(Outcome(EndReason.CommandFailed, "boom"))
        await ledger.finish(Outcome(EndReason.Completed))
        assert (child.state, child.reason, child.error_count) == (JobState.Failed, "boom", 1)
        assert job.state is JobState.Running
        for index in (0, 2):
            await store.ledger(row.id, index).finish(Outcome(EndReason.Unreachable, "no"))
        assert job.state.name == "Failed"
        assert job.ps_end_time is not None
        assert job.child_jobs[0].ps_begin_time is None
        assert [end.outcome.reason.value for end in job.outcomes] == ["Unreachable", "CommandFailed", "Unreachable"]
        assert job.has_more_data
        assert child.has_more_data
        assert not job.child_jobs[0].has_more_data
        assert len(job.receive(keep=True)) == len(job.receive()) == 1
        assert job.receive() == []
        assert not job.has_more_data

    run(store, body)


def test_events_give_every_record_before_its_childs_end(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        job = RemoteJob(store, row.id)
        seen: list[str] = []

        async def read() -> None:
            seen.extend(
                [
                    f"{i.computer_name}:{i.record.seq if isinstance(i, ReceivedRecord) else 'end'}"
                    async for i in job.events()
                ]
            )

        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
        for index in (2, 0, 1):
            ledger = store.ledger(row.id, index)
            await ledger.append([record(1), record(2)])
            await ledger.finish(Outcome(EndReason.Completed))
        await reader
        assert sorted(seen) == sorted(["a:1", "a:2", "a:end"] * 2 + ["b:1", "b:2", "b:end"])
        assert seen.index("b:end") > seen.index("b:2") > seen.index("b:1")
        assert not job.has_more_data

    run(store, body)


def test_a_reader_that_leaves_early_loses_nothing(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        job = RemoteJob(store, row.id)
        ledger = store.ledger(row.id, 0)
        await ledger.append([record(n) for n in range(1, 6)])
        stream = job.stream()
        assert [(await anext(stream)).record.seq for _ in range(2)] == [1, 2]
        await stream.aclose()  # type: ignore[attr-defined]
        assert [r.record.seq for r in job.receive()] == [2, 3, 4, 5]  # the second was not known to be done with

    run(store, body)


def test_a_writer_waits_while_too_much_lies_unread(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        job = RemoteJob(store, row.id)
        ledger = store.ledger(row.id, 0)
        writer = asyncio.create_task(ledger.append([record(1, b"x" * 200)]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not writer.done()
        with pytest.raises(JobError, match="receive it"):
            await job.wait()
        assert len(job.receive()) == 1
        await writer

    run(store, body)


def test_wait_ends_with_the_job_or_with_the_time(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        clock = ManualClock()
        job = RemoteJob(store, row.id, clock=clock)
        waiting = asyncio.create_task(job.wait(5))
        await clock.until_waiting(5)
        clock.advance(5)
        assert await waiting is False
        for index in range(3):
            await store.ledger(row.id, index).finish(Outcome(EndReason.Completed))
        assert await job.wait(5) is True
        assert job.state is JobState.Completed

    run(store, body)


def test_an_end_is_told_once(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        job = RemoteJob(store, row.id)
        for index in range(3):
            await store.ledger(row.id, index).finish(Outcome(EndReason.Completed))
        assert len([e async for e in job.events() if isinstance(e, ChildEnd)]) == 3
        assert [e async for e in job.events()] == []

    run(store, body)


def test_a_stop_lets_a_held_writer_go(store: JobStore) -> None:
    async def body(row: JobRow) -> None:
        writer = asyncio.create_task(store.ledger(row.id, 0).append([record(1, b"x" * 200)]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not writer.done()
        store.stop_requested(row.id)
        await writer
        assert not store.held(row.id)

    run(store, body)
