"""The table of causes and commands: whole, and safe to copy from."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import pytest

from remotejobs.doctor.diagnoses import About, diagnose, look_up
from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    RemoteJobsError,
    TimedOutError,
    UnreachableError,
)

TABLE: dict[str, Any] = tomllib.loads(files("remotejobs.doctor").joinpath("diagnoses.toml").read_text())
ABOUT = About("web01.example.com", "192.0.2.7", 5985, ssl=False, mechanism="Negotiate", user="EXAMPLE\\ops")


@pytest.mark.parametrize("key", TABLE)
def test_every_row_can_be_filled_in(key: str) -> None:
    found = look_up(ABOUT, key)
    assert found.cause.endswith(".")
    assert "{" not in found.cause
    assert found.remedies
    for remedy in found.remedies:
        assert remedy.where in ("host", "here")
        assert remedy.command == remedy.command.strip() != ""


def test_the_special_row_comes_first() -> None:
    https = ABOUT._replace(ssl=True, port=5986)
    assert "no https listener" in look_up(https, "tcp.ECONNREFUSED", "tcp").cause
    assert "not enabled" in look_up(ABOUT, "tcp.ECONNREFUSED", "tcp").cause
    assert "local accounts of" in look_up(ABOUT._replace(mechanism="Basic"), "http.401").cause
    assert look_up(ABOUT, "nothing", error_id="x") == ("", (), "x")


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        ("Port", TimedOutError("late", clock="connect"), "firewall"),
        ("Name", TimedOutError("late", clock="connect"), "do not answer"),
        ("Quotas", TimedOutError("late", clock="connect"), "overloaded"),
        ("Shell", FaultError("no", code=2150859173), "as many shells"),
        ("Shell", FaultError("no", code=5), "no right to this"),
        ("Shell", FaultError("no", code=1326), "cannot be used"),
        ("Shell", AccessDeniedError("no", status=403), "no right to this"),
        ("Listener", AccessDeniedError("no", status=403), "IPv4Filter"),
        ("Authentication", AuthenticationError("no", status=401), "password is wrong"),
        ("Authentication", AuthenticationError("no", guard=True), "Other hosts have refused"),
        (
            "Authentication",
            AuthenticationError("no", error_id="AuthenticationFailed", refused=False, krb5=37),
            "clocks",
        ),
        ("Authentication", UnreachableError("no", step="kdc"), "domain controller"),
        ("Shell", RemoteJobsError("who knows"), "PowerShell's part"),
        ("TLS", UnreachableError("no", step="tls", reason="certificate"), "do not agree on TLS"),
        ("Listener", UnreachableError("no", step="http", reason="closed"), "was cut"),
    ],
)
def test_an_error_finds_its_row(step: str, error: RemoteJobsError, words: str) -> None:
    assert words in diagnose(step, error, ABOUT).cause


def test_names_with_odd_characters_are_quoted() -> None:
    commands = [each.command for each in look_up(ABOUT, "denied").remedies]
    assert commands[0] == "net localgroup \"Remote Management Users\" 'EXAMPLE\\ops' /add"
    quoted = look_up(ABOUT._replace(user="o'ps"), "denied").remedies[0].command
    assert quoted == "net localgroup \"Remote Management Users\" 'o''ps' /add"
