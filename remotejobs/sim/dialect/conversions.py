"""From one type to another as PowerShell does it, and .NET's format strings.

Knows values. Must not know the tree. A conversion that PowerShell cannot do is its error; a type or format that this
dialect does not know is refused.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from remotejobs.sim.dialect.errors import Failure, Refusal, failure
from remotejobs.sim.dialect.scanner import numeral
from remotejobs.sim.values import (
    NOTHING,
    Byte,
    Char,
    Hashtable,
    Int16,
    Int64,
    Integer,
    PSObject,
    SByte,
    UInt16,
    UInt32,
    UInt64,
    Version,
    is_array,
    items,
    to_text,
    type_names,
)

INTEGERS: dict[str, type[Integer | int]] = {
    "int": int, "int32": int, "long": Int64, "int64": Int64, "byte": Byte, "sbyte": SByte, "short": Int16,
    "int16": Int16, "ushort": UInt16, "uint16": UInt16, "uint": UInt32, "uint32": UInt32, "ulong": UInt64,
    "uint64": UInt64,
}  # fmt: skip
_FULL_NAMES = {
    "double": "Double", "decimal": "Decimal", "string": "String", "bool": "Boolean", "boolean": "Boolean",
    "char": "Char", "datetime": "DateTime", "timespan": "TimeSpan", "guid": "Guid", "version": "Version",
    "array": "Object[]", "object[]": "Object[]", "object": "Object", "string[]": "String[]", "int[]": "Int32[]",
    "byte[]": "Byte[]", "securestring": "Security.SecureString", "pscredential": "Management.Automation.PSCredential",
}  # fmt: skip
_DATE_TOKENS = {
    "yyyy": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "dddd": "%A", "ddd": "%a", "dd": "%d", "HH": "%H",
    "hh": "%I", "mm": "%M", "ss": "%S", "tt": "%p",
}  # fmt: skip
_DATE_FORMATS = {"o": "yyyy-MM-ddTHH:mm:ss.fffffffK", "s": "yyyy-MM-ddTHH:mm:ss", "u": "yyyy-MM-dd HH:mm:ssZ"}
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\d+)(?:,(-?\d+))?(?::([^}]*))?\}")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?))?(Z|[+-]\d\d:\d\d)?")


def plain(value: Any) -> Any:
    """The primitive or container inside an object that only adds members or type names."""
    return value.value if isinstance(value, PSObject) and value.value is not NOTHING else value


def short_name(type_name: str) -> str:
    """A type's name as written in a script: lower case, without `System.`."""
    return type_name.lower().removeprefix("system.")


def full_name(type_name: str) -> str:
    """The .NET name of a type that a script names."""
    short = short_name(type_name)
    if short in INTEGERS:
        return f"System.{getattr(INTEGERS[short], 'clr', 'Int32')}"
    return f"System.{_FULL_NAMES[short]}" if short in _FULL_NAMES else type_name


def to_bool(value: Any) -> bool:
    """The truth of a value: empty, zero, $null and an array of one such are false."""
    value = plain(value)
    if value is None or value is NOTHING:
        return False
    if is_array(value):
        return to_bool(value[0]) if len(value) == 1 else len(value) > 0
    if isinstance(value, (bool, int, float, Decimal, str)):
        return bool(value)
    return True


def cast_error(value: Any, type_name: str, reason: str = "") -> Failure:
    """PowerShell's `Cannot convert value`."""
    text = to_text(value)
    reason = reason or f"The input string '{text}' was not in a correct format."
    message = f'Cannot convert value "{text}" to type "{type_name}". Error: "{reason}"'
    error_id = "InvalidCastFromStringToInteger" if isinstance(value, str) else "InvalidCastIConvertible"
    return failure(message, error_id, "InvalidArgument")


def to_number(value: Any, type_name: str = "System.Int32") -> Any:
    """The number that a value is in arithmetic.

    Raises:
        Failure: A string that is none, or something that never is.
    """
    value = plain(value)
    if value is None or value is NOTHING:
        return 0
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Char):
        return ord(value)
    if isinstance(value, str):
        found = numeral(value) if value.strip() else 0
        if found is None:
            raise cast_error(value, type_name)
        return found
    if isinstance(value, (int, float, Decimal)):
        return value
    raise Refusal(f"a {type_names(value)[0]} as a number")


def _to_integer(value: Any, kind: type[int], type_name: str) -> int:
    found = to_number(value, type_name)
    if isinstance(found, float) and (found != found or abs(found) == float("inf")):
        raise cast_error(value, type_name, "Value was either too large or too small for an Int32.")
    whole = int(round(found))  # noqa: RUF046 - half to even, as .NET; a Decimal gives an int anyway
    low, high = getattr(kind, "low", -(2**31)), getattr(kind, "high", 2**31 - 1)
    if not low <= whole <= high:
        article = {"System.Byte": "an unsigned byte"}.get(type_name, f"an {type_name.removeprefix('System.')}")
        raise cast_error(value, type_name, f"Value was either too large or too small for {article}.")
    return kind(whole)


