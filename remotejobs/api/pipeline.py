"""A pipeline of commands in place of a script block: the PowerShell class of .NET, for Python.

Knows the commands of a pipeline and how they are put together. Must not know jobs, hosts or messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from remotejobs.errors import UsageError
from remotejobs.model import MERGEABLE, PipelineCommand, ScriptCommand, Stream


@dataclass(frozen=True, slots=True)
class Pipeline:
    r"""Commands and scripts with their parameters, for invoke_command in place of a script block.

    Its methods are those of the PowerShell class. Each returns a new pipeline and leaves this one as it is. Values
    travel as they are, never as text that a host would parse: no quoting, and no injection. Only a script block cannot
    be one: hosts make text of it, whoever sends it. Where-Object with a block is for add_script.

    >>> big = (
    ...     Pipeline()
    ...     .add_command("Get-ChildItem").add_argument(r"C:\Logs").add_parameter("Recurse")
    ...     .add_command("Where-Object").add_argument("Length").add_parameter("GT").add_parameter("Value", 9)
    ... )
    >>> print(big)
    Get-ChildItem | Where-Object
    >>> print(big.add_statement().add_script("'done'"))
    Get-ChildItem | Where-Object; 'done'
    >>> print(big)
    Get-ChildItem | Where-Object

    Common parameters are parameters, and what a command writes to other streams can go on with its output:

    >>> Pipeline().add_command("Get-Item").add_argument("x").add_parameter("ErrorAction", "Stop").commands[0].arguments
    ((None, 'x'), ('ErrorAction', 'Stop'))
    >>> Pipeline().add_command("Get-Item").add_argument("x").merge_my_results("Error", "Warning").commands[0].merged
    (<Stream.Error: 2>, <Stream.Warning: 3>)

    Attributes:
        commands: What it consists of.
    """

    commands: tuple[PipelineCommand, ...] = ()

    def add_command(self, name: str, *, use_local_scope: bool | None = None) -> Pipeline:
        """Add a command, by name or path; the output of the one before it is its input.

        Args:
            name: A cmdlet, function, alias, script file or program of the host; no code.
            use_local_scope: Run a script file in a scope of its own; None leaves that to the host.

        Raises:
            UsageError: The name is empty.
        """
        if not name:
            raise UsageError("add_command: the name of the command is empty.", error_id="ArgumentNullException")
        return Pipeline((*self.commands, PipelineCommand(name, use_local_scope=use_local_scope)))

    def add_script(self, script: str, *, use_local_scope: bool | None = None) -> Pipeline:
        """Add a script, as add_command adds a command.

        Args:
            script: Its text, without braces.
            use_local_scope: Its variables are gone for the statements after it; None leaves that to the host, which
                keeps them.
        """
        return Pipeline((*self.commands, PipelineCommand(script, is_script=True, use_local_scope=use_local_scope)))

    def add_parameter(self, name: str, value: Any = True) -> Pipeline:
        """Give the last command a parameter.

        Args:
            name: With or without `-`; a prefix will do where it is unique.
            value: What argument_list may hold, a Secret or a Credential among it. A switch is True or False.

        Raises:
            UsageError: There is no command, or the name is empty.
        """
        if not name:
            raise UsageError("add_parameter: the name of the parameter is empty.", error_id="ArgumentNullException")
        return self._given(name, value)

    def add_argument(self, value: Any) -> Pipeline:
        """Give the last command a positional argument: what argument_list may hold; a list is one argument.

        Raises:
            UsageError: There is no command.
        """
        return self._given(None, value)

    def add_statement(self) -> Pipeline:
        """End the statement: what is added next begins one of its own, as behind a semicolon.

        One that ends by a terminating error ends the statements after it too.
        """
        return self._last(end_of_statement=True) if self.commands else self

    def merge_my_results(self, *streams: Stream | str) -> Pipeline:
        """Let streams of the last command go where its output goes, as `2>&1` does; without a name, all that can.

        Args:
            streams: Error, Warning, Verbose, Debug, Information. PowerShell 2 merges errors only, and only by name.

        Raises:
            UsageError: There is no command, or a stream cannot be merged.
        """
        known = {stream.name.casefold(): stream for stream in MERGEABLE}
        names = [stream.name if isinstance(stream, Stream) else stream for stream in streams]
        wrong = [name for name in names if name.casefold() not in known]
        if wrong:
            raise UsageError(
                f"merge_my_results: {wrong[0]} cannot be merged; {', '.join(each.name for each in MERGEABLE)} can.",
                error_id="ArgumentException",
            )
        return self._last(merged=tuple(known[name.casefold()] for name in names) or MERGEABLE)

    def merge_previous_results(self) -> Pipeline:
        """Let errors of the commands before the last one be its input too, where they are not merged elsewhere.

        Raises:
            UsageError: There is no command.
        """
        return self._last(merge_previous_results=True)

    def command(self) -> ScriptCommand:
        """What a job is made of.

        Raises:
            UsageError: There is no command.
        """
        self._last()
        return ScriptCommand(str(self), commands=self.commands)

    def _given(self, name: str | None, value: Any) -> Pipeline:
        arguments = self.commands[-1].arguments if self.commands else ()
        return self._last(arguments=(*arguments, (name, value)))

    def _last(self, **changed: Any) -> Pipeline:
        if not self.commands:
            raise UsageError(
                "A command comes first: add_command or add_script.", error_id="System.InvalidOperationException"
            )
        return Pipeline((*self.commands[:-1], replace(self.commands[-1], **changed)))

    def __str__(self) -> str:
        text = ""
        for command in self.commands:
            text += command.text + ("; " if command.end_of_statement else " | ")
        return text[: -2 if text.endswith("; ") else -3]
