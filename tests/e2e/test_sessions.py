"""Sessions on simulated hosts, end to end: listed with the jobs that they belong to, connected, deleted, refused."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from remotejobs import compose
from remotejobs.api.invoke import invoke_command
from remotejobs.api.sessions import get_session, remove_session
from remotejobs.errors import JobError, RemoteJobsError, TransportError, UsageError
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import SessionOption, Target
from remotejobs.ports import JobStore
from remotejobs.session.sessions import HostSession, HostSessions
from remotejobs.sim.host import SimulatedHost
from tests.e2e.hosts import SIM, Writes, started, targets
from tests.e2e.test_worker import Held

OPTION = SessionOption(allow_unencrypted=True, max_connection_retry_count=0)
WAY: dict[str, Any] = {"credential": SIM, "authentication": "Basic", "session_option": OPTION}


class Scene(NamedTuple):
    home: Path
    hosts: dict[str, SimulatedHost]
    store: JobStore
    held: Held

    @property
    def targets(self) -> list[Target]:
        return targets(self.hosts)

    async def left(self, *names: str) -> RemoteJob:
        """A job whose scripts wait on all hosts, in disconnected sessions."""
        job = await invoke_command(
            self.targets, "x", in_disconnected_session=True, session_name=names, store=self.store, **WAY
        )
        await job.wait()
        return job

    @property
    def open(self) -> list[int]:
        """Shells on each host."""
        return [host.counters.shells for host in self.hosts.values()]

    async def cli(self, *words: str, verb: str = "sessions", home: str = "") -> tuple[int, str, str]:
        """Run a verb on the hosts."""
        servers = self.home / "servers.txt"
        servers.write_text("".join(f"{t.name} address={t.address} port={t.port}\n" for t in self.targets))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "remotejobs", verb, f"@{servers}", "-Credential", SIM[0]),
            *("-Authentication", "Basic", "-SessionOption", "AllowUnencrypted", *words),
            env={**os.environ, "REMOTEJOBS_HOME": home or str(self.home), "REMOTEJOBS_PASSWORD": SIM[1]},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def scene(home: Path, faults: dict[str, str] | None = None) -> AsyncIterator[Scene]:
    held = Held()
    async with started(faults or {"web01": "", "web02": ""}, interpreter=Writes(held.write)) as hosts:
        store = compose.open_store(home / "jobs.db")
        try:
            yield Scene(home, hosts, store, held)
        finally:
            held.go.set()
            store.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(main())


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_sessions_are_listed_with_their_jobs(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            job = await at.left("one", "two")
            found = await get_session(at.targets, store=at.store, **WAY)
            assert [(s.computer_name, s.name, s.state, s.availability, str(s.job)) for s in found] == [
                ("web01", "one", "Disconnected", "None", f"{job.id}/web01"),
                ("web02", "two", "Disconnected", "None", f"{job.id}/web02"),
            ]
            assert [s.instance_id for s in found] == [str(child.runspace_id) for child in job.child_jobs]
            assert [len(s.commands) for s in found] == [1, 1]
            assert (found[0].configuration_name, found[0].owner) == ("Microsoft.PowerShell", "WEB01\\sim")

            async def names(**chosen: Any) -> list[str]:
                return [s.name for s in await get_session(at.targets, store=at.store, **WAY, **chosen)]

            assert await names(name="ON*") == ["one"]
            assert await names(instance_id=found[1].instance_id.upper()) == ["two"]
            assert await names(state="Connected") == []
            assert await names(configuration_name="*.powershell") == ["one", "two"]
            elsewhere = compose.open_store(tmp_path / "other.db")
            assert [s.job for s in await get_session(at.targets, store=elsewhere, **WAY)] == [None, None]
            elsewhere.close()

    run(work)


def test_those_of_the_user_who_asks_unless_all_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.left()
            asked: list[str] = []
            find = HostSessions.find

            async def heard(self: HostSessions, target: Target, *, user: str = "") -> list[HostSession]:
                asked.append(user)
                return await find(self, target, user=user)

            monkeypatch.setattr(HostSessions, "find", heard)
            for everybody in (False, True):
                assert len(await get_session(at.targets[:1], all=everybody, store=at.store, **WAY)) == 1
            assert asked == ["sim", ""]

    run(work)


def test_one_name_is_for_every_host_and_a_retry_keeps_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.left("Nightly")
            found = await get_session(at.targets, name="nightly", store=at.store, **WAY)
            assert [s.computer_name for s in found] == ["web01", "web02"]
            with pytest.raises(UsageError):
                await invoke_command("web01", "x", session_name="a")

    run(work)


def test_the_good_hosts_answer_beside_a_dead_one(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            await at.left()
            first, second = at.targets
            dead = Target("web07", address="127.0.0.1", port=closed_port())
            errors: list[RemoteJobsError] = []
            found = await get_session([first, dead, second], store=at.store, errors=errors, **WAY)
            assert [s.computer_name for s in found] == ["web01", "web02"]
            (error,) = errors
            assert error.message.startswith("[web07] Unreachable: ")
            assert (error.error_id, error.details["computer_name"]) == ("RemotePSSessionQueryFailed", "web07")
            with pytest.raises(TransportError):
                await get_session([first, dead], store=at.store, **WAY)
            with pytest.raises(JobError) as caught:
                await get_session([first], store=at.store, name="x", **WAY)
            assert caught.value.error_id == "PSSessionNameMatchFail"
            with pytest.raises(JobError) as caught:
                await get_session([first], store=at.store, instance_id="0", **WAY)
            assert caught.value.error_id == "PSSessionIdMatchFail"

    run(work)


def test_a_wrong_password_is_not_tried_on_every_host(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path, {f"web{n:02}": "" for n in range(1, 9)}) as at:
            errors: list[RemoteJobsError] = []
            wrong = {**WAY, "credential": ("sim", "wrong")}
            await get_session(at.targets, store=at.store, errors=errors, **wrong)
            reasons = [error.details["reason"] for error in errors]
            assert reasons.count("AuthenticationFailed") == 3
            assert reasons.count("NotStarted(guard)") == 5

    run(work)


def test_a_session_of_a_job_that_has_not_ended_is_deleted_by_force_only(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            job = await at.left()
            found = await get_session(at.targets, store=at.store, **WAY)
            errors: list[RemoteJobsError] = []
            assert await remove_session(found, errors=errors, store=at.store) == []
            assert [error.error_id for error in errors] == ["SessionInUse"] * 2
            assert f"remotejob stop {job.id}" in errors[0].message
            assert at.open == [1, 1]
            assert await remove_session(found[0], force=True, store=at.store) == found[:1]
            assert at.open == [0, 1]
            # gone already: as good as deleted
            assert await remove_session(found[0], force=True, store=at.store) == found[:1]
            assert [s.computer_name for s in await get_session(at.targets, store=at.store, **WAY)] == ["web02"]
            await at.hosts["web02"].stop()
            with pytest.raises(TransportError, match=r"^\[web02\] Unreachable"):
                await remove_session(found[1], force=True, store=at.store)

    run(work)


def test_the_command_line_lists_refuses_and_deletes(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            job = await at.left("Nightly")
            code, out, err = await at.cli("-OutputFormat", "Jsonl")
            listed = [json.loads(line) for line in out.splitlines()]
            assert (code, [each["computer_name"] for each in listed]) == (0, ["web01", "web02"]), err
            assert [each["job"]["id"] for each in listed] == [job.id] * 2
            code, out, err = await at.cli("-Remove")
            assert (code, out, err.count("[SessionInUse]"), at.open) == (1, "", 2, [1, 1]), err

            # who knows nothing of the job leaves its sessions alone, unless one is named
            other = str(tmp_path / "other")
            code, _, err = await at.cli("-Remove", home=other)
            assert (code, "2 sessions of no job here were left alone" in err, at.open) == (0, True, [1, 1]), err
            code, _, err = await at.cli("-Connect", home=other)
            assert (code, err.count("[PSSessionConnectFailed]")) == (1, 2), err
            named = ("-Remove", "-InstanceId", listed[0]["instance_id"])
            code, out, _ = await at.cli(*named, "-WhatIf", home=other)
            assert (code, out.count("What if: "), at.open) == (0, 1, [1, 1])
            code, out, err = await at.cli(*named, home=other)
            assert (code, out, err, at.open) == (0, "", "", [0, 1])
            code, out, err = await at.cli("-Remove", "-Force")
            assert (code, out, err, at.open) == (0, "", "", [0, 0])
            assert await at.cli("-Name", "no*") == (0, "", "")

            # names that no XML can hold as they are
            code, _, err = await at.cli("x", "-InDisconnectedSession", "-SessionName", "a\x1b<b>,c", verb="invoke")
            assert code == 0, err
            code, out, _ = await at.cli()
            assert (code, [line.split("  ")[0] for line in out.splitlines()[2:]]) == (0, ["a <b> web01", "c"])

    run(work)


@pytest.mark.skipif(sys.platform == "win32", reason="a worker of the test's own")
def test_connect_takes_the_job_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with scene(tmp_path) as at:
            job = await at.left("Nightly")
            code, out, err = await at.cli("-Name", "Nightly", "-Connect", "-OutputFormat", "Jsonl")
            assert (code, json.loads(out)["id"]) == (0, job.id), err
            at.held.go.set()
            while at.store.job(job.id).ended is None:
                await at.store.wait_change(job.id, at.store.version(job.id))
            ends = at.store.job(job.id).children
            assert [child.outcome.reason.value if child.outcome else "" for child in ends] == ["Completed"] * 2
            async with asyncio.timeout(30):  # the worker deletes the shells when the ends are stored
                while any(at.open):
                    await asyncio.sleep(0.01)
            assert await get_session(at.targets, store=at.store, **WAY) == []

    run(work)
