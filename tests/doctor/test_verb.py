"""`remotejob test` and `Test-WSMan` as a user runs them: two processes, real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import simulating

ENVIRONMENT = {**os.environ, "REMOTEJOBS_PASSWORD": "sim", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with servers.txt and sim-ca.pem of running hosts: web01 is well, web02 is not."""
    folder = tmp_path_factory.mktemp("sim")
    with simulating(folder, "-ComputerName", "web[01-02]", "-PowerShell", "builtin", "-Fault", "web02=status:503"):
        yield folder


def remotejob(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remotejobs", *words, "-UseSSL", "-SessionOption", "CAFile=sim-ca.pem"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def test_a_host_that_is_well_is_told_about_at_length(folder: Path) -> None:
    done = remotejob(folder, "test", "@servers.txt,!web02", "-Credential", "sim", "-Shell")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  Authentication ok    Basic as sim: accepted; Microsoft Corporation" in done.stdout
    assert "  Shell          ok    Microsoft.PowerShell: PSVersion" in done.stdout


def test_several_hosts_are_a_table_and_one_that_is_not_well_an_exit_code(folder: Path) -> None:
    done = remotejob(folder, "test", "@servers.txt", "-Credential", "sim")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "ComputerName", "Name", "Port", "TLS", "HTTP", "Mech", "Clock", "Ident", "Auth", "Quotas", "Product",
    ]  # fmt: skip
    assert lines[3].split()[:5] == ["web02", "ok", "ok", "ok", "FAIL"]
    assert "web02: Listener failed. The WinRM service of the host is not ready (HTTP 503)." in lines
    assert lines[-1] == "1 passed, 1 failed: 2 hosts"


def test_test_wsman_is_the_identify_part(folder: Path) -> None:
    done = remotejob(folder, "Test-WSMan", "@servers.txt,!web02", "-OutputFormat", "Jsonl")
    assert done.returncode == 0
    entry = json.loads(done.stdout)
    assert [step["step"] for step in entry["steps"]] == ["Name", "Port", "TLS", "Listener", "Identify"]
    assert entry["steps"][-1]["facts"]["vendor"] == "Microsoft Corporation"
