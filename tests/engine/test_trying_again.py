"""What the engine tries again, and what ends it: the guard, quotas, deadlines."""

from __future__ import annotations

import asyncio

import pytest

from remotejobs.errors import AuthenticationError, FaultError, UnreachableError
from remotejobs.model import Outcome
from remotejobs.ports import Attempt, Control
from remotejobs.rows import Phase
from remotejobs.states import EndReason
from tests.engine.jobs import Host, Job, failed, ok


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
