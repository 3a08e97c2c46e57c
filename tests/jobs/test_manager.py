"""The job cmdlets by PowerShell's rules: each test names the transcript in recordings/pwsh that it follows."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from remotejobs.errors import JobError, RemoteJobsError, UsageError
from remotejobs.jobs.job import ChildJob, RemoteJob
from remotejobs.jobs.manager import Errors
from remotejobs.states import EndReason, JobState
from tests.jobs.scene import GIVEN, Runs, Scene, received, run, turns
from tests.recordings import RECORDINGS, needs_recordings


def transcript(name: str) -> str:
    """What PowerShell printed, its line breaks and the pointers to the script left out."""
    assert RECORDINGS is not None
    path = RECORDINGS / "pwsh" / "transcripts" / f"{name}.json"
    output = json.loads(path.read_text(encoding="utf-8"))["output"]
    return re.sub(r"\s*\n\s*(\|\s)?\s*", " ", output)


def names(jobs: list[Any]) -> list[str]:
    return [job.name for job in jobs]


def said(errors: Errors) -> list[str]:
    return [error.message for error in errors]


async def three(scene: Scene) -> list[RemoteJob]:
    """alpha, beta and gamma of getjob-by.json."""
    jobs = []
    for name, script in (("alpha", " 1 "), ("beta", " 2 "), ("gamma", " throw 'z' ")):
        job = await scene.job(name=name, script=script)
        jobs.append(job)
        scene.clock.advance(1)
        if name == "gamma":
            await scene.end(job, 0, EndReason.CommandFailed, "z")
        else:
            await scene.write(job, 0, name[0])
            await scene.end(job, 0)
    return jobs


def test_get_by_everything() -> None:
    """getjob-by.json."""

    async def body() -> None:
        scene = Scene()
        await three(scene)
        get = scene.manager.get
        assert names(get(name="*a")) == ["alpha", "beta", "gamma"]
        assert names(get(state="failed")) == ["gamma"]
        assert names(get([1, 3])) == ["alpha", "beta"]
        assert names(get(command="* 2 *")) == []  # of the script without the blanks around it, as in PowerShell
        assert names(get(command=["*2*", "1"])) == ["alpha", "beta"]
        assert names(get(newest=1)) == ["gamma"]
        assert names(get(has_more_data=True)) == ["alpha", "beta"]
        assert names(get()) == ["alpha", "beta", "gamma"]
        assert names(get([3, 1, 1])) == ["alpha", "alpha", "beta"]  # by id, repeats stay
        assert names(get(instance_id=str(get(3)[0].instance_id))) == ["beta"]
        assert names(get(instance_id=get(4)[0].instance_id)) == ["Job4"]
        with pytest.raises(UsageError) as caught:
            get(1, name="alpha")
        assert caught.value.error_id == "AmbiguousParameterSet"

    run(body())


def test_get_by_time() -> None:
    async def body() -> None:
        scene = Scene()
        await three(scene)
        await scene.job(name="still")
        get = scene.manager.get
        second = get(name="beta")[0].ps_end_time
        assert second is not None
        assert names(get(before=second)) == ["alpha"]
        assert names(get(after=second)) == ["gamma"]
        assert names(get(after=datetime(1970, 1, 1, tzinfo=UTC))) == ["alpha", "beta", "gamma"]
        assert names(get(newest=2)) == ["beta", "gamma"]
        assert names(get(newest=4)) == ["alpha", "beta", "gamma", "still"]  # unfinished ones last
        assert names(get(newest=0)) == []

    run(body())


def test_get_with_children() -> None:
    """getjob-childstate.json: the parents are listed whatever their state."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "down1")
        await scene.end(job, 0)
        await scene.end(job, 1, EndReason.Unreachable)
        get = scene.manager.get
        assert names(get(child_job_state="Failed")) == ["Job1", "Job3"]
        assert names(get(include_child_job=True)) == ["Job1", "Job2", "Job3"]
        assert names(get(name="*")) == ["Job1", "Job2", "Job3"]
        assert names(get(name="job2")) == names(get(2)) == ["Job2"]
        child = get(3)[0]
        assert isinstance(child, ChildJob)
        assert (child.ps_job_type_name, child.location, child.state.name) == ("", "down1", "Failed")
        with pytest.raises(UsageError, match="not a job state"):
            get(state="Fine")

    run(body())


