"""Answers by hand or from a recording: scripts with the records that they give (`-Answers FOLDER`).

Knows files, values and the port to the streams. Must not know PSRP's bytes or WS-Man.

A folder holds any number of files `*.toml`, written by hand, and recordings (`NAME.json` with `script`, beside it
`NAME.wire.jsonl`; see recorded.py; what was stopped then runs until somebody stops it). A TOML file is a list of
answers; the first that fits a script is given, files in the order of their names:

    [[answer]]
    script = "Get-Disk*"      # the whole script as a PowerShell wildcard, white space around it ignored; or
    match = "Restart-Service" # a regular expression that occurs in it (case ignored in both)
    hosts = "web*"            # only on these hosts (wildcard); all, if left out
    delay = 0.5               # seconds before the first record
    repeat = 3                # give the records so many times
    exit = 3                  # the code of `exit`

    [[answer.record]]
    stream = "Output"         # what Output, the default, has is `value` or `clixml`
    value = { Name = "C", Free = 12884901888 }
    type = "My.Disk"          # a type name for a table
    delay = 0.1               # seconds before this record

    [[answer.record]]
    stream = "Warning"        # Warning, Verbose, Debug, Information: `message`
    message = "low"

    [[answer.record]]
    stream = "Error"          # `message`; and id, category, target if wanted
    message = "no such disk"
    id = "NoDisk,Get-Disk"
    category = "ObjectNotFound"

    [[answer.record]]
    stream = "Progress"       # `activity`; and status, percent, completed if wanted
    activity = "Scan"

    [answer.error]            # the script ends as Failed with this error: message, id, category, target
    message = "boom"

TOML's tables become PSCustomObjects, its arrays, strings, numbers, booleans and dates what they are in .NET.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remotejobs.errors import ConfigurationError
from remotejobs.sim.interpreter import HostMethod, Invocation, NoAnswer, Streams
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.recorded import Recording, load_recording
from remotejobs.sim.records import (
    ErrorCategory,
    ErrorRecord,
    InformationRecord,
    ProgressRecord,
    ScriptError,
    runtime_exception,
)
from remotejobs.sim.shells import HostInfo
from remotejobs.sim.values import CUSTOM, Int64, PSObject, wildcard

_TEXTS = ("Warning", "Verbose", "Debug")
_RECORD_KEYS = {
    "Output": {"value", "clixml", "type"}, "Error": {"message", "id", "category", "target"},
    "Warning": {"message"}, "Verbose": {"message"}, "Debug": {"message"}, "Information": {"message"},
    "Progress": {"activity", "status", "percent", "completed"},
}  # fmt: skip
_ANSWER_KEYS = {"script", "match", "hosts", "delay", "repeat", "exit", "record", "error"}
_ERROR_KEYS = {"message", "id", "category", "target"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what it is for, and what it gives."""

    pattern: re.Pattern[str]
    hosts: re.Pattern[str]
    content: dict[str, Any]

    def fits(self, invocation: Invocation, host: HostInfo) -> bool:
        """True when this answers the script on this host."""
        return bool(self.pattern.search(invocation.text.strip()) and self.hosts.match(host.name))

    async def give(self, host: HostInfo, streams: Streams) -> None:
        """Write the records and end as the answer says."""
        await asyncio.sleep(self.content.get("delay", 0))
        for _ in range(self.content.get("repeat", 1)):
            for record in self.content.get("record", ()):
                if record.get("delay"):
                    await asyncio.sleep(record["delay"])
                await _write(record, host, streams)
        if "exit" in self.content:
            await streams.host_call(HostMethod.SetShouldExit, self.content["exit"])
        if "error" in self.content:
            raise ScriptError(_error(self.content["error"]))


