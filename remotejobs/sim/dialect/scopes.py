"""Where a script of the dialect is: its session, frames, variables and preferences, and what becomes of its errors.

Knows the port to the streams and records. Must not know the tree beyond the place of a node, nor how anything is run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from remotejobs.sim.dialect import nodes as n
from remotejobs.sim.dialect.errors import Failure, Refusal, failure
from remotejobs.sim.interpreter import Streams
from remotejobs.sim.records import ErrorRecord
from remotejobs.sim.shells import HostInfo
from remotejobs.sim.values import NOTHING, to_text

Emit = Callable[[Any], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]
_TURN = 200  # loop passes and pipeline items after which other hosts get a turn
_AUTOMATIC = """
    myinvocation pscmdlet executioncontext psboundparameters $ ^ ? pssenderinfo profile pshome shellid stacktrace
    nestedpromptlevel foreach switch pwd pscommandpath psculture psuiculture outputencoding psstyle ofs event sender
    psdefaultparametervalues confirmpreference whatifpreference errorview formatenumerationlimit
"""
UNKNOWN = frozenset(_AUTOMATIC.split())  # variables that mean something in PowerShell and nothing here
_SIMPLE = {"Continue", "SilentlyContinue", "Stop", "Ignore"}


@dataclass(slots=True)
class Frame:
    """One script block that runs: its name, its text, the line it is at, its variables."""

    name: str
    source: n.Source
    variables: dict[str, Any]
    line: int = 1


@dataclass(slots=True)
class Session:
    """What outlives a pipeline: global variables and functions; and how it sleeps."""

    host: HostInfo
    environment: dict[str, str]
    variables: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, n.Block] = field(default_factory=dict)
    sleep: Sleep = asyncio.sleep


class Stage:
    """A command in a pipeline: it begins, takes items one by one, and ends."""

    async def begin(self) -> None:
        """Before the first item."""

    async def process(self, item: Any) -> None:
        """For each item."""

    async def end(self) -> None:
        """After the last item."""


class Scopes:
    """The frames of one pipeline's run in a session."""

    def __init__(self, session: Session, streams: Streams) -> None:
        self.session = session
        self.streams = streams
        self.script = ""
        self.frames: list[Frame] = []
        self.using: dict[str, Any] = {}  # values of `$using:` expressions, by their texts
        self._count = 0

    def variable(self, name: str, default: Any = None) -> Any:
        """The value of a variable in the nearest scope that has it."""
        key = name.lower()
        for frame in reversed(self.frames):
            if key in frame.variables:
                return frame.variables[key]
        return self.session.variables.get(key, default)

    def assign(self, name: str, value: Any, scope: str = "") -> None:
        """Set a variable in the current scope, or the global one."""
        if scope == "env":
            self.session.environment[name.upper()] = to_text(value)
            return
        if name.lower() == "null":
            return
        if name.lower() in UNKNOWN:
            raise Refusal(f"the assignment to ${name}")
        if name.lower() in {"true", "false", "host"}:
            message = f"Cannot overwrite variable {name} because it is read-only or constant."
            raise failure(message, "VariableNotWritable", "WriteError", name, "SessionStateUnauthorizedAccessException")
        top = self.session.variables if scope in {"global", "script"} or not self.frames else self.frames[-1].variables
        top[name.lower()] = None if value is NOTHING else value

    def preference(self, name: str) -> str:
        """A preference variable's value."""
        value = to_text(self.variable(name + "Preference", "Continue"))
        found = {known.lower(): known for known in _SIMPLE}.get(value.lower())
        if not found:
            raise Refusal(f"${name}Preference = '{value}'")
        return found

    def locate(self, record: ErrorRecord, node: n.Node) -> None:
        """Give a record its place in the script, unless it has one."""
        if record.stack is None:
            record.stack = "\n".join(f"at {f.name}, <No file>: line {f.line}" for f in reversed(self.frames))
        if record.position is None and record.command is None and self.frames:
            record.position = self.frames[-1].source.position(node.start, node.end)

    async def report(self, record: ErrorRecord, action: str = "") -> None:
        """Write a non-terminating error as the preference or `-ErrorAction` says.

        Raises:
            Failure: It says Stop.
        """
        action = action or self.preference("Error" + "Action")
        if action == "Stop":
            raise Failure(record, thrown=True)
        if action != "Ignore":
            self.variable("error").insert(0, record)
        if action == "Continue":
            await self.streams.error(record)

    async def breathe(self) -> None:
        """Give others a turn now and then."""
        self._count += 1
        if self._count % _TURN == 0:
            await asyncio.sleep(0)
