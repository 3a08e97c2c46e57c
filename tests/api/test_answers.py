"""Answers on their way into a job: what may be given, what of it is stored, what a job that is run again keeps."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from remotejobs.api.answers import Called, with_answers
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.model import CmdCommand, JobSpec, ScriptCommand, Target
from remotejobs.store.encoding import decode_spec, encode_spec
from remotejobs.wsman.clixml.values import SecureString

SCRIPT = ScriptCommand("1")
SQL = Credential("CORP\\sql", Secret("s3cret"))


def answers(given: Any, command: ScriptCommand = SCRIPT) -> tuple[tuple[str, Any], ...]:
    found, _ = with_answers(command, given)
    assert isinstance(found, ScriptCommand)
    return found.answers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ()),
        ([], ()),
        ("Yes", (("", "Yes"),)),
        (["Yes", ("Name", 5), "No"], (("", "Yes"), ("Name", 5), ("", "No"))),
        ({"Name": "x", "Ids": ["1", "2"], "": "Yes"}, (("Name", "x"), ("Ids", "1"), ("Ids", "2"), ("", "Yes"))),
    ],
)
def test_what_may_be_given(given: Any, expected: Any) -> None:
    assert answers(given) == expected


def test_secrets_are_taken_out() -> None:
    command, secrets = with_answers(
        SCRIPT, {"Pin": Secret("1"), "Dätabase, 1": SQL, "ops": Called("ops", Credential("CORP\\ops", Secret("2")))}
    )
    assert isinstance(command, ScriptCommand)
    assert {name: each.username for name, each in secrets.items()} == {
        "Answers[Pin]": "",
        "Answers[D%C3%A4tabase%2C%201]=CORP%5Csql": "CORP\\sql",
        "Answers[ops]=ops": "CORP\\ops",
    }
    pin, database, ops = (value for _, value in command.answers)
    assert pin == SecureString.named("Answers[Pin]")
    assert (database["UserName"], database["Password"].credential) == ("CORP\\sql", "CORP\\sql")
    assert ops["Password"].credential == "ops"
    spec = JobSpec(command, (Target("h"),))
    stored = encode_spec(spec)
    assert "s3cret" not in stored
    again = decode_spec(stored).command
    assert isinstance(again, ScriptCommand)
    assert again.answers == command.answers


@pytest.mark.parametrize(
    "given",
    [
        [("", SQL)],
        {"Pin*": SQL},
        {"Pin": Credential("u")},
        [("Pin", SQL), ("PIN", SQL)],
        [("Pin", "x"), ("pin", SQL)],
        [("Pin", SQL), ("pin", "x")],
        {"Pin": SecureString("AAAA")},
        {"Pin": object()},
    ],
)
def test_what_may_not(given: Any) -> None:
    with pytest.raises(UsageError):
        answers(given)


def test_a_job_that_is_run_again_keeps_what_is_not_answered_anew() -> None:
    first = dataclasses.replace(SCRIPT, answers=(("", "Yes"), ("Name", "a"), ("Reason", "b")))
    assert answers({"NAME": "c", "": "No"}, first) == (("NAME", "c"), ("", "No"), ("", "Yes"), ("Reason", "b"))
    assert answers(None, first) == first.answers


def test_a_command_line_asks_nobody() -> None:
    command = CmdCommand("pause", 65001)
    assert with_answers(command, None) == (command, {})
    with pytest.raises(UsageError, match="input_object"):
        with_answers(command, "Yes")
