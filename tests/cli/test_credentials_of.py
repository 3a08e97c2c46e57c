"""Which credentials the targets of a command need: each is found once, before anything is connected, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remotejobs.auth import providers
from remotejobs.auth.credentials import Secret
from remotejobs.cli.invocation import credentials_of
from remotejobs.errors import ConfigurationError
from remotejobs.model import Target


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was asked for at the terminal."""
    path = tmp_path / "config.toml"
    for name in ("ops", "dba"):
        with path.open("a") as file:
            file.write(f"[credential.{name}]\nusername = 'CORP\\{name}'\nprovider = 'prompt'\n")
    path.chmod(0o600)
    monkeypatch.setenv("REMOTEJOBS_CONFIG", str(path))
    monkeypatch.setattr(providers, "_secret_from_keyring", lambda *_: None)
    names: list[str] = []

    def ask(username: str, name: str = "") -> Secret:
        names.append(username)
        return Secret(username)

    monkeypatch.setattr(providers, "secret_from_terminal", ask)
    return names


def targets(*names: str | None) -> tuple[Target, ...]:
    return tuple(Target(f"web{number:02}", credential=name) for number, name in enumerate(names, 1))


def test_each_is_asked_for_once(asked: list[str]) -> None:
    found = credentials_of({"Credential": "me"}, targets("ops", None, "dba", "ops", "dba", "OPS", None))
    assert {name: each.username for name, each in found.items()} == {
        "me": "me",
        "ops": r"CORP\ops",
        "dba": r"CORP\dba",
        "OPS": r"CORP\ops",
    }
    assert asked == ["me", r"CORP\ops", r"CORP\dba"]


def test_what_no_target_needs_is_not_asked_for(asked: list[str]) -> None:
    assert list(credentials_of({"Credential": "me"}, targets("ops", "ops"))) == ["ops"]
    assert credentials_of({}, targets(None, None)) == {}
    assert asked == [r"CORP\ops"]


def test_a_name_that_is_nowhere_is_refused_before_anybody_is_asked(asked: list[str]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"\[web03\] The server list says credential=opss, .* Did you mean ops\?"
    ):
        credentials_of({"Credential": "me"}, targets("ops", None, "opss"))
    assert asked == []


def test_the_variable_is_taken_even_where_nobody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_PASSWORD", "x")
    assert credentials_of({}, targets(None)) == {}
    assert "REMOTEJOBS_PASSWORD" not in os.environ
