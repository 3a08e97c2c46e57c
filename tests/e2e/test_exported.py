"""A job that goes on, or is read, on another computer: another state directory, another process, another client."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from remotejobs import RemoteJob, compose, export_job, import_job, receive_job, sync
from remotejobs.clock import ManualClock
from remotejobs.errors import ConfigurationError, JobError, StoreError
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.model import JobSpec, Record, ScriptCommand, Stream, Target
from remotejobs.ports import JobStore
from remotejobs.rows import JobRow, Request
from remotejobs.sim.interpreter import Streams
from remotejobs.states import EndReason, JobState
from remotejobs.store.memory import MemoryStore
from tests.e2e import test_worker
from tests.e2e.test_worker import DONE, PASSWORD, SETTINGS, Scene, begun, first_begun, gone, reasons, scene

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
NAMES = ("web01", "web02", "web03")


class Computer(Scene):
    """Another initiating computer: its own state directory, the same hosts."""


@asynccontextmanager
async def two_computers(
    tmp_path: Path, *names: str, between: asyncio.Event | None = None
) -> AsyncIterator[tuple[Scene, Scene]]:
    """The scripts write 40 records, wait, and write 60 more; `between` is set when the 60 are written."""
    done: list[str] = []

    async def write(streams: Streams) -> None:
        for number in range(40):
            await streams.output(f"r{number}")
        await here.held.go.wait()
        for number in range(40, 100):
            await streams.output(f"r{number}")
        done.append("")
        if between is not None and len(done) == len(names):
            between.set()

    async with scene(tmp_path, *names, write=write) as here:
        home = tmp_path / "other"
        home.mkdir(mode=0o700)
        there = Computer(home, here.hosts, here.held)
        try:
            yield here, there
        finally:
            there.store.close()


def forty(row: JobRow) -> bool:
    return begun(row) and all(child.seq == 40 for child in row.children)


async def disconnected(here: Scene) -> int:
    """A job whose worker has left it after 40 records of each host."""
    job_id = await here.submit()
    await here.work(job_id)
    await here.until(job_id, forty)
    here.store.request(job_id, Request.DISCONNECT)
    row = await here.left(job_id)
    assert {child.state for child in row.children} == {JobState.Disconnected}
    return job_id


async def carried(here: Scene, there: Scene, job_id: int, path: Path) -> RemoteJob:
    await export_job(job_id, path, store=here.store)
    return await import_job(path, store=there.store)


ALL = [f"r{number}" for number in range(100)]


def test_a_disconnected_job_goes_on_elsewhere_and_no_record_is_lost_or_comes_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, *NAMES) as (here, there):
            job_id = await disconnected(here)
            read = here.store.read(job_id, 0, 25)
            here.store.advance(job_id, 25)  # somebody has received so many of them already
            job = await carried(here, there, job_id, tmp_path / "x.rjob")
            assert job.state is JobState.Disconnected
            assert job.instance_id == here.store.job(job_id).instance_id
            assert here.store.job(job_id).lease is None
            here.held.go.set()
            await there.work(job.id, "connect")
            row = await there.left(job.id)
            assert reasons(row) == DONE * 3
            assert there.said(job.id) == dict.fromkeys(NAMES, ALL)
            assert [child.seq for child in row.children] == [100] * 3
            received = [
                item async for item in receive_job(job.id, store=there.store) if isinstance(item, ReceivedRecord)
            ]
            assert len(received) == 300 - len(read)
            for name in NAMES:
                before = [a.record.raw for a in read if row.children[a.child].target.name == name]
                rest = [item.value for item in received if item.computer_name == name]
                assert rest == ALL[len(before) :]
            assert here.runs() == [1, 1, 1]
            # here it is known only that another took it up
            assert [note[:9] for note in here.store.job(job_id).notes] == ["Exported:"]
            await here.work(job_id, "connect")
            row = await here.left(job_id)
            assert reasons(row) == [EndReason.Unknown] * 3

    asyncio.run(main())


def test_output_that_nobody_has_fetched_comes_where_the_job_is_connected(tmp_path: Path) -> None:
    async def main() -> None:
        written = asyncio.Event()
        async with two_computers(tmp_path, "web01", between=written) as (here, there):
            job_id = await disconnected(here)
            here.held.go.set()
            await asyncio.wait_for(written.wait(), 30)
            job = await carried(here, there, job_id, tmp_path / "x.rjob")
            await there.work(job.id, "connect")
            assert reasons(await there.left(job.id)) == DONE
            assert there.said(job.id) == {"web01": ALL}

    asyncio.run(main())


def test_a_lapsed_job_goes_on_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was killed; the host believes in it for a while."""
    monkeypatch.setattr(test_worker, "SETTINGS", dataclasses.replace(SETTINGS, silence_disconnects=1.0))

    async def main() -> None:
        async with two_computers(tmp_path, "web01") as (here, there):
            job_id = await here.submit()
            pid = await here.work(job_id)
            await here.until(job_id, forty)
            os.kill(pid, signal.SIGKILL)
            await gone(pid)
            with pytest.raises(JobError, match=f"process {pid} .*disconnect {job_id}.*in ten seconds"):
                await export_job(job_id, tmp_path / "x.rjob", store=here.store)
            assert not (tmp_path / "x.rjob").exists()
            here.lapse(job_id)
            await asyncio.sleep(0)  # a store looks at its file once in a turn of the loop
            job = await carried(here, there, job_id, tmp_path / "x.rjob")
            assert job.state is JobState.Disconnected
            here.held.go.set()
            await there.work(job.id, "connect")
            assert reasons(await there.left(job.id)) == DONE
            assert there.said(job.id) == {"web01": ALL}
            assert here.runs() == [1]

    asyncio.run(main())


