"""`remotejob simulate` and `remotejob invoke` as a user runs them: two processes, real sockets, real signals."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import simulating

ENVIRONMENT = {**os.environ, "REMOTEJOBS_PASSWORD": "sim", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with servers.txt and sim-ca.pem of running hosts: web01 to web04, web03 broken."""
    folder = tmp_path_factory.mktemp("sim")
    with simulating(folder, "-ComputerName", "web[01-04]", "-Fault", "web03=reset@Command,web04=refuse"):
        yield folder


def command(*words: str) -> list[str]:
    start = [sys.executable, "-m", "remotejobs", "invoke", "-Credential", "sim", "-Authentication", "Basic", "-UseSSL"]
    return [*start, "-SessionOption", "CAFile=sim-ca.pem,MaxConnectionRetryCount=1", *words]


def invoke(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


GOOD = "@servers.txt,!web[03-04]"


def test_a_table_with_one_row_per_host_and_the_failing_ones_said(folder: Path) -> None:
    done = invoke(folder, "@servers.txt", "-ScriptBlock", "Get-Service -Name WinRM", "-OutputFormat", "Table")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        "PSComputerName",
        "--------------",
        "web01",
        "web02",
    ]
    assert "[web04] Unreachable: web04:" in done.stderr
    assert "[web03] Unknown:" in done.stderr
    assert "2 completed, 1 unreachable (web04), 1 unknown (web03): 4 hosts in" in done.stderr
    assert done.returncode == 3


def test_a_script_block_as_powershell_users_type_it(folder: Path) -> None:
    done = invoke(folder, "web01,web02".replace("web01,web02", GOOD), "{", "1..2;", "'a'", "}")
    assert sorted(done.stdout.splitlines()) == sorted(f"web0{h}: {v}" for h in (1, 2) for v in ("1", "2", "a"))
    assert (done.returncode, done.stderr.startswith("2 completed: 2 hosts in")) == (0, True)


def test_jsonl_has_every_stream_and_an_outcome_for_each_host(folder: Path) -> None:
    script = "'o'; Write-Warning w; Write-Error e; Write-Host h"
    done = invoke(folder, "@servers.txt", "-ScriptBlock", script, "-OutputFormat", "Jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    records = [line for line in lines if line["schema"] == "remotejobs.record.1"]
    outcomes = {line["computer_name"]: line for line in lines if line["schema"] == "remotejobs.outcome.1"}
    assert Counter(r["stream"] for r in records) == dict.fromkeys(("Output", "Warning", "Error", "Information"), 2)
    assert sorted(outcomes) == ["web01", "web02", "web03", "web04"]
    assert (outcomes["web01"]["reason"], outcomes["web01"]["error_count"]) == ("Completed", 1)
    assert outcomes["web04"]["error_id"] == "CannotConnect,PSSessionStateBroken"
    for record in records:
        assert {"job_id", "computer_name", "stream", "seq", "time", "type_names", "value"} <= set(record)
    assert all(r["type_names"] == ["System.String"] for r in records if r["stream"] == "Output")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((GOOD, "-ScriptBlock", "1"), 0),
        ((GOOD, "-ScriptBlock", "throw 'x'"), 2),
        (("@servers.txt,!web03", "-ScriptBlock", "1"), 3),
        (("@servers.txt", "-ScriptBlock", "throw 'x'"), 4),
        ((GOOD, "-ScriptBlock", "Write-Error e"), 0),
        ((GOOD, "-ScriptBlock", "Write-Error e", "-FailOnError"), 2),
        ((GOOD, "-ScriptBlock", "1", "-Throttle"), 1),
        (("@missing.txt", "-ScriptBlock", "1"), 1),
        ((GOOD, "-FilePath", "missing.ps1"), 1),
        ((GOOD, "-ScriptBlock", "Start-Sleep 30", "-Timeout", "0.3"), 3),
    ],
)
def test_exit_codes(folder: Path, words: tuple[str, ...], code: int) -> None:
    done = invoke(folder, *words)
    assert done.returncode == code, done.stderr
    assert done.stderr


