"""Whoever runs a job keeps its lease and obeys what is put into the store: with a memory store and a clock of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import JobError, LeaseLostError, RemoteJobsError, StoreError
from remotejobs.jobs.worker import HEARTBEAT_SECONDS, LOOK_SECONDS, LeasedJob
from remotejobs.model import JobSpec, ScriptCommand, Target
from remotejobs.rows import LEASE_SECONDS, Request
from remotejobs.store.memory import MemoryStore

SPEC = JobSpec(ScriptCommand("1"), (Target("a"), Target("b"), Target("c")))


class FakeWork:
    """Runs until it is told something that ends it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        await self.ended

    def stop(self, child: int | None = None) -> None:
        self.told.append("stop" if child is None else f"stop {child}")

    def disconnect(self, *, keep_queued: bool = False) -> None:
        self.told.append("disconnect, keep the queue" if keep_queued else "disconnect")

    def throttle(self, limit: int) -> None:
        self.told.append(f"throttle {limit}")

    def notes(self) -> list[str]:
        return ["a note of the run"]

    def leave(self, error: RemoteJobsError | None = None) -> None:
        self.told.append("leave")
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)


class Scene:
    def __init__(self, store: MemoryStore, clock: ManualClock, job_id: int, epoch: int) -> None:
        self.store, self.clock, self.job_id, self.epoch = store, clock, job_id, epoch
        self.work = FakeWork()
        self.leased = LeasedJob(store, job_id, epoch, self.work, clock)

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and everybody have their turns."""
        self.clock.advance(seconds)
        for _ in range(20):
            await asyncio.sleep(0)


def play(body: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = ManualClock()
        store = MemoryStore(clock)
        row = await store.submit(SPEC)
        await body(Scene(store, clock, row.id, await store.lease(row.id, "me")))

    asyncio.run(main())


def test_the_lease_is_renewed_and_given_back_at_the_end() -> None:
    async def body(scene: Scene) -> None:
        scene.leased.start()
        await scene.turn()
        for _ in range(10):
            await scene.turn(HEARTBEAT_SECONDS)
            lease = scene.store.job(scene.job_id).lease
            assert lease is not None
            assert lease.seen == scene.clock.time()
        with pytest.raises(JobError, match="is run by me"):
            await scene.store.lease(scene.job_id, "another")
        scene.work.ended.set_result(None)
        await scene.leased.finished()
        assert scene.store.job(scene.job_id).lease is None
        assert scene.store.job(scene.job_id).notes == ("a note of the run",)

    play(body)


def test_requests_of_other_processes_are_obeyed_within_a_second() -> None:
    async def body(scene: Scene) -> None:
        scene.leased.start()
        await scene.turn()
        assert scene.work.told == []
        scene.store.request(scene.job_id, Request.STOP, 1)
        await scene.turn(LOOK_SECONDS)
        assert scene.work.told == ["stop 1"]
        scene.store.request(scene.job_id, Request.DISCONNECT)
        await scene.turn(LOOK_SECONDS)
        assert scene.work.told == ["stop 1", "disconnect"]
        scene.store.throttle(scene.job_id, 5)
        await scene.turn(LOOK_SECONDS)
        assert scene.work.told[2:] == ["throttle 5", "disconnect"]
        scene.store.request(scene.job_id, Request.STOP)
        await scene.turn(LOOK_SECONDS)
        assert scene.work.told[-1] == "stop"
        assert LOOK_SECONDS <= 0.5
        scene.leased.request(Request.STOP, 2)
        assert scene.work.told[-1] == "stop 2"
        scene.work.leave()
        await scene.leased.finished()

    play(body)


def test_what_was_asked_before_anybody_ran_it_is_obeyed_before_it_begins() -> None:
    async def body(scene: Scene) -> None:
        scene.store.request(scene.job_id, Request.STOP)
        scene.leased.start()
        await asyncio.sleep(0)
        assert scene.work.told[:1] == ["stop"]
        scene.work.leave()
        await scene.leased.finished()

    play(body)


def test_who_slept_through_a_takeover_leaves_and_keeps_its_hands_off() -> None:
    async def body(scene: Scene) -> None:
        scene.leased.start()
        await scene.turn()
        scene.clock._now += LEASE_SECONDS  # suspended: no timer of ours fires
        epoch = await scene.store.lease(scene.job_id, "another")
        await scene.turn(HEARTBEAT_SECONDS)
        assert scene.work.told == ["leave"]
        with pytest.raises(LeaseLostError):
            await scene.leased.finished()
        lease = scene.store.job(scene.job_id).lease
        assert lease is not None
        assert (lease.owner, lease.epoch) == ("another", epoch)

    play(body)


def test_a_removed_job_is_left() -> None:
    async def body(scene: Scene) -> None:
        scene.leased.start()
        await scene.turn()
        scene.store.remove(scene.job_id)
        await scene.turn(HEARTBEAT_SECONDS)
        assert scene.work.told == ["leave"]
        with pytest.raises(LeaseLostError):
            await scene.leased.finished()

    play(body)


def test_a_store_that_cannot_be_written_for_a_while_does_not_end_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(scene: Scene) -> None:
        renew = scene.store.renew

        async def full(job_id: int, epoch: int) -> None:
            raise StoreError("the disk is full")

        scene.leased.start()
        await scene.turn()
        monkeypatch.setattr(scene.store, "renew", full)
        await scene.turn(HEARTBEAT_SECONDS)
        monkeypatch.setattr(scene.store, "renew", renew)
        await scene.turn(HEARTBEAT_SECONDS)
        lease = scene.store.job(scene.job_id).lease
        assert lease is not None
        assert lease.seen == scene.clock.time()
        assert scene.work.told == []
        scene.work.leave()
        await scene.leased.finished()

    play(body)


def test_a_process_told_to_end_disconnects_within_a_bound_then_leaves() -> None:
    async def body(scene: Scene) -> None:
        scene.leased.start()
        await scene.turn()
        scene.leased.depart(10)
        scene.leased.depart(10)
        await scene.turn()
        assert scene.work.told == ["disconnect, keep the queue"]
        await scene.turn(9)
        assert scene.work.told == ["disconnect, keep the queue"]
        await scene.turn(1)
        assert scene.work.told == ["disconnect, keep the queue", "leave"]
        await scene.leased.finished()
        assert scene.store.job(scene.job_id).lease is None

    play(body)
