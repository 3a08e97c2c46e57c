from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from remotejobs.clock import ManualClock
from remotejobs.engine.fanout import Fanout
from remotejobs.engine.guard import Guard
from remotejobs.engine.policy import RetryPolicy
from remotejobs.errors import AuthenticationError, FaultError, LeaseLostError, StoreError, UnreachableError
from remotejobs.model import Outcome, Record, Target
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Control, Fresh, Phase, Resume
from remotejobs.states import EndReason

DONE = Outcome(EndReason.Completed)
Behaviour = Callable[["Host", Control], Awaitable[Attempt]]


LEFT = Outcome(EndReason.Disconnected, "left on its host")


class Ledger:
    """Notes ends; `refusing` holds by number what it raises instead."""

    def __init__(self, ends: dict[int, Outcome], number: int, refusing: dict[int, Exception] | None = None) -> None:
        self._ends, self._number, self._refusing = ends, number, refusing or {}

    async def starting(self) -> None: ...

    async def started(self, shell_id: str, command_id: str) -> None: ...

    async def append(self, records: Sequence[Record]) -> None: ...

    async def disconnected(self) -> None:
        await self.finish(LEFT)

    async def finish(self, outcome: Outcome) -> None:
        if self._number in self._refusing:
            raise self._refusing[self._number]
        assert self._number not in self._ends
        self._ends[self._number] = outcome


@dataclass
class Host:
    name: str
    number: int
    tries: int = 0


@dataclass
class Runner:
    """A HostRunner whose hosts do as a test says."""

    behave: Behaviour
    began: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    active: int = 0
    most: int = 0
    hosts: dict[int, Host] = field(default_factory=dict)

    async def run(self, child: ChildTask, ledger: ChildLedger, control: Control) -> Attempt:
        host = self.hosts.setdefault(child.number, Host(child.target.name, child.number))
        host.tries += 1
        self.began.append(host.name)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            attempt = await self.behave(host, control)
        finally:
            self.active -= 1
        attempt.resources = host
        return attempt

    async def cleanup(self, attempt: Attempt) -> None:
        self.cleaned.append(attempt.resources.name if attempt.resources else "")


class Job:
    def __init__(
        self, behave: Behaviour, count: int = 6, slots: int = 2, resumed: Sequence[int] = (), **settings: float | None
    ) -> None:
        self.refusing: dict[int, Exception] = {}
        self.clock = ManualClock()
        self.ends: dict[int, Outcome] = {}
        self.runner = Runner(behave)
        fresh = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        again = Resume(fresh, "SHELL", "COMMAND", started=True, seq=0, object_id=0)
        self.fanout = Fanout(
            [ChildTask(n, Target(f"h{n}"), again if n in resumed else fresh) for n in range(count)],
            lambda number: Ledger(self.ends, number, self.refusing),
            self.runner,
            policy=RetryPolicy(3, 60),
            guard=Guard(),
            clock=self.clock,
            slots=slots,
            total=settings.get("total"),
            deadline=settings.get("deadline"),
        )

    def reasons(self) -> list[EndReason]:
        return [self.ends[n].reason for n in sorted(self.ends)]


def ok(phase: Phase = Phase.ENDED) -> Attempt:
    return Attempt(phase, DONE)


def failed(error: UnreachableError | FaultError | AuthenticationError, phase: Phase = Phase.CONNECT) -> Attempt:
    reason = EndReason.AuthenticationFailed if isinstance(error, AuthenticationError) else EndReason.Unreachable
    return Attempt(phase, Outcome(reason, error.message), error)


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


def test_one_host_cannot_end_another() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        if host.number == 2:
            raise ZeroDivisionError
        return ok()

    job = Job(behave)
    asyncio.run(job.fanout.run())
    assert [r.value for r in job.reasons()] == ["Completed"] * 2 + ["Unknown"] + ["Completed"] * 3
    assert "ZeroDivisionError" in job.ends[2].message


