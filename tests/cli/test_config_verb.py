"""`remotejob config`: every setting with its source, as a table and as JSON; of a command no more than its name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from remotejobs.cli.main import main
from remotejobs.config.settings import SETTINGS

TEXT = r"""
[defaults]
use_ssl = true
silence_timeout = "2m"
[credential.ops]
username = 'CORP\ops'
provider = "command"
command = ["pass", "-t", "Tr0ub4dor"]
[credential.Dba]
username = "dba"
provider = "env"
variable = "REMOTEJOBS_DBA"
[retention]
days = "off"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    monkeypatch.setenv("REMOTEJOBS_CONFIG", str(path))
    monkeypatch.setenv("REMOTEJOBS_THROTTLE_LIMIT", "9")
    return path


def test_the_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["Name", "Value", "Source"]
    assert [line.split()[0] for line in lines[2 : 2 + len(SETTINGS)]] == [setting.name for setting in SETTINGS]
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[2 : lines.index("")]}
    assert rows["defaults.use_ssl"] == f"true {file}"
    assert rows["defaults.silence_timeout"] == f"120 {file}"
    assert rows["defaults.timeout"] == "off built in"
    assert rows["defaults.port"] == "built in"
    assert rows["defaults.throttle_limit"] == "9 REMOTEJOBS_THROTTLE_LIMIT"
    assert rows["retention.days"] == f"off {file}"
    assert rows["credential.ops.username"] == rf"CORP\ops {file}"
    assert rows["credential.ops.command"] == f"pass (and 2 arguments) {file}"
    assert rows["credential.Dba.variable"] == f"REMOTEJOBS_DBA {file}"
    assert lines[-1] == f"  {file}"
    assert lines[-3] == "Files, the later ones count more:"
    assert (err, "Tr0ub4dor" in out) == ("", False)


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "-OutputFormat", "Json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    by_name = {row["name"]: (row["value"], row["source"]) for row in found["settings"]}
    assert by_name["defaults.silence_timeout"] == (120.0, str(file))
    assert by_name["defaults.timeout"] == (None, "built in")
    assert by_name["credential.ops.command"] == ("pass (and 2 arguments)", str(file))
    assert found["files"][-1] == {"path": str(file), "there": True}
    assert "Tr0ub4dor" not in out


@pytest.mark.usefixtures("file")
def test_some_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "Credential.*.username,retention.size", "-OutputFormat", "Json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["settings"]]
    assert names == ["retention.size", "credential.Dba.username", "credential.ops.username"]
    assert main(["config", "defaults.use_tls"]) == 1
    assert "There is no setting defaults.use_tls. Did you mean defaults.use_ssl?" in capsys.readouterr().err


@pytest.mark.usefixtures("file")
def test_variables_that_are_no_settings_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTEJOBS_THROTLE", "9")
    monkeypatch.setenv("REMOTEJOBS_DBA", "Tr0ub4dor")
    assert main(["config"]) == 0
    out, err = capsys.readouterr()
    assert err == "WARNING: the environment variable REMOTEJOBS_THROTLE is no setting.\n"
    assert "Tr0ub4dor" not in out


def test_a_broken_file_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[defaults]\nuse_tls = true\n")
    assert main(["config"]) == 1
    assert f"{file}: [defaults] use_tls is not a setting. Did you mean use_ssl?" in capsys.readouterr().err
    os.unlink(file)
    assert main(["config"]) == 1
    assert "There is no configuration file" in capsys.readouterr().err
