"""The text form of CLIXML's primitive types, both ways (MS-PSRP 2.2.5.1; .NET's XmlConvert).

Knows one value and its text. Must not know XML, objects or messages. What XmlConvert refuses raises ValueError here.
"""

from __future__ import annotations

import base64
import math
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, NamedTuple

from remotejobs.wsman.clixml.scalars import (
    Byte,
    Char,
    DateTime,
    Int16,
    Int64,
    SByte,
    Single,
    TimeSpan,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    Version,
    XmlDocument,
    number_text,
    span_ticks,
)
from remotejobs.wsman.clixml.values import SecureString

_ESCAPE = re.compile(r"_[xX]([0-9a-fA-F]{8}|[0-9a-fA-F]{4})_")
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\U00010000-\U0010ffff]|_(?=[xX])")
_REAL = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*", re.ASCII)
_FIXED = re.compile(r"\s*([+-]?(?:[0-9]{1,60}\.?[0-9]{0,60}|\.[0-9]{1,60}))\s*", re.ASCII)
_DATE = re.compile(
    r"\s*([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,99}))?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?\s*",
    re.ASCII,
)
_SPAN = re.compile(
    r"\s*(-)?P(?=[0-9T])(?:([0-9]{1,9})Y)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})D)?"
    r"(T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,10})M)?(?:([0-9]{1,12})(?:\.([0-9]{1,7})[0-9]*)?S)?)?\s*",
    re.ASCII,
)
_GUID = re.compile(
    r"\s*(?P<open>[{(])?(?P<hex>[0-9a-f]{8}(?P<dash>-?)(?:[0-9a-f]{4}(?P=dash)){3}[0-9a-f]{12})(?P<close>[})])?\s*",
    re.ASCII | re.IGNORECASE,
)
_VERSION = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10}){1,3}")
_SPECIAL = {"nan": "nan", "infinity": "inf", "+infinity": "inf", "-infinity": "-inf"}
_LARGEST_DECIMAL = Decimal(2**96 - 1)
_LARGEST_SINGLE = 3.4028235677973366e38  # from here on it is infinity
_WIDE = Context(prec=150, rounding=ROUND_HALF_EVEN)
_LARGEST_OFFSET = timedelta(hours=14)
_LARGEST_SPAN = 2**63 - 1  # ticks


class Primitive(NamedTuple):
    """A primitive type: its tag on the wire, its .NET name, and how its text becomes a value."""

    tag: str
    name: str
    read: Callable[[str], Any]


def escape(value: str) -> str:
    """Escape what PowerShell escapes in text and names: control characters, surrogates, and the `_` of any `_x`."""
    return _ESCAPED.sub(_escape_one, value) if _ESCAPED.search(value) else value


