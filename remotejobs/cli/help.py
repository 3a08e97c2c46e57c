"""Help as plain text, made from the tables: nothing is said twice.

Knows the tables and the widths of lines. Must not know the terminal; main.py prints.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from remotejobs.cli.parameters import ALL_SETS, Command, Parameter

_WIDTH = 100

EXIT_CODES = (
    ("0", "every host completed"),
    ("1", "a mistake in the command line, or an error of this program"),
    ("2", "a script failed or was stopped; with -FailOnError also one that wrote errors"),
    ("3", "a host was not reached, refused the user, or ran out of time"),
    ("4", "both 2 and 3"),
    ("5", "stopped by a failure limit"),
    ("6", "still running or disconnected"),
    ("130", "interrupted"),
)
_NOTES = (
    "The single quotes of the examples work in bash, zsh and PowerShell; without them the shell would take [ ], @, $"
    " and ! for its own. In cmd.exe use double quotes. Names may be shortened while they are unique, case does not"
    " matter, and every -Name has a twin: -ThrottleLimit 5 is also -Thr 5, -throttlelimit:5 and --throttle-limit 5."
    " A lone -- ends the names. Times are in seconds; 500ms, 2m, 1h and 1d are understood."
)


def overview(commands: Sequence[Command]) -> str:
    """What `remotejob` alone prints."""
    rows = [(command.name, command.synopsis) for command in commands]
    return "\n".join(
        [
            "remotejob: run PowerShell on many Windows hosts over WinRM, from any computer.",
            "",
            "  remotejob VERB [-Parameter value ...]",
            "",
            *_rows(rows, max(len(name) for name, _ in rows)),
            "",
            "  remotejob help VERB    parameters and examples",
            "  remotejob -Version     the version",
        ]
    )


def verb_help(command: Command) -> str:
    """Everything about one verb."""
    return "\n".join(_lines(command))


def _lines(command: Command) -> Iterator[str]:
    names = f" (also {', '.join(command.names[1:])})" if command.names[1:] else ""
    yield from _wrap(f"remotejob {command.name}{names}: {command.synopsis}")
    yield from ("", "SYNTAX")
    for parameter_set in command.sets:
        yield from _wrap(_syntax(command, parameter_set), "  ", "      ")
    yield from ("", "PARAMETERS")
    for parameter in command.parameters:
        yield from _parameter(parameter)
    yield from ("", "EXAMPLES")
    for example in command.examples:
        yield from _wrap(example.text, "  ")
        yield from ("", f"    {example.line}", "")
    yield from _wrap(_NOTES, "  ")
    if command.unlike:
        yield from ("", f"UNLIKE {command.cmdlet.upper()}")
        for each in command.unlike:
            yield from _wrap(each, "  ", "    ")
    yield from ("", "EXIT CODES")
    yield from _rows(EXIT_CODES, max(len(code) for code, _ in EXIT_CODES))


def _syntax(command: Command, parameter_set: str) -> str:
    """One set in the notation of Get-Command -Syntax: brackets around what may be left out.

    Where there are several sets, `[...]` stands for the optional parameters that all of them have.
    """
    own, shared = list[tuple[int, str]](), False
    for parameter in command.parameters:
        member = parameter.membership(parameter_set)
        if member is None or parameter.common:
            continue
        if ALL_SETS in parameter.sets and len(command.sets) > 1 and not member.mandatory:
            shared = True
            continue
        placed = member.position is not None or parameter.remaining
        name = f"[-{parameter.name}]" if placed else f"-{parameter.name}"
        text = name if parameter.type.switch else f"{name} <{parameter.type.label}>"
        own.append(
            (member.position or 0 if placed else len(command.parameters), text if member.mandatory else f"[{text}]")
        )
    words = [text for _, text in sorted(own, key=lambda pair: pair[0])]
    return " ".join(["remotejob", command.name, *words, *(["[...]"] if shared else [])])


def _parameter(parameter: Parameter) -> Iterator[str]:
    kind = "" if parameter.type.switch else f" <{parameter.type.label}>"
    twin = f"--{parameter.kebab_names[0]}"
    yield f"  -{parameter.name}{kind}    {', '.join((twin, *(f'-{alias}' for alias in parameter.aliases)))}"
    facts = [parameter.help]
    if parameter.type.values:
        facts.append(f"Known: {', '.join(parameter.type.values)}.")
    if parameter.minimum is not None and parameter.maximum is not None:
        facts.append(f"{parameter.minimum} to {parameter.maximum}.")
    if parameter.default:
        facts.append(f"Default: {parameter.default}.")
    yield from _wrap(" ".join(facts), "      ")


def _rows(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    for name, text in rows:
        yield from _wrap(text, f"  {name:<{width}}  ", " " * (width + 4))


def _wrap(text: str, first: str = "", following: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=first if following is None else following,
        break_long_words=False,
        break_on_hyphens=False,
    )
