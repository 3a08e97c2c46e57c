"""`$using:` in a script: which variables of this side it names, and what their values are there.

Knows how PowerShell's parser finds them, and the two forms in which a host is told (recorded, 7.6.5). Must not know
messages or jobs. A property or an index behind a variable belongs to the expression, as there: its value is sent, and
the host looks it up by the text of the whole.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from remotejobs.errors import UsageError
from remotejobs.wsman.clixml.values import Char, PSObject

_VARIABLE = re.compile(r"[$@]using:(\w+(?::\w+)?)|\$\{using:([^}]+)\}", re.IGNORECASE)
_STEP = re.compile(r"\.(?P<member>[^\W\d]\w*)|\[\s*(?:(?P<index>-?\d+)|'(?P<key>(?:[^']|'')*)')\s*\]")
# What is no code: comments, literal strings, escaped characters.
_PASSED = re.compile(
    r"`. | <\#.*?\#> | (?<![^\s(){};,|&=])\#[^\n]* | @'[ \t]*\r?\n.*?\n'@ | '(?:[^']|'')*'", re.VERBOSE | re.DOTALL
)
_HERE = re.compile(r'@"[ \t]*\r?\n')
_DICTIONARY = ("System.Collections.Generic.Dictionary`2[[System.String],[System.Object]]", "System.Object")
_PARAM = re.compile(r"(?:\s|\#[^\n]*\n|<\#.*?\#>|\[[^\]]*\])*param\s*\(\s*(?P<empty>\))?", re.IGNORECASE | re.DOTALL)


class Using(NamedTuple):
    """One expression: where it stands, its variable, and the members and indexes behind that."""

    start: int
    end: int
    name: str
    steps: tuple[str | int, ...]


def expressions(script: str) -> list[Using]:
    """Find every `$using:` of a script, in its order.

    Raises:
        UsageError: What stands behind one cannot belong to it.
    """
    return [*_code(script, 0)] if "using:" in script.lower() else []


def values(script: str, found: list[Using], variables: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each expression, by its text: plain variables in lower case, as PowerShell keys them.

    Raises:
        UsageError: A variable that is not given (UsingVariableIsUndefined), or a member that is not known here.
    """
    known = {name.lower(): value for name, value in variables.items()}
    result: dict[str, Any] = {}
    for one in found:
        text = script[one.start : one.end]
        if one.name.lower() not in known:
            raise UsageError(
                f"The value of the using variable '$using:{one.name}' cannot be retrieved because it has not been set "
                f"in the local session. Give it: -Using {one.name}=value (using={{{one.name!r}: value}} in Python).",
                error_id="UsingVariableIsUndefined",
            )
        value = known[one.name.lower()]
        for step in one.steps:
            value = _step(value, step, text)
        result[text if one.steps else text.lower()] = value
    return result


def told(values: Mapping[str, Any]) -> tuple[str, PSObject]:
    """How PowerShell 5 and later are told: the parameter that no script can have, and a dictionary by expressions."""
    keyed = {b64encode(text.encode("utf-16-le", "surrogatepass")).decode(): value for text, value in values.items()}
    return "--%", PSObject(_DICTIONARY, base=keyed)


def rewritten(script: str, found: list[Using], values: Mapping[str, Any], first: int = 0) -> tuple[str, dict[str, Any]]:
    """The same for PowerShell before 5: each expression a variable of its own, a parameter by name.

    Args:
        script, found, values: A script, and what it names.
        first: Variables that other scripts of its pipeline have, which share its scope.

    Returns:
        The script, and the parameters that it takes more.
    """
    names = {text: f"__using_{n}" for n, text in enumerate(values, first)}
    pieces, at = [], 0
    for one in found:
        text = script[one.start : one.end]
        name = names[text if one.steps else text.lower()]
        pieces += [script[at : one.start], "@" + name if text[0] == "@" else f"${{{name}}}"]
        at = one.end
    script = "".join([*pieces, script[at:]])
    listed = ",".join(f"${name}" for name in names.values())
    block = _PARAM.match(script)
    if block is None:
        script = f"param({listed}) {script}"
    else:
        at = block.start("empty") if block["empty"] else block.end()
        script = f"{script[:at]}{listed}{'' if block['empty'] else ','} {script[at:]}"
    return script, {names[text]: value for text, value in values.items()}