def test_of_two_that_connect_the_host_takes_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, "web01") as (here, there):
            job_id = await disconnected(here)
            job = await carried(here, there, job_id, tmp_path / "x.rjob")
            await here.work(job_id, "connect")
            await here.until(job_id, lambda row: row.children[0].state is JobState.Running)
            await there.work(job.id, "connect")
            (host,) = here.hosts.values()
            async with asyncio.timeout(30):
                while not host.counters.faults[2150859213]:  # "another client is connected"
                    await asyncio.sleep(0.02)
            assert there.store.job(job.id).children[0].state is not JobState.Running
            here.held.go.set()
            assert reasons(await here.left(job_id)) == DONE
            assert here.said(job_id) == {"web01": ALL}
            row = await there.left(job.id)
            assert reasons(row) == [EndReason.Unknown]
            assert there.said(job.id) == {"web01": ALL[:40]}
            assert here.runs() == [1]

    asyncio.run(main())


def test_a_host_that_was_not_begun_is_not_begun_by_the_copy(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, "a", "b") as (here, there):
            job_id = await here.submit(throttle_limit=1)
            pid = await here.work(job_id)
            await here.until(job_id, first_begun)
            os.kill(pid, signal.SIGTERM)
            await gone(pid)
            await here.left(job_id)
            job = await carried(here, there, job_id, tmp_path / "x.rjob")
            assert reasons(job.row) == [None, EndReason.NotStarted]
            assert any("1 of 2 hosts had not begun" in note for note in job.notes)
            here.held.go.set()
            await there.work(job.id, "connect")
            assert reasons(await there.left(job.id)) == [EndReason.Completed, EndReason.NotStarted]
            assert here.runs() == [1, 0]
            await here.work(job_id, "connect")
            await here.left(job_id)
            assert here.runs() == [1, 1]
            assert here.said(job_id)["b"] == ALL

    asyncio.run(main())


