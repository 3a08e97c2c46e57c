"""The command of a job: a script or a pipeline and its values, or a command line for cmd.

Knows what may be given for either. Must not know hosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from remotejobs.api.arguments import with_values
from remotejobs.api.pipeline import Pipeline
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.model import SHELLS, UTF8, CmdCommand, Command, ScriptCommand
from remotejobs.wsman.clixml.values import SecureString, text
from remotejobs.wsman.winrs import command_line


def command_of(
    words: str | Pipeline,
    shell: str = SHELLS[0],
    code_page: int | None = None,
    *,
    arguments: Sequence[Any] = (),
    parameters: Mapping[str, Any] | None = None,
    using: Mapping[str, Any] | None = None,
    credentials: Sequence[tuple[str, Credential]] = (),
) -> tuple[Command, dict[str, Credential]]:
    """Make the command of a job.

    Args:
        words: The script, the pipeline, or the command line.
        shell: One of SHELLS.
        code_page: Of a command line's input and output; None is UTF-8.
        arguments: Of a script as for with_values; of a command line its further words, which are quoted.
        parameters, using, credentials: Of a script, as for with_values.

    Returns:
        The command, and the secrets among its values by their names.

    Raises:
        UsageError: As with_values and command_line; or a command line cannot have what was given.
    """
    if shell not in SHELLS:
        raise UsageError(f"There is no shell {shell!r}; there are {' and '.join(SHELLS)}.")
    if shell == "cmd":
        if parameters or using or credentials:
            raise UsageError("A command line for cmd has no parameters, variables or credentials: give argument_list.")
        if isinstance(words, Pipeline):
            raise UsageError("cmd runs a command line; a Pipeline is for PowerShell.")
        return CmdCommand(command_line(words, _texts(arguments)), code_page or UTF8), {}
    if code_page is not None:
        raise UsageError("A code page is for command lines of cmd; PowerShell sends objects.")
    command = words.command() if isinstance(words, Pipeline) else ScriptCommand(words)
    return with_values(command, arguments, parameters, using, credentials)


def _texts(arguments: Sequence[Any]) -> Iterator[str]:
    """Values as PowerShell gives them to a program: a list is a word for each of its items."""
    for value in arguments:
        if isinstance(value, Secret | Credential | SecureString):
            raise UsageError(
                "A secret cannot be on a command line, which every user of the host can read: give it as input_object."
            )
        if isinstance(value, list | tuple):
            yield from _texts(value)
        else:
            yield text(value)


def command_again(
    command: Command,
    arguments: Sequence[Any] | None,
    parameters: Mapping[str, Any] | None,
    using: Mapping[str, Any] | None,
    pipeline: Pipeline | None = None,
) -> tuple[Command, dict[str, Credential]]:
    """The command of a job that is run again, with what is given in the place of its own; and the secrets in that.

    Raises:
        UsageError: As command_of; or of a command line, whose arguments are part of it.
    """
    given = {"arguments": arguments, "parameters": parameters, "using": using}
    if isinstance(command, CmdCommand):
        if pipeline is not None or any(value is not None for value in given.values()):
            raise UsageError("The arguments of a command line are part of it: run it anew with others.")
        return command, {}
    filled, secrets = with_values(
        pipeline.command() if pipeline else ScriptCommand(command.text), arguments or (), parameters, using
    )
    if pipeline:
        command = replace(command, text=filled.text, commands=filled.commands, arguments=(), parameters=())
    return replace(command, **{n: getattr(filled, n) for n, value in given.items() if value is not None}), secrets
