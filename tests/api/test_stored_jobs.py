"""Jobs that outlive this process, and those in one store of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from remotejobs import compose
from remotejobs.api.invoke import retry_job
from remotejobs.api.jobs import (
    connect_job,
    disconnect_job,
    get_job,
    receive_job,
    remove_job,
    stop_job,
    wait_job,
)
from remotejobs.clock import ManualClock, SystemClock
from remotejobs.errors import ConfigurationError, JobError, UsageError
from remotejobs.ports import JobStore
from remotejobs.sim.interpreter import Streams
from remotejobs.store.memory import MemoryStore
from tests.api.scene import start
from tests.e2e.hosts import SIM, Writes, started, targets


class Workers:
    """Stands where processes are started: notes what they would be told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.asked: list[tuple[int, str, list[str], Path]] = []
        monkeypatch.setattr(compose, "start_worker", self.start_worker)
        monkeypatch.setenv("REMOTEJOBS_HOME", str(home))

    async def start_worker(self, job_id: int, credentials: Any, *, mode: str, home: Path, store: JobStore) -> None:
        self.asked.append((job_id, mode, sorted(credentials), home))
        if mode == "connect":
            await store.lease(job_id, "a worker")


def test_as_job_is_kept_on_disk_and_handed_to_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch, tmp_path)

    async def main() -> None:
        job = await start(["web01", "web02"], job_name="Nightly", as_job=True)
        assert (job.name, job.state.name, job.location) == ("Nightly", "Running", "web01,web02")
        assert workers.asked == [(1, "run", [""], tmp_path)]
        assert (tmp_path / "jobs.db").exists()
        assert [(each.id, each.name) for each in await get_job()] == [(1, "Nightly")]
        assert await wait_job(1, timeout=0) == []
        assert [item async for item in receive_job("Nightly")] == []
        with pytest.raises(JobError, match="is not finished"):
            await remove_job(1)
        with pytest.raises(UsageError, match="in memory"):
            await start("web01", as_job=True, store=MemoryStore(ManualClock()))

    asyncio.run(main())
    asyncio.run(main_again())


async def main_again() -> None:
    """Another loop, as another process would: the job is still there."""
    (job,) = await get_job(1)
    assert job.name == "Nightly"
    with pytest.raises(JobError) as caught:
        await get_job(99)
    assert caught.value.error_id == "JobWithSpecifiedSessionNotFound"


def test_a_job_that_nobody_runs_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch, tmp_path)

    async def main() -> None:
        clock = ManualClock()
        store = compose.open_store(tmp_path / "jobs.db", clock)
        job = await start("web01", as_job=True, store=store)
        clock.advance(60)
        assert job.state.name == "Disconnected"
        with pytest.raises(ConfigurationError, match="needs the credential 'sim'") as caught:
            await connect_job(job.id, store=store)
        assert caught.value.error_id == "CredentialMissing"
        assert await connect_job(job, credential=SIM, store=store) == [job]
        assert workers.asked[1:] == [(1, "connect", [""], tmp_path)]
        assert job.state.name == "Running"
        store.close()

    asyncio.run(main())


def test_jobs_in_one_store_of_this_process() -> None:
    async def main() -> None:
        store = MemoryStore(SystemClock())
        async with started({"web01": "", "web02": "refuse"}) as hosts:
            job = await start(targets(hosts), "'x'", store=store)
            assert await wait_job([job, job.id], store=store)
            got = [item async for item in receive_job(job.id, store=store)]
            assert [(type(item).__name__, item.computer_name) for item in got if not isinstance(item, tuple)] == [
                ("ReceivedRecord", "web01")
            ]
            again = await retry_job(job.id, reason="Unreachable", credential=SIM, store=store)
            assert (again.location, again.retry_of) == ("web02", 1)
            await again.wait()
            third = await start("@job:1,!@job:1/Failed", store=store)
            assert [record.value async for record in third.stream()] == ["x"]
            with pytest.raises(UsageError, match="Name one job"):
                await retry_job("*", store=store)
            await third.wait()
            await again.wait()
            assert await remove_job("*", store=store) == []
            assert await get_job(store=store) == []

    asyncio.run(main())


def test_stop_and_disconnect_by_id() -> None:
    async def main() -> None:
        store = MemoryStore(SystemClock())
        async with started({"web01": "", "web02": ""}, interpreter=Writes(_endless)) as hosts:
            job = await start(targets(hosts), store=store)
            await stop_job(3, store=store)
            assert [child.state.name for child in job.child_jobs][1] == "Stopped"
            await stop_job(job.id, store=store)
            assert job.state.name == "Stopped"
            with pytest.raises(JobError, match="nothing to disconnect"):
                await disconnect_job(job, store=store)
            await job.wait()

    asyncio.run(main())


async def _endless(streams: Streams) -> None:
    await streams.output("begun")
    await asyncio.Event().wait()


def test_from_start_reads_again_what_is_stored(tmp_path: Path) -> None:
    async def main() -> None:
        store = compose.open_store(tmp_path / "jobs.db", SystemClock())
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts), "'a'; 'b'", store=store)
            assert len([item async for item in receive_job(job, wait=True, store=store)]) == 3
            assert [item async for item in receive_job(1, store=store)] == []
            for keep, wait in ((False, False), (True, False), (False, True)):
                stored = receive_job(1, from_start=True, keep=keep, wait=wait, store=store)
                again = [item async for item in stored]
                assert [getattr(item, "value", "end") for item in again] == ["a", "b", "end"]
            assert not job.has_more_data
        store.close()

    asyncio.run(main())
