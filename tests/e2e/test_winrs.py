"""Command lines of cmd as jobs: the library, a worker in a process of its own, and the verbs of the command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remotejobs import Credential, RemoteJob, Secret, SessionOption, invoke_command, retry_job, stop_job
from remotejobs.errors import JobError, UsageError
from remotejobs.model import Target
from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.shells import HostSettings
from remotejobs.states import EndReason, JobState
from remotejobs.store.home import open_store
from tests.e2e.test_worker import gone
from tests.processes import simulating

OPTION = SessionOption(allow_unencrypted=True, max_connection_retry_count=0)
SHORT = SessionOption(allow_unencrypted=True, max_connection_retry_count=1, operation_timeout=1)
CMD: dict[str, Any] = {
    "shell": "cmd",
    "credential": ("sim", "sim"),
    "authentication": "Basic",
    "session_option": OPTION,
}


def fleet(*names: str, **settings: Any) -> Fleet:
    return Fleet(names, FleetOptions(settings=HostSettings(**{"allow_unencrypted": True, **settings})))


def hosts_of(there: Fleet) -> list[Target]:
    return [Target(name, address="127.0.0.1", port=host.http_port) for name, host in there.hosts.items()]


def test_a_command_line_on_many_hosts() -> None:
    async def main() -> None:
        async with fleet("web01", "web02") as there:
            job = await invoke_command(hosts_of(there), "hostname", **CMD)
            records = [record async for record in job.stream()]
            assert sorted((r.computer_name, r.value) for r in records) == [("web01", "web01"), ("web02", "web02")]
            assert [end.outcome.details for end in job.outcomes] == [{"shell": "cmd", "exit_code": 0}] * 2
            assert job.command == "hostname"

    asyncio.run(main())


def test_arguments_arrive_as_they_are() -> None:
    async def main() -> None:
        async with fleet("h") as there:
            given = ["a b", "x&y", "%USERNAME%", 5, True]
            job = await invoke_command(hosts_of(there), "echo", argument_list=given, **CMD)
            assert [r.value async for r in job.stream()] == ['"a b" "x&y" "%USERNAME%" 5 True']
            assert job.state is JobState.Completed

    asyncio.run(main())


@pytest.mark.parametrize("sealed", [False, True])
def test_over_tls_and_sealed_messages(sealed: bool, tmp_path: Path) -> None:
    async def main() -> None:
        async with fleet("web01", allow_unencrypted=False) as there:
            (tmp_path / "ca.pem").write_text(there.ca_pem)
            host = there.hosts["web01"]
            port = host.http_port if sealed else host.https_port
            option = SessionOption(ca_file=str(tmp_path / "ca.pem"), max_connection_retry_count=0)
            job = await invoke_command(
                [Target("web01", address="127.0.0.1", port=port, ssl=not sealed)],
                "more",
                input_object=["Größe", "two"],
                **{**CMD, "session_option": option, "authentication": "Negotiate" if sealed else "Basic"},
            )
            assert [r.value async for r in job.stream()] == ["Größe", "two"]
            await job.wait()
            assert host.counters.shells == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("parameters", {"parameters": {"a": 1}}),
        ("variables", {"using": {"a": 1}}),
        ("secret", {"argument_list": [Secret("x")]}),
        ("secret", {"argument_list": [[Credential("u", Secret("x"))]]}),
        ("asks nobody", {"answers": "y"}),
        ("cannot be disconnected", {"in_disconnected_session": True}),
        ("code page", {"code_page": 3}),
        ("no shell 'bash'", {"shell": "bash"}),
        ("PowerShell sends objects", {"shell": "powershell", "code_page": 437}),
    ],
)
def test_what_a_command_line_cannot_have(words: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match=words):
            await invoke_command([Target("h")], "dir", **{**CMD, **options})

    asyncio.run(main())


def test_a_job_of_cmd_is_not_left_on_its_hosts(tmp_path: Path) -> None:
    async def main() -> None:
        async with fleet("h") as there:
            job = await invoke_command(hosts_of(there), "timeout /t 600", **CMD)
            with pytest.raises(JobError, match="cmd shell cannot be left"):
                await job.disconnect()
            await job.stop()
            assert job.state is JobState.Stopped

    asyncio.run(main())


async def begun(job: RemoteJob) -> None:
    """Wait until its first host has written something."""
    async with asyncio.timeout(60):
        while not job.store.job(job.id).children[0].seq:
            version = job.store.version(job.id)
            await job.store.wait_change(job.id, version)


def test_a_worker_runs_it_and_it_can_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_HOME", str(tmp_path / "home"))

    async def main() -> None:
        async with fleet("web01", "web02") as there:
            store = open_store()
            try:
                job = await invoke_command(
                    hosts_of(there), "more & exit 3", input_object=["a", "b"], as_job=True, **CMD
                )
                await asyncio.wait_for(job.wait(), 60)
                assert sorted((r.computer_name, r.value) for r in job.receive()) == [
                    (name, value) for name in ("web01", "web02") for value in ("a", "b")
                ]
                assert [end.outcome.details["exit_code"] for end in job.outcomes] == [3, 3]
                again = await retry_job(job.id, state="Completed", credential=("sim", "sim"), as_job=True)
                await asyncio.wait_for(again.wait(), 60)
                assert [r.value for r in again.receive()] == ["a", "b"] * 2
                with pytest.raises(UsageError, match="arguments of a command line"):
                    await retry_job(job.id, state="Completed", argument_list=["x"], store=store)
            finally:
                store.close()

    asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_worker_and_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("REMOTEJOBS_HOME", str(home))
    line = "echo one& timeout /t 4 & echo two& exit 7"

    async def main() -> None:
        async with fleet("h") as there:
            job = await invoke_command(hosts_of(there), line, as_job=True, **{**CMD, "session_option": SHORT})
            await begun(job)
            pid = int(job.owner.split()[1])
            os.kill(pid, signal.SIGKILL)
            await gone(pid)
            with sqlite3.connect(home / "jobs.db", timeout=30) as file:
                file.execute("UPDATE job SET lease_seen = lease_seen - 3600")
            file.close()
            assert job.state is JobState.Disconnected
            await job.connect({"": Credential("sim", Secret("sim"))})
            await asyncio.wait_for(job.wait(force=True), 60)
            (end,) = job.outcomes
            assert (end.outcome.reason, end.outcome.details["exit_code"]) == (EndReason.Completed, 7)
            assert [r.value for r in job.receive(from_start=True)] == ["one", "two"]
            assert there.hosts["h"].counters.scripts == {line: 1}

    asyncio.run(main())


def test_stop_through_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_HOME", str(tmp_path / "home"))

    async def main() -> None:
        async with fleet("h") as there:
            job = await invoke_command(hosts_of(there), "echo on& timeout /t 600", as_job=True, **CMD)
            await begun(job)
            await stop_job(job.id)
            assert job.outcomes[0].outcome.reason is EndReason.Stopped
            assert there.hosts["h"].counters.shells == 0

    asyncio.run(main())


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sim")
    with simulating(folder, "-ComputerName", "web[01-02]"):
        yield folder


def cli(folder: Path, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    words = (words[0], "@servers.txt", "-Shell", "cmd", *words[1:]) if words[0] == "invoke" else words
    option = ["-SessionOption", "CAFile=sim-ca.pem", "-Credential", "sim"] if words[0] == "invoke" else []
    return subprocess.run(
        [sys.executable, "-m", "remotejobs", *words, *option],
        cwd=folder,
        env={**os.environ, "REMOTEJOBS_PASSWORD": "sim", "REMOTEJOBS_HOME": str(folder / "home"), "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        input=given,
    )


def test_the_verb(folder: Path) -> None:
    done = cli(folder, "invoke", "-ScriptBlock", "ver & echo bad 1>&2 & exit 3")
    assert sorted(line for line in done.stdout.splitlines() if "Windows" in line) == [
        f"web0{n}: Microsoft Windows [Version 10.0.20348.2849]" for n in (1, 2)
    ]
    assert "exit code 3 on web[01-02]" in done.stderr
    assert "bad" in done.stderr
    assert done.returncode == 0
    assert cli(folder, "invoke", "-ScriptBlock", "exit 3", "-FailOnError").returncode == 2
    assert cli(folder, "invoke", "-ScriptBlock", "echo bad>&2& exit 0", "-FailOnError").returncode == 0


def test_standard_input_goes_to_the_program(folder: Path) -> None:
    done = cli(folder, "invoke", "-ScriptBlock", "more", "-InputObject", "-", "-HideComputerName", given="Größe\n2\n")
    assert sorted(done.stdout.splitlines()) == ["2", "2", "Größe", "Größe"]


def test_jsonl_has_the_exit_code(folder: Path) -> None:
    done = cli(folder, "invoke", "-ScriptBlock", "exit 3", "-OutputFormat", "Jsonl")
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [end["exit_code"] for end in ends if end["schema"] == "remotejobs.outcome.1"] == [3, 3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-ScriptBlock", "x", "-InDisconnectedSession"], "-InDisconnectedSession is for PowerShell"),
        (["-ScriptBlock", "x", "-Parameter", "a=1"], "-Parameter is for PowerShell"),
        (["-ScriptBlock", "x", "-CodePage", "3"], "code page 3 is not known"),
        (["-FilePath", "x.ps1"], "-FilePath is for PowerShell"),
        (["-ScriptBlock", "a\nb"], "cmd runs one line"),
    ],
)
def test_refusals(folder: Path, words: list[str], said: str) -> None:
    (folder / "x.ps1").write_text("1")
    done = cli(folder, "invoke", *words)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_as_job_receive_and_disconnect(folder: Path) -> None:
    assert cli(folder, "invoke", "-ScriptBlock", "hostname", "-JobName", "Names").returncode == 0
    done = cli(folder, "receive", "Names", "-Wait")
    assert sorted(done.stdout.splitlines()) == ["web01: web01", "web02: web02"]
    assert cli(folder, "invoke", "-ScriptBlock", "timeout /t 600", "-JobName", "Long").returncode == 0
    refused = cli(folder, "disconnect", "Long")
    assert (refused.returncode, "A cmd shell cannot be left" in refused.stderr) == (1, True), refused.stderr
    assert cli(folder, "stop", "Long").returncode == 0
    assert "2 stopped" not in cli(folder, "get", "Long").stdout
