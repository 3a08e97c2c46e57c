"""The job verbs as a user runs them: each a process of its own, on jobs that a worker runs on simulated hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import simulating

_PROGRAM = [sys.executable, "-m", "remotejobs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the hosts web01 to web03, of which web03 refuses, and a store of its own."""
    folder = tmp_path_factory.mktemp("jobs")
    with simulating(folder, "web[01-03]", "-Fault", "web03=refuse", environment=environment(folder)):
        yield folder
        run(folder, "stop", "-State", "Running")


def environment(folder: Path, password: str = "sim") -> dict[str, str]:
    return {**os.environ, "REMOTEJOBS_HOME": str(folder / "home"), "REMOTEJOBS_PASSWORD": password, "NO_COLOR": "1"}


def run(folder: Path, *words: str, password: str = "sim") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_PROGRAM, *words],
        cwd=folder,
        env=environment(folder, password),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def start(folder: Path, script: str, targets: str = "@servers.txt", *more: str) -> int:
    """Start a job; returns its id."""
    words = ("invoke", targets, "-ScriptBlock", script, "-AsJob", "-Credential", "sim", "-Authentication", "Basic")
    done = run(folder, *words, "-UseSSL", "-SessionOption", "CAFile=sim-ca.pem,MaxConnectionRetryCount=0", *more)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[2].split()[0])


def test_a_job_from_its_start_to_its_end(folder: Path) -> None:
    job = start(folder, "1..2; 'end'")
    waited = run(folder, "wait", str(job), "-OutputFormat", "Jsonl")
    assert (waited.returncode, json.loads(waited.stdout)["state"]) == (3, "Failed"), waited.stderr
    kept = run(folder, "receive", str(job), "-Keep")
    assert kept.stdout.splitlines() == [f"web0{host}: {value}" for host in (1, 2) for value in ("1", "2", "end")]
    assert "[web03] Unreachable" in kept.stderr
    some = run(folder, "receive", str(job), "-Location", "web02")
    assert (some.returncode, [line.split()[1] for line in some.stdout.splitlines()]) == (0, ["1", "2", "end"])
    rest = run(folder, "receive", str(job))
    assert (rest.returncode, len(rest.stdout.splitlines())) == (3, 3)
    assert "[web03] Unreachable" in rest.stderr
    none = run(folder, "receive", str(job))
    assert (none.returncode, none.stdout, "[web03]" in none.stderr) == (3, "", False)
    assert len(run(folder, "receive", str(job), "-FromStart").stdout.splitlines()) == 6
    again = run(folder, "retry", str(job), "-Credential", "sim", "-OutputFormat", "Jsonl")
    assert [child["location"] for child in json.loads(again.stdout)["children"]] == ["web03"]
    assert run(folder, "remove", str(job)).returncode == 0
    gone = run(folder, "get", str(job))
    assert (gone.returncode, "[JobWithSpecifiedSessionNotFound" in gone.stderr) == (1, True)


def test_errors_are_worded_as_asked_whenever_they_are_received(folder: Path) -> None:
    job = start(folder, "Write-Error 'bad'; throw 'worse'", "@servers.txt,!web[02-03]")
    run(folder, "wait", str(job))
    concise = run(folder, "receive", str(job), "-Keep").stderr.splitlines()
    assert concise[:2] == ["[web01] Write-Error: bad", "[web01] CommandFailed: OperationStopped: worse"]
    normal = run(folder, "receive", str(job), "-Keep", "-ErrorView", "Normal").stderr.splitlines()
    assert normal[:2] == [
        "[web01] bad",
        "[web01] + CategoryInfo          : NotSpecified: (:) [Write-Error], WriteErrorException",
    ]
    assert "[web01] + PSComputerName        : web01" in normal
    detailed = run(folder, "receive", str(job), "-ErrorView", "DetailedView").stderr.splitlines()
    assert "[web01] Exception             :" in detailed