def test_a_name_that_looks_like_an_id() -> None:
    """name-looks-like-id.json."""

    async def body() -> None:
        scene = Scene()
        await scene.job(name="5")
        with pytest.raises(JobError, match="job ID 5"):
            scene.manager.get(5)
        assert names(scene.manager.get(name="5")) == ["5"]
        assert names(scene.manager.select("5")) == ["5"]

    run(body())


@needs_recordings
@pytest.mark.parametrize("verb", ["getjob", "wait", "remove", "stop"])
def test_what_is_not_found_is_said_in_powershells_words(verb: str) -> None:
    async def body() -> None:
        manager, errors = Scene().manager, list[RemoteJobsError]()
        none = uuid.UUID(int=0)
        if verb == "getjob":
            for options in ({"id": 99}, {"name": "nope"}, {"name": "nope*"}, {"instance_id": none}):
                assert manager.get(**options, errors=errors) == []
        elif verb == "wait":
            assert await manager.wait([77, "none", "non*"], errors=errors) == []
        elif verb == "remove":
            await manager.remove([31, "none", none], errors=errors)
        else:
            await manager.stop([55, "none"], errors=errors)
        recorded = transcript(f"{verb}-missing")
        assert [text for text in said(errors) if text not in recorded] == []
        ids = ["JobWithSpecifiedSessionNotFound", "JobWithSpecifiedNameNotFound", "JobWithSpecifiedInstanceIdNotFound"]
        assert [error.error_id for error in errors] == ids[: len(errors)]
        assert len(errors) == recorded.count("The command cannot find")

    run(body())


def test_one_that_is_missing_does_not_keep_the_others() -> None:
    async def body() -> None:
        scene = Scene()
        jobs = await three(scene)
        with pytest.raises(JobError, match="job ID 99"):
            await scene.manager.remove([1, 99, 3])
        assert names(scene.manager.get()) == [jobs[2].name]

    run(body())


def test_receive_by_location() -> None:
    """receive-by-location.json."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02", "WEB02")
        for index in (2, 1, 0):
            await scene.write(job, index, f"h{index}")
            await scene.end(job, index)
        every = ["web01:h0", "web02:h1", "WEB02:h2", "web01=Completed", "web02=Completed", "WEB02=Completed"]
        assert await received(scene, job, location="web02", keep=True) == [every[i] for i in (1, 2, 4, 5)]
        assert await received(scene, job, location=["Web01"], keep=True) == [every[0], every[3]]
        assert await received(scene, job, location="nope") == []
        assert await received(scene, job, no_recurse=True) == []
        assert await received(scene, job) == every
        assert await received(scene, job) == []
        assert not job.has_more_data

    run(body())


def test_receive_of_a_child() -> None:
    """receive-child-directly.json: what was received of a child is received for its job too."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        for index, name in enumerate(("web01", "web02")):
            await scene.write(job, index, name)
            await scene.end(job, index)
        assert await received(scene, job.child_jobs[1].name) == ["web02:web02", "web02=Completed"]
        assert await received(scene, job) == ["web01:web01", "web01=Completed"]

    run(body())


def test_receive_of_a_running_job_gives_what_is_new() -> None:
    """receive-partial.json and receive-nothing-running.json."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        assert await received(scene, 1) == []
        assert job.has_more_data
        await scene.write(job, 0, "1")
        assert await received(scene, 1, keep=True) == ["web01:1"]
        assert await received(scene, [job, job], keep=True) == ["web01:1", "web01:1"]
        assert await received(scene, "Job1") == ["web01:1"]
        await scene.write(job, 0, "2")
        await scene.end(job, 0, EndReason.CommandFailed, "boom")
        assert await received(scene, 1) == ["web01:2", "web01=CommandFailed"]
        # receive-failed-twice.json has the failure at every receive; ours comes once, and stays in `failure`
        assert await received(scene, 1) == []
        assert job.child_jobs[0].failure is not None

    run(body())


def test_ends_come_after_the_data_of_all() -> None:
    """parent-states-mixed.json."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02", "down1")
        other = await scene.job("db01")
        await scene.end(job, 2, EndReason.Unreachable)
        await scene.end(job, 1, EndReason.CommandFailed, "x")
        await scene.write(job, 0, "ok")
        await scene.write(other, 0, "late")
        assert await received(scene, [1, other.id]) == [
            "web01:ok",
            "db01:late",
            "web02=CommandFailed",
            "down1=Unreachable",
        ]

    run(body())


