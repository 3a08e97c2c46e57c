"""The tables of the job verbs against PowerShell's own: recorded command lines bind the same, but for what differs on
purpose."""

from __future__ import annotations

import shlex
import uuid
from datetime import datetime
from typing import Any

import pytest

from remotejobs.cli.binder import bind
from remotejobs.cli.commands import COMMANDS, find_command
from remotejobs.cli.parameters import Command
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.errors import BindingError, UsageError
from tests.cli.pwsh_commands import beyond_words, read_commands, rows, shown, unquoted, words
from tests.recordings import RECORDINGS, needs_recordings

_BINDING = RECORDINGS / "pwsh" / "binding" if RECORDINGS else None
_CMDLETS = {command.cmdlet: command for command in COMMANDS if command.cmdlet.endswith("-Job")}
_NEW = {"AsJob", "JobName", "InDisconnectedSession", "Disconnected", "SessionName"}
# There are no job objects here, and the hosts of a job can be chosen by any of its names.
_ON_PURPOSE = {
    "Receive-Job -Job 1",
    "Receive-Job -Id 1 -Location web01",
    "Receive-Job -Name n -ComputerName c",
}


def ours(row: dict[str, Any]) -> Command | None:
    line = str(row["line"])
    verb = line.split()[0]
    if beyond_words(line) or line in _ON_PURPOSE:
        return None
    if verb == "Invoke-Command" and any(name in line for name in _NEW):
        return INVOKE
    return _CMDLETS.get(verb)


_ROWS = [row for row in rows(_BINDING / "binding.jsonl") if ours(row)] if _BINDING else []


@needs_recordings
def test_there_are_rows() -> None:
    assert len(_ROWS) > 40


@needs_recordings
@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row["line"])
def test_ours_bind_as_powershell_bound(row: dict[str, Any]) -> None:
    command = ours(row)
    assert command
    argv = unquoted(words(row["line"]))[1:]
    if "error" in row:
        with pytest.raises(BindingError) as caught:
            bind(command, argv)
        assert caught.value.error_id == row["error"].partition(",")[0]
        return
    bound = bind(command, argv)
    recorded = {name: value.strip("{} ") if name == "ScriptBlock" else value for name, value in row["bound"].items()}
    values = {name: value.strip() if name == "ScriptBlock" else shown(value) for name, value in bound.values.items()}
    assert (bound.parameter_set, values) == (row["set"], recorded)


@needs_recordings
@pytest.mark.parametrize("cmdlet", _CMDLETS)
def test_every_parameter_set_position_and_alias_of_powershell_is_there(cmdlet: str) -> None:
    assert _BINDING
    theirs, mine = read_commands(_BINDING / "parameters.json")[cmdlet], _CMDLETS[cmdlet]
    without = {"Job", "Filter", "Session", "Confirm", "ComputerName"}
    have = {parameter.name: parameter for parameter in mine.parameters}
    for parameter in theirs.parameters:
        if parameter.name in without or (parameter.common and parameter.name != "WhatIf"):
            continue
        assert parameter.name in have, parameter.name
        our = have[parameter.name]
        assert set(parameter.aliases) <= set(our.aliases)
        assert our.type.label == parameter.type.label
        for name, member in parameter.sets.items():
            membership = our.membership(name)
            assert name not in mine.sets or (membership and membership.position == member.position), name
    assert mine.default_set == theirs.default_set or cmdlet == "Receive-Job"


