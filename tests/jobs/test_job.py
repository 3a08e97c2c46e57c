"""A job as another process sees it: cursors, ends, waiting, and what it asks of whoever runs the job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from remotejobs.errors import ConfigurationError, JobError, StoreError
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.rows import LEASE_SECONDS, Request
from remotejobs.states import EndReason, JobState
from tests.jobs.scene import GIVEN, Runs, Scene, run, texts, turns


def test_the_cursor_is_the_stores_and_not_the_objects() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0, "a", "b")
        assert texts(list(scene.seen(1).receive(keep=True))) == ["web01:a", "web01:b"]
        assert texts(list(scene.seen(1).receive())) == ["web01:a", "web01:b"]
        await scene.write(job, 0, "c")
        assert texts(list(scene.seen(1).receive())) == ["web01:c"]
        assert scene.seen(1).receive() == []

    run(body())


def test_a_child_that_was_read_alone_is_read_for_its_job_too() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.write(job, 0, "a")
        await scene.write(job, 1, "b")
        await scene.write(job, 0, "c")
        assert texts(list(job.child_jobs[1].receive())) == ["web02:b"]
        assert (job.child_jobs[0].has_more_data, job.has_more_data) == (True, True)
        assert texts(list(job.receive())) == ["web01:a", "web01:c"]

    run(body())


def test_received_without_waiting_hosts_come_one_after_the_other() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        for text in "ab":
            for index in (1, 0):
                await scene.write(job, index, text)
        reading = job.read()
        assert [next(reading).value for _ in range(3)] == ["a", "b", "a"]
        reading.close()  # type: ignore[attr-defined]
        assert texts(list(job.receive())) == ["web02:a", "web02:b"]  # the third was not known to be done with
        for number in range(1500):  # more than are held in memory
            await scene.write(job, number % 2, str(number))
        got = job.receive()
        assert [r.computer_name for r in got] == ["web01"] * 750 + ["web02"] * 750
        assert job.receive() == []

    run(body())


def test_an_end_is_shown_once_and_kept_for_later_with_keep() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0, "a")
        await scene.end(job, 0, EndReason.CommandFailed, "boom")
        kept = [item async for item in scene.seen(1).events(keep=True)]
        assert texts(kept) == ["web01:a", "web01=CommandFailed"]
        assert texts([item async for item in scene.seen(1).events()]) == texts(kept)
        assert [item async for item in scene.seen(1).events()] == []
        assert texts([item async for item in scene.seen(1).events(from_start=True)]) == ["web01=CommandFailed"]
        child = job.child_jobs[0]
        assert (child.reason, child.failure is not None, child.job_state_info.state.name) == ("boom", True, "Failed")

    run(body())


def test_records_are_printed_before_the_cursor_moves() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0, "a", "b")
        await scene.end(job, 0)
        unread: list[bool] = []
        got = [item async for item in job.events(lambda: unread.append(scene.store.unread(1)))]
        assert len(got) == 3
        assert unread[0]

    run(body())


def test_a_reader_of_another_process_learns_that_the_worker_died() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02", idle=60)
        await scene.write(job, 0, "a")
        seen = scene.seen(1)
        reading = asyncio.create_task(_all(seen))
        await turns()
        assert not reading.done()
        scene.clock.advance(LEASE_SECONDS)
        assert texts(await reading) == ["web01:a"]
        assert [seen.state.name, *(child.state.name for child in seen.child_jobs)] == [
            "Disconnected",
            "Disconnected",
            "NotStarted",
        ]
        assert await seen.wait()
        scene.clock.advance(60)
        assert [child.state.name for child in seen.child_jobs] == ["Failed", "NotStarted"]
        for _ in range(2):  # said at every look: it is only presumed
            assert texts(await _all(seen)) == ["web01=Unknown"]
        assert texts(list(seen.ends())) == ["web01=Unknown"]

    run(body())


async def _all(job: RemoteJob) -> list[object]:
    return [item async for item in job.events()]


def test_a_disconnected_job_that_somebody_runs_is_about_to_change() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0)
        await scene.leave(job, 0)
        waiting = asyncio.create_task(scene.seen(1).wait())
        await turns()
        assert not waiting.done()
        await scene.done(job)
        assert await waiting
        assert not await _in_no_time(scene, job)

    run(body())


async def _in_no_time(scene: Scene, job: RemoteJob) -> bool:
    """-Force waits on while a job is Disconnected."""
    waiting = asyncio.create_task(job.wait(5, force=True))
    await scene.clock.until_waiting(5)
    scene.clock.advance(5)
    return await waiting


def test_stop_is_asked_through_the_store_and_waited_for() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.write(job, 0)
        stopping = asyncio.create_task(scene.seen(1).stop())
        await turns()
        assert not stopping.done()
        await scene.obey(job)
        await stopping
        assert job.state is JobState.Stopped
        assert scene.taken == []
        await scene.seen(1).stop()  # has ended: nothing happens

    run(body())


def test_stop_of_one_child() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.write(job, 0)
        await scene.write(job, 1)
        stopping = asyncio.create_task(scene.seen(1).child_jobs[0].stop())
        await turns()
        await scene.obey(job)
        await stopping
        assert [c.state.name for c in job.child_jobs] == ["Stopped", "Running"]
        await scene.end(job, 1)
        # stop-child-only.json has Completed here; ours says Stopped (semantics 11)
        assert job.state.name == "Stopped"

    run(body())


def test_a_job_whose_worker_dies_while_it_is_stopped_is_taken_over() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.write(job, 0)
        stopping = asyncio.create_task(scene.seen(1).stop(GIVEN))
        await turns()
        scene.clock.advance(LEASE_SECONDS)
        await stopping
        assert scene.taken == [(1, "stop", [""])]
        assert job.state is JobState.Stopped

    run(body())


def test_taking_over_needs_the_credential() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0)
        scene.clock.advance(LEASE_SECONDS)
        for work in (job.stop, job.connect):
            with pytest.raises(ConfigurationError, match="needs a credential") as caught:
                await work()
            assert caught.value.error_id == "CredentialMissing"
            assert caught.value.details["credentials"] == job.credential_names == [""]
        with pytest.raises(JobError, match="remotejob connect 1") as refused:
            await job.child_jobs[0].stop()
        assert refused.value.error_id == "StopJobError"
        assert scene.taken == []
        assert (await scene.job(mechanism="Kerberos")).credential_names == []  # the current user's tickets

    run(body())


def test_hosts_that_do_not_answer_are_named() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.write(job, 0)
        await scene.end(job, 1)
        await scene.leave(job, 0)
        await scene.done(job)
        scene.answers = False
        with pytest.raises(JobError, match="could not be stopped on web01") as caught:
            await job.stop(GIVEN)
        assert caught.value.details["targets"] == ["web01"]
        assert await job.remove(force=True, credentials=GIVEN) == ("web01",)
        assert scene.store.jobs() == []

    run(body())


def test_connect_takes_over_what_nobody_runs() -> None:
    async def body() -> None:
        scene = Scene()
        job = await left(scene)
        assert (job.child_jobs[0].job_state_info, job.owner) == ((JobState.Disconnected, "Left."), "")
        connecting = asyncio.create_task(job.connect(GIVEN))
        await turns()
        assert scene.taken == [(1, "connect", [""])]
        assert job.child_jobs[0].job_state_info == (JobState.Disconnected, "")
        await scene.found(job, 0)
        await connecting
        assert job.owner == "another worker"
        await job.connect(GIVEN)  # somebody runs it: nothing to do
        assert len(scene.taken) == 1
        await scene.end(job, 0)
        with pytest.raises(JobError, match="nothing to connect to") as caught:
            await job.connect(GIVEN)
        assert caught.value.error_id == "PSJobConnectFailed"

    run(body())


async def left(scene: Scene, *names: str, throttle_limit: int = 32) -> RemoteJob:
    """A job that nobody runs, its scripts left on their hosts."""
    job = await scene.job(*names, throttle_limit=throttle_limit)
    for index in range(len(job.child_jobs)):
        await scene.write(job, index)
        await scene.leave(job, index)
    await scene.done(job)
    return job


async def refused(job: RemoteJob, **options: Any) -> dict[str, Any]:
    """What the error of a connect has to say."""
    with pytest.raises(JobError) as caught:
        await job.connect(GIVEN, **options)
    assert caught.value.error_id == "PSSessionConnectFailed"
    return caught.value.details


def test_connect_says_which_hosts_it_did_not_get_hold_of_and_why() -> None:
    async def body() -> None:
        scene = Scene()
        job = await left(scene, "web01", "web02", "web03")
        connecting = asyncio.create_task(refused(job))
        await turns()
        await scene.leave(job, 0, "It said no.")
        await scene.end(job, 1, EndReason.Unknown, "It is gone.")
        await turns()
        assert not connecting.done()
        await scene.found(job, 2)
        details = await connecting
        assert details["failed"] == [
            {"target": "web01", "message": "It said no.", "error_id": "WhyNot"},
            {"target": "web02", "message": "It is gone.", "error_id": ""},
        ]
        assert details["waiting"] == []
        assert job.child_jobs[0].reason == "It said no."

    run(body())


def test_connect_lets_one_that_fails_come_to_its_end_and_takes_over_then() -> None:
    async def body() -> None:
        scene = Scene()
        job = await left(scene)
        first = asyncio.create_task(refused(job))
        await turns()
        await scene.leave(job, 0, "It said no.")
        await turns()
        assert not first.done()
        await scene.done(job)
        assert (await first)["failed"][0]["message"] == "It said no."
        await scene.take_over(1, "connect", GIVEN)
        connecting = asyncio.create_task(job.connect(GIVEN))
        await turns()
        await scene.leave(job, 0, "It said no.")
        await turns()
        assert len(scene.taken) == 2
        await scene.done(job)
        await turns()
        assert len(scene.taken) == 3
        assert not connecting.done()
        await scene.found(job, 0)
        await connecting

    run(body())


def test_connect_waits_no_longer_than_it_is_told() -> None:
    async def body() -> None:
        scene = Scene()
        job = await left(scene, "web01", "web02")
        connecting = asyncio.create_task(refused(job, timeout=5))
        await turns()
        await scene.found(job, 0)
        await turns()
        assert not connecting.done()
        scene.clock.advance(5)
        assert (await connecting)["waiting"] == ["web02"]

    run(body())


def test_connect_hears_that_the_process_which_connects_is_gone() -> None:
    async def body() -> None:
        scene = Scene()
        job = await left(scene)
        connecting = asyncio.create_task(refused(job, timeout=None))
        await turns()
        scene.clock.advance(LEASE_SECONDS)
        details = await connecting
        assert (details["failed"], details["waiting"]) == ([], ["web01"])

    run(body())


def test_connect_does_not_wait_for_hosts_that_wait_for_a_slot() -> None:
    async def body() -> None:
        scene = Scene()
        job = await left(scene, "web01", "web02", throttle_limit=1)
        connecting = asyncio.create_task(job.connect(GIVEN))
        await turns()
        await scene.found(job, 0)
        await connecting
        assert [child.state for child in job.child_jobs] == [JobState.Running, JobState.Disconnected]

    run(body())


def test_disconnect_waits_until_the_shells_are_left() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0)
        leaving = asyncio.create_task(scene.seen(1).disconnect())
        await turns()
        assert not leaving.done()
        await scene.obey(job)
        await leaving
        assert job.state is JobState.Disconnected
        await job.disconnect()
        other = await scene.job()
        await scene.end(other, 0)
        with pytest.raises(JobError, match="nothing to disconnect") as caught:
            await other.disconnect()
        assert caught.value.error_id == "CannotDisconnectSessionWhenNotOpened"

    run(body())


def test_what_this_process_runs_is_asked_directly_and_never_presumed() -> None:
    async def body() -> None:
        scene, running = Scene(), Runs()
        await scene.job("web01", "web02")
        job = RemoteJob(scene.store, 1, running)
        scene.clock.advance(1e6)
        assert job.state is JobState.Running
        job.request_stop()
        stopping = asyncio.create_task(job.child_jobs[1].stop())
        await turns()
        assert running.asked == [(Request.STOP, None), (Request.STOP, 1)]
        stopping.cancel()

    run(body())


def test_a_store_that_fails_what_this_process_runs_ends_the_reading() -> None:
    async def body() -> None:
        scene, running = Scene(), Runs()
        seen = await scene.job("web01")
        await scene.write(seen, 0, "a")
        job = RemoteJob(scene.store, 1, running)
        events = job.events()
        assert texts([await anext(events)]) == ["web01:a"]
        reading, waiting = asyncio.ensure_future(anext(events)), asyncio.create_task(job.wait())
        await turns()
        running.error = StoreError("The disk is full.")
        scene.clock.advance(2.5)
        for each in (reading, waiting):
            with pytest.raises(StoreError, match="full"):
                await each

    run(body())


def test_a_removed_job_stays_readable() -> None:
    """remove-then-use.json: its state is still there, receiving gives nothing and no error."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0, "a")
        await scene.end(job, 0)
        assert await job.remove() == ()
        assert (job.state.name, job.has_more_data, job.receive(), await _all(job)) == ("Completed", False, [], [])
        assert job.child_jobs[0].state.name == "Completed"
        assert await job.wait()
        with pytest.raises(JobError) as caught:
            await job.remove()
        assert caught.value.error_id == "CannotRemoveJob"

    run(body())


def test_leaving_a_stream_moves_the_cursor_at_once() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        await scene.write(job, 0, "a", "b", "c")
        stream = job.stream()
        assert [(await anext(stream)).value for _ in range(2)] == ["a", "b"]
        await stream.aclose()  # type: ignore[attr-defined]
        assert texts(list(scene.seen(1).receive())) == ["web01:b", "web01:c"]
        assert all(isinstance(r, ReceivedRecord) for r in job.receive())

    run(body())