async def command(home: Path, *words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "remotejobs", *words],
        cwd=home.parent,
        env={**os.environ, "REMOTEJOBS_HOME": str(home), "REMOTEJOBS_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


def test_the_verbs_from_one_state_directory_to_another(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, *NAMES) as (here, there):
            job_id = await disconnected(here)
            code, out, err = await command(here.home, "export", str(job_id), "x.rjob")
            assert (code, "Disconnected" in out) == (0, True), err
            assert "one client" in err
            assert stat.S_IMODE((tmp_path / "x.rjob").stat().st_mode) == 0o600
            assert PASSWORD not in gzip.decompress((tmp_path / "x.rjob").read_bytes()).decode()
            code, _, err = await command(here.home, "export", str(job_id), "x.rjob")
            assert (code, "is there already" in err) == (1, True)
            code, _, err = await command(here.home, "export", str(job_id), "x.rjob", "-Force")
            assert code == 0, err
            code, out, err = await command(there.home, "import", "x.rjob")
            assert (code, "Disconnected" in out) == (0, True), err
            assert "exported on" in err
            assert "AllowUnencrypted" in err
            assert "127.0.0.1" in err
            code, _, err = await command(there.home, "import", "x.rjob")
            assert (code, "it is job 1 (Job1)" in err) == (1, True)
            here.held.go.set()
            code, _, err = await command(there.home, "connect", "1", "-Credential", "ops")
            assert code == 0, err
            code, out, err = await command(there.home, "receive", "1", "-Wait")
            assert code == 0, err
            assert sorted(out.splitlines()) == sorted(f"{name}: {value}" for name in NAMES for value in ALL)
            # ended there, and from there back to where it came from
            code, _, err = await command(there.home, "export", "1", "back.rjob")
            assert (code, err) == (0, "")
            code, _, err = await command(here.home, "import", "back.rjob")
            assert (code, f"it is job {job_id} " in err) == (1, True)

    asyncio.run(main())


def test_an_ended_job_is_received_alike(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, *NAMES) as (here, there):
            here.held.go.set()
            job_id = await here.submit()
            await here.work(job_id)
            await here.left(job_id)
            here.store.advance(job_id, 300, [1])
            here.store.tell(job_id, [2])
            job = await carried(here, there, job_id, tmp_path / "x.rjob")
            assert job.state is JobState.Completed

            async def received(store: JobStore, number: int, *, from_start: bool) -> list[object]:
                items = receive_job(number, keep=True, from_start=from_start, store=store)
                return [
                    item.record if isinstance(item, ReceivedRecord) else (item.computer_name, item.outcome)
                    async for item in items
                    if not isinstance(item, JobStateEvent)
                ]

            for from_start in (False, True):
                ours = await received(here.store, job_id, from_start=from_start)
                assert await received(there.store, job.id, from_start=from_start) == ours
                assert len(ours) == (200 + 2 if not from_start else 300 + 3)
            one, two = here.store.job(job_id), there.store.job(job.id)
            for before, after in zip(one.children, two.children, strict=True):
                same = dataclasses.replace(after, id=before.id, start=before.start)
                assert same == before
                assert after.start[:2] == before.start[:2]
                assert after.start.session_id != before.start.session_id
            assert (one.began, one.ended, list(one.ends), one.spec) == (two.began, two.ended, list(two.ends), two.spec)

    asyncio.run(main())


def test_a_ca_file_that_is_not_here_is_said_when_it_is_connected(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, "web01") as (here, there):
            job_id = await disconnected(here)
            path = tmp_path / "x.rjob"
            await export_job(job_id, path, store=here.store)
            head, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
            fields = json.loads(head)
            fields["spec"]["session_option"]["ca_file"] = "/there/only/ca.pem"
            fields["spec"]["use_ssl"] = True
            lines[0] = lines[0].replace('"ssl":false', '"ssl":true')
            path.write_bytes(gzip.compress("\n".join([json.dumps(fields), *lines, ""]).encode()))
            job = await import_job(path, store=there.store)
            with pytest.raises(JobError, match=r"/there/only/ca\.pem"):
                await there.work(job.id, "connect")
            assert job.state is JobState.Disconnected

    asyncio.run(main())


def test_a_file_that_cannot_be_written_or_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, "web01") as (here, there):
            job_id = await disconnected(here)
            with pytest.raises(ConfigurationError, match="No such file or directory"):
                await export_job(job_id, tmp_path / "none" / "x.rjob", store=here.store)
            with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
                await import_job(tmp_path / "none", store=there.store)
            with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
                await import_job(tmp_path, store=there.store)
            path = tmp_path / "x.rjob"
            await export_job(job_id, path, store=here.store)
            whole = path.read_bytes()
            path.write_bytes(whole[:-20])
            with pytest.raises(ConfigurationError, match=r"x\.rjob, line \d+: .*cut off"):
                await import_job(path, store=there.store)
            path.write_bytes((here.home / "jobs.db").read_bytes())
            with pytest.raises(ConfigurationError, match="no exported job"):
                await import_job(path, store=there.store)
            assert there.store.jobs() == []
            assert sorted(os.listdir(tmp_path)) == ["home", "other", "x.rjob"]
            assert here.store.job(job_id).lease is None
            here.held.go.set()

    asyncio.run(main())


def test_a_file_is_there_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with two_computers(tmp_path, "web01") as (here, _):
            job_id = await disconnected(here)
            path = tmp_path / "x.rjob"
            path.write_text("older")

            def read(*_: object, **__: object) -> None:
                raise StoreError("the disk answered with an error")

            with monkeypatch.context() as patch, pytest.raises(StoreError):
                patch.setattr(here.store, "read", read)
                await export_job(job_id, path, force=True, store=here.store)
            assert path.read_text() == "older"
            assert sorted(os.listdir(tmp_path)) == ["home", "other", "x.rjob"]
            assert here.store.job(job_id).lease is None
            here.held.go.set()

    asyncio.run(main())


def test_a_job_in_memory_is_exported_too_with_what_nobody_has_read(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        one, two = MemoryStore(clock), MemoryStore(clock)
        row = await one.submit(JobSpec(ScriptCommand("1"), (Target("a"), Target("b"))))
        epoch = await one.lease(row.id, "me")
        ledger = one.ledger(row.id, 0, epoch)
        await ledger.starting()
        await ledger.started("S", "C")
        await ledger.append([Record(n, Stream.Output, b"<I32>%d</I32>" % n, n, 1.0) for n in range(1, 6)])
        one.advance(row.id, 2)
        path = tmp_path / "x.rjob"
        with pytest.raises(JobError, match=r"Job 1 runs .me."):
            await export_job(row.id, path, store=one)
        clock.advance(10_000)  # nobody has it any more, and its shell has outlived its time: Unknown, presumed
        await export_job(RemoteJob(one, row.id), path)
        job = await import_job(path, store=two)
        assert [record.value for record in job.receive()] == [3, 4, 5]
        assert [child.state for child in job.row.children] == [JobState.Running, JobState.Stopped]
        assert [child.state for child in job.child_jobs] == [JobState.Failed, JobState.Stopped]
        assert (job.state, job.row.ended) == (JobState.Failed, None)

    asyncio.run(main())


def test_the_blocking_twins(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="job ID 7"):
        sync.export_job(7, tmp_path / "x.rjob", store=compose.open_store(tmp_path / "jobs.db"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        sync.import_job(tmp_path / "x.rjob", store=compose.open_store(tmp_path / "jobs.db"))