def test_receive_waits_for_several_jobs() -> None:
    async def body() -> None:
        scene = Scene()
        one, two = await scene.job("web01"), await scene.job("web02")
        await scene.write(two, 0, "first")
        reading = asyncio.create_task(received(scene, [1, 3, 1], wait=True))
        await turns()
        await scene.write(one, 0, "a")
        await turns()
        await scene.write(two, 0, "b")
        await scene.end(two, 0)
        await turns()
        assert not reading.done()
        await scene.end(one, 0)
        got = await reading
        assert got[0] == "web02:first"
        assert got.index("web01:a") < got.index("web02:b") < got.index("web02=Completed")
        assert got.count("web02:b") == 1

    run(body())


def test_events_of_receive() -> None:
    """receive-writeevents.json: the result, the child's event, its parent's."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job(name="ev")
        await scene.write(job, 0)
        seen: list[Any] = []

        async def read() -> None:
            seen.extend([item async for item in scene.manager.receive(1, wait=True, write_events=True)])

        reading = asyncio.create_task(read())
        await turns()
        await scene.write(job, 0, "1")
        await scene.end(job, 0)
        await reading
        assert [type(item).__name__ for item in seen] == [
            "ReceivedRecord",
            "ChildEnd",
            "JobStateEvent",
            "JobStateEvent",
        ]
        assert [(e.name, e.state.name, e.previous_state.name) for e in seen[2:]] == [
            ("Job2", "Completed", "Running"),
            ("ev", "Completed", "Running"),
        ]

    run(body())


def test_switches_that_exclude_each_other() -> None:
    async def body() -> None:
        scene = Scene()
        await scene.job()
        for options, words, error_id in [
            ({"keep": True, "wait": True}, "The Wait and Keep parameters", "ParameterBindingFailed"),
            ({"force": True}, "The -Force parameter cannot be used without the -Wait parameter", "InvalidOperation"),
            ({"write_events": True}, "WriteEvents", "InvalidOperation"),
        ]:
            with pytest.raises(UsageError, match=words) as caught:
                await received(scene, 1, **options)
            assert caught.value.error_id == error_id

    run(body())


def test_wait_gives_jobs_back_in_the_order_given() -> None:
    """out-of-order-ids-wait.json and wait-returns.json."""

    async def body() -> None:
        scene = Scene()
        one, two = await scene.job(), await scene.job()
        waiting = asyncio.create_task(scene.manager.wait([3, 1, 3]))
        await scene.end(one, 0)
        await turns()
        assert not waiting.done()
        await scene.end(two, 0, EndReason.CommandFailed)
        assert [(job.id, job.state.name) for job in await waiting] == [(3, "Failed"), (1, "Completed")]
        assert [job.id for job in await scene.manager.wait("Job*")] == [1, 2, 3, 4]

    run(body())


def test_wait_for_any() -> None:
    """wait-any-fanout.json."""

    async def body() -> None:
        scene = Scene()
        await scene.job(name="slow")
        quick = await scene.job(name="quick")
        waiting = asyncio.create_task(scene.manager.wait(["slow", "quick"], any=True))
        await turns()
        await scene.end(quick, 0)
        assert names(list(await waiting)) == ["quick"]

    run(body())


def test_a_wait_that_is_over_returns_nothing_and_no_error() -> None:
    async def body() -> None:
        scene = Scene()
        job, done = await scene.job(), await scene.job()
        await scene.end(done, 0)
        waiting = asyncio.create_task(scene.manager.wait([1, 3], timeout=5))
        await scene.clock.until_waiting(5)
        scene.clock.advance(5)
        assert await waiting == []
        assert await scene.manager.wait(3, timeout=0) == []  # also for one that has ended
        assert await scene.manager.wait([]) == []
        assert job.state is JobState.Running

    run(body())


def test_a_job_that_waits_for_its_reader_ends_the_wait() -> None:
    """wait-blocked.json: BlockedJobsDeadlockWithWaitJob."""

    async def body() -> None:
        scene = Scene()
        scene.store.unread_bytes = 10
        job = await scene.job()
        other = await scene.job()
        writing = asyncio.create_task(scene.write(job, 0, "x" * 20))
        await turns()
        with pytest.raises(JobError, match="receive it") as caught:
            await scene.manager.wait([1, 3])
        assert caught.value.error_id == "BlockedJobsDeadlockWithWaitJob"
        waiting = asyncio.create_task(scene.manager.wait([1, 3], any=True))
        await turns()
        await scene.end(other, 0)
        assert [each.id for each in await waiting] == [3]
        job.receive()
        await writing

    run(body())


@needs_recordings
def test_remove_refuses_what_has_not_ended_and_what_is_a_child() -> None:
    """remove-running.json, remove-child.json."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job(name="x")
        errors: Errors = []
        await scene.manager.remove(scene.seen(1), errors=errors)
        assert errors[0].message in transcript("remove-running")
        assert errors[0].error_id == "JobObjectNotFinishedCannotBeRemoved"
        with pytest.raises(JobError, match=r"job ID 1 and the name x because .*\(Parameter 'Name'\)"):
            await scene.manager.remove("x")
        with pytest.raises(JobError, match=r"\(Parameter 'SessionId'\)"):
            await scene.manager.remove(1)
        with pytest.raises(JobError, match=f"and the instance identifier {job.instance_id} because.*stop the job or"):
            await scene.manager.remove(job.instance_id)
        errors.clear()
        await scene.manager.remove(2, errors=errors)
        assert errors[0].message in transcript("remove-child")
        assert errors[0].error_id == "CannotRemoveJob"
        with pytest.raises(JobError, match="job name Job2 was not found"):
            await scene.manager.remove("Job2")
        await scene.end(job, 0)
        await scene.manager.remove("*")  # remove-by-state.json: no child is touched, nothing is said
        assert scene.manager.get() == []

    run(body())


