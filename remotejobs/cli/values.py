"""The types that a parameter can have: from the words of a command line to Python values.

Knows PowerShell's conversions and their sentences. Must not know which parameters there are.

A type says two things, as PowerShell's positional binding needs both: whether a value is of the type already
(`exact`), and what it becomes (`convert`, which raises ValueError with PowerShell's sentence).
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from remotejobs.cli.words import Argument, elements, number, suggestion
from remotejobs.model import SessionOption

_INT32 = range(-(1 << 31), 1 << 31)
_DATE_FORMATS = ("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_DURATION = 1e9  # seconds; past 30 years it is a mistake


def _never(_argument: Argument) -> bool:
    return False


class ParameterType(NamedTuple):
    """One type.

    Attributes:
        name: What PowerShell's messages call it.
        label: What help calls it: `int`, `string[]`.
        convert: Argument to value; ValueError with a sentence.
        exact: Whether an argument binds without a conversion, which PowerShell tries first.
        switch: Takes a value only after a colon.
        values: What may be given, for help; empty where that is no short list.
    """

    name: str
    label: str
    convert: Callable[[Argument], Any]
    exact: Callable[[Argument], bool] = _never
    switch: bool = False
    values: tuple[str, ...] = ()


def cannot_convert(argument: Argument, name: str) -> ValueError:
    """PowerShell's sentence for a value that no conversion leads from."""
    return ValueError(f'Cannot convert the "{_shown(argument)}" value of type "{_type_of(argument)}" to type "{name}".')


def many(element: ParameterType) -> ParameterType:
    """A list of `element`: commas separate, a single value is a list of one."""
    name = f"{element.name}[]"

    def convert(argument: Argument) -> list[Any] | None:
        if argument.block is not None:
            raise cannot_convert(argument, name)
        if argument.constant is None:
            return None
        return [element.convert(item) for item in argument.elements]

    def exact(argument: Argument) -> bool:
        return argument.block is None and all(element.exact(item) for item in argument.elements)

    return ParameterType(name, f"{element.label}[]", convert, exact, values=element.values)