@pytest.mark.parametrize(
    ("line", "values", "parameter_set"),
    [
        ("receive 5 'web[01-03]' -Keep", {"Id": [5], "Location": ["web[01-03]"], "Keep": True}, "SessionId"),
        ("receive HotFix -Cn web01,web02", {"Name": ["HotFix"], "Location": ["web01", "web02"]}, "Name"),
        ("get -InstanceId 00000000-0000-0000-0000-000000000007", {"InstanceId": [uuid.UUID(int=7)]}, "InstanceId"),
        ("get -Command '*x*' -HasMoreData:'$true'", {"Command": ["*x*"], "HasMoreData": True}, "Command"),
        ("get -State run -Newest 3", {"State": "Running", "Newest": 3}, "State"),
        ("get -OutputFormat j", None, "TransformationError"),
        ("get -OutputFormat Clixml", None, "TransformationError"),
        ("wait 5 -TimeoutSec 10", {"Id": [5], "Timeout": 10}, "SessionId"),
        ("wait 5 -Timeout -2", None, "ValidationError"),
        ("remove -Before 2026-01-01", {"Before": datetime.fromisoformat("2026-01-01")}, "SessionId"),
        ("remove -State Failed -F", {"State": "Failed", "Force": True}, "State"),
        ("retry 5 -State Unreachable,Failed,TimedOut", {"State": ["Unreachable", "Failed", "TimedOut"]}, "SessionId"),
        ("gsn a,b -Name n* -State dis -All", {"Name": ["n*"], "State": "Disconnected", "All": True}, "List"),
        ("sessions a -Remove -WhatIf -F", {"Remove": True, "WhatIf": True, "Force": True}, "Remove"),
        ("sessions a -Connect", {"ComputerName": ["a"], "Connect": True}, "Connect"),
        ("sessions a -Remove -Connect", None, "AmbiguousParameterSet"),
        ("sessions a -Remove -All", None, "AmbiguousParameterSet"),
        ("sessions a -Force", None, "MissingMandatoryParameter"),
        ("sessions", None, "MissingMandatoryParameter"),
        ("connect 5 -Credential ops --password-file p", {"Credential": "ops", "PasswordFile": "p"}, "SessionId"),
        ("receive 5 -OutputFormat Json -Depth 0", {"Depth": 0}, "SessionId"),
        ("invoke a x -Depth 100 -OutputFormat jsonl", {"Depth": 100}, "ComputerName"),
        ("receive 5 -OutputFormat Json -Depth 101", None, "ValidationError"),
        ("receive 5 -OutputFormat Json -Depth -1", None, "ValidationError"),
        ("retry 5 -ErrorView norm", {"ErrorView": "NormalView"}, "SessionId"),
        ("connect 5 -ErrorView d", {"ErrorView": "DetailedView"}, "SessionId"),
    ],
)
def test_our_own(line: str, values: dict[str, Any] | None, parameter_set: str) -> None:
    verb, *argv = shlex.split(line)
    if values is None:
        with pytest.raises(BindingError) as caught:
            bind(find_command(verb), argv)
        assert caught.value.error_id.endswith(parameter_set)
        return
    bound = bind(find_command(verb), argv)
    assert values.items() <= bound.values.items()
    assert bound.parameter_set.removesuffix("ParameterSet") == parameter_set


@pytest.mark.parametrize(
    ("line", "error_id", "part"),
    [
        ("invoke a x -AsJob -InDisconnectedSession", "System.InvalidOperationException", "-AsJob and"),
        ("invoke a x -JobName n -Disconnected", "System.InvalidOperationException", "-JobName and"),
        ("invoke a x -SessionName a", "System.InvalidOperationException", "needs -InDisconnectedSession"),
        ("invoke a x -AsJob -NoStore", "", "needs the store"),
        ("invoke a x -Depth 3", "", "needs -OutputFormat Json"),
        ("receive 5 -Depth 3 -OutputFormat Csv", "", "needs -OutputFormat Json"),
        ("receive 5 -Keep -Wait", "ParameterBindingFailed", "The Wait and Keep parameters"),
        (
            "receive 5 -AutoRemoveJob",
            "InvalidOperation",
            "The -AutoRemoveJob parameter cannot be used without the -Wait",
        ),
        (
            "receive 5 -Force -WriteEvents",
            "InvalidOperation",
            "The WriteEvents parameter cannot be used without the Wait parameter.",
        ),
        ("remove", "MissingMandatoryParameter", "Say which jobs"),
        ("remove -Force", "MissingMandatoryParameter", "Say which jobs"),
    ],
)
def test_what_binds_but_does_not_go_together(line: str, error_id: str, part: str) -> None:
    verb, *argv = shlex.split(line)
    command = find_command(verb)
    assert command.check
    with pytest.raises(UsageError) as caught:
        command.check(bind(command, argv).values)
    assert (caught.value.error_id, part in caught.value.message) == (error_id, True), caught.value.message


def test_empty_job_names_imply_nothing() -> None:
    assert INVOKE.check
    INVOKE.check(bind(INVOKE, ["a", "x", "-JobName", "$null", "-Disconnected"]).values)


def test_session_names_need_disconnected_sessions() -> None:
    assert INVOKE.check
    bound = bind(INVOKE, ["a", "x", "-Disconnected", "-SessionName", "n,m"])
    INVOKE.check(bound.values)
    assert bound.values["SessionName"] == ["n", "m"]


@pytest.mark.parametrize("line", ["get -Filter x", "stop -Job 5", "receive 5 -Session s", "retry 5 -Password x"])
def test_what_is_not_here_is_explained(line: str) -> None:
    verb, *argv = shlex.split(line)
    with pytest.raises(BindingError) as caught:
        bind(find_command(verb), argv)
    assert caught.value.error_id == "NamedParameterNotFound"
    assert "-" in caught.value.message
