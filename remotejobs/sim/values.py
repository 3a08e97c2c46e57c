"""The values of a simulated PowerShell: .NET's types where Python has none, type names, conversion to text.

Knows plain Python. Must not know XML, messages or the dialect. Python stands for .NET like this: None is $null, bool
Boolean, int Int32, float Double, Decimal Decimal, str String, bytes Byte[], datetime, timedelta, UUID; a list or a
range is Object[]. Every other integer has a class of its own here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar


class Integer(int):
    """An integer that is not an Int32; `tag` is its CLIXML element, `low` and `high` its range."""

    tag: ClassVar[str] = "I32"
    clr: ClassVar[str] = "Int32"
    low: ClassVar[int] = -(2**31)
    high: ClassVar[int] = 2**31 - 1


class SByte(Integer):
    """8 bits, signed."""

    tag, clr, low, high = "SB", "SByte", -(2**7), 2**7 - 1


class Byte(Integer):
    """8 bits."""

    tag, clr, low, high = "By", "Byte", 0, 2**8 - 1


class Int16(Integer):
    """16 bits, signed."""

    tag, clr, low, high = "I16", "Int16", -(2**15), 2**15 - 1


class UInt16(Integer):
    """16 bits."""

    tag, clr, low, high = "U16", "UInt16", 0, 2**16 - 1


class UInt32(Integer):
    """32 bits."""

    tag, clr, low, high = "U32", "UInt32", 0, 2**32 - 1


class Int64(Integer):
    """64 bits, signed: the literal `1l`, and where Int32 overflows in a literal."""

    tag, clr, low, high = "I64", "Int64", -(2**63), 2**63 - 1


class UInt64(Integer):
    """64 bits."""

    tag, clr, low, high = "U64", "UInt64", 0, 2**64 - 1


class Single(float):
    """A 32 bit float."""


class Char(str):
    """One UTF-16 code unit."""

    __slots__ = ()


class Version(str):
    """System.Version, as text."""

    __slots__ = ()


class Uri(str):
    """System.Uri, as text."""

    __slots__ = ()


class SecureString(str):
    """A SecureString in the clear: this is a simulated host. Neither text nor repr shows it."""

    __slots__ = ()

    def __str__(self) -> str:
        return "System.Security.SecureString"

    def __repr__(self) -> str:
        return "SecureString()"


class ScriptBlock(str):
    """The text between the braces."""

    __slots__ = ("block",)
    block: Any


class Nothing:
    """AutomationNull: what a command without output gives. No item in a pipeline, $null elsewhere."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = Nothing()


