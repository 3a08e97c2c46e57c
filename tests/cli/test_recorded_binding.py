"""Every recorded command line that words can carry binds as PowerShell 7.6 bound it, or fails as it failed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from remotejobs.cli.binder import bind
from remotejobs.cli.parameters import Command
from remotejobs.errors import BindingError
from tests.cli.pwsh_commands import beyond_words, read_commands, rows, shown, unquoted, words
from tests.recorded import recorded
from tests.recordings import RECORDINGS, needs_recordings

_BINDING = RECORDINGS / "pwsh" / "binding" if RECORDINGS else None
_ROWS = list(rows(_BINDING / "binding.jsonl")) if _BINDING else []
_CAN = [row for row in _ROWS if not beyond_words(row["line"])]
# quotes that change the type of what is in them: a Unix shell takes them away, and the number looks like a number
_RETYPED = re.compile(r"'[-+.\d][^']*'|'\$")
_QUOTED = [row for row in _CAN if "'" in row["line"] and not _RETYPED.search(row["line"])]

pytestmark = needs_recordings


def line(row: dict[str, Any]) -> str:
    return str(row["line"])


@cache
def commands() -> dict[str, Command]:
    assert _BINDING is not None
    return read_commands(_BINDING / "parameters.json")


@recorded("binding", _ROWS, line)
def test_line_as_recorded(case: dict[str, Any]) -> None:
    assert not beyond_words(case["line"])
    verb, *argv = words(case["line"])
    check(commands()[verb], argv, case)


@pytest.mark.parametrize("row", _QUOTED, ids=line)
def test_line_with_the_quotes_eaten(row: dict[str, Any]) -> None:
    verb, *argv = unquoted(words(row["line"]))
    check(commands()[verb], argv, row)


def check(command: Command, argv: list[str], row: dict[str, Any]) -> None:
    if "error" in row:
        with pytest.raises(BindingError) as caught:
            bind(command, argv)
        assert caught.value.error_id == row["error"].partition(",")[0]
        assert comparable(caught.value.message).startswith(comparable(row["message"]))
        return
    bound = bind(command, argv)
    blocks = {p.name for p in command.parameters if p.type.label == "scriptblock"}
    values = {
        name: f"{{{value}}}" if name in blocks and value is not None else shown(value)
        for name, value in bound.values.items()
    }
    assert (bound.parameter_set, values) == (row["set"], row["bound"])


def comparable(message: str) -> str:
    """A message without what differs on purpose: the order of candidates, .NET's reasons, kinds of nothing."""
    head, listed, names = message.partition("Possible matches include: ")
    if listed:
        message = head + " ".join(sorted(names.rstrip(".").split()))
    transformation = re.match(r"(Cannot process argument transformation .*?\. ).*?( to type \"[\w.]+)", message)
    if transformation:
        return "".join(transformation.groups())
    return message.partition("The argument is null")[0]
