"""Jobs that come from another computer, in each store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from remotejobs.errors import ConfigurationError, JobError
from remotejobs.model import Outcome, Stream
from remotejobs.ports import JobStore
from remotejobs.rows import Arrival, ChildRow, Fresh, JobRow, Phase, Request
from remotejobs.states import EndReason, JobState
from tests.contract.test_job_store import DONE, SPEC, record, run

LEFT = Outcome(EndReason.Disconnected, "It goes on there.")


def carried() -> JobRow:
    """Three hosts: ended with a failure, left on its host, never begun."""
    children = [
        ChildRow(0, uuid.uuid4(), target, Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())) for target in SPEC.targets
    ]
    failed = Outcome(EndReason.CommandFailed, "boom", "Boom", 1, b"<Obj/>", 2.5, {"phase": "STARTED"})
    one, two, _ = children
    one.state, one.phase, one.outcome, one.told = JobState.Failed, Phase.ENDED, failed, True
    one.began, one.ended, one.seen, one.error_count = 4.0, 9.0, 8.0, 1
    one.shell_id, one.command_id, one.seq, one.object_id = "S0", "C0", 3, 3
    two.state, two.phase, two.left, two.stop_requested = JobState.Disconnected, Phase.STARTED, LEFT, True
    two.began, two.seen = 5.0, 8.5
    two.shell_id, two.command_id, two.seq, two.object_id = "S1", "C1", 2, 7
    return JobRow(
        id=0,
        name="",
        instance_id=uuid.uuid4(),
        spec=replace(SPEC, name="Carried"),
        location="a,b,a",
        children=children,
        began=3.0,
        counts={},
        last_change=JobState.Disconnected,
        ends=[0],
        notes=("a note",),
        requests=frozenset({Request.STOP}),
    )


PAGES = [
    [Arrival(1, 0, record(1)), Arrival(2, 1, record(1, b"\xff", Stream.Error, 5))],
    [Arrival(4, 0, record(2)), Arrival(5, 0, record(3)), Arrival(9, 1, record(2, object_id=7))],
]


def test_an_adopted_job_is_as_it_was_under_new_ids(store: JobStore) -> None:
    async def body(other: JobRow, _: int) -> None:
        given = carried()
        row = await store.adopt(given, [None, 9, None], iter(PAGES))
        assert [row.id, *(child.id for child in row.children)] == [5, 6, 7, 8]
        assert [each.id for each in store.jobs()] == [other.id, 5]
        now = store.job(5)
        for name in ("instance_id", "spec", "location", "began", "ended", "last_change", "notes", "requests", "lease"):
            assert getattr(now, name) == getattr(given, name), name
        assert (now.name, list(now.ends)) == ("Carried", [0])
        assert {state: count for state, count in now.counts.items() if count} == {
            JobState.Failed: 1,
            JobState.Disconnected: 1,
            JobState.NotStarted: 1,
        }
        assert [replace(child, id=0) for child in now.children] == given.children
        assert [a.record for a in store.read(5, 0, 99)] == [PAGES[1][2].record]
        assert (store.unread(5), store.unread(5, 0), store.unread(5, 1)) == (True, False, True)
        assert (await store.submit(SPEC)).id == 9

    run(store, body)


def test_an_adopted_job_goes_on(store: JobStore) -> None:
    async def body(_: JobRow, __: int) -> None:
        row = await store.adopt(carried(), [4, None, None], iter(PAGES))
        assert [a.record for a in store.read(row.id, 0, 99)] == [PAGES[1][0].record, PAGES[1][1].record]
        epoch = await store.lease(row.id, "me")
        ledger = store.ledger(row.id, 1, epoch)
        await ledger.starting()
        await ledger.started("S1", "C1")
        await ledger.append([record(3, object_id=8)])
        await ledger.finish(DONE)
        now = store.job(row.id)
        assert (now.children[1].seq, now.children[1].object_id, now.children[1].state) == (3, 8, JobState.Completed)
        assert list(now.ends) == [0, 1]
        assert [a.record.seq for a in store.read(row.id, 0, 99)] == [2, 3, 3]
        await store.ledger(row.id, 2, epoch).finish(DONE)
        assert (list(store.job(row.id).ends), store.job(row.id).ended) == ([0, 1, 2], 1_000_000.0)
        assert store.job(row.id).counts.get(JobState.Completed) == 2

    run(store, body)


def test_a_second_copy_is_refused_and_said_where_the_first_is(store: JobStore) -> None:
    async def body(other: JobRow, _: int) -> None:
        given = carried()
        row = await store.adopt(given, [1, 2, None], iter(PAGES))
        with pytest.raises(JobError, match=f"it is job {row.id} .Carried.") as caught:
            await store.adopt(given, [1, 2, None], iter(PAGES))
        assert (caught.value.error_id, caught.value.details["job"]) == ("JobAlreadyImported", row.id)
        assert [each.id for each in store.jobs()] == [other.id, row.id]
        store.remove(row.id)
        await store.adopt(given, [1, 2, None], iter(PAGES))

    run(store, body)


def test_nothing_is_left_of_a_job_whose_records_end_in_an_error(store: JobStore) -> None:
    def pages() -> Iterator[list[Arrival]]:
        yield PAGES[0]
        raise ConfigurationError("line 7")

    twice = [*PAGES, [Arrival(10, 1, record(3, object_id=8)), Arrival(11, 1, record(4, object_id=5))]]

    async def body(other: JobRow, _: int) -> None:
        given = carried()
        with pytest.raises(ConfigurationError, match="line 7"):
            await store.adopt(given, [1, 2, None], pages())
        with pytest.raises(JobError, match=r"\[b\] Record 11 "):
            await store.adopt(given, [1, 2, None], iter(twice))
        with pytest.raises(JobError, match=r"\[b\] Record 11 "):
            await store.adopt(given, [1, 2, None], iter([[*PAGES[0], *twice[2]]]))
        assert [each.id for each in store.jobs()] == [other.id]
        row = await store.adopt(given, [1, 2, None], iter(PAGES))
        assert len(store.read(row.id, 0, 99)) == 5

    run(store, body)


# What only a store in memory does: consumed records are dropped, and a writer waits while too much lies unread.