def test_csv_and_clixml_and_json_are_whole_documents(folder: Path) -> None:
    done = invoke(
        folder, GOOD, "-ScriptBlock", "Get-Service WinRM | Select-Object Name, Status", "-OutputFormat", "Csv"
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sorted((r["Name"], r["PSComputerName"]) for r in rows) == [("WinRM", "web01"), ("WinRM", "web02")]
    done = invoke(folder, GOOD, "-ScriptBlock", "1", "-OutputFormat", "Json")
    assert len(json.loads(done.stdout)) == 4
    done = invoke(folder, GOOD, "-ScriptBlock", "1", "-OutputFormat", "Clixml")
    assert done.stdout.startswith("<Objs ")
    assert done.stdout.rstrip().endswith("</Objs>")


def test_a_file_with_arguments(folder: Path) -> None:
    (folder / "add.ps1").write_text("\ufeffparam($a, $b)\r\n$a + $b\r\n", encoding="utf-8")
    done = invoke(folder, GOOD, "-FilePath", "add.ps1", "-ArgumentList", "40,2")
    assert sorted(done.stdout.splitlines()) == ["web01: 42", "web02: 42"]


def test_parameters_and_variables_by_name(folder: Path) -> None:
    script = 'param([string[]]$Name, $Id, [switch]$Force) "$Name|$Id|$Force|$($using:who)|$using:n"'
    words = ("-Parameter", "Name=a,b,Id:string=007,Force=$true", "-Using", "who=x y,n=4")
    done = invoke(folder, GOOD, "-ScriptBlock", script, *words)
    assert sorted(done.stdout.splitlines()) == [f"web0{n}: a b|007|True|x y|4" for n in (1, 2)], done.stderr
    missing = invoke(folder, GOOD, "-ScriptBlock", "$using:nope")
    assert (missing.returncode, "UsingVariableIsUndefined" in missing.stderr) == (1, True)


def test_standard_input_goes_to_every_host(folder: Path) -> None:
    def fed(*words: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
        script = '$input | ForEach-Object { "got [$_]" }'
        line = command(GOOD, "-ScriptBlock", script, "-InputObject", *words)
        return subprocess.run(
            line, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False, timeout=60, input=given
        )

    done = fed("-", given="one\r\n\nü three".encode())
    expected = [f"web0{n}: got [{text}]" for n in (1, 2) for text in ("", "one", "ü three")]
    assert sorted(done.stdout.decode().splitlines()) == sorted(expected), done.stderr
    array = fed("1,2", given=b"not read")  # one array, as in PowerShell
    assert sorted(array.stdout.decode().splitlines()) == [f"web0{n}: got [1 2]" for n in (1, 2)], array.stderr
    large = fed("-", "-InDisconnectedSession", given=b"x" * 70 + b"\n" * 2_000_000)
    assert (large.returncode, b"InputTooLarge" in large.stderr) == (1, True), large.stderr
    both = fed("-", "-ComputerName:-", given=b"web01")
    assert both.returncode == 1


def test_a_wrong_password_is_said_and_not_repeated(folder: Path) -> None:
    done = invoke(folder, GOOD, "-ScriptBlock", "1", REMOTEJOBS_PASSWORD="s3cr3t-wrong")
    assert done.returncode == 3
    assert "refused the user name or password" in done.stderr
    assert "s3cr3t-wrong" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="owner-only files are POSIX modes here")
def test_password_files_must_be_their_owners_alone(folder: Path) -> None:
    file = folder / "password"
    file.write_text("sim\n")
    file.chmod(0o644)
    done = invoke(folder, GOOD, "-ScriptBlock", "1", "-PasswordFile", "password")
    assert (done.returncode, "chmod 600" in done.stderr) == (1, True)
    file.chmod(0o600)
    assert invoke(folder, GOOD, "-ScriptBlock", "1", "-PasswordFile", "password").returncode == 0


def test_a_mechanism_that_needs_a_password_says_what_to_give(folder: Path) -> None:
    words = ["invoke", "web01", "-ScriptBlock", "1", "-Authentication", "Basic", "-UseSSL"]
    done = subprocess.run(
        [sys.executable, "-m", "remotejobs", *words], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "[web01] needs a credential" in done.stderr
    assert "-Credential USER" in done.stderr


def test_the_log_has_every_step_and_no_secret(folder: Path) -> None:
    secret = "sim-but-longer"
    log = folder / "steps.log"
    done = invoke(folder, GOOD, "-ScriptBlock", "1", "-LogFile", "steps.log", REMOTEJOBS_PASSWORD=secret)
    assert done.returncode == 3
    invoke(folder, "@servers.txt", "-ScriptBlock", "'sim'", "-LogFile", "steps.log")
    text = log.read_text()
    for words in (
        "[web01] connected",
        "runspace opened, protocol 2.3",
        "command",
        "deleting the shell",
    ):
        assert words in text
    assert secret not in text
    assert base64.b64encode(f"sim:{secret}".encode()).decode()[6:-4] not in text
    if sys.platform != "win32":
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="signals to another process are POSIX")
def test_the_first_interrupt_stops_in_order_and_the_counts_sum(folder: Path) -> None:
    words = (GOOD, "-ScriptBlock", "'begun'; Start-Sleep 60", "-OutputFormat", "Jsonl", "-ThrottleLimit", "1")
    process = subprocess.Popen(
        command(*words), cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "begun" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "2 hosts are still running: web[01-02]" in err
    assert [json.loads(line)["reason"] for line in out.splitlines()] in (
        ["Stopped", "NotStarted"],
        ["NotStarted", "Stopped"],
    )
    assert "1 stopped (web01), 1 not started (web02): 2 hosts in" in err


def test_a_closed_pipe_ends_quietly(folder: Path) -> None:
    process = subprocess.Popen(
        command(GOOD, "-ScriptBlock", "1..100000"),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_stops_the_job_in_order(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            command(GOOD, "-ScriptBlock", "1..100000; Start-Sleep 60"),
            cwd=folder,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
        err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "The output cannot be written: No space left on device." in err
    assert "2 stopped (web[01-02]): 2 hosts in" in err
    assert "Traceback" not in err