def enum(name: str, label: str, members: Mapping[str, int]) -> ParameterType:
    """One of `members`: in any case, by a unique beginning, or by number. The value is the member's name."""

    def convert(argument: Argument) -> str:
        constant = argument.constant
        if argument.items or constant is None or (isinstance(constant, int) and constant not in members.values()):
            shown = "null" if constant is None else f'value "{argument.text}"'
            raise ValueError(
                f'Cannot convert {shown} to type "{name}" due to enumeration values that are not valid. Specify one of'
                " the following enumeration values and try again. The possible enumeration values are"
                f' "{",".join(members)}".'
            )
        if isinstance(constant, int):
            return next(member for member, value in members.items() if value == constant)
        wanted = argument.text.lower()
        found = [member for member in members if member.lower() == wanted] or [
            member for member in members if wanted and member.lower().startswith(wanted)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            reason = (
                f"The identifier name {argument.text} cannot be processed because it is either too similar or identical"
                f" to the following enumerator names: {', '.join(found)}. Use a more specific identifier name."
            )
        else:
            reason = (
                f"Unable to match the identifier name {argument.text} to a valid enumerator name. Specify one of the"
                f" following enumerator names and try again:\n{', '.join(members)}"
            )
        raise _failed(argument, name, reason)

    return ParameterType(name, label, convert, values=tuple(members))


def _shown(argument: Argument) -> str:
    if argument.block is not None:
        return argument.block
    return "System.Object[]" if argument.items else argument.text


def _type_of(argument: Argument) -> str:
    """The .NET type that PowerShell's parser would have given the argument."""
    if argument.block is not None:
        return "System.Management.Automation.ScriptBlock"
    if argument.items:
        return "System.Object[]"
    match argument.constant:
        case bool():
            return "System.Boolean"
        case int(value):
            return "System.Int32" if value in _INT32 else "System.Int64"
        case float():
            return "System.Double"
        case None | str():
            return "System.String"
    return "System.Decimal"


def _failed(argument: Argument, name: str, reason: str) -> ValueError:
    return ValueError(f'Cannot convert value "{argument.text}" to type "{name}". Error: "{reason}"')


def _text(argument: Argument) -> str:
    return "" if argument.constant is None else argument.text


def _is_text(argument: Argument) -> bool:
    return argument.block is None and not argument.items and isinstance(argument.constant, str)


def _int(argument: Argument) -> int:
    if argument.items or argument.block is not None:
        raise cannot_convert(argument, "System.Int32")
    constant = argument.constant
    text = argument.text.strip()
    value = int(bool(constant)) if constant is None or isinstance(constant, bool) or not text else number(text)
    if value is None:
        raise _failed(argument, "System.Int32", f"The input string '{argument.text}' was not in a correct format.")
    rounded = round(value)  # half to even, as Convert.ToInt32 does
    if rounded not in _INT32:
        raise _failed(argument, "System.Int32", "Value was either too large or too small for an Int32.")
    return rounded


def _is_int(argument: Argument) -> bool:
    constant = argument.constant
    return isinstance(constant, int) and not isinstance(constant, bool) and constant in _INT32


def _bool(argument: Argument) -> bool:
    constant = argument.constant
    if argument.items or isinstance(constant, str) or constant is None:
        raise ValueError(
            'Cannot convert value "System.String" to type "System.Boolean". Boolean parameters accept only Boolean'
            " values and numbers, such as $True, $False, 1 or 0."
        )
    return bool(constant)


def _switch(argument: Argument) -> bool:
    if isinstance(argument.constant, bool):
        return argument.constant
    if isinstance(argument.constant, str) and not argument.items:
        raise ValueError(
            'Cannot convert value "System.String" to type "System.Management.Automation.SwitchParameter". Boolean'
            " parameters accept only Boolean values and numbers, such as $True, $False, 1 or 0."
        )
    raise cannot_convert(argument, SWITCH.name)


def _guid(argument: Argument) -> uuid.UUID:
    try:
        return uuid.UUID(argument.text)
    except ValueError:
        raise cannot_convert(argument, "System.Guid") from None


def _version(argument: Argument) -> tuple[int, ...]:
    parts = argument.text.split(".")
    if not 2 <= len(parts) <= 4:
        reason = "Version string portion was too short or too long. (Parameter 'input')"
        raise _failed(argument, "System.Version", reason)
    if not all(part.isascii() and part.isdigit() and int(part[:11]) < 1 << 31 for part in parts):
        reason = f"The input string '{argument.text}' was not in a correct format."
        raise _failed(argument, "System.Version", reason)
    return tuple(int(part) for part in parts)


def _datetime(argument: Argument) -> datetime:
    text = argument.text.strip()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - local time, as PowerShell reads it
        except ValueError:
            continue
    reason = f"The string '{argument.text}' was not recognized as a valid DateTime."
    raise _failed(argument, "System.DateTime", f"{reason} Write it as 2026-01-31 or 2026-01-31T18:30.")


def _duration(argument: Argument) -> float:
    text = argument.text.strip().lower()
    unit = next((unit for unit in _SECONDS if text.endswith(unit)), "")
    try:
        seconds = float(text.removesuffix(unit)) * _SECONDS.get(unit, 1.0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < _LONGEST_DURATION:
        raise ValueError(
            f'Cannot convert value "{argument.text}" to a duration. Give seconds, or a number with ms, s, m, h or d:'
            " 30, 500ms, 2m."
        )
    return seconds


def _clock(argument: Argument) -> float | None:
    """A limit of time; `off` and, as in PowerShell's timeouts, 0 are no limit."""
    return (None if argument.text.lower() == "off" else _duration(argument)) or None


def _script(argument: Argument) -> str:
    return argument.raw if argument.block is None else argument.block


def _is_script(argument: Argument) -> bool:
    return not _is_script_file(argument)


def _is_script_file(argument: Argument) -> bool:
    """One word that ends in .ps1: where PowerShell tells a path from a block by its type, we go by its look."""
    path = argument.block is None and argument.text.lower().endswith(".ps1")
    return path and not any(character.isspace() for character in argument.text)


def _objects(argument: Argument) -> list[Any] | None:
    if argument.constant is None:
        return None
    return [argument.raw] if argument.block is not None else [item.constant for item in argument.elements]


def _pairs(argument: Argument) -> dict[str, Any]:
    """`Name=value`, `Name:type=value`; what has no name of its own belongs to the one before and makes it an array."""
    if argument.block is not None or argument.constant is None:
        raise cannot_convert(argument, PAIRS.name)
    found: dict[str, list[tuple[str, Argument]]] = {}
    kind, position = "", -1
    while position < len(argument.raw):
        pair = _PAIR.match(argument.raw, position + 1)
        assert pair is not None
        position, name = pair.end(), pair["name"]
        if name:
            kind = (pair["type"] or "").lower()
            if name.lower() in {known.lower() for known in found}:
                raise ValueError(f"'{name}' is given twice.")
            if kind and kind not in _TYPED:
                raise ValueError(f"'{name}' has the type '{kind}'; known are {', '.join(_TYPED)}.")
            found[name] = []
        elif not found:
            word = pair["value"] or "Name"
            raise ValueError(f"'{pair['value']}' is not name=value. Write a switch as {word}=$true, in single quotes.")
        found[next(reversed(found))].append((kind, elements(pair["value"])[0]))
    return {name: _one_or_many(name, given) for name, given in found.items()}


def _one_or_many(name: str, given: list[tuple[str, Argument]]) -> Any:
    try:
        values = [_TYPED[kind](item) if kind else item.constant for kind, item in given]
    except ValueError as error:
        raise ValueError(f"'{name}': {error}") from error
    return values if len(values) > 1 else values[0]


def _timespan(argument: Argument) -> timedelta:
    match = _TIMESPAN.fullmatch(argument.text.strip())
    if match is None:
        return timedelta(seconds=_duration(argument))
    days, hours, minutes, seconds = (float(part or 0) for part in match.group("d", "h", "m", "s"))
    value = timedelta(days, hours=hours, minutes=minutes, seconds=seconds)
    return -value if match["sign"] else value


def _decimal(argument: Argument) -> Any:
    from decimal import Decimal, InvalidOperation

    try:
        return Decimal(argument.text.strip())
    except InvalidOperation:
        reason = f"The input string '{argument.text}' was not in a correct format."
        raise _failed(argument, "System.Decimal", reason) from None


def _double(argument: Argument) -> float:
    value = number(argument.text)
    if value is None:
        raise _failed(argument, "System.Double", f"The input string '{argument.text}' was not in a correct format.")
    return float(value)


def _truth(argument: Argument) -> bool:
    word = argument.text.strip().lower().removeprefix("$")
    return word == "true" if word in ("true", "false") else _bool(argument)


def _session_option(argument: Argument) -> dict[str, Any]:
    """The fields that were given; the others may come from the configuration."""
    given: dict[str, Any] = {}
    for pair in ",".join(item.text for item in argument.elements).split(","):
        key, equals, text = (part.strip() for part in pair.partition("="))
        if key.lower() not in _OPTIONS:
            known = suggestion(key, SESSION_OPTION.values) or f" Known are {', '.join(SESSION_OPTION.values)}."
            raise ValueError(f"There is no session option '{key}'.{known}")
        field, kind = _OPTIONS[key.lower()]
        if field in given:
            raise ValueError(f"The session option '{key}' is given twice.")
        given[field] = _option_value(key, kind, text if equals else None)
    idle = given.get("idle_timeout")
    if idle is not None and idle < _SHORTEST_IDLE:
        raise ValueError(f"The session option 'IdleTimeout' is at least {_SHORTEST_IDLE} seconds; {idle:g} was given.")
    return given


def _option_value(key: str, kind: ParameterType, text: str | None) -> Any:
    if kind is BOOL and (text is None or text.lower() in ("true", "false")):
        return text is None or text.lower() == "true"
    if not text:
        raise ValueError(f"The session option '{key}' needs a value: {key}=<{kind.label}>.")
    try:
        value = kind.convert(Argument(text, raw=text))
    except ValueError as error:
        raise ValueError(f"The session option '{key}': {error}") from error
    if (kind is INT and value < 0) or (kind is DURATION and value == 0):
        raise ValueError(f"The session option '{key}' cannot be {text}.")
    return value


def _pascal(field: str) -> str:
    """`skip_ca_check` as PowerShell spells it: SkipCACheck."""
    return "".join(part.upper() if part in ("ca", "cn", "ui") else part.title() for part in field.split("_"))


TEXT = ParameterType("System.String", "string", _text, _is_text)
TEXTS = many(TEXT)
PATH = TEXT._replace(label="path")
URIS = many(TEXT._replace(name="System.Uri", label="uri"))._replace(exact=_never)
INT = ParameterType("System.Int32", "int", _int, _is_int)
INTS = many(INT)
GUIDS = many(ParameterType("System.Guid", "guid", _guid))
BOOL = ParameterType("System.Boolean", "bool", _bool, lambda argument: isinstance(argument.constant, bool))
SWITCH = ParameterType("System.Management.Automation.SwitchParameter", "switch", _switch, BOOL.exact, switch=True)
VERSION = ParameterType("System.Version", "version", _version)
DATETIME = ParameterType("System.DateTime", "datetime", _datetime)
OBJECTS = ParameterType("System.Object[]", "object[]", _objects, lambda _argument: True)
DURATION = ParameterType("duration", "seconds", _duration)
CLOCK = ParameterType("duration", "seconds", _clock)
SCRIPT = ParameterType("System.Management.Automation.ScriptBlock", "scriptblock", _script, _is_script)
SCRIPT_FILE = ParameterType("System.String", "path", _text, _is_script_file)
SESSION_OPTION = ParameterType(
    "System.Management.Automation.Remoting.PSSessionOption",
    "key=value[]",
    _session_option,
    values=tuple(_pascal(field.name) for field in dataclasses.fields(SessionOption)),
)

_PAIR = re.compile(
    r"""\s*(?: -{0,2}(?P<name>[^\W\d]\w*) (?: :(?P<type>[A-Za-z]+) )? = )?
        (?P<value> '(?:[^']|'')*'(?=,|$) | "(?:[^"]|"")*"(?=,|$) | (?:\[[^\[\]]*\] | \{[^{}]*\} | [^,])* )""",
    re.VERBOSE,
)
_TIMESPAN = re.compile(r"(?P<sign>-?)(?:(?P<d>\d+)\.)?(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2}(?:\.\d{1,7})?))?")
_TYPED: dict[str, Callable[[Argument], Any]] = {
    "string": lambda argument: argument.text,
    "int": _int,
    "double": _double,
    "decimal": _decimal,
    "bool": _truth,
    "switch": _truth,
    "datetime": _datetime,
    "timespan": _timespan,
    "guid": _guid,
}
PAIRS = ParameterType("System.Collections.Hashtable", "name=value[]", _pairs)

_SHORTEST_IDLE = 60  # seconds; PSSessionOption.IdleTimeout (semantics of New-PSSessionOption)
_KINDS = {"float": DURATION, "float | None": DURATION, "int": INT, "int | None": INT, "bool": BOOL}
_OPTIONS = {
    field.name.replace("_", ""): (field.name, _KINDS.get(str(field.type), TEXT))
    for field in dataclasses.fields(SessionOption)
}
