"""The specification in an exported job, doubted: what fields there are, and what each may hold.

Knows JobSpec and its parts as `encoding` writes them. Must not know files or lines: who reads them says what is bad.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NoReturn, get_args, get_origin, get_type_hints

from remotejobs.errors import RemoteJobsError
from remotejobs.model import (
    Clocks,
    HostInfo,
    InvocationSettings,
    JobSpec,
    Limits,
    PipelineCommand,
    RemoteStreamOptions,
    SessionOption,
    Stream,
)
from remotejobs.states import EndReason
from remotejobs.store.encoding import decode_spec
from remotejobs.store.exported import MAX_CHILDREN

Bad = Callable[[str], NoReturn]
_LONG: Final = 2**63 - 1


def read_spec(bad: Bad, value: dict[str, Any]) -> JobSpec:
    """Read a specification; `bad` is told of the first thing that is wrong with it."""
    parts = {name: value.get(name, {}) for name in ("session_option", "clocks", "limits")}
    for kind, part in zip((SessionOption, Clocks, Limits), parts.values(), strict=True):
        check(bad, kind, part)
    parts["invocation_settings"] = _settings(bad, value.get("invocation_settings", {}))
    command = value.get("command")
    if not isinstance(command, dict) or value.get("targets") != []:
        bad("'spec' has no command, or targets of its own")
    if not _is_command(command):
        bad("'spec' has no script that can be read")
    check(bad, JobSpec, {name: held for name, held in value.items() if name not in (*parts, "command", "targets")})
    try:
        return decode_spec(json.dumps(value))
    except RemoteJobsError as error:
        bad(f"an argument of the script cannot be read: {error.message.rstrip('.')}")
    except UnicodeEncodeError:
        bad("an argument of the script is no CLIXML: it has half a surrogate pair")


def _settings(bad: Bad, value: Any) -> Any:
    rest = value
    if isinstance(value, dict):
        if value.get("host") is not None:
            check(bad, HostInfo, value["host"])
        if not _fits(str, value.get("application_arguments", "")):
            bad("'application_arguments' is of the wrong kind")
        rest = {name: held for name, held in value.items() if name not in ("host", "application_arguments")}
    check(bad, InvocationSettings, rest)
    return value


# What a command is made of; without `shell` it is a script.
_COMMAND: dict[str, Any] = {
    "text": str,
    "shell": str,
    "code_page": int,
    "streamed": bool,
    "arguments": tuple[str, ...],
    "input": tuple[str, ...],
}
_PAIRS = ("parameters", "using", "answers")
_CMD = {"text", "shell", "code_page", "streamed", "input"}
_SCRIPT = {*_COMMAND, *_PAIRS, "commands"} - {"shell", "code_page"}


def _is_command(fields: dict[str, Any]) -> bool:
    known, needed = (_CMD, {"text", "code_page"}) if fields.get("shell") == "cmd" else (_SCRIPT, {"text", "arguments"})
    return (
        needed <= fields.keys() <= known
        and all(_fits(hint, fields[name]) for name, hint in _COMMAND.items() if name in fields)
        and all(_are_pairs(fields.get(name, [])) for name in _PAIRS)
        and isinstance(commands := fields.get("commands", []), list)
        and all(isinstance(one, dict) and _is_pipeline_command(one) for one in commands)
    )


def _is_pipeline_command(fields: dict[str, Any]) -> bool:
    hints, merged = _hints(PipelineCommand), fields.get("merged", [])
    return (
        {"text", "arguments"} <= fields.keys() <= hints.keys()
        and _are_pairs(fields["arguments"])
        and isinstance(merged, list)
        and all(each in list(Stream) for each in merged)
        and all(_fits(hints[name], held) for name, held in fields.items() if name not in ("arguments", "merged"))
    )


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and _fits(str | None, pair[0]) and isinstance(pair[1], str)
        for pair in value
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def check(bad: Bad, kind: type, value: Any) -> None:
    """Compare an object with the fields of a class; `bad` is told what does not fit."""
    if not isinstance(value, dict):
        bad(f"is no {kind.__name__}")
    hints = _hints(kind)
    for name, held in value.items():
        if name not in hints:
            bad(f"has a field that is not known: {name[:50]!r}")
        if not _fits(hints[name], held) or (name == "port" and held is not None and not 0 < held < 65536):
            bad(f"'{name}' of {kind.__name__} is of the wrong kind or out of range")


def _fits(hint: Any, value: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(each, value) for each in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        most = MAX_CHILDREN if kinds[-1] is ... else len(kinds)
        return isinstance(value, list) and len(value) <= most and all(_fits(kinds[0], each) for each in value)
    if hint is RemoteStreamOptions:
        return type(value) is int and 0 <= value <= RemoteStreamOptions.AddInvocationInfo
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1e12
    if hint is int:
        return type(value) is int and abs(value) <= _LONG
    if hint is EndReason:
        return isinstance(value, str)
    return type(value) is hint or (hint is types.NoneType and value is None)