def _code(script: str, at: int, closing: str = "") -> Iterator[Using]:
    """Yield those of a stretch of code; of a sub-expression in a string up to the bracket that closes it."""
    depth = 0
    while at < len(script):
        if passed := _PASSED.match(script, at):
            at = passed.end()
        elif variable := _VARIABLE.match(script, at):
            one = _with_steps(script, variable)
            yield one
            at = one.end
        elif here := _HERE.match(script, at):
            end = script.find('\n"@', here.end() - 1)
            end = len(script) if end < 0 else end
            yield from _text(script, here.end(), end)
            at = end + 3
        elif script[at] == '"':
            end = _end_of_text(script, at + 1)
            yield from _text(script, at + 1, end)
            at = end + 1
        else:
            if closing and script[at] in "()":
                depth += 1 if script[at] == "(" else -1
                if depth < 0:
                    return
            at += 1


def _text(script: str, at: int, end: int) -> Iterator[Using]:
    """Yield those of a string: there a variable is by itself."""
    while at < end:
        if script[at] == "`":
            at += 2
        elif script.startswith("$(", at):
            after = _end_of_code(script, at + 2)
            yield from _code(script[: min(after, end)], at + 2)
            at = after
        elif script[at] == "$" and (variable := _VARIABLE.match(script, at, end)):
            yield Using(variable.start(), variable.end(), variable[1] or variable[2], ())
            at = variable.end()
        else:
            at += 1


def _end_of_text(script: str, at: int) -> int:
    """Where the string ends that begins before `at`."""
    while at < len(script):
        if script.startswith("$(", at):
            at = _end_of_code(script, at + 2)
        elif script[at] == "`" or script.startswith('""', at):
            at += 2
        elif script[at] == '"':
            return at
        else:
            at += 1
    return at


def _end_of_code(script: str, at: int) -> int:
    """Where the bracket is that closes the sub-expression which begins before `at`."""
    depth = 0
    while at < len(script):
        if passed := _PASSED.match(script, at):
            at = passed.end()
        elif script[at] == '"':
            at = _end_of_text(script, at + 1) + 1
        else:
            if script[at] in "()":
                depth += 1 if script[at] == "(" else -1
                if depth < 0:
                    return at
            at += 1
    return at


def _with_steps(script: str, variable: re.Match[str]) -> Using:
    name, at, steps = variable[1] or variable[2], variable.end(), list[str | int]()
    if variable[0][0] == "@":
        return Using(variable.start(), at, name, ())
    while step := _STEP.match(script, at):
        index, key = step["index"], step["key"]
        steps.append(int(index) if index else key.replace("''", "'") if key is not None else step["member"])
        at = step.end()
    if script.startswith(("(", "["), at) and (steps or script[at] == "["):
        raise UsageError(
            f"{script[variable.start() : at + 1]}...: only constant members and indexes may stand there. "
            f"Write ($using:{name}) in brackets: then the rest is done on the host.",
            error_id="UsingExpressionNotAllowed",
        )
    return Using(variable.start(), at, name, tuple(steps))


def _step(value: Any, step: str | int, text: str) -> Any:
    if isinstance(value, PSObject):
        found = value.get(step) if isinstance(step, str) else None
        if found is not None or isinstance(step, str):
            return found
        value = value.base
    if isinstance(value, dict):
        if step in value:
            return value[step]
        low = step.lower() if isinstance(step, str) else step
        held = next((item for key, item in value.items() if isinstance(key, str) and key.lower() == low), None)
        return len(value) if held is None and low == "count" else held
    if isinstance(value, str | list | tuple):
        if isinstance(step, int):
            inside = -len(value) <= step < len(value)
            return (Char(value[step]) if isinstance(value, str) else value[step]) if inside else None
        if step.lower() in ("length", "count"):
            return len(value) if step.lower() == "length" or not isinstance(value, str) else 1
    if value is None:
        return None
    raise UsageError(
        f"{text}: {step!r} of a Python {type(value).__name__} is not known here. Write ($using:...) in brackets: "
        "then the rest is done on the host.",
        error_id="UsingExpressionNotAllowed",
    )