class Answers:
    """The interpreter that answers from a folder.

    Args:
        folder: Read once, now.

    Raises:
        ConfigurationError: The folder or one of its files cannot be read; the message names the file and the fault.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"The answers folder {folder} does not exist. Create it or correct -Answers.")
        self.answers: list[Answer | Recording] = []
        for path in sorted(folder.iterdir()):
            if path.suffix == ".toml":
                self.answers.extend(_load(path))
            elif path.name.endswith(".wire.jsonl"):
                self.answers.append(load_recording(path))

    def open(self, host: HostInfo) -> _Runspace:
        """A runspace that knows these answers."""
        return _Runspace(self.answers, host)


class _Runspace:
    def __init__(self, answers: list[Answer | Recording], host: HostInfo) -> None:
        self._answers = answers
        self._host = host

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        for answer in self._answers:
            if answer.fits(invocation, self._host):
                return await answer.give(self._host, streams)
        raise NoAnswer


def _load(path: Path) -> list[Answer]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        return [_answer(entry) for entry in content.get("answer", [])]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, re.error) as error:
        raise ConfigurationError(f"The answers in {path} cannot be used: {error}.") from None


def _answer(content: dict[str, Any]) -> Answer:
    _only(content, _ANSWER_KEYS, "an answer")
    if ("script" in content) == ("match" in content):
        raise ValueError("an answer needs either script or match")
    for record in content.get("record", ()):
        stream = record.get("stream", "Output")
        if stream not in _RECORD_KEYS:
            raise ValueError(f"there is no stream {stream!r}")
        _only(record, {"stream", "delay"} | _RECORD_KEYS[stream], f"a record of {stream}")
        needed = {"Output": {"value", "clixml"}, "Progress": {"activity"}}.get(stream, {"message"})
        if not needed & record.keys():
            raise ValueError(f"a record of {stream} needs {' or '.join(sorted(needed))}")
    for error in [content["error"]] if "error" in content else []:
        _only(error, _ERROR_KEYS, "an error")
    for record in (*content.get("record", ()), content.get("error", {})):
        if record.get("category", "NotSpecified") not in ErrorCategory.__members__:
            raise ValueError(f"there is no error category {record['category']!r}")
    pattern = wildcard(content["script"]) if "script" in content else re.compile(content["match"], re.IGNORECASE)
    return Answer(re.compile(r"\A" + pattern.pattern, pattern.flags) if "script" in content else pattern,
        wildcard(content.get("hosts", "*")), content)  # fmt: skip


def _only(content: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(content.keys() - known)
    if unknown:
        raise ValueError(f"{what} has no {unknown[0]!r}; it has {', '.join(sorted(known))}")


def _value(value: Any, type_name: str = "") -> Any:
    if isinstance(value, dict):
        members = {name: _value(member) for name, member in value.items()}
        return PSObject((type_name, *CUSTOM) if type_name else CUSTOM, extended=members)
    if isinstance(value, list):
        return [_value(item) for item in value]
    if type(value) is int and not -(2**31) <= value < 2**31:
        return Int64(value)
    return value


def _error(content: dict[str, Any]) -> ErrorRecord:
    message = content["message"]
    category = content.get("category", "OperationStopped")
    exception = runtime_exception(message, thrown="id" not in content)
    return ErrorRecord(exception, content.get("id", message), category, _value(content.get("target", message)))


async def _write(record: dict[str, Any], host: HostInfo, streams: Streams) -> None:
    stream = record.get("stream", "Output")
    if "clixml" in record:
        await streams.recorded(MessageType.PIPELINE_OUTPUT, record["clixml"])
    elif stream == "Output":
        await streams.output(_value(record["value"], record.get("type", "")))
    elif stream == "Error":
        found = _error({"category": "NotSpecified", "target": "", **record})
        found.target = _value(record.get("target"))
        await streams.error(found)
    elif stream in _TEXTS:
        await streams.text(stream, record["message"])
    elif stream == "Information":
        now = datetime.now(UTC).astimezone()
        user = f"{host.name}\\{host.user}"
        await streams.information(InformationRecord(record["message"], "Answer", now, user, host.name), None)
    else:
        done = bool(record.get("completed"))
        await streams.progress(
            ProgressRecord(
                record["activity"],
                record.get("status", "Processing"),
                percent=record.get("percent", -1),
                completed=done,
            )
        )
