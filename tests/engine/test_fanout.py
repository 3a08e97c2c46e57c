"""The fan-out: order, slots, stop, disconnect, and a ledger that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from remotejobs.errors import JobError, LeaseLostError, StoreError, UnreachableError
from remotejobs.model import Outcome
from remotejobs.ports import Attempt, Control
from remotejobs.rows import Phase
from remotejobs.states import EndReason
from tests.engine.jobs import LEFT, Host, Job, failed, ok, settled, until_asked


def test_targets_begin_in_list_order_so_many_at_a_time() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        for _ in range(host.number % 3 + 10):
            await asyncio.sleep(0)
        return ok()

    job = Job(behave, count=50, slots=7)
    asyncio.run(job.fanout.run())
    assert job.runner.began == [f"h{n}" for n in range(50)]
    assert job.runner.most == 7
    assert len(job.ends) == len(job.runner.cleaned) == 50


def test_the_limit_is_changed_while_hosts_run() -> None:
    gates: dict[int, asyncio.Event] = {}

    async def behave(host: Host, control: Control) -> Attempt:
        await gates.setdefault(host.number, asyncio.Event()).wait()
        return ok()

    async def main() -> None:
        job = Job(behave, count=12, slots=4)
        running = asyncio.create_task(job.fanout.run())

        async def go(*numbers: int) -> int:
            """Let hosts end; how many run then."""
            for number in numbers:
                gates[number].set()
            await settled()
            return job.runner.active

        assert await go() == 4
        job.fanout.throttle(2)
        assert await go() == 4  # what runs goes on
        assert await go(0) == 3
        assert await go(1) == 2
        assert await go(2) == 2  # one for one again
        job.fanout.throttle(5)
        assert await go() == 5
        job.fanout.throttle(1)
        job.fanout.throttle(3)
        assert await go(3, 4) == 3
        job.fanout.throttle(99)
        assert await go() == 7
        await go(*gates)
        await running
        assert job.runner.began == [f"h{n}" for n in range(12)]

    asyncio.run(main())


def test_one_host_cannot_end_another() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        if host.number == 2:
            raise ZeroDivisionError
        return ok()

    job = Job(behave)
    asyncio.run(job.fanout.run())
    assert [r.value for r in job.reasons()] == ["Completed"] * 2 + ["Unknown"] + ["Completed"] * 3
    assert "ZeroDivisionError" in job.ends[2].message


def test_a_lost_lease_ends_everything_without_a_word() -> None:
    cancelled: list[int] = []

    async def behave(host: Host, control: Control) -> Attempt:
        if host.number == 1:
            await settled()
            raise LeaseLostError("taken over")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(host.number)
            raise
        return ok()

    job = Job(behave, count=6, slots=3)
    with pytest.raises(LeaseLostError):
        asyncio.run(job.fanout.run())
    assert job.ends == {}
    assert job.runner.began == ["h0", "h1", "h2"]
    assert job.runner.cleaned == []
    assert cancelled == [0, 2]


@pytest.mark.parametrize("how", ["attempt", "finish"])
def test_a_lost_lease_is_seen_wherever_it_shows(how: str) -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        if host.number == 1 and how == "attempt":
            error = LeaseLostError("taken over")
            return Attempt(Phase.OPEN, Outcome(EndReason.Unknown), error)
        return ok()

    job = Job(behave, count=4, slots=1)
    if how == "finish":
        job.refusing[1] = LeaseLostError("taken over")
    with pytest.raises(LeaseLostError):
        asyncio.run(job.fanout.run())
    assert sorted(job.ends) == [0]
    assert job.runner.cleaned == ["h0"]


def test_a_store_that_fails_leaves_scripts_on_their_hosts_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    full = StoreError("the disk is full")
    left = Outcome(EndReason.Disconnected, "the disk is full. The script goes on.")

    async def behave(host: Host, control: Control) -> Attempt:
        if host.number < 3:
            await settled()
            return Attempt(Phase.STARTED, left if host.number == 1 else Outcome(EndReason.Unknown), full)
        return await until_asked()(host, control)

    job = Job(behave, count=7, slots=4)
    job.refusing[0] = full
    with pytest.raises(StoreError, match="the disk is full"):
        asyncio.run(job.fanout.run())
    assert job.runner.began == ["h0", "h1", "h2", "h3"]
    # what was not begun is left to who connects the job
    assert {n: end.reason.value for n, end in job.ends.items()} == {1: "Disconnected", 2: "Unknown", 3: "Disconnected"}
    assert "could not be stored" in job.ends[2].message
    assert len([r for r in caplog.records if "store failed" in r.getMessage()]) == 1


def test_a_job_that_is_gone_is_stopped() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        await settled()
        return ok() if host.number == 0 else await until_asked()(host, control)

    job = Job(behave, count=4, slots=2)
    job.refusing[0] = JobError("there is no such job")
    with pytest.raises(JobError, match="no such job"):
        asyncio.run(job.fanout.run())
    assert [job.ends[n].reason.value for n in (1, 2, 3)] == ["Stopped", "NotStarted", "NotStarted"]
    assert job.ends[3].message == "Not begun: there is no such job"


def test_one_child_is_stopped_alone() -> None:
    async def run() -> Job:
        job = Job(until_asked(), count=5)
        task = asyncio.create_task(job.fanout.run())
        await settled()
        job.fanout.stop(4)  # waits for a slot: it ends at once
        await settled()
        assert job.ends[4].reason is EndReason.NotStarted
        job.fanout.stop(0)  # runs: it is told, and its slot goes to the next
        job.fanout.stop(0)
        await settled()
        assert job.ends[0].reason is EndReason.Stopped
        assert job.runner.began == ["h0", "h1", "h2"]
        assert sorted(job.ends) == [0, 4]
        job.fanout.stop()
        await task
        return job

    assert [r.value for r in asyncio.run(run()).reasons()] == ["Stopped"] * 3 + ["NotStarted"] * 2


def test_one_child_that_waits_to_try_again_is_stopped_at_once_though_every_slot_is_taken() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            if host.number == 0:
                return failed(UnreachableError("refused", step="tcp"))
            return await until_asked()(host, control)

        job = Job(behave, count=2, slots=1)
        task = asyncio.create_task(job.fanout.run())
        await job.clock.until_waiting(0.000001)
        job.clock.advance(10)  # its pause is over, the slot is the other's
        await settled()
        assert job.runner.active == 1
        job.fanout.stop(0)
        await settled()
        assert job.ends[0].reason is EndReason.NotStarted
        job.fanout.stop()
        await task
        return job

    job = asyncio.run(run())
    assert job.runner.most == 1
    assert job.runner.began == ["h0", "h1"]


def test_one_child_at_the_guard_is_stopped_alone() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            try:
                await control.enter(Phase.AUTHENTICATE)
            except UnreachableError as error:
                return Attempt(Phase.CONNECT, Outcome(EndReason.Stopped), error)
            return await until_asked(Phase.AUTHENTICATE)(host, control)

        job = Job(behave, count=5, slots=5)
        task = asyncio.create_task(job.fanout.run())
        await settled()
        job.fanout.stop(4)
        await settled()
        assert sorted(job.ends) == [4]
        job.fanout.stop()
        await task
        return job

    assert asyncio.run(run()).reasons() == [EndReason.Stopped] * 5


def test_a_disconnect_leaves_what_runs_and_never_begins_the_rest() -> None:
    async def run() -> Job:
        job = Job(until_asked(), count=5)
        task = asyncio.create_task(job.fanout.run())
        await settled()
        job.fanout.disconnect()
        await task
        return job

    job = asyncio.run(run())
    assert [r.value for r in job.reasons()] == ["Disconnected"] * 2 + ["NotStarted"] * 3
    assert job.runner.began == ["h0", "h1"]


def test_a_process_that_ends_keeps_the_queue_for_another() -> None:
    async def run() -> Job:
        job = Job(until_asked(), count=5)
        task = asyncio.create_task(job.fanout.run())
        await settled()
        job.fanout.disconnect(keep_queued=True)
        await task
        return job

    assert sorted(asyncio.run(run()).ends) == [0, 1]


def test_a_stop_outranks_a_disconnect() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            told = asyncio.Semaphore(0)
            control.on_request(told.release)
            while not control.stop_requested:
                await told.acquire()
            control.on_request(None)
            return Attempt(Phase.STARTED, Outcome(EndReason.Stopped))

        job = Job(behave, count=1)
        task = asyncio.create_task(job.fanout.run())
        await settled()
        job.fanout.disconnect()
        await settled()
        job.fanout.stop()
        await task
        return job

    assert asyncio.run(run()).reasons() == [EndReason.Stopped]


def test_no_end_is_made_up_for_what_an_earlier_run_began() -> None:
    async def run() -> Job:
        job = Job(until_asked(), count=5, slots=1, resumed=[1, 2])
        job.fanout.stop()
        await job.fanout.run()
        return job

    job = asyncio.run(run())
    assert [r.value for r in job.reasons()] == ["NotStarted", "Stopped", "Stopped", "NotStarted", "NotStarted"]
    assert job.runner.began == ["h1", "h2"]
    assert job.runner.most == 1


def test_to_stop_what_an_earlier_run_began_its_host_is_authenticated_at() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            await control.enter(Phase.AUTHENTICATE)
            await control.enter(Phase.OPEN)
            return Attempt(Phase.STARTED, Outcome(EndReason.Stopped))

        job = Job(behave, count=5, resumed=range(5))
        job.fanout.stop()
        await job.fanout.run()
        return job

    assert asyncio.run(run()).reasons() == [EndReason.Stopped] * 5


def test_what_an_earlier_run_began_stays_disconnected_when_nobody_has_looked_yet() -> None:
    async def run() -> Job:
        job = Job(until_asked(), count=4, slots=1, resumed=[2])
        task = asyncio.create_task(job.fanout.run())
        await settled()
        job.fanout.disconnect()
        await task
        return job

    job = asyncio.run(run())
    assert [r.value for r in job.reasons()] == ["Disconnected", "NotStarted", "Disconnected", "NotStarted"]
    assert job.runner.began == ["h0"]


def test_past_the_deadline_what_an_earlier_run_began_is_still_asked() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        job.clock.advance(60)
        return ok()

    job = Job(behave, count=3, slots=1, resumed=[2], deadline=50)
    asyncio.run(job.fanout.run())
    assert [r.value for r in job.reasons()] == ["Completed", "TimedOut(deadline)", "Completed"]


def test_a_host_that_does_not_answer_is_asked_again_for_what_it_runs() -> None:
    async def run(resumed: Sequence[int]) -> int:
        async def behave(host: Host, control: Control) -> Attempt:
            return Attempt(Phase.STARTED, LEFT, UnreachableError("refused", step="tcp"))

        job = Job(behave, count=1, resumed=resumed)
        task = asyncio.create_task(job.fanout.run())
        while not task.done():
            job.clock.advance(100)
            await asyncio.sleep(0)
        assert job.reasons() == [EndReason.Disconnected]
        return job.runner.hosts[0].tries

    assert asyncio.run(run([0])) == 4
    assert asyncio.run(run([])) == 1


def test_a_stop_ends_what_runs_and_never_begins_the_rest() -> None:
    async def run() -> Job:
        running = asyncio.Event()

        async def behave(host: Host, control: Control) -> Attempt:
            stopped = asyncio.Event()
            control.on_request(stopped.set)
            if host.number == 1:
                running.set()
            await stopped.wait()
            control.on_request(None)
            return Attempt(Phase.STARTED, Outcome(EndReason.Stopped))

        job = Job(behave, count=5)
        task = asyncio.create_task(job.fanout.run())
        await running.wait()
        job.fanout.stop()
        job.fanout.stop()
        await task
        return job

    job = asyncio.run(run())
    assert [r.value for r in job.reasons()] == ["Stopped"] * 2 + ["NotStarted"] * 3
    assert job.runner.began == ["h0", "h1"]
