"""The library from the outside: what invoke_command takes and refuses, and what a job says of itself."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import remotejobs
from remotejobs import Credential, RemoteJob, Secret, SessionOption, Target, compose, invoke_command, session_option
from remotejobs.api.invoke import read_script, retry_job, targets_of
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
from remotejobs.errors import ConfigurationError, JobError, TargetError, UsageError
from remotejobs.ports import JobStore
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Streams
from remotejobs.sim.shells import HostSettings
from remotejobs.store.memory import MemoryStore
from tests.e2e.hosts import SIM, Writes, started, targets

OPTION = SessionOption(allow_unencrypted=True, max_connection_retry_count=0)
OPTIONS: dict[str, Any] = {"credential": SIM, "authentication": "Basic", "session_option": OPTION}
MANY = HostSettings(allow_unencrypted=True, max_shells=100)


async def start(where: Sequence[str | Target], script: str = "'x'", **options: Any) -> RemoteJob:
    """A job on simulated hosts."""
    return await invoke_command(where, script, **{**OPTIONS, **options})


def server_list(folder: Path, hosts: dict[str, SimulatedHost]) -> Path:
    """The hosts as a server list."""
    path = folder / "servers.txt"
    path.write_text("".join(f"{name} address=127.0.0.1 port={host.http_port}\n" for name, host in hosts.items()))
    return path


# -- what is refused before anything is connected --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"computer_name": "a", "connection_uri": "http://a"}, UsageError, "not both"),
        ({"computer_name": "a"}, UsageError, "one of script_block and file_path"),
        ({"computer_name": "a", "script_block": "1", "file_path": "x.ps1"}, UsageError, "one of script_block"),
        ({"computer_name": [], "script_block": "1"}, TargetError, "No target is named"),
        ({"computer_name": "", "script_block": "1"}, TargetError, "."),
        ({"connection_uri": [], "script_block": "1"}, TargetError, "No target is named"),
        ({"computer_name": ["a", Target("b")], "script_block": "1"}, TargetError, "not both in one list"),
        ({"computer_name": "-", "script_block": "1"}, TargetError, "standard input"),
        ({"computer_name": "web[3-1", "script_block": "1"}, TargetError, "."),
        ({"computer_name": "web01,!web01", "script_block": "1"}, TargetError, "No target is left"),
        ({"computer_name": "@/no/such/list", "script_block": "1"}, UsageError, "no/such/list"),
        ({"computer_name": "a", "script_block": "1"}, ConfigurationError, r"\[a\] needs a credential"),
        ({"authentication": "Basic", "script_block": "1"}, ConfigurationError, "in clear to http://localhost:5985"),
        (
            {
                "authentication": "Basic",
                "use_ssl": True,
                "credential": SIM,
                "script_block": "1",
                "argument_list": [len],
            },
            UsageError,
            "cannot be given a Python builtin_function",
        ),
    ],
)
def test_what_cannot_be_done_is_said_at_once(given: dict[str, Any], error: type[UsageError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        asyncio.run(invoke_command(**given))
    assert caught.value.to_dict()["message"]


def test_a_password_is_in_no_text() -> None:
    credential = Credential("ops", Secret("s3cr3t!"))
    assert "s3cr3t!" not in repr(credential) + str(credential.secret) + str({"": credential})

    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await start(targets(hosts), credential=("sim", "s3cr3t!"))
            await job.wait()
            (end,) = job.outcomes
            assert end.outcome.reason == "AuthenticationFailed"
            assert "s3cr3t!" not in repr(end) + repr(job) + repr(job.child_jobs)

    asyncio.run(main())


# -- -FilePath -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"'a'\n'b'\n", "'a'\n'b'"),
        (b"\xef\xbb\xbf'\xc3\xa9'\r\n", "'\u00e9'"),
        (b"'a'", "'a'"),
        (b"\n\n", "\n"),
        (b"", ""),
    ],
)
def test_a_script_file_is_read_as_powershell_reads_it(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "Fix.PS1"
    path.write_bytes(content)
    assert read_script(path) == text


def test_script_files_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("1")
    (tmp_path / "latin.ps1").write_bytes(b"'\xe9'")
    (tmp_path / "folder.ps1").mkdir()
    for name, error_id in [
        ("run.sh", "System.ArgumentException"),
        ("none.ps1", "PathNotFound"),
        ("latin.ps1", "PathNotFound"),
        ("folder.ps1", "PathNotFound"),
    ]:
        with pytest.raises(UsageError, match=name) as caught:
            read_script(tmp_path / name)
        assert caught.value.error_id == error_id


def test_a_script_file_runs(tmp_path: Path) -> None:
    path = tmp_path / "fix.ps1"
    path.write_text('param($a)\n"got $a"\n')

    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            job = await invoke_command(targets(hosts), file_path=str(path), argument_list=[7], **OPTIONS)
            assert [record.value async for record in job.stream()] == ["got 7"]
            assert job.command == 'param($a)\n"got $a"'

    asyncio.run(main())


# -- targets ---------------------------------------------------------------------------------------------------------


def test_connection_uris() -> None:
    assert targets_of(["https://web01/", "HTTP://web02:80/a/b?PSVersion=5", "http://[::1]"]) == (
        Target("web01", port=5986, ssl=True, application="wsman"),
        Target("web02", port=80, ssl=False, application="a/b?PSVersion=5"),
        Target("::1", port=5985, ssl=False, application="wsman"),
    )
    for bad in ["web01", "ftp://web01", "http://", "http://u:p@web01", "http://web01:99999", "http://web01:x", ""]:
        with pytest.raises(TargetError, match="not an endpoint") as caught:
            targets_of(bad)
        assert caught.value.error_id == "CreateRemoteRunspaceFailed"


def test_a_connection_uri_is_connected_to() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            uri = f"http://127.0.0.1:{hosts['web01'].http_port}/wsman"
            job = await invoke_command(script_block="'here'", connection_uri=uri, **OPTIONS)
            assert [(r.computer_name, r.value) async for r in job.stream()] == [("127.0.0.1", "here")]

    asyncio.run(main())


def test_server_lists_and_what_is_left_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": "", "web03": "", "db01": ""}) as hosts:
            job = await start([f"@{server_list(tmp_path, hosts)}", "!web[02-03]", "!nobody"])
            seen = [record.computer_name async for record in job.stream()]
            assert sorted(seen) == ["db01", "web01"]
            assert job.location == "web01,db01"
            assert job.notes == ("!nobody leaves nothing out: no such target is named.",)

    asyncio.run(main())


def test_a_name_that_comes_twice_runs_twice_and_is_mentioned(tmp_path: Path) -> None:
    async def main() -> None:
        async with started({"web01": "", "web02": ""}) as hosts:
            listed = f"@{server_list(tmp_path, hosts)}"
            job = await start([listed, listed], "'ran'")
            seen = [record.computer_name async for record in job.stream()]
            assert sorted(seen) == ["web01", "web01", "web02", "web02"]
            assert job.location == "web01,web02,web01,web02"
            assert [host.counters.scripts["'ran'"] for host in hosts.values()] == [2, 2]
            assert job.notes == ("2 targets are named more than once and will run as often: web[01-02]",)
            assert len({child.instance_id for child in job.child_jobs}) == 4

    asyncio.run(main())


def test_credentials_of_every_form() -> None:
    async def main() -> None:
        async with started({"web01": ""}) as hosts:
            (target,) = targets(hosts)
            named = dataclasses.replace(target, name="web02", credential="ops")
            good, bad = Credential("sim", Secret("sim")), Credential("sim", Secret("no"))
            forms: list[tuple[Any, list[Target], list[str]]] = [
                (("sim", "sim"), [target], ["Completed"]),
                (good, [target], ["Completed"]),
                ({"": good}, [target], ["Completed"]),
                ({"": good, "ops": bad}, [target, named], ["Completed", "AuthenticationFailed"]),
                ({"ops": good}, [named], ["Completed"]),
            ]
            for credential, where, reasons in forms:
                job = await start(where, credential=credential)
                await job.wait()
                assert [end.outcome.reason.value for end in job.outcomes] == reasons
            with pytest.raises(ConfigurationError, match="'ops'"):
                await start([named], credential=good)

    asyncio.run(main())


# -- settings --------------------------------------------------------------------------------------------------------


def test_session_option_is_checked_by_name() -> None:
    assert session_option(idle_timeout=120, culture="de-DE") == SessionOption(idle_timeout=120, culture="de-DE")
    with pytest.raises(UsageError, match=r"no 'idle_time'.*idle_timeout"):
        session_option(idle_time=1)


def test_durations_are_seconds_or_timedeltas() -> None:
    async def silent(streams: Streams) -> None:
        await streams.output("begun")
        await asyncio.Event().wait()

    async def main() -> None:
        async with started({"web01": ""}, interpreter=Writes(silent)) as hosts:
            for given in (0.2, timedelta(milliseconds=200)):
                job = await start(targets(hosts), timeout=given)
                assert await job.wait(timedelta(minutes=1))
                (end,) = job.outcomes
                assert end.outcome.reason == "TimedOut(total)"
                assert end.outcome.details["seconds"] == 0.2
                assert end.outcome.seconds >= 0.2

    asyncio.run(main())


class Gate:
    """Scripts that wait at a gate until so many stand there: what the throttle limit lets in."""

    def __init__(self, opens_at: int) -> None:
        self.opens_at = opens_at
        self.inside = self.most = 0
        self.opened = asyncio.Event()

    async def __call__(self, streams: Streams) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self.opens_at:
            self.opened.set()
        await self.opened.wait()
        await streams.output("through")
        self.inside -= 1


@pytest.mark.parametrize(("limit", "slots"), [(1, 1), (3, 3), (0, 32), (-5, 32)])
def test_the_throttle_limit(limit: int, slots: int) -> None:
    async def main() -> None:
        gate = Gate(slots)
        async with started({"web01": ""}, settings=MANY, interpreter=Writes(gate)) as hosts:
            (target,) = targets(hosts)
            names = [f"web{number:02}" for number in range(1, 41)]
            where = [dataclasses.replace(target, name=name) for name in names]
            job = await start(where, throttle_limit=limit)
            seen = [record.computer_name async for record in job.stream()]
            assert gate.most == slots
            assert sorted(seen) == names
            if slots == 1:
                assert seen == names

    asyncio.run(asyncio.wait_for(main(), 60))


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


# -- jobs that outlive this process -----------------------------------------------------------------------------------


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
        with pytest.raises(ConfigurationError, match="needs a credential") as caught:
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