def test_remove_with_force_stops_first() -> None:
    """remove-running-fanout-force.json: the object stays readable and is Stopped."""

    async def body() -> None:
        scene = Scene()
        job = await scene.job("web01", "web02")
        await scene.write(job, 0)
        mine = scene.seen(1)
        removing = asyncio.create_task(scene.manager.remove(mine, force=True))
        await turns()
        await scene.obey(job)
        assert await removing == []
        assert (scene.manager.get(), mine.state.name) == ([], "Stopped")

    run(body())


def test_single_targets_are_neither_connected_nor_disconnected() -> None:
    async def body() -> None:
        scene = Scene()
        job = await scene.job()
        for work in (scene.manager.connect(2, GIVEN), scene.manager.disconnect(2)):
            with pytest.raises(JobError, match=r"\[web01\] .* name its job, 1"):
                await work
        await scene.write(job, 0)
        await scene.leave(job, 0)
        await scene.done(job)
        connecting = asyncio.create_task(scene.manager.connect("Job1", GIVEN))
        await turns()
        assert scene.taken == [(1, "connect", [""])]
        assert scene.manager.get(1)[0].state is JobState.Disconnected
        await scene.found(job, 0)
        assert [each.id for each in await connecting] == [1]

    run(body())


def test_stop_returns_every_job_that_was_named() -> None:
    async def body() -> None:
        scene = Scene()
        jobs = await three(scene)
        running = await scene.job("web01", "web02")
        stopping = asyncio.create_task(scene.manager.stop([1, running.id]))
        await turns()
        await scene.obey(running)
        assert [job.id for job in await stopping] == [jobs[0].id, running.id]
        assert running.state is JobState.Stopped

    run(body())


def test_what_this_process_left_on_its_hosts_can_be_taken_over() -> None:
    async def body() -> None:
        scene, running = Scene(), Runs()
        job = await scene.job()
        mine = RemoteJob(scene.store, 1, running)
        await scene.write(job, 0)
        await scene.leave(job, 0)
        await scene.done(job)
        await scene.manager.stop(mine, GIVEN)
        assert scene.taken == [(1, "stop", [""])]
        assert (mine.state, running.asked) == (JobState.Stopped, [])

    run(body())
