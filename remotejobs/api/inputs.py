"""The pipeline input of a script: what is small goes with the job and is stored, the rest is streamed.

Knows what may be given as input_object. Must not know hosts, stores or connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from remotejobs.errors import UsageError
from remotejobs.model import Command
from remotejobs.wsman.clixml.values import PSObject

LIMIT = 1 << 20  # bytes, as CLIXML, of input that is stored with a job
Source: TypeAlias = Iterable[Any] | AsyncIterable[Any]
_ONE_VALUE = (str, bytes, bytearray, Mapping, PSObject)


async def with_input(command: Command, given: Any, *, keep: bool) -> tuple[Command, Source | None]:
    """Give a command its input.

    Args:
        command: The command.
        given: As input_object of invoke_command.
        keep: It has to go with the job: another process runs it, or its hosts alone.

    Returns:
        The command; and what is to be streamed to it, where its input is not within.

    Raises:
        UsageError: It is to be kept and is too large, or CLIXML cannot carry it.
    """
    if given is None:
        return replace(command, input=None, streamed=False), None
    if not isinstance(given, Iterable | AsyncIterable) or isinstance(given, _ONE_VALUE):
        given = [given]
    if keep or isinstance(given, list | tuple):
        kept = await _kept(given)
        if kept is not None:
            return replace(command, input=kept, streamed=False), None
        if keep:
            raise UsageError(
                f"The input is larger than {LIMIT >> 20} MiB, the most that goes with a job that another process "
                "runs or that is left on its hosts. Leave -AsJob and -InDisconnectedSession out: then it is streamed.",
                error_id="InputTooLarge",
            )
    return replace(command, input=None, streamed=True), given


async def _kept(given: Source) -> tuple[Any, ...] | None:
    """All of it, None where it is too much."""
    from remotejobs.wsman.psrp.messages import pipeline_input

    values, size = [], 0
    async for value in _each(given):
        values.append(value)
        size += len(pipeline_input(value))
        if size > LIMIT:
            return None
    return tuple(values)


async def _each(given: Source) -> AsyncIterator[Any]:
    if isinstance(given, AsyncIterable):
        async for value in given:
            yield value
    else:
        for value in given:
            yield value
