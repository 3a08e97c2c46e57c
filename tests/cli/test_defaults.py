"""The configuration's defaults as values of parameters: what was typed counts more, and each set has only its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remotejobs.cli.binder import bind
from remotejobs.cli.commands import COMMANDS, find_command
from remotejobs.cli.defaults import with_defaults
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.config.settings import DEFAULTS, OPTIONS, SETTINGS
from remotejobs.errors import ConfigurationError
from remotejobs.model import SessionOption

Bind = Callable[[str], dict[str, Any]]
TEXT = """
[defaults]
authentication = "kerberos"
credential = "ops"
use_ssl = true
port = 1234
throttle_limit = 7
timeout = "1h"
configuration_name = "JEA"
fail_on_error = true
skip_cn_check = true
operation_timeout = 20
"""


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bind:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    monkeypatch.setenv("REMOTEJOBS_CONFIG", str(path))

    def bound(line: str) -> dict[str, Any]:
        verb, *words = shlex.split(line)
        command = find_command(verb)
        return with_defaults(command, bind(command, words)).values

    return bound


def test_what_was_not_typed_comes_from_the_configuration(values: Bind) -> None:
    assert values("invoke web01 1") == {
        "ComputerName": ["web01"],
        "ScriptBlock": "1",
        "Authentication": "Kerberos",
        "Credential": "ops",
        "UseSSL": True,
        "Port": 1234,
        "ThrottleLimit": 7,
        "Timeout": 3600.0,
        "ConfigurationName": "JEA",
        "FailOnError": True,
        "SessionOption": SessionOption(skip_cn_check=True, operation_timeout=20.0),
    }


def test_what_was_typed_counts_more_and_session_options_key_by_key(values: Bind) -> None:
    typed = "-UseSSL:$false -Port 5 -ThrottleLimit 0 -Authentication Basic -SessionOption SkipCNCheck=false,CAFile=x"
    found = values(f"invoke web01 1 {typed.replace('$', chr(92) + '$')} -Timeout off -Credential me")
    assert {name: found[name] for name in ("UseSSL", "Port", "ThrottleLimit", "Authentication", "Credential")} == {
        "UseSSL": False,
        "Port": 5,
        "ThrottleLimit": 0,
        "Authentication": "Basic",
        "Credential": "me",
    }
    assert found["Timeout"] is None
    assert found["SessionOption"] == SessionOption(ca_file="x", operation_timeout=20.0)


def test_a_parameter_of_another_set_is_left_out(values: Bind) -> None:
    found = values("invoke -ConnectionUri https://web01/wsman -ScriptBlock 1")
    assert found.keys().isdisjoint({"UseSSL", "Port", "ApplicationName"})
    assert found["ThrottleLimit"] == 7


def test_who_asks_for_the_own_tickets_gets_no_credential_of_the_configuration(values: Bind) -> None:
    assert "Credential" not in values("invoke web01 1 -Authentication NegotiateWithImplicitCredential")
    assert values("invoke web01 1 -Authentication NegotiateW -Credential me")["Credential"] == "me"


def test_what_means_something_else_elsewhere_is_left_alone(values: Bind) -> None:
    found = values("sessions web01")
    assert found.keys().isdisjoint({"Timeout", "ConfigurationName"})
    assert (found["UseSSL"], found["Credential"]) == (True, "ops")
    assert values("stop 5") == {"Id": [5]}
    assert values("hosts a") == {"ComputerName": ["a"]}


def test_each_setting_is_a_parameter_of_invoke_or_a_key_of_its_session_option() -> None:
    keys = {parameter.setting_key for parameter in INVOKE.parameters if parameter.setting} - {"session_option"}
    assert keys | set(OPTIONS) == {setting.key for setting in SETTINGS if setting.section == DEFAULTS}
    for command in COMMANDS:
        assert {p.setting_key for p in command.parameters if p.setting} <= keys | {"session_option"}


def test_what_needs_no_default_does_not_read_the_configuration(
    values: Bind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTEJOBS_CONFIG", str(tmp_path / "none"))
    assert values("get 5") == {"Id": [5]}
    with pytest.raises(ConfigurationError, match="There is no configuration file"):
        values("invoke a 1")
    code = "import sys; from remotejobs.cli.main import main; main(['get']); print('remotejobs.config' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1:] == ["False"]
