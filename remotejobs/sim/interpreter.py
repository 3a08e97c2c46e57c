"""The port between a simulated PSRP server and what answers its scripts: the dialect, answers, recordings.

Knows values and records. Must not know fragments, WS-Man or any implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from remotejobs.sim.records import ErrorRecord, InformationRecord, ProgressRecord
from remotejobs.sim.shells import HostInfo

USING = "--%"  # the parameter that carries the values of `$using:`


class HostMethod(IntEnum):
    """The methods of the client's host that are called here (MS-PSRP 2.2.3.17)."""

    SetShouldExit = 6
    ReadLine = 11
    ReadLineAsSecureString = 12
    WriteLine2 = 16
    WriteErrorLine = 18
    WriteDebugLine = 19
    WriteProgress = 20
    WriteVerboseLine = 21
    WriteWarningLine = 22
    Prompt = 23
    PromptForCredential2 = 25
    PromptForChoice = 26
    ReadKey = 46
    PromptForChoiceMultipleSelection = 56

    @property
    def void(self) -> bool:
        """True for a call that has no answer."""
        return self not in _ANSWERED


_ANSWERED = {
    HostMethod.ReadLine,
    HostMethod.ReadLineAsSecureString,
    HostMethod.Prompt,
    HostMethod.PromptForCredential2,
    HostMethod.PromptForChoice,
    HostMethod.ReadKey,
    HostMethod.PromptForChoiceMultipleSelection,
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a pipeline.

    Attributes:
        text: A script, or the name of a command.
        is_script: Which of the two.
        parameters: Name (None: by position) and value; NOTHING where a value may follow by position.
        local_scope: Its variables do not outlive it.
    """

    text: str
    is_script: bool = True
    parameters: tuple[tuple[str | None, Any], ...] = ()
    local_scope: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a CREATE_PIPELINE asks for: statements, each a pipeline of commands.

    Attributes:
        statements: At least one, none of them empty.
        no_input: No pipeline input will come.
    """

    statements: tuple[tuple[Command, ...], ...]
    no_input: bool = True

    @property
    def text(self) -> str:
        """All of it as one text: what counters count and answers are chosen by."""
        return "; ".join(" | ".join(c.text for c in statement) for statement in self.statements)


class Streams(Protocol):
    """Where one running pipeline writes, and what it may ask the client for. Writing waits while nobody reads."""

    @property
    def interactive(self) -> bool:
        """The client announced a host with a user interface: prompts may be sent."""
        ...

    async def output(self, value: Any) -> None:
        """Write one object to the output stream."""
        ...

    async def error(self, record: ErrorRecord) -> None:
        """Write a non-terminating error."""
        ...

    async def text(self, stream: str, message: str) -> None:
        """Write to the stream `Warning`, `Verbose` or `Debug`."""
        ...

    async def information(self, record: InformationRecord, shown: str | None) -> None:
        """Write an information record; `shown` is the line that the client's host displays, if any."""
        ...

    async def progress(self, record: ProgressRecord) -> None:
        """Write a progress record."""
        ...

    async def host_call(self, method: HostMethod, *parameters: Any) -> Any:
        """Call the client's host; wait for its answer unless the method is void.

        Raises:
            ScriptError: The client refused; the record is PowerShell's.
        """
        ...

    async def recorded(self, message_type: int, clixml: str) -> None:
        """Write a message as it was recorded; a PIPELINE_STATE ends the pipeline."""
        ...

    async def answer(self, call_id: int) -> None:
        """Wait for the answer to a host call that was written by `recorded`."""
        ...

    def input(self) -> AsyncIterator[Any]:
        """The pipeline input, until its end."""
        ...


class Runspace(Protocol):
    """One runspace: its variables live as long as the pool."""

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        """Run one pipeline. Cancelling it is how it is stopped: `finally` blocks still run and write.

        Raises:
            ScriptError: It ended by a terminating error.
        """
        ...


class Interpreter(Protocol):
    """What makes runspaces."""

    def open(self, host: HostInfo) -> Runspace:
        """A fresh runspace on `host`."""
        ...


class NoAnswer(Exception):  # noqa: N818 - not an error: the next interpreter is asked
    """An interpreter has nothing for this invocation."""


class InTurn:
    """Asks interpreters one after another: the first that has an answer gives it."""

    def __init__(self, interpreters: Sequence[Interpreter]) -> None:
        self._interpreters = tuple(interpreters)

    def open(self, host: HostInfo) -> Runspace:
        """A runspace of each."""
        return _InTurn([interpreter.open(host) for interpreter in self._interpreters])


class _InTurn:
    def __init__(self, runspaces: list[Runspace]) -> None:
        self._runspaces = runspaces

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        for runspace in self._runspaces[:-1]:
            try:
                return await runspace.run(invocation, streams)
            except NoAnswer:
                continue
        return await self._runspaces[-1].run(invocation, streams)
