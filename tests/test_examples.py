"""The examples run as they stand, and the README says what is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from remotejobs.cli.commands import COMMANDS, find_command
from remotejobs.cli.parameters import Command

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="the example is a bash script")
def test_the_quickstart_shows_a_row_for_each_host_and_the_failing_one() -> None:
    environment = {**os.environ, "REMOTEJOBS_VENV": sys.prefix, "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "examples/quickstart.sh"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    hosts = re.findall(r"^Running WinRM .* (web\d\d)$", done.stdout, re.MULTILINE)
    assert hosts == [f"web{n:02}" for n in range(1, 21) if n != 7]
    assert "[web07] Unreachable: web07:" in done.stderr
    assert "19 completed, 1 unreachable (web07): 20 hosts in" in done.stderr
    assert "exit code 3" in done.stdout


def test_the_readme_names_only_verbs_that_there_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in re.findall(r"^\$ remotejob (\w+)", text, re.MULTILINE):
        assert find_command(verb).name == verb
    assert "bash tests/run.sh" in text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_verb_has_an_example(command: Command) -> None:
    assert command.examples
