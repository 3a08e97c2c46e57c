"""PowerShell's own cmdlets as tables, from the recorded parameters.json; and its command lines as words.

What the recording does not have is added here: validation attributes, enumerations, and the types whose values a
command line cannot hold.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from remotejobs.cli.parameters import Command, Membership, Parameter
from remotejobs.cli.tables.common import AUTHENTICATION
from remotejobs.cli.values import (
    BOOL,
    DATETIME,
    INT,
    INTS,
    OBJECTS,
    SWITCH,
    TEXT,
    TEXTS,
    URIS,
    VERSION,
    ParameterType,
    cannot_convert,
    enum,
    many,
)
from remotejobs.cli.words import Argument
from remotejobs.states import JobState

_COMMON = {
    *("Verbose", "Debug", "ErrorAction", "WarningAction", "InformationAction", "ProgressAction", "ErrorVariable"),
    *("WarningVariable", "InformationVariable", "OutVariable", "OutBuffer", "PipelineVariable", "WhatIf", "Confirm"),
}
_NOT_EMPTY = {
    *("ComputerName", "Session", "ScriptBlock", "FilePath", "ConnectionUri", "HostName", "UserName", "KeyFilePath"),
    *("Subsystem", "VMId", "VMName", "ContainerId", "SSHConnection", "SessionName", "SessionOption", "Id", "Name"),
    *("InstanceId", "Command", "Filter", "Job", "Location", "DefinitionName", "DefinitionPath", "Type", "Options"),
}
_MAY_BE_EMPTY = {("Start-Job", "Name"), ("New-PSSession", "Name")}
_RANGES = {"Port": (1, 65535), "Timeout": (-1, 2**31 - 1)}


def _block(argument: Argument) -> str | None:
    if argument.block is None and argument.constant is not None:
        raise cannot_convert(argument, _SCRIPT_BLOCK.name)
    return argument.block


def _guid(argument: Argument) -> str:
    try:
        return str(uuid.UUID(argument.text))
    except ValueError as error:
        raise cannot_convert(argument, "System.Guid") from error


def _object(argument: Argument) -> Any:
    return OBJECTS.convert(argument) if argument.items else argument.constant


def _unavailable(name: str) -> ParameterType:
    """A type that no word of a command line converts to."""

    def convert(argument: Argument) -> Any:
        if argument.constant is None:
            return None
        raise cannot_convert(argument, name)

    return ParameterType(name, name, convert)


_SCRIPT_BLOCK = ParameterType(
    "System.Management.Automation.ScriptBlock", "scriptblock", _block, lambda argument: argument.block is not None
)
_TYPES = {
    type_.name: type_
    for type_ in (
        *(TEXT, TEXTS, INT, INTS, BOOL, SWITCH, VERSION, DATETIME, OBJECTS, URIS, AUTHENTICATION, _SCRIPT_BLOCK),
        OBJECTS._replace(name="System.Management.Automation.PSObject", convert=_object),
        many(ParameterType("System.Guid", "guid", _guid)),
        enum("System.Management.Automation.JobState", "state", {state.name: int(state) for state in JobState}),
        enum(
            "System.Management.Automation.ActionPreference",
            "preference",
            {"SilentlyContinue": 0, "Stop": 1, "Continue": 2, "Inquire": 3, "Ignore": 4, "Suspend": 5, "Break": 6},
        ),
    )
}


def read_commands(path: Path) -> dict[str, Command]:
    """Tables by cmdlet name."""
    return {each["command"]: _command(each) for each in json.loads(path.read_text(encoding="utf-8"))}


def _command(recorded: dict[str, Any]) -> Command:
    name = recorded["command"]
    parameters: dict[str, Parameter] = {}
    for each in recorded["sets"]:
        for parameter in each["parameters"]:
            position = parameter["position"] if parameter["position"] >= 0 else None
            before = parameters.get(parameter["name"])
            sets = {**(before.sets if before else {}), each["name"]: Membership(position, parameter["mandatory"])}
            parameters[parameter["name"]] = _parameter(name, parameter, sets)
    return Command(name, name, tuple(parameters.values()), name, default_set=recorded["default_set"])


def _parameter(command: str, recorded: dict[str, Any], sets: dict[str, Membership]) -> Parameter:
    name, type_ = recorded["name"], recorded["type"]
    minimum, maximum = _RANGES.get(name, (None, None))
    return Parameter(
        name,
        _TYPES.get(type_) or _unavailable(type_),
        sets=sets,
        aliases=tuple(recorded["aliases"]),
        not_empty=name in _NOT_EMPTY and (command, name) not in _MAY_BE_EMPTY,
        minimum=minimum,
        maximum=maximum,
        common=name in _COMMON,
    )


_WORD = re.compile(r"""(?:'(?:[^']|'')*'|"[^"]*"|[^\s'"])+""")
_NOT_WORDS = {
    "an expression in parentheses": re.compile(r"\("),
    "a variable": re.compile(r"\$(?!true\b|false\b|null\b)", re.IGNORECASE),
    "a literal array, hashtable or splatting": re.compile(r"@"),
    "a pipeline, statement or redirection": re.compile(r"[|;&<>]"),
    "an escape": re.compile("`"),
    "text that a variable is put into": re.compile(r'"[^"]*\$'),
}


def beyond_words(line: str) -> str | None:
    """Why a recorded line cannot be given as words; None where it can."""
    outside = re.sub(r"'[^']*'|\{[^{}]*\}", "", line)
    return next((reason for reason, pattern in _NOT_WORDS.items() if pattern.search(outside)), None)


def words(line: str) -> list[str]:
    """The words as they stand, quotes included: what cmd.exe hands over."""
    return _WORD.findall(line)


def unquoted(words: list[str]) -> list[str]:
    """The words as a Unix shell hands them over: without the quotes."""
    return [re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda match: match[1] or match[2] or "", word) for word in words]


def shown(value: Any) -> Any:
    """A bound value as the recorder wrote it."""
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, tuple):
        return ".".join(map(str, value))
    if isinstance(value, datetime):
        return f"{value:%m/%d/%Y %H:%M:%S}"  # [string] of a date; the culture has no say
    return "" if value is None else value if isinstance(value, bool) else str(value)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The recorded lines."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
