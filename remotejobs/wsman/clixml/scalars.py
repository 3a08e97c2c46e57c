"""What one primitive element of CLIXML holds beyond Python's own types, and .NET's text of numbers and time spans.

Knows single values: each behaves like the Python type that it is a subclass of. Must not know objects, XML or streams.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self


class Byte(int):
    """System.Byte."""

    __slots__ = ()


class SByte(int):
    """System.SByte."""

    __slots__ = ()


class Int16(int):
    """System.Int16."""

    __slots__ = ()


class UInt16(int):
    """System.UInt16."""

    __slots__ = ()


class UInt32(int):
    """System.UInt32."""

    __slots__ = ()


class Int64(int):
    """System.Int64. A plain int is an Int32 where it fits one."""

    __slots__ = ()


class UInt64(int):
    """System.UInt64."""

    __slots__ = ()


class BigInteger(int):
    """System.Numerics.BigInteger, whatever its size; a plain int is one where no Int64 can hold it."""

    __slots__ = ()


class Single(float):
    """System.Single: the number that its decimal text says; a plain float is a Double."""

    __slots__ = ()


class Char(str):
    """System.Char: one UTF-16 code unit, so that it may be half of a surrogate pair."""

    __slots__ = ()


class Uri(str):
    """System.Uri, absolute or not."""

    __slots__ = ()


class ScriptBlock(str):
    """The text of a script block, to be written as one; what is read is its plain text."""

    __slots__ = ()


class XmlDocument(str):
    """The text of a System.Xml.XmlDocument, well-formed."""

    __slots__ = ()


class Version(str):
    """System.Version: two to four numbers. Compare `parts`, not the text: 5.10 is later than 5.9."""

    __slots__ = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """The numbers, as many as were given."""
        return tuple(int(part) for part in self.split("."))


class DateTime(datetime):
    """A datetime with ticks of 100 ns: `tick` (0 to 9) is the seventh digit of the fraction."""

    __slots__ = ("tick",)
    tick: int

    def __new__(cls, *args: Any, tick: int = 0, **kwargs: Any) -> Self:  # noqa: D102
        self = super().__new__(cls, *args, **kwargs)
        self.tick = tick
        return self

    @classmethod
    def of(cls, value: datetime, tick: int) -> DateTime:
        """`value` with a seventh digit."""
        self = cls.combine(value.date(), value.timetz())
        self.tick = tick
        return self

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.tick == getattr(other, "tick", 0)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = datetime.__hash__


class TimeSpan(timedelta):
    """A timedelta with ticks of 100 ns: `tick` (0 to 9) is added to it, to a negative one too."""

    __slots__ = ("tick",)
    tick: int

    def __new__(cls, *args: Any, tick: int = 0, **kwargs: Any) -> Self:  # noqa: D102
        self = super().__new__(cls, *args, **kwargs)
        self.tick = tick
        return self

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.tick == getattr(other, "tick", 0)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = timedelta.__hash__


def span_ticks(value: timedelta) -> int:
    """The length of `value` in .NET's ticks of 100 ns."""
    return (value.days * 86_400_000_000 + value.seconds * 1_000_000 + value.microseconds) * 10 + getattr(
        value, "tick", 0
    )


def number_text(value: float, digits: int | None = None) -> str:
    """Write a float as .NET's format G does: `1E+16`, `1E-05`, `NaN`, `Infinity`.

    Args:
        value: The number.
        digits: Significant digits (G15, G7); None for the shortest text that reads back as the same number.
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    written = repr(float(value)) if digits is None else f"{value:.{digits - 1}e}"
    sign, numbers, exponent = Decimal(written).as_tuple()
    scale = len(numbers) + int(exponent)
    figures = "".join(map(str, numbers)).rstrip("0")
    minus = "-" if sign else ""
    if not figures:
        return minus + "0"
    if scale > max(digits or (9 if isinstance(value, Single) else 17), len(figures)) or scale < -3:
        fraction = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{minus}{figures[0]}{fraction}E{scale - 1:+03d}"
    if scale <= 0:
        return f"{minus}0.{'0' * -scale}{figures}"
    whole, fraction = figures[:scale].ljust(scale, "0"), figures[scale:]
    return f"{minus}{whole}.{fraction}" if fraction else minus + whole


def span_text(value: timedelta) -> str:
    """TimeSpan's constant format: `[-][d.]hh:mm:ss[.fffffff]`."""
    ticks = span_ticks(value)
    seconds, fraction = divmod(abs(ticks), 10_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    shown = f"{hours:02}:{minutes:02}:{seconds:02}" + (f".{fraction:07}" if fraction else "")
    return ("-" if ticks < 0 else "") + (f"{days}." if days else "") + shown
