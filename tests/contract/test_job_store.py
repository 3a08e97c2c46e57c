"""What every JobStore must do; each implementation is a parameter of `store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import JobError, LeaseLostError
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream, Target
from remotejobs.ports import JobStore
from remotejobs.rows import LEASE_SECONDS, REFUSAL_SECONDS, JobRow, Phase, Request
from remotejobs.states import EndReason, JobState, parent_state
from remotejobs.store.memory import MemoryStore

SPEC = JobSpec(ScriptCommand("1"), (Target("a"), Target("b"), Target("a")))
DONE = Outcome(EndReason.Completed)


def record(seq: int, raw: bytes = b"<S>x</S>", stream: Stream = Stream.Output, object_id: int = 0) -> Record:
    return Record(seq, stream, raw, object_id or seq, 5.0 + seq)


def run(store: JobStore, body: Callable[[JobRow, int], Coroutine[Any, Any, None]], spec: JobSpec = SPEC) -> None:
    async def main() -> None:
        row = await store.submit(spec, ["a note"])
        await body(row, await store.lease(row.id, "me"))

    asyncio.run(main())


def numbers(
    store: JobStore, job_id: int, after: int = 0, *, children: Collection[int] | None = None, again: bool = False
) -> list[tuple[int, int, int]]:
    page = store.read(job_id, after, 1000, children=children, again=again)
    return [(arrival.number, arrival.child, arrival.record.seq) for arrival in page]


async def start(store: JobStore, row: JobRow, child: int, epoch: int) -> None:
    ledger = store.ledger(row.id, child, epoch)
    await ledger.starting()
    await ledger.started("SHELL", "COMMAND")


def test_ids_come_from_one_sequence_and_are_chosen_at_submit(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        other = await store.submit(SPEC)
        assert [row.id, *(c.id for c in row.children)] == [1, 2, 3, 4]
        assert other.id == 5
        assert (row.name, row.location, row.spec, row.notes) == ("Job1", "a,b,a", SPEC, ("a note",))
        ids = {i for r in (row, other) for c in r.children for i in (*c.start, c.instance_id)}
        assert len(ids | {row.instance_id, other.instance_id}) == 26
        assert {i.version for i in ids} == {4}
        assert row.counts == {JobState.NotStarted: 3}
        assert [child.target.name for child in row.children] == ["a", "b", "a"]
        assert [r.id for r in store.jobs()] == [1, 5]
        child = store.job(1).children[1]
        assert (child.state, child.phase, child.began, child.seen) == (JobState.NotStarted, Phase.QUEUED, None, None)

    run(store, body)


def test_what_is_asked_of_a_job_that_is_not_there_is_refused(store: JobStore) -> None:
    async def main() -> None:
        asked: list[Callable[[], Any]] = [
            lambda: store.job(99),
            lambda: store.read(99, 0, 1),
            lambda: store.advance(99, 1),
            lambda: store.tell(99, [0]),
            lambda: store.unread(99),
            lambda: store.held(99),
            lambda: store.request(99, Request.STOP),
            lambda: store.throttle(99, 1),
            lambda: store.remove(99),
            lambda: store.version(99),
        ]
        for ask in asked:
            with pytest.raises(JobError, match="job ID 99") as caught:
                ask()
            assert caught.value.error_id == "JobWithSpecifiedSessionNotFound"
        for wait in (store.lease(99, "me"), store.wait_change(99, 0)):
            with pytest.raises(JobError, match="job ID 99"):
                await wait
        with pytest.raises(LeaseLostError):
            await store.renew(99, 1)
        await store.release(99, 1)
        assert store.jobs() == []

    asyncio.run(main())


def test_a_child_goes_from_not_started_to_its_end(store: JobStore, clock: ManualClock) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        ledger = store.ledger(row.id, 1, epoch)
        await ledger.starting()
        child = store.job(row.id).children[1]
        assert (child.phase, child.state) == (Phase.STARTING, JobState.NotStarted)
        clock.advance(1)
        await ledger.started("SHELL", "COMMAND")
        child = store.job(row.id).children[1]
        assert (child.phase, child.state, child.began) == (Phase.STARTED, JobState.Running, clock.time())
        assert (child.shell_id, child.command_id, child.seen) == ("SHELL", "COMMAND", clock.time())
        await ledger.append([record(1, stream=Stream.Error, object_id=7), record(2, object_id=9)])
        child = store.job(row.id).children[1]
        assert (child.seq, child.object_id, child.error_count, child.seen) == (2, 9, 1, 7.0)
        clock.advance(1)
        failed = Outcome(EndReason.CommandFailed, "boom", "Boom", 1, b"<Obj/>", 2.5, {"phase": "started"})
        await ledger.finish(failed)
        await ledger.finish(DONE)
        now = store.job(row.id)
        child = now.children[1]
        assert (child.state, child.phase, child.outcome, child.ended) == (
            JobState.Failed,
            Phase.ENDED,
            failed,
            clock.time(),
        )
        assert (now.counts.get(JobState.Failed), now.counts.get(JobState.NotStarted)) == (1, 2)
        assert (now.last_change, now.ended, list(now.ends)) == (JobState.Failed, None, [1])
        for index in (2, 0):
            await store.ledger(row.id, index, epoch).finish(Outcome(EndReason.Unreachable, "no"))
        now = store.job(row.id)
        assert parent_state(now.counts) is JobState.Failed
        assert (now.ended, list(now.ends)) == (clock.time(), [1, 2, 0])
        assert now.children[0].began is None

    run(store, body)


def test_a_move_that_is_not_in_the_table_writes_nothing(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        ledger = store.ledger(row.id, 0, epoch)
        await ledger.finish(DONE)
        with pytest.raises(JobError, match="cannot go"):
            await ledger.disconnected()
        child = store.job(row.id).children[0]
        assert (child.state, child.outcome) == (JobState.Completed, DONE)

    run(store, body)


def test_a_shell_left_on_its_host_is_no_end(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        ledger = store.ledger(row.id, 0, epoch)
        await start(store, row, 0, epoch)
        began = store.job(row.id).children[0].began
        why = Outcome(EndReason.Disconnected, "It said no.", "No", details={"phase": "STARTED"})
        await ledger.disconnected(why)
        now = store.job(row.id)
        assert (now.children[0].state, now.children[0].phase) == (JobState.Disconnected, Phase.STARTED)
        assert (now.children[0].outcome, now.ended, list(now.ends)) == (None, None, [])
        assert now.children[0].left == why
        await ledger.disconnected()
        assert store.job(row.id).children[0].left is None
        await ledger.disconnected(why)
        await ledger.starting()
        assert (store.job(row.id).children[0].phase, store.job(row.id).children[0].left) == (Phase.STARTED, why)
        for other in (1, 2):
            await store.ledger(row.id, other, epoch).finish(DONE)
        now = store.job(row.id)
        assert parent_state(now.counts, last_change=now.last_change) is JobState.Disconnected
        assert now.ended is None
        await ledger.started("OTHER", "COMMAND")
        child = store.job(row.id).children[0]
        assert (child.state, child.shell_id, child.began) == (JobState.Running, "OTHER", began)
        assert child.left is None
        await ledger.finish(DONE)
        assert store.job(row.id).ended is not None

    run(store, body)


def test_records_are_numbered_as_they_come_and_read_in_pages(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        one, two = store.ledger(row.id, 0, epoch), store.ledger(row.id, 1, epoch)
        sent = [record(1, "<S>\u00fc</S>".encode(), Stream.Progress), record(2, b"", Stream.Error)]
        await one.append(sent)
        await two.append([record(1)])
        await one.append([record(3)])
        assert numbers(store, row.id) == [(1, 0, 1), (2, 0, 2), (3, 1, 1), (4, 0, 3)]
        assert [arrival.record for arrival in store.read(row.id, 0, 2)] == sent
        assert [arrival.number for arrival in store.read(row.id, 2, 1)] == [3]
        assert store.read(row.id, 4, 10) == []
        assert numbers(store, row.id, children=[0]) == [(1, 0, 1), (2, 0, 2), (4, 0, 3)]
        assert numbers(store, row.id, 1, children=[0, 1]) == [(2, 0, 2), (3, 1, 1), (4, 0, 3)]
        assert numbers(store, row.id, children=[2]) == []
        assert numbers(store, row.id, children=range(40))[2:] == [(3, 1, 1), (4, 0, 3)]

    run(store, body)


def test_a_job_wide_cursor_and_one_for_each_child(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        for child in (0, 1, 0, 1):
            seq = store.job(row.id).children[child].seq + 1
            await store.ledger(row.id, child, epoch).append([record(seq)])
        assert store.unread(row.id)
        store.advance(row.id, 4, [1])  # all of one child alone
        assert [n for n, *_ in numbers(store, row.id)] == [1, 3]
        assert (store.unread(row.id, 0), store.unread(row.id, 1), store.unread(row.id, 2)) == (True, False, False)
        assert numbers(store, row.id, children=[1]) == []
        await store.ledger(row.id, 1, epoch).append([record(3)])
        assert [n for n, *_ in numbers(store, row.id)] == [1, 3, 5]
        store.advance(row.id, 1)
        assert [n for n, *_ in numbers(store, row.id)] == [3, 5]
        assert [n for n, *_ in numbers(store, row.id, children=range(30))] == [3, 5]
        store.advance(row.id, 5, [1])
        assert store.unread(row.id)
        store.advance(row.id, 3, [0])
        assert not store.unread(row.id)
        await store.ledger(row.id, 0, epoch).append([record(3)])
        store.advance(row.id, 6)
        store.advance(row.id, 2)  # never backwards
        assert not store.unread(row.id)
        assert numbers(store, row.id) == []

    run(store, body)


def test_an_end_is_told(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        for index in range(3):
            await store.ledger(row.id, index, epoch).finish(DONE)
        store.tell(row.id, [0, 2])
        assert [child.told for child in store.job(row.id).children] == [True, False, True]

    run(store, body)


def test_a_lease_is_held_lapses_and_is_lost(store: JobStore, clock: ManualClock) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        with pytest.raises(JobError, match="run by me") as caught:
            await store.lease(row.id, "you")
        assert caught.value.details["owner"] == "me"
        clock.advance(LEASE_SECONDS - 1)
        await store.renew(row.id, epoch)
        held = store.job(row.id).lease
        assert held == ("me", epoch, clock.time())
        clock.advance(LEASE_SECONDS - 1)
        with pytest.raises(JobError):
            await store.lease(row.id, "you")
        old = store.ledger(row.id, 0, epoch)
        await old.starting()
        clock.advance(LEASE_SECONDS)
        taken = await store.lease(row.id, "you")
        assert taken > epoch
        assert store.job(row.id).lease == ("you", taken, clock.time())
        for write in (
            old.starting(),
            old.started("S", "C"),
            old.append([record(1)]),
            old.disconnected(),
            old.finish(DONE),
            store.renew(row.id, epoch),
        ):
            with pytest.raises(LeaseLostError):
                await write
        await store.release(row.id, epoch)
        now = store.job(row.id)
        assert now.lease is not None
        assert now.lease.owner == "you"
        assert (now.children[0].phase, now.children[0].seq) == (Phase.STARTING, 0)
        assert numbers(store, row.id) == []
        await store.ledger(row.id, 0, taken).started("S", "C")
        assert store.job(row.id).counts[JobState.Running] == 1

    run(store, body)


def test_a_lease_that_was_given_back_can_be_taken_at_once(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        await store.release(row.id, epoch)
        assert store.job(row.id).lease is None
        with pytest.raises(LeaseLostError):
            await store.ledger(row.id, 0, epoch).starting()
        assert await store.lease(row.id, "you") > epoch

    run(store, body)


def test_the_owner_says_that_it_lives(store: JobStore, clock: ManualClock) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        clock.advance(3)
        await store.renew(row.id, epoch)
        lease = store.job(row.id).lease
        assert lease is not None
        assert lease.seen == clock.time()

    run(store, body)


def test_requests_reach_whoever_runs_the_job(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        version = store.version(row.id)
        waiting = asyncio.create_task(store.wait_change(row.id, version))
        await asyncio.sleep(0)
        store.request(row.id, Request.STOP, 1)
        await waiting
        now = store.job(row.id)
        assert [child.stop_requested for child in now.children] == [False, True, False]
        assert not now.stop_requested
        store.request(row.id, Request.DISCONNECT)
        store.request(row.id, Request.STOP)
        now = store.job(row.id)
        assert now.requests == {Request.STOP, Request.DISCONNECT}
        assert now.stop_requested
        await store.ledger(row.id, 1, epoch).starting()  # writes of the run leave requests as they are
        assert store.job(row.id).requests == {Request.STOP, Request.DISCONNECT}
        assert store.job(row.id).children[1].stop_requested

    run(store, body)


def test_the_throttle_limit_is_set_after_the_submit(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        assert (store.job(row.id).throttle_limit, store.job(row.id).throttled) == (None, 32)
        version = store.version(row.id)
        waiting = asyncio.create_task(store.wait_change(row.id, version))
        await asyncio.sleep(0)
        store.throttle(row.id, 2)
        await waiting
        assert (store.job(row.id).throttle_limit, store.job(row.id).throttled) == (2, 2)
        await store.ledger(row.id, 1, epoch).starting()
        assert store.job(row.id).throttled == 2

    run(store, body)


@pytest.mark.parametrize("given_back", [True, False])
def test_a_disconnect_is_asked_of_one_run_only(store: JobStore, clock: ManualClock, given_back: bool) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        store.request(row.id, Request.DISCONNECT)
        store.request(row.id, Request.STOP)
        if given_back:
            await store.release(row.id, epoch)
        else:
            clock.advance(LEASE_SECONDS)
        await store.lease(row.id, "you")
        assert store.job(row.id).requests == {Request.STOP}

    run(store, body)


def test_a_disconnect_asked_before_the_first_run_waits_for_it(store: JobStore) -> None:
    async def main() -> None:
        row = await store.submit(SPEC)
        store.request(row.id, Request.DISCONNECT)
        await store.lease(row.id, "me")
        assert store.job(row.id).requests == {Request.DISCONNECT}

    asyncio.run(main())


def test_everything_that_happens_changes_the_version(store: JobStore, clock: ManualClock) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        ledger = store.ledger(row.id, 0, epoch)

        async def stop() -> None:
            store.request(row.id, Request.STOP)

        events: list[Callable[[], Any]] = [
            lambda: ledger.started("S", "C"),
            lambda: ledger.append([record(1)]),
            ledger.disconnected,
            stop,
            lambda: ledger.finish(DONE),
            lambda: store.release(row.id, epoch),
        ]
        for event in events:
            version = store.version(row.id)
            waiting = asyncio.create_task(store.wait_change(row.id, version))
            await asyncio.sleep(0)
            assert not waiting.done()
            await event()
            await waiting
            assert store.version(row.id) != version
        await store.wait_change(row.id, -1)

    run(store, body)


def test_a_note_is_added_once(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        for text in ("x", "y", "x"):
            store.note(row.id, text)
        assert store.job(row.id).notes == ("a note", "x", "y")
        with pytest.raises(JobError):
            store.note(99, "x")

    run(store, body)


def test_refusals_of_an_account_are_counted_until_it_is_accepted(store: JobStore) -> None:
    assert store.refusals("ops") == 0
    for account in ("ops", "other", "ops"):
        store.refused(account)
    assert [store.refusals(account) for account in ("ops", "other", "Ops")] == [2, 1, 0]
    store.accepted("ops")
    store.accepted("nobody")
    assert [store.refusals(account) for account in ("ops", "other")] == [0, 1]


@pytest.mark.parametrize("later", [1, -1], ids=["time passes", "the clock is set back"])
def test_refusals_are_forgotten_after_a_while(store: JobStore, clock: ManualClock, later: int) -> None:
    store.refused("ops")
    clock.advance(later * (REFUSAL_SECONDS - 1))
    store.refused("ops")
    assert store.refusals("ops") == 2
    clock.advance(later)
    assert store.refusals("ops") == 1
    clock.advance(-later)  # what was looked at when it was old is gone for good
    assert store.refusals("ops") == 1
    clock.advance(later * 2 * REFUSAL_SECONDS)
    store.refused("other")
    assert (store.refusals("ops"), store.refusals("other")) == (0, 1)


def test_a_removed_job_is_gone_and_what_wrote_to_it_loses_its_lease(store: JobStore) -> None:
    async def body(row: JobRow, epoch: int) -> None:
        other = await store.submit(SPEC)
        ledger = store.ledger(row.id, 0, epoch)
        await ledger.append([record(n) for n in range(1, 10)])
        waiting = asyncio.create_task(store.wait_change(row.id, store.version(row.id)))
        await asyncio.sleep(0)
        store.remove(row.id)
        await waiting
        assert [r.id for r in store.jobs()] == [other.id]
        with pytest.raises(JobError):
            store.job(row.id)
        with pytest.raises(LeaseLostError):
            await ledger.append([record(10)])
        assert (await store.submit(SPEC)).id == 9  # ids are never used again

    run(store, body)


def test_many_children_write_at_once(store: JobStore) -> None:
    spec = JobSpec(ScriptCommand("1"), tuple(Target(f"web{n}") for n in range(300)))

    async def body(row: JobRow, epoch: int) -> None:
        async def host(child: int) -> None:
            ledger = store.ledger(row.id, child, epoch)
            await ledger.starting()
            await ledger.started(f"S{child}", "C")
            for seq in range(1, 4):
                await ledger.append([record(seq)])
            await ledger.finish(DONE)

        await asyncio.gather(*map(host, range(300)))
        now = store.job(row.id)
        assert {state: count for state, count in now.counts.items() if count} == {JobState.Completed: 300}
        assert sorted(now.ends) == list(range(300))
        assert [child.shell_id for child in now.children] == [f"S{n}" for n in range(300)]
        page = store.read(row.id, 0, 5000)
        assert [arrival.number for arrival in page] == list(range(1, 901))
        for child in range(300):
            assert [a.record.seq for a in page if a.child == child] == [1, 2, 3]

    run(store, body, spec)


# A job that another store had.


def test_a_writer_waits_while_too_much_lies_unread(clock: ManualClock) -> None:
    store = MemoryStore(clock, unread_bytes=100)

    async def body(row: JobRow, epoch: int) -> None:
        writer = asyncio.create_task(store.ledger(row.id, 0, epoch).append([record(1, b"x" * 200)]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not writer.done()
        assert store.held(row.id)
        store.advance(row.id, 1)
        await writer
        assert not store.held(row.id)

    run(store, body)


def test_a_stop_lets_a_held_writer_go(clock: ManualClock) -> None:
    store = MemoryStore(clock, unread_bytes=100)

    async def body(row: JobRow, epoch: int) -> None:
        writer = asyncio.create_task(store.ledger(row.id, 0, epoch).append([record(1, b"x" * 200)]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not writer.done()
        store.request(row.id, Request.STOP)
        await writer
        assert not store.held(row.id)

    run(store, body)