def until_asked(phase: Phase = Phase.STARTED) -> Behaviour:
    """Hosts that run until they are asked to stop or to disconnect."""

    async def behave(host: Host, control: Control) -> Attempt:
        asked = asyncio.Event()
        control.on_request(asked.set)
        await asked.wait()
        control.on_request(None)
        return Attempt(phase, Outcome(EndReason.Stopped) if control.stop_requested else LEFT)

    return behave


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


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


def test_a_store_that_fails_stops_the_job_in_order_and_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def behave(host: Host, control: Control) -> Attempt:
        if host.number == 2:
            await settled()
            return Attempt(Phase.STARTED, Outcome(EndReason.Unknown), StoreError("the disk is full"))
        return await until_asked()(host, control)

    job = Job(behave, count=6, slots=3)
    job.refusing[0] = StoreError("the disk is full")
    with pytest.raises(StoreError, match="the disk is full"):
        asyncio.run(job.fanout.run())
    assert job.runner.began == ["h0", "h1", "h2"]
    assert [job.ends[n].reason.value for n in (1, 2, 3, 4, 5)] == ["Stopped", "Unknown"] + ["NotStarted"] * 3
    assert "could not be stored" in job.ends[2].message
    assert job.ends[5].message == "Not begun: the disk is full"
    assert len([r for r in caplog.records if "store failed" in r.getMessage()]) == 1


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


def test_passing_failures_are_tried_again_outside_the_slot() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            if host.number == 0 and host.tries < 3:
                return failed(UnreachableError("refused", step="tcp"))
            return ok()

        job = Job(behave, count=4, slots=1)
        task = asyncio.create_task(job.fanout.run())
        await job.clock.until_waiting(0.000001)
        while len(job.runner.began) < 4:  # its slot is free meanwhile
            await asyncio.sleep(0)
        job.clock.advance(10)
        await job.clock.until_waiting(0.000001)
        job.clock.advance(10)
        await task
        return job

    job = asyncio.run(run())
    assert job.runner.began == ["h0", "h1", "h2", "h3", "h0", "h0"]
    assert job.runner.cleaned.count("h0") == 3
    assert set(job.reasons()) == {EndReason.Completed}


def test_tries_end() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            return failed(UnreachableError("refused", step="tcp"))

        job = Job(behave, count=1)
        task = asyncio.create_task(job.fanout.run())
        while not task.done():
            job.clock.advance(100)
            await asyncio.sleep(0)
        return job

    job = asyncio.run(run())
    assert job.runner.hosts[0].tries == 4
    assert job.reasons() == [EndReason.Unreachable]


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (UnreachableError("no such name", step="name"), Phase.CONNECT),
        (UnreachableError("bad certificate", step="tls"), Phase.CONNECT),
        (UnreachableError("wrong path", step="http", status=404), Phase.AUTHENTICATE),
        (AuthenticationError("refused"), Phase.AUTHENTICATE),
        (UnreachableError("reset", step="tcp"), Phase.STARTING),
        (FaultError("bad", code=2150858811), Phase.AUTHENTICATE),
        (FaultError("quota", code=2150859174), Phase.STARTED),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(error: UnreachableError, phase: Phase) -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        return failed(error, phase)

    job = Job(behave, count=1)
    asyncio.run(job.fanout.run())
    assert job.runner.hosts[0].tries == 1


def test_quota_is_waited_for_longer_than_tries_last() -> None:
    async def run() -> tuple[Job, float]:
        async def behave(host: Host, control: Control) -> Attempt:
            return failed(FaultError("quota", code=2150859173), Phase.AUTHENTICATE)

        job = Job(behave, count=1)
        began = job.clock.monotonic()
        task = asyncio.create_task(job.fanout.run())
        while not task.done():
            job.clock.advance(1)
            await asyncio.sleep(0)
        return job, job.clock.monotonic() - began

    job, lasted = asyncio.run(run())
    assert job.runner.hosts[0].tries > 4
    assert lasted >= 60


