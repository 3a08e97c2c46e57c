"""The binder on the tables of this CLI; what PowerShell's own do is in test_recorded_binding."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from remotejobs.cli.binder import Bound, bind
from remotejobs.cli.commands import COMMANDS, find_command
from remotejobs.cli.parameters import ALL_SETS, Command, Parameter, within
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.cli.tables.local import HOSTS, SIMULATE, WORKER
from remotejobs.cli.values import INT, INTS, SWITCH, TEXT, TEXTS
from remotejobs.errors import BindingError, UsageError


def invoke(line: str) -> Bound:
    return bind(INVOKE, shlex.split(line))


def refused(command: Command, line: str) -> BindingError:
    with pytest.raises(BindingError) as caught:
        bind(command, shlex.split(line))
    return caught.value


@pytest.mark.parametrize(
    "line",
    [
        "-ComputerName web01 -ScriptBlock Get-Date -ThrottleLimit 5 -UseSSL",
        "-computername web01 -SCRIPTBLOCK Get-Date -throttlelimit 5 -usessl",
        "web01 Get-Date -Thr 5 -Use",
        "-Cn web01 -Command Get-Date -ThrottleLimit:5 -UseSSL:$true".replace("$", "\\$"),
        "--computer-name web01 --script-block Get-Date --throttle-limit=5 --use-ssl",
        "--cn=web01 Get-Date -ThrottleLimit: 5 –UseSSL",
        "-UseSSL -ThrottleLimit 5 -- web01 Get-Date",
    ],
)
def test_many_ways_to_say_the_same(line: str) -> None:
    expected = {"ComputerName": ["web01"], "ScriptBlock": "Get-Date", "ThrottleLimit": 5, "UseSSL": True}
    assert invoke(line) == Bound(expected, "ComputerName")


@pytest.mark.parametrize(
    ("line", "values", "parameter_set"),
    [
        ("web01,web02 { Get-Service WinRM }", {"ScriptBlock": " Get-Service WinRM "}, "ComputerName"),
        ("'web[1,3]', db 'a, b'", {"ComputerName": ["web[1,3]", "db"], "ScriptBlock": "a, b"}, "ComputerName"),
        ("web01 deploy.ps1", {"FilePath": "deploy.ps1"}, "FilePathComputerName"),
        ("web01 '& ./deploy.ps1'", {"ScriptBlock": "& ./deploy.ps1"}, "ComputerName"),
        ("-FilePath 'my deploy.ps1' web01", {"FilePath": "my deploy.ps1"}, "FilePathComputerName"),
        ("-FilePath deploy.ps1", {"FilePath": "deploy.ps1"}, "FilePathComputerName"),
        ("-ScriptBlock '{ 1 }'", {"ScriptBlock": " 1 "}, "ComputerName"),
        ("-ConnectionUri https://a/wsman x", {"ConnectionUri": ["https://a/wsman"]}, "Uri"),
        ("-Uri https://a -FilePath x.ps1", {"ConnectionUri": ["https://a"], "FilePath": "x.ps1"}, "FilePathUri"),
        ("a x -ArgumentList 1, two ,0x3", {"ArgumentList": [1, "two", 3]}, "ComputerName"),
        ("a x -Args -Force -Port 1", {"ArgumentList": ["-Force"], "Port": 1}, "ComputerName"),
        ("a x -UseSSL:'$false'", {"UseSSL": False}, "ComputerName"),
        ("a x -UseSSL: '$false'", {"UseSSL": False}, "ComputerName"),
        ("a x -ConnectTimeout off -AuthTimeout 500ms", {"ConnectTimeout": None, "AuthTimeout": 0.5}, "ComputerName"),
        ("a x -SessionOption skipcacheck", {"SessionOption": {"skip_ca_check": True}}, "ComputerName"),
        ("a x -Authentication basic -OutputFormat jsonl", {"Authentication": "Basic", "OutputFormat": "Jsonl"}, None),
        ("a x -Debug", {"Debug": True}, "ComputerName"),
    ],
)
def test_invoke(line: str, values: dict[str, Any], parameter_set: str | None) -> None:
    bound = invoke(line)
    assert {name: bound.values[name] for name in values} == values
    assert bound.parameter_set == (parameter_set or "ComputerName")


@pytest.mark.parametrize(
    ("line", "error_id", "part"),
    [
        ("a x -Prot 5", "NamedParameterNotFound", "parameter name 'Prot'. Did you mean -Port?"),
        ("a x -Port=5", "NamedParameterNotFound", "Write -Port and its value as two words."),
        ("a x --use-sll", "PositionalParameterNotFound", "Did you mean --use-ssl?"),
        ("a x y", "PositionalParameterNotFound", "accepts argument 'y'. What has blanks in it"),
        ("a x -UseSSL '$false'", "PositionalParameterNotFound", "accepts argument 'False'. A switch takes"),
        ("a x -Co b", "AmbiguousParameter", "include: -ComputerName -ScriptBlock -ConnectionUri -Conf"),
        ("a x -Port", "MissingArgument", "of type 'System.Int32'"),
        ("a x -Port -UseSSL", "MissingArgument", "parameter 'Port'"),
        ("a x -UseSSL:", "MissingArgument", "write '-UseSSL:$false' in single quotes"),
        ("-UseSSL: a x", "MissingArgument", "write '-UseSSL:$false' in single quotes"),
        ("a x -Port 1 -Port 2", "ParameterAlreadyBound", "'Port' is specified more than once"),
        ("a x -Port 0", "ParameterArgumentValidationError", "less than the minimum allowed range of 1"),
        ("a x -Port 65536", "ParameterArgumentValidationError", "greater than the maximum allowed range of 65535"),
        ("a, -Port 1 x", "ParameterArgumentValidationError", "an element of the argument collection"),
        ("a ''", "ParameterArgumentValidationError", "The argument is null or empty"),
        ("a x -Port b", "ParameterArgumentTransformationError", "on parameter 'Port'. Cannot convert value"),
        ("{ 1 }", "ParameterArgumentTransformationError", "on parameter 'ComputerName'"),
        ("-Uri https://a -Port 1 x", "AmbiguousParameterSet", "-ConnectionUri and -Port cannot be used together."),
        ("a -ScriptBlock x -FilePath y.ps1", "AmbiguousParameterSet", "-ScriptBlock and -FilePath cannot be used"),
        ("-Uri https://a", "AmbiguousParameterSet", "Add -ScriptBlock or -FilePath."),
        ("a", "MissingMandatoryParameter", "mandatory parameters: ScriptBlock."),
        ("", "MissingMandatoryParameter", "mandatory parameters: ScriptBlock."),
        ("a { x", "MissingEndCurlyBrace", "Missing closing '}'"),
        ("-Session 1 x", "NamedParameterNotFound", "Sessions are not kept"),
    ],
)
def test_invoke_refuses(line: str, error_id: str, part: str) -> None:
    error = refused(INVOKE, line)
    assert error.error_id == error_id
    assert part in error.message


@pytest.mark.parametrize("command", [INVOKE, SIMULATE])
@pytest.mark.parametrize("given", ["-Password hunter2", "-password:hunter2", "--password=hunter2", "-Password=hunter2"])
def test_a_password_is_never_an_argument_and_never_repeated(command: Command, given: str) -> None:
    error = refused(command, f"web01 {given}")
    assert "-PasswordFile FILE" in error.message
    assert "hunter2" not in f"{error.message} {error.to_dict()}"


def test_hosts_takes_any_number_of_words() -> None:
    assert bind(HOSTS, ["a,b", "c", "-Fold", "!d", "-"]) == Bound(
        {"ComputerName": ["a", "b", "c", "!d", "-"], "Fold": True}, "Fold"
    )
    assert bind(HOSTS, ["a"]).parameter_set == "Expand"
    assert refused(HOSTS, "a -Fold -Count").error_id == "AmbiguousParameterSet"
    assert refused(HOSTS, "-ComputerName a b").error_id == "PositionalParameterNotFound"
    assert refused(HOSTS, "a -Nope").error_id == "NamedParameterNotFound"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_example_binds(command: Command) -> None:
    assert command.examples
    for example in command.examples:
        program, verb, *argv = shlex.split(example.line)
        assert program == "remotejob"
        bound = bind(find_command(verb), argv)
        assert bound.values or not argv
        if command.check:
            command.check(bound.values)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_tables_are_sound(command: Command) -> None:
    names = [name.lower() for parameter in command.parameters for name in parameter.names]
    assert len(names) == len(set(names)), "a name is there twice"
    assert all(parameter.help for parameter in command.parameters)
    assert not {"h", "?", "help"} & set(names), "these ask for help"
    if command.default_set != ALL_SETS:
        assert command.default_set in command.sets
    for name in command.sets:
        members = [parameter.membership(name) for parameter in command.parameters]
        positions = [member.position for member in members if member and member.position is not None]
        assert len(positions) == len(set(positions)), f"two parameters share a position in {name}"


def test_verbs_are_found_by_every_name_and_beginning() -> None:
    for word in ("invoke", "INVOKE", "Invoke-Command", "icm", "inv", "in"):
        assert find_command(word) is INVOKE
    with pytest.raises(UsageError, match=r"'h' may be hosts or help"):
        find_command("h")
    with pytest.raises(UsageError, match=r"no verb 'simulat0r'\. Did you mean simulate"):
        find_command("simulat0r")
    with pytest.raises(UsageError, match=r"The verbs are invoke, get, receive, .*, help\."):
        find_command("zzz")
    for word, name in (("Get-Job", "get"), ("gjb", "get"), ("RCJB", "receive"), ("wjb", "wait"), ("spjb", "stop")):
        assert find_command(word).name == name
    assert find_command("rjb").name == find_command("rem").name == "remove"
    with pytest.raises(UsageError, match="'re' may be receive or remove or retry"):
        find_command("re")


def test_the_worker_is_found_by_its_whole_name_only() -> None:
    assert find_command("__worker") is WORKER
    assert WORKER not in COMMANDS
    for word in ("__work", "__WORKER", "worker"):
        with pytest.raises(UsageError) as caught:
            find_command(word)
        assert "__worker" not in caught.value.message


# What no table of ours has yet, and the next verbs need: positions that the type of the value chooses.
_SELECT = Command(
    "select",
    "",
    (
        Parameter("Name", TEXTS, sets=within("Name", position=0, mandatory=True)),
        Parameter("Id", INTS, sets=within("Id", position=0, mandatory=True)),
        Parameter("Newest", INT),
        Parameter("NoWait", SWITCH, common=True),
    ),
    default_set="Id",
)


@pytest.mark.parametrize(
    ("line", "values", "parameter_set"),
    [
        ("1,2", {"Id": [1, 2]}, "Id"),
        ("web", {"Name": ["web"]}, "Name"),
        ("\"'1'\"", {"Name": ["1"]}, "Name"),
        ("1.5", {"Id": [2]}, "Id"),
        ("-Ne 3 1", {"Newest": 3, "Id": [1]}, "Id"),
        ("1 -No", {"Id": [1], "NoWait": True}, "Id"),
    ],
)
def test_the_type_of_a_value_chooses_the_set(line: str, values: dict[str, Any], parameter_set: str) -> None:
    assert bind(_SELECT, shlex.split(line)) == Bound(values, parameter_set)


def test_the_commands_own_parameters_come_before_common_ones() -> None:
    command = Command("x", "", (Parameter("Value", TEXT), Parameter("Verbose", SWITCH, common=True)))
    assert bind(command, ["-V", "1"]).values == {"Value": "1"}
    assert refused(_SELECT, "-N x").message.endswith("include: -Name -Newest -NoWait.")


def test_a_name_that_is_not_there_takes_the_next_word_with_it() -> None:
    assert refused(_SELECT, "-Nope 1").error_id == "NamedParameterNotFound"


def test_two_takers_of_one_position_leave_no_set() -> None:
    command = Command(
        "x",
        "",
        (Parameter("A", TEXT, sets=within("A", position=0)), Parameter("B", TEXT, sets=within("B", position=0))),
    )
    error = refused(command, "word")
    assert error.error_id == "AmbiguousParameterSet"
    assert error.message.endswith("-A and -B cannot be used together.")
