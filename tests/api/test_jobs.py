"""What a job and its children say of themselves, and how they are received, waited for and stopped."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from datetime import timedelta

import pytest

import remotejobs
from remotejobs.sim.interpreter import Streams
from tests.api.scene import OPTION, start
from tests.e2e.hosts import Writes, started, targets

# -- a job and its children ------------------------------------------------------------------------------------------


def test_a_job_and_its_children_say_what_they_are() -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": "refuse"}) as hosts:
            job = await start(targets(hosts), "'a'; Write-Error 'b'", job_name="Nightly")
            first, second = job.child_jobs
            assert (job.state.name, job.has_more_data, job.ps_end_time) == ("Running", True, None)
            assert (first.state.name, first.outcome, first.ps_begin_time, first.reason) == (
                "NotStarted",
                None,
                None,
                "",
            )
            assert await job.wait()

            assert (job.name, job.ps_job_type_name, job.location) == ("Nightly", "RemoteJob", "web01,web02")
            assert job.command == first.command == "'a'; Write-Error 'b'"
            assert [child.id for child in job.child_jobs] == [job.id + 1, job.id + 2]
            assert [child.name for child in job.child_jobs] == [f"Job{job.id + 1}", f"Job{job.id + 2}"]
            assert (first.ps_job_type_name, second.location) == ("", "web02")
            assert len({job.instance_id, first.instance_id, second.instance_id}) == 3

            assert job.state.name == second.state.name == "Failed"
            assert first.state.name == "Completed"
            assert (first.error_count, second.error_count) == (1, 0)
            assert first.reason == ""
            assert "refused the connection" in second.reason
            assert [end.child_id for end in job.outcomes] == [first.id, second.id]
            assert all(end.job_id == job.id and end.outcome.seconds > 0 for end in job.outcomes)
            assert second.ps_begin_time is None
            assert second.ps_end_time is not None
            assert job.ps_begin_time is not None
            assert first.ps_begin_time is not None
            assert first.ps_end_time is not None
            assert job.ps_end_time is not None
            assert job.ps_begin_time <= first.ps_begin_time <= first.ps_end_time <= job.ps_end_time

            assert (first.has_more_data, second.has_more_data, job.has_more_data) == (True, False, True)
            job.receive()
            assert (first.has_more_data, job.has_more_data) == (False, False)
            assert "web01" in repr(first)
            assert "Nightly" in repr(job)

    asyncio.run(main())


def test_a_job_without_a_name_is_named_by_its_id() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts))
            assert job.name == f"Job{job.id}"
            await job.wait()

    asyncio.run(main())


def test_receive_moves_a_cursor_and_keep_does_not() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts), "1..600")
            await job.wait()
            numbers = list(range(1, 601))
            assert [record.value for record in job.receive(keep=True)] == numbers
            assert [record.value for record in job.receive(keep=True)] == numbers
            assert job.has_more_data
            assert [record.value for record in job.receive()] == numbers
            assert job.receive() == job.receive(keep=True) == []
            assert [record async for record in job.stream()] == []
            assert not job.has_more_data

    asyncio.run(main())


def test_a_stream_that_is_left_goes_on_with_the_record_that_was_not_done() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts), "1..5")
            async for record in job.stream():
                if record.value == 3:
                    break
            await job.wait()
            assert [record.value for record in job.receive()] == [3, 4, 5]

    asyncio.run(main())


def test_events_give_each_end_after_the_records_of_its_child() -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": "refuse"}) as hosts:
            job = await start(targets(hosts), "1; 2")
            idle: list[int] = []
            seen = [
                (item.computer_name, getattr(item, "value", "end")) async for item in job.events(lambda: idle.append(1))
            ]
            assert [item for item in seen if item[0] == "web01"] == [("web01", 1), ("web01", 2), ("web01", "end")]
            assert [item for item in seen if item[0] == "web02"] == [("web02", "end")]
            assert idle

    asyncio.run(main())


def test_wait_says_whether_the_job_has_ended() -> None:
    async def main() -> None:
        opened = asyncio.Event()

        async def write(streams: Streams) -> None:
            await opened.wait()
            await streams.output("done")

        async with started({"web01": ""}, interpreter=Writes(write)) as hosts:
            job = await start(targets(hosts))
            assert not await job.wait(0.05)
            assert not await job.wait(timedelta(0))
            assert job.state.name == "Running"
            opened.set()
            assert await job.wait()
            assert await job.wait(0)
            assert hosts["web01"].counters.shells == 0

    asyncio.run(main())


def test_origin() -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": ""}) as hosts:
            job = await start(targets(hosts), "[pscustomobject]@{ A = 1 }", hide_computer_name=True)
            records = [record async for record in job.stream()]
            assert sorted(record.value.PSComputerName for record in records) == ["web01", "web02"]
            assert [record.value.PSShowComputerName for record in records] == [False, False]
            ids = {record.value.RunspaceId for record in records}
            assert len(ids) == 2
            assert all(isinstance(each, uuid.UUID) for each in ids)
            children = {child.location: child.id for child in job.child_jobs}
            assert all((r.job_id, r.child_id) == (job.id, children[r.computer_name]) for r in records)

    asyncio.run(main())


# -- stop ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["stall@Create", "stall@Receive", "stall@Command", "stall@Receive#3", ""])
def test_stop_in_every_phase(fault: str) -> None:
    """Stopped while it is being opened, started, run; the one behind it in the queue never begins."""

    async def main() -> None:
        began = asyncio.Event()

        async def endless(streams: Streams) -> None:
            await streams.output("begun")
            began.set()
            await asyncio.Event().wait()

        async with started({"web01": fault, "web02": ""}, interpreter=Writes(endless)) as hosts:
            option = dataclasses.replace(OPTION, cancel_timeout=0.1)
            job = await start(targets(hosts), throttle_limit=1, session_option=option)
            runs = fault in ("stall@Receive#3", "")
            while not (began.is_set() if runs else hosts["web01"].counters.connections):
                await asyncio.sleep(0)
            await job.stop()
            assert job.state.name == "Stopped"
            ends = [(end.outcome.reason.value, end.outcome.error_id) for end in job.outcomes]
            assert ends == [("Stopped", ""), ("NotStarted", "")]
            assert hosts["web01"].counters.commands == int(runs)
            assert hosts["web02"].counters.connections == 0
            await job.stop()
            assert [(end.outcome.reason.value, end.outcome.error_id) for end in job.outcomes] == ends

    asyncio.run(asyncio.wait_for(main(), 60))


def test_stop_at_once_and_stop_too_late() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts))
            await job.stop()
            assert (job.state.name, job.outcomes[0].outcome.reason) == ("Stopped", "NotStarted")
            assert hosts["web01"].counters.commands == 0
            job = await start(targets(hosts))
            await job.wait()
            await job.stop()
            job.request_stop()
            assert (job.outcomes[0].outcome.reason, job.child_jobs[0].state.name) == ("Completed", "Completed")

    asyncio.run(main())


def test_the_public_names_load() -> None:
    for name in remotejobs.__all__:
        assert getattr(remotejobs, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = remotejobs.nothing