def test_a_stop_wakes_who_waits_to_try_again() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            return failed(UnreachableError("refused", step="tcp"))

        job = Job(behave, count=2)
        task = asyncio.create_task(job.fanout.run())
        await job.clock.until_waiting(0.000001)
        job.fanout.stop()
        await task
        return job

    assert asyncio.run(run()).reasons() == [EndReason.NotStarted] * 2


def test_the_guard_ends_a_credential_that_nobody_accepts() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        try:
            await control.enter(Phase.AUTHENTICATE)
        except AuthenticationError as error:
            return Attempt(Phase.CONNECT, Outcome(EndReason.NotStartedGuard, error.message), error)
        await asyncio.sleep(0)
        return failed(AuthenticationError("401"), Phase.AUTHENTICATE)

    job = Job(behave, count=20, slots=10)
    asyncio.run(job.fanout.run())
    reasons = job.reasons()
    assert reasons.count(EndReason.AuthenticationFailed) == 3
    assert reasons.count(EndReason.NotStartedGuard) == 17


def test_the_guard_opens_at_the_first_acceptance() -> None:
    in_flight = most_before = 0
    accepted = False

    async def behave(host: Host, control: Control) -> Attempt:
        nonlocal in_flight, most_before, accepted
        await control.enter(Phase.AUTHENTICATE)
        in_flight += 1
        if not accepted:
            most_before = max(most_before, in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        in_flight -= 1
        if host.number == 1:
            return failed(AuthenticationError("401"), Phase.AUTHENTICATE)
        accepted = True
        await control.enter(Phase.OPEN)
        return ok()

    job = Job(behave, count=20, slots=10)
    asyncio.run(job.fanout.run())
    assert most_before == 3
    assert job.reasons().count(EndReason.Completed) == 19


def test_unreachable_hosts_do_not_use_up_the_guard() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        await control.enter(Phase.AUTHENTICATE)
        if host.number < 10:
            return failed(UnreachableError("404", step="http", status=404), Phase.AUTHENTICATE)
        await control.enter(Phase.OPEN)
        return ok()

    job = Job(behave, count=12, slots=4)
    asyncio.run(job.fanout.run())
    assert job.reasons().count(EndReason.Completed) == 2


def test_a_stop_lets_who_waits_at_the_guard_through() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            try:
                await control.enter(Phase.AUTHENTICATE)
            except UnreachableError as error:
                return Attempt(Phase.CONNECT, Outcome(EndReason.Stopped), error)
            stopped = asyncio.Event()
            control.on_request(stopped.set)
            await stopped.wait()
            control.on_request(None)
            return Attempt(Phase.AUTHENTICATE, Outcome(EndReason.Stopped))

        job = Job(behave, count=8, slots=8)
        task = asyncio.create_task(job.fanout.run())
        for _ in range(20):
            await asyncio.sleep(0)
        job.fanout.stop()
        await task
        return job

    assert asyncio.run(run()).reasons() == [EndReason.Stopped] * 8


def test_past_the_deadline_nothing_begins() -> None:
    async def run() -> Job:
        async def behave(host: Host, control: Control) -> Attempt:
            assert control.ends is not None
            assert control.ends.clock == "deadline"
            job.clock.advance(30)
            return ok()

        job = Job(behave, count=5, slots=1, deadline=50, total=100)
        await job.fanout.run()
        return job

    assert [r.value for r in asyncio.run(run()).reasons()] == ["Completed"] * 2 + ["TimedOut(deadline)"] * 3


def test_the_nearer_end_counts() -> None:
    async def behave(host: Host, control: Control) -> Attempt:
        assert control.ends is not None
        assert control.ends.clock == "total"
        return ok()

    job = Job(behave, count=1, total=5, deadline=50)
    asyncio.run(job.fanout.run())
    assert job.reasons() == [EndReason.Completed]