def _escape_one(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join([f"_x{units[n : n + 4]}_" for n in range(0, len(units), 4)])


def unescape(encoded: str) -> str:
    """Undo `_xHHHH_` (XmlConvert.DecodeName). Halves of surrogate pairs are joined; one alone stays as it is."""
    if "_x" not in encoded and "_X" not in encoded:
        return encoded
    decoded = _ESCAPE.sub(_unescape_one, encoded)
    return decoded.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _unescape_one(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code <= 0x10FFFF else found[0]


def _boolean(written: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[written.strip()]


def _integer(kind: type[int], lowest: int, highest: int) -> Callable[[str], int]:
    def read(written: str) -> int:
        if "_" in written or not written.isascii():  # int() takes both, .NET neither
            raise ValueError(written)
        value = kind(written)
        if lowest <= value <= highest:
            return value
        raise ValueError(written)

    return read


def _character(written: str) -> Char:
    return Char(chr(_unsigned16(written)))


def _double(written: str) -> float:
    found = _REAL.fullmatch(written)
    if found:
        return float(found[1])
    name = written.strip()
    return float({"INF": "inf", "-INF": "-inf"}.get(name) or _SPECIAL[name.lower()])


def _single(written: str) -> Single:
    value = _double(written)
    return Single(math.copysign(math.inf, value)) if abs(value) >= _LARGEST_SINGLE else Single(value)


def _decimal(written: str) -> Decimal:
    found = _FIXED.fullmatch(written)
    if not found:
        raise ValueError(written)
    value = Decimal(found[1])
    _, digits, exponent = value.as_tuple()
    if len(digits) <= 28 and int(exponent) >= -28:
        return value
    for places in range(min(-int(exponent), 28), -1, -1):  # as many decimals as its 96 bits have room for
        rounded = value.quantize(Decimal(1).scaleb(-places), context=_WIDE)
        if rounded.copy_abs().scaleb(places, _WIDE) <= _LARGEST_DECIMAL:
            return rounded
    raise ValueError(written)


def _date_time(written: str) -> datetime:
    found = _DATE.fullmatch(written)
    if not found:
        raise ValueError(written)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    seconds, ticks = 0, int((fraction or "0")[:7].ljust(7, "0"))
    if fraction and len(fraction) > 7:  # XsdDateTime rounds half to even, and that may be the next second
        rest, half = int(fraction[7:]), 5 * 10 ** (len(fraction) - 8)
        seconds, ticks = divmod(ticks + (rest > half or (rest == half and ticks % 2 == 1)), 10_000_000)
    clock = (int(hour or 0), int(minute or 0), int(second or 0), ticks // 10)
    value = datetime(int(year), int(month), int(day), *clock, tzinfo=_zone(zone))
    if seconds:
        value += timedelta(seconds=seconds)
    return DateTime.of(value, ticks % 10) if ticks % 10 else value


def _zone(written: str | None) -> timezone | None:
    if written is None or written == "Z":
        return UTC if written else None
    hours, minutes = int(written[1:3]), int(written[4:6])
    offset = timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or offset > _LARGEST_OFFSET:
        raise ValueError(written)
    return timezone(-offset if written[0] == "-" else offset, f"UTC{written}")  # named: local time, even where it is 0


def _time_span(written: str) -> timedelta:
    found = _SPAN.fullmatch(written)
    if not found:
        raise ValueError(written)
    minus, years, months, days, _, hours, minutes, seconds, fraction = found.groups()
    whole = (int(years or 0) * 365 + int(months or 0) * 30 + int(days or 0)) * 86_400
    whole += int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    ticks = whole * 10_000_000 + int((fraction or "0").ljust(7, "0"))
    ticks = -ticks if minus else ticks
    if not -_LARGEST_SPAN - 1 <= ticks <= _LARGEST_SPAN:
        raise ValueError(written)
    microseconds, tick = divmod(ticks, 10)
    return TimeSpan(microseconds=microseconds, tick=tick) if tick else timedelta(microseconds=microseconds)


def _guid(written: str) -> uuid.UUID:
    found = _GUID.fullmatch(written)
    if not found or (found["open"] or "") + (found["close"] or "") not in ("", "{}", "()"):
        raise ValueError(written)
    return uuid.UUID(hex=found["hex"])


def _version(written: str) -> Version:
    value = Version(".".join([part.strip() for part in written.split(".")]))
    if not _VERSION.fullmatch(value) or max(value.parts) > 2**31 - 1:
        raise ValueError(written)
    return Version(".".join(map(str, value.parts)))


def _bytes(written: str) -> bytes:
    return base64.b64decode("".join(written.split()), validate=True)


_int32 = _integer(int, -(2**31), 2**31 - 1)
_unsigned16 = _integer(UInt16, 0, 2**16 - 1)

PRIMITIVES: Final = (
    Primitive("S", "System.String", unescape),
    Primitive("I32", "System.Int32", _int32),
    Primitive("B", "System.Boolean", _boolean),
    Primitive("I64", "System.Int64", _integer(Int64, -(2**63), 2**63 - 1)),
    Primitive("DT", "System.DateTime", _date_time),
    Primitive("TS", "System.TimeSpan", _time_span),
    Primitive("Db", "System.Double", _double),
    Primitive("D", "System.Decimal", _decimal),
    Primitive("G", "System.Guid", _guid),
    Primitive("Version", "System.Version", _version),
    Primitive("URI", "System.Uri", lambda written: Uri(unescape(written))),
    Primitive("C", "System.Char", _character),
    Primitive("By", "System.Byte", _integer(Byte, 0, 255)),
    Primitive("SB", "System.SByte", _integer(SByte, -128, 127)),
    Primitive("I16", "System.Int16", _integer(Int16, -(2**15), 2**15 - 1)),
    Primitive("U16", "System.UInt16", _unsigned16),
    Primitive("U32", "System.UInt32", _integer(UInt32, 0, 2**32 - 1)),
    Primitive("U64", "System.UInt64", _integer(UInt64, 0, 2**64 - 1)),
    Primitive("Sg", "System.Single", _single),
    Primitive("BA", "System.Byte[]", _bytes),
    Primitive("XD", "System.Xml.XmlDocument", lambda written: XmlDocument(unescape(written))),
    Primitive("SBK", "System.String", unescape),  # PowerShell reads a script block as a string
    Primitive("SS", "System.Security.SecureString", SecureString),
)


def real_text(value: float) -> str:
    """Write a Double or Single: shortest text, `INF`, `-INF`, `NaN`."""
    return number_text(value).replace("Infinity", "INF")


def decimal_text(value: Decimal) -> str:
    """Write a Decimal with its scale and without an exponent.

    Raises:
        ValueError: It is no number, or needs more than the 96 bits and 28 decimals of System.Decimal.
    """
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or not -28 <= exponent <= 28 or len(digits) > 29:
        raise ValueError(value)
    if int("".join(map(str, digits))) * 10 ** max(exponent, 0) > _LARGEST_DECIMAL:
        raise ValueError(value)
    return format(value, "f")


def date_time_text(value: datetime) -> str:
    """Write a DateTime: up to seven decimals, `Z` for UTC, an offset for local time, neither for Unspecified."""
    ticks = value.microsecond * 10 + getattr(value, "tick", 0)
    fraction = f".{ticks:07}".rstrip("0") if ticks else ""
    offset = value.utcoffset()
    if offset is not None and (abs(offset) > _LARGEST_OFFSET or offset % timedelta(minutes=1)):
        value, offset = value.astimezone(UTC), timedelta(0)  # which .NET has no room for
    if offset is None:
        zone = ""
    elif not offset and value.tzname() == "UTC":
        zone = "Z"
    else:
        minutes = abs(offset) // timedelta(minutes=1)
        zone = f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{value.year:04}{value:-%m-%dT%H:%M:%S}{fraction}{zone}"


def time_span_text(value: timedelta) -> str:
    """Write a TimeSpan as an XSD duration: `P1DT2H3.5S`, `-PT1S`, `PT0S`.

    Raises:
        ValueError: It is longer than System.TimeSpan can be.
    """
    ticks = span_ticks(value)
    if not -_LARGEST_SPAN - 1 <= ticks <= _LARGEST_SPAN:
        raise ValueError(value)
    seconds, fraction = divmod(abs(ticks), 10_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    decimals = f".{fraction:07}".rstrip("0") if fraction else ""
    clock = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    clock += f"{seconds}{decimals}S" if seconds or fraction or not (clock or days) else ""
    return f"{'-' if ticks < 0 else ''}P{f'{days}D' if days else ''}{'T' + clock if clock else ''}"