def test_a_job_that_runs_is_given_more_hosts_at_a_time(folder: Path) -> None:
    job = start(folder, "'begun'; Start-Sleep 60", "@servers.txt,!web03", "-ThrottleLimit", "1")
    reader = subprocess.Popen(
        [*_PROGRAM, "receive", str(job), "-Wait"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "web01: begun\n"
    done = run(folder, "set", str(job), "-ThrottleLimit", "2")
    assert (done.returncode, done.stdout.splitlines()[2].split()[0]) == (0, str(job)), done.stderr
    assert reader.stdout.readline() == "web02: begun\n"  # web01 still sleeps
    run(folder, "stop", str(job))
    reader.communicate(timeout=30)
    late = run(folder, "set", str(job), "-ThrottleLimit", "3")
    assert (late.returncode, "none of its hosts is still to begin" in late.stderr) == (1, True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to another process are POSIX")
def test_an_interrupted_receive_leaves_the_job_running(folder: Path) -> None:
    job = start(folder, "'begun'; Start-Sleep 60", "@servers.txt,!web03")
    process = subprocess.Popen(
        [*_PROGRAM, "receive", str(job), "-Wait"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = {process.stdout.readline(), process.stdout.readline()}
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert lines == {"web01: begun\n", "web02: begun\n"}
    assert process.returncode == 130
    assert f"the job goes on: remotejob receive {job} -Wait" in err
    assert "Traceback" not in err
    assert json.loads(run(folder, "get", str(job), "-OutputFormat", "Jsonl").stdout)["state"] == "Running"
    late = run(folder, "wait", str(job), "-Timeout", "1")
    assert (late.returncode, late.stdout) == (6, "")
    refused = run(folder, "remove", str(job))
    assert (refused.returncode, "[JobObjectNotFinishedCannotBeRemoved" in refused.stderr) == (1, True)
    stopped = run(folder, "stop", str(job), "-PassThru", "-OutputFormat", "Jsonl")
    assert (stopped.returncode, json.loads(stopped.stdout)["state"]) == (0, "Stopped"), stopped.stderr
    assert run(folder, "receive", str(job)).returncode == 2
    assert run(folder, "remove", str(job), "-Force").returncode == 0


def test_connect_waits_for_the_hosts_and_says_who_refused(folder: Path) -> None:
    job = start(folder, "'begun'; Start-Sleep 60", "@servers.txt,!web03")
    assert run(folder, "wait", str(job), "-Timeout", "0").returncode == 6
    assert run(folder, "disconnect", str(job)).returncode == 0
    refused = run(folder, "connect", str(job), "-Credential", "sim", password="wrong")
    assert (refused.returncode, " Disconnected " in refused.stdout) == (3, True)
    [line] = refused.stderr.splitlines()
    assert line.startswith("remotejob connect: [web[01-02]] The host refused the user name or password (HTTP 401).")
    listed = run(folder, "get", str(job), "-IncludeChildJob", "-OutputFormat", "Jsonl")
    for child in json.loads(listed.stdout)["children"]:
        assert (child["state"], child["reason"]) == ("Disconnected", "Disconnected")
        assert child["message"] in line
    connected = run(folder, "connect", str(job), "-Credential", "sim", "-OutputFormat", "Jsonl")
    assert (connected.returncode, connected.stderr) == (0, "")
    assert {child["state"] for child in json.loads(connected.stdout)["children"]} == {"Running"}
    again = run(folder, "connect", str(job))
    assert (again.returncode, again.stderr.startswith(f"Job {job} is already run by process ")) == (0, True)
    logs = folder / "home" / "logs"
    assert run(folder, "remove", str(job), "-Force").returncode == 0
    assert not (logs / f"job-{job}.log").exists()


def test_what_goes_up_goes_with_the_job_of_a_worker(folder: Path) -> None:
    script = 'param($n) "$n $using:x"; $input'
    job = start(folder, script, "@servers.txt,!web03", "-Parameter", "n=1", "-Using", "x=2", "-InputObject", "three")
    waited = run(folder, "wait", str(job), "-OutputFormat", "Jsonl")
    assert json.loads(waited.stdout)["state"] == "Completed", waited.stderr
    kept = run(folder, "receive", str(job))
    assert kept.stdout.splitlines() == [f"web0{host}: {value}" for host in (1, 2) for value in ("1 2", "three")]


def test_standard_input_goes_with_the_job_too(folder: Path) -> None:
    words = ("invoke", "@servers.txt,!web03", "-ScriptBlock", "$input", "-InputObject", "-", "-AsJob", "-UseSSL")
    more = ("-Credential", "sim", "-Authentication", "Basic", "-SessionOption", "CAFile=sim-ca.pem")
    done = subprocess.run(
        [*_PROGRAM, *words, *more],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        input="one\ntwo",
    )
    job = int(done.stdout.splitlines()[2].split()[0])
    run(folder, "wait", str(job))
    kept = run(folder, "receive", str(job))
    assert kept.stdout.splitlines() == [f"web0{host}: {value}" for host in (1, 2) for value in ("one", "two")]
