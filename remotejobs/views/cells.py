"""A value as the text of one cell or line, in the words of PowerShell's console (culture en-US).

Knows values. Must not know tables, widths or records. A value inside another is never followed further than its name,
so that cycles, depth and size do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from remotejobs.wsman.clixml.values import NO_BASE, PSObject, text, type_name

ENUMERATION_LIMIT = 4
"""PowerShell's $FormatEnumerationLimit: the items of a list that a cell shows."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""From datetime.weekday() to System.DayOfWeek."""

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def bare(value: Any) -> Any:
    """Return the primitive value or container inside `value`, or `value` itself where it has members only."""
    return value.base if isinstance(value, PSObject) and value.base is not NO_BASE else value


def cell_text(value: Any) -> str:
    """Return what PowerShell writes for a property: `{a, b}` for a list, nothing for `$null`."""
    inner = bare(value)
    if isinstance(inner, dict):
        return _braces(f"[{scalar_text(key)}, {_named(item)}]" for key, item in _first(inner.items()))
    if isinstance(inner, (list, tuple, bytes)):
        return _braces("$null" if item is None else scalar_text(item) for item in _first(inner))
    return scalar_text(value)


def scalar_text(value: Any) -> str:
    """Return what PowerShell writes for a value that is not taken apart: dates and numbers as people write them."""
    inner = bare(value) if isinstance(value, PSObject) and value.to_string is None else value
    if isinstance(inner, datetime):
        return f"{short_date(inner)} {_time(inner, seconds=True)}"
    if isinstance(inner, float) and math.isinf(inner):
        return "∞" if inner > 0 else "-∞"
    return text(inner)


def short_date(value: datetime) -> str:
    """Return a date as `11/20/2026`."""
    return f"{value.month}/{value.day}/{value.year:04}"


def short_time(value: datetime) -> str:
    """Return a time as `3:04 PM`."""
    return _time(value, seconds=False)


def long_date(value: datetime) -> str:
    """Return a point in time as `Friday, November 20, 2026 3:04:05 PM`, whatever this computer's locale."""
    day, month = WEEKDAYS[value.weekday()], _MONTHS[value.month - 1]
    return f"{day}, {month} {value.day}, {value.year:04} {_time(value, seconds=True)}"


def event_time(value: datetime) -> str:
    """Return a point in time as `Nov 20 15:04`."""
    return f"{_MONTHS[value.month - 1][:3]} {value.day:02} {value.hour:02}:{value.minute:02}"


def _time(value: datetime, *, seconds: bool) -> str:
    second = f":{value.second:02}" if seconds else ""
    return f"{value.hour % 12 or 12}:{value.minute:02}{second} {'AM' if value.hour < 12 else 'PM'}"


def _first(items: Iterable[Any]) -> list[Any]:
    return list(islice(items, ENUMERATION_LIMIT + 1))


def _braces(texts: Iterable[str]) -> str:
    shown = list(texts)
    more = "…" if len(shown) > ENUMERATION_LIMIT else ""
    return f"{{{', '.join(shown[:ENUMERATION_LIMIT])}{more}}}"


def _named(item: Any) -> str:
    inner = bare(item)
    return type_name(inner) if isinstance(inner, (list, tuple, dict)) else scalar_text(item)