def _to_date(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    found = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise Refusal("dates that are not written as 2026-11-20 or 2026-11-20T13:00:00")
    moment = datetime.fromisoformat(found[0].replace(" ", "T"))
    return moment.astimezone() if moment.tzinfo else moment


def convert(value: Any, type_name: str) -> Any:
    """`[type]value`.

    Raises:
        Failure: PowerShell cannot convert it.
        Refusal: The dialect does not know the type.
    """
    short, full, given, value = short_name(type_name), full_name(type_name), value, plain(value)
    if short in INTEGERS:
        return _to_integer(value, INTEGERS[short], full)
    if short in {"string", "object", "psobject"}:
        return to_text(value) if short == "string" else value
    if short in {"bool", "boolean", "switch"}:
        return to_bool(value)
    if short == "double":
        return float(to_number(value, full))
    if short == "decimal":
        found = to_number(value, full)
        return (
            Decimal(repr(found))
            if isinstance(found, float)
            else Decimal(int(found) if isinstance(found, int) else found)
        )
    if short in {"array", "object[]"}:
        return [] if value is None else list(items(value))
    if short.endswith("[]") and short[:-2] in {*INTEGERS, "string"}:
        converted = [convert(item, short[:-2]) for item in ([] if value is None else items(value))]
        return bytes(converted) if short == "byte[]" else _typed(converted, full)
    if short == "char":
        text = chr(value) if isinstance(value, int) else to_text(value)
        if len(text) != 1:
            raise cast_error(value, full, "String must be exactly one character long.")
        return Char(text)
    if short == "datetime":
        return _to_date(value)
    if short == "timespan":
        if isinstance(value, int):
            return timedelta(microseconds=value / 10)
        return value if isinstance(value, timedelta) else _to_timespan(to_text(value))
    if short == "guid":
        return uuid.UUID(to_text(value))
    if short == "version":
        return Version(to_text(value))
    if short == "hashtable" and (isinstance(value, Hashtable) or value is None):
        return value
    if is_type(given, type_name):
        return given
    raise Refusal(f"the conversion to [{type_name}]")


def _typed(values: list[Any], full: str) -> PSObject | list[Any]:
    return PSObject((full, "System.Array", "System.Object"), value=values)


def _to_timespan(text: str) -> timedelta:
    found = re.fullmatch(r"(-)?(?:(\d+)\.)?(\d+):(\d+)(?::(\d+(?:\.\d+)?))?", text)
    if not found:
        raise Refusal("time spans that are not written as [d.]hh:mm:ss")
    span = timedelta(int(found[2] or 0), hours=int(found[3]), minutes=int(found[4]), seconds=float(found[5] or 0))
    return -span if found[1] else span


def is_type(value: Any, type_name: str) -> bool:
    """`value -is [type]`."""
    wanted = {"pscustomobject": "System.Management.Automation.PSCustomObject", "array": "System.Array",
        "hashtable": "System.Collections.Hashtable"}.get(short_name(type_name), full_name(type_name))  # fmt: skip
    return wanted.lower() in {name.lower() for name in type_names(value)}


def format_value(value: Any, spec: str) -> str:
    """One value by one .NET format string (invariant culture).

    Raises:
        Refusal: The format is not known.
    """
    value = plain(value)
    if not spec:
        return to_text(value)
    if isinstance(value, datetime):
        return format_date(value, spec)
    found = re.fullmatch(r"([NFDXPnfdxp])(\d*)", spec)
    if not isinstance(value, (int, float, Decimal)) or isinstance(value, bool):
        if isinstance(value, str):
            return value
        raise Refusal(f"the format '{spec}'")
    if not found:
        custom = re.fullmatch(r"(#,##)?0(?:\.(0+))?", spec)
        if not custom:
            raise Refusal(f"the format '{spec}'")
        return _fixed(value, len(custom[2] or ""), grouped=bool(custom[1]))
    kind, digits = found[1].upper(), int(found[2] or -1)
    if kind == "D" and isinstance(value, int):
        return f"{'-' if value < 0 else ''}{abs(value):0{max(digits, 1)}}"
    if kind == "X" and isinstance(value, int):
        unsigned = value if value >= 0 else value + (2**64 if isinstance(value, Int64) else 2**32)
        text = f"{unsigned:0{max(digits, 1)}X}"
        return text if found[1] == "X" else text.lower()
    if kind in {"N", "F"}:
        return _fixed(value, 2 if digits < 0 else digits, grouped=kind == "N")
    if kind == "P":
        return _fixed(Decimal(str(value)) * 100, 2 if digits < 0 else digits, grouped=True) + "%"
    raise Refusal(f"the format '{spec}'")


def _fixed(value: Any, digits: int, *, grouped: bool) -> str:
    exact = Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{exact:,f}" if grouped else f"{exact:f}"


def format_date(value: datetime, spec: str) -> str:
    """A date by a .NET format string."""
    spec = _DATE_FORMATS.get(spec, spec)
    out: list[str] = []
    for token in re.finditer(r"'[^']*'|([A-Za-z])\1*|.", spec):
        text = token[0]
        if text in _DATE_TOKENS:
            out.append(value.strftime(_DATE_TOKENS[text]))
        elif text.startswith("f") and len(text) <= 7:
            out.append(f"{value.microsecond:06}0"[: len(text)])
        elif text in {"M", "d", "H", "m", "s", "h"} and len(spec) > 1:
            out.append(
                str(int(value.strftime({"M": "%m", "d": "%d", "H": "%H", "m": "%M", "s": "%S", "h": "%I"}[text])))
            )
        elif text == "K":
            out.append("" if value.tzinfo is None else "Z" if value.tzinfo is UTC else value.isoformat()[-6:])
        elif text == "Z" or text == "T" or not text[0].isalpha():
            out.append(text.strip("'"))
        else:
            raise Refusal(f"the date format '{spec}'")
    return "".join(out)


def format_text(template: str, values: list[Any]) -> str:
    """`template -f values`.

    Raises:
        Failure: There is no value for a placeholder.
    """

    def place(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if int(match[1]) >= len(values):
            message = (
                "Error formatting a string: Index (zero based) must be greater than or equal to zero and less than the "
                "size of the argument list.."
            )
            raise failure(message, "FormatError")
        text, width = format_value(values[int(match[1])], match[3] or ""), int(match[2] or 0)
        return text.rjust(width) if width >= 0 else text.ljust(-width)

    return _PLACEHOLDER.sub(place, template)