class Hashtable:
    """A dictionary whose string keys ignore case and keep their order; `ordered` only names another type."""

    def __init__(self, entries: Iterator[tuple[Any, Any]] | None = None, *, ordered: bool = False) -> None:
        self.ordered = ordered
        self._entries: dict[Any, tuple[Any, Any]] = {}
        for key, value in entries or ():
            self[key] = value

    @staticmethod
    def _key(key: Any) -> Any:
        return key.casefold() if isinstance(key, str) else (type(key).__name__, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._entries[self._key(key)] = (self._entries.get(self._key(key), (key,))[0], value)

    def __getitem__(self, key: Any) -> Any:
        return self._entries[self._key(key)][1]

    def __contains__(self, key: Any) -> bool:
        return self._key(key) in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, else `default`."""
        return self._entries.get(self._key(key), (None, default))[1]

    def pop(self, key: Any) -> None:
        """Take `key` out, if it is there."""
        self._entries.pop(self._key(key), None)

    def items(self) -> list[tuple[Any, Any]]:
        """Keys as they were first written, with their values."""
        return list(self._entries.values())


CUSTOM = ("System.Management.Automation.PSCustomObject", "System.Object")


@dataclass(eq=False, slots=True)
class PSObject:
    """An object with properties.

    Attributes:
        types: Type names, the most special first; empty where the wire has none.
        adapted: Properties of the .NET object itself (`Props`).
        extended: Note, alias and script properties (`MS`).
        text: What ToString gives; None where the wire has none.
        value: A primitive or container that carries the properties, NOTHING if none does. Enums have their number.
    """

    types: tuple[str, ...] = CUSTOM
    adapted: dict[str, Any] = field(default_factory=dict)
    extended: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    value: Any = NOTHING

    @property
    def custom(self) -> bool:
        """A property bag, all of whose members are serialised at full depth."""
        if not self.types:
            return self.value is NOTHING
        return CUSTOM[0] in self.types or "Deserialized." + CUSTOM[0] in self.types

    def names(self) -> list[str]:
        """Names of all properties, in the order of the wire."""
        return [*self.adapted, *self.extended]

    def find(self, name: str) -> tuple[dict[str, Any], str] | None:
        """Where the property `name` is, case ignored, and how it is spelt; None when it is not there."""
        for members in (self.extended, self.adapted):
            if name in members:
                return members, name
            for known in members:
                if known.casefold() == name.casefold():
                    return members, known
        return None

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the property `name`, else `default`."""
        found = self.find(name)
        return found[0][found[1]] if found else default


def enum(type_name: str, name: str, number: int) -> PSObject:
    """A value of a .NET enumeration."""
    types = (type_name, "System.Enum", "System.ValueType", "System.Object")
    return PSObject(types, text=name, value=number)


def is_array(value: Any) -> bool:
    """True for what a pipeline takes apart."""
    return isinstance(value, (list, range))


def items(value: Any) -> Any:
    """What a pipeline makes of `value`: the elements of an array, nothing of NOTHING, else the value itself."""
    if value is NOTHING:
        return ()
    if isinstance(value, bytes):
        return [Byte(b) for b in value]
    return value if is_array(value) else (value,)


_CLR: list[tuple[type, str]] = [
    (bool, "Boolean"), (float, "Double"), (Decimal, "Decimal"), (datetime, "DateTime"), (timedelta, "TimeSpan"),
    (uuid.UUID, "Guid"),
]  # fmt: skip
_REFERENCE: list[tuple[type, tuple[str, ...]]] = [
    (Char, ("System.Char", "System.ValueType")), (Version, ("System.Version",)), (Uri, ("System.Uri",)),
    (SecureString, ("System.Security.SecureString",)), (ScriptBlock, ("System.Management.Automation.ScriptBlock",)),
    (str, ("System.String",)), (bytes, ("System.Byte[]", "System.Array")), (list, ("System.Object[]", "System.Array")),
    (range, ("System.Object[]", "System.Array")),
]  # fmt: skip


def type_names(value: Any) -> tuple[str, ...]:
    """The type names of a value, as `$_.PSTypeNames` gives them."""
    if isinstance(value, PSObject):
        return value.types if value.types or value.value is NOTHING else type_names(value.value)
    if hasattr(value, "to_object"):
        return type_names(value.to_object())
    if isinstance(value, Hashtable):
        name = "System.Collections.Specialized.OrderedDictionary" if value.ordered else "System.Collections.Hashtable"
        return (name, "System.Object")
    if isinstance(value, Single):
        return ("System.Single", "System.ValueType", "System.Object")
    for python, name in _CLR:
        if isinstance(value, python):
            return (f"System.{name}", "System.ValueType", "System.Object")
    if isinstance(value, int):
        return (f"System.{getattr(value, 'clr', 'Int32')}", "System.ValueType", "System.Object")
    for python, names in _REFERENCE:
        if isinstance(value, python):
            return (*names, "System.Object")
    return ("System.Object",)


def double_text(value: float, *, digits: int | None = None) -> str:
    """A Double as .NET writes it: shortest that reads back, or of at most `digits` digits.

    .NET turns to an exponent past the precision (17 or `digits`) and below 1E-4, and writes it with a sign and at
    least two digits.
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "-∞"
    text = repr(float(value)) if digits is None else f"{value:.{digits - 1}e}"
    _, mantissa, exponent = Decimal(text).as_tuple()
    numbers = "".join(map(str, mantissa)).rstrip("0") or "0"
    point = len(mantissa) + int(exponent)  # digits before the decimal point
    sign = "-" if text.startswith("-") else ""
    if numbers == "0":
        return sign + "0"
    if point > (17 if digits is None else digits) or point < -3:
        shown = numbers[0] + ("." + numbers[1:] if numbers[1:] else "")
        return f"{sign}{shown}E{point - 1:+03d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{numbers}"
    whole = numbers[:point].ljust(point, "0")
    return sign + whole + ("." + numbers[point:] if numbers[point:] else "")


def timespan_text(value: timedelta) -> str:
    """A TimeSpan as .NET writes it: [-][d.]hh:mm:ss[.fffffff]."""
    ticks = abs(value) // timedelta(microseconds=1)
    seconds, micro = divmod(ticks, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{micro:06}0" if micro else ""
    return f"{'-' if value < timedelta() else ''}{f'{days}.' if days else ''}{text}{fraction}"


def to_text(value: Any) -> str:
    """A value as PowerShell puts it into a string (invariant culture; arrays are joined by spaces)."""
    if value is None or value is NOTHING:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float):
        return double_text(value, digits=7 if isinstance(value, Single) else 15)
    if isinstance(value, (int, uuid.UUID)):
        return str(value) if isinstance(value, uuid.UUID) else str(int(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return value.strftime("%m/%d/%Y %H:%M:%S") if value.year > 999 else f"{value:%m/%d}/{value:%Y %H:%M:%S}"
    if isinstance(value, timedelta):
        return timespan_text(value)
    if is_array(value) or isinstance(value, bytes):
        return " ".join(to_text(item) for item in items(value))
    if isinstance(value, PSObject) or hasattr(value, "to_object"):
        return object_text(value if isinstance(value, PSObject) else value.to_object())
    return type_names(value)[0]


def object_text(value: PSObject) -> str:
    """What an object is in a string: its ToString, else @{name=value; ...} for a property bag."""
    if value.text is not None:
        return value.text
    if value.value is not NOTHING:
        return to_text(value.value)
    if value.custom:
        inner = "; ".join(f"{n}={bag_text(v)}" for n, v in (value.adapted | value.extended).items())
        return f"@{{{inner}}}"
    return value.types[0]


def bag_text(value: Any) -> str:
    """A member of a property bag inside a string: arrays are System.Object[] there, and bags are empty."""
    if is_array(value):
        return "System.Object[]"
    return "" if isinstance(value, PSObject) and value.custom and value.text is None else to_text(value)


_WILDCARD = re.compile(r"\*|\?|\[[^\]]*\]|`?.", re.DOTALL)


def wildcard(pattern: str) -> re.Pattern[str]:
    """A PowerShell wildcard (`*`, `?`, `[a-c]`, backtick escapes) as a regular expression, case ignored."""

    def part(match: re.Match[str]) -> str:
        text = match[0]
        if text in "*?":
            return ".*" if text == "*" else "."
        if text.startswith("[") and len(text) > 2:
            return "[" + text[1:-1].replace("\\", "\\\\").replace("^", "\\^") + "]"
        return re.escape(text[-1] if text.startswith("`") else text)

    return re.compile(_WILDCARD.sub(part, pattern) + r"\Z", re.IGNORECASE | re.DOTALL)
