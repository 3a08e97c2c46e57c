"""PowerShell's default display: what its console shows for a value when nobody says how.

Knows values and their formats. Must not know records, hosts or streams. A string is its lines, a list its items, a
dictionary a Name/Value table. A type of formats.py has its view; any other object is a table of its properties where it
has four at most and a list of them otherwise (notes count, hidden ones too; semantics of Invoke-Command).

Not as PowerShell: a list within a list is shown by its items, not by its Capacity and Count.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from remotejobs.views.cells import bare, cell_text, long_date, scalar_text
from remotejobs.views.formats import ListFormat, TableFormat, TextFormat, find_format, value_of
from remotejobs.views.layout import Column, Layout, console_layout, list_lines
from remotejobs.views.terminal import one_line
from remotejobs.wsman.clixml.values import PSObject, Version, span_ticks, text

ORIGIN = ("PSComputerName", "RunspaceId", "PSShowComputerName")
"""The notes that say where an object came from."""

_TABLE_PROPERTIES = 4  # PropertyCountForTable
_TABLE_COLUMNS = 10
_DEPTH = 8
_LINE_END = re.compile("\r\n|\r|\n")
_TICKS = 10_000_000
_MOST_MILLISECONDS = 922_337_203_685_477  # where .NET stops: TimeSpan.MaxValue without its fraction
_ENUM = "System.Enum"


class Lines(NamedTuple):
    """Text; `spaced` with a blank line before it."""

    lines: tuple[str, ...]
    spaced: bool = False


class Row(NamedTuple):
    """A row of a table; rows with the same columns and group stand under one header."""

    columns: tuple[Column, ...]
    cells: tuple[str, ...]
    group: str = ""


class Entry(NamedTuple):
    """An object as a list of its properties."""

    pairs: tuple[tuple[str, str], ...]


Block = Lines | Row | Entry


def display(value: Any, width: int | None) -> list[str]:
    """Return the lines that PowerShell's console shows for `value`.

    Args:
        value: As CLIXML gave it.
        width: Columns; tables are cut to it and lists wrapped, strings are not. None for no limit.
    """
    return list(Printer(width).lines(blocks(value)))


def blocks(value: Any, depth: int = _DEPTH) -> Iterator[Block]:
    """Take a value apart into what stands in lines, rows and lists; `$null` is nothing."""
    if isinstance(value, PSObject) and _is_plain(value):
        yield _object_block(value)
        return
    inner = bare(value)
    if isinstance(inner, dict):
        for key, item in inner.items():
            entry = {"Name": key, "Value": item}
            yield _object_block(PSObject(("System.Collections.DictionaryEntry",), adapted=entry))
    elif isinstance(inner, (list, tuple, bytes)) and depth:
        for item in inner:
            yield from blocks(item, depth - 1)
    elif (members := _members(inner)) is not None:
        yield _object_block(members)
    elif inner is not None:
        yield Lines(tuple(_LINE_END.split(scalar_text(inner))))


class Printer:
    """Writes blocks one after the other; a table goes on where the next row is of the same kind and fits.

    Args:
        width: Columns; None for no limit.
    """

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._layout: Layout | None = None
        self._group = ""
        self._gap = False

    def lines(self, blocks: Iterable[Block]) -> Iterator[str]:
        """Yield the lines of `blocks`; the first of a table or list is blank."""
        for _, run in groupby(blocks, key=_kind):
            items = list(run)
            if isinstance(items[0], Row):
                yield from self._table([item for item in items if isinstance(item, Row)])
                continue
            self._layout = None
            for item in items:
                if isinstance(item, Entry):
                    yield ""
                    yield from list_lines(item.pairs, self._width)
                    self._gap = True
                elif isinstance(item, Lines):
                    if item.spaced or self._gap:
                        yield ""
                    yield from item.lines
                    self._gap = item.spaced

    def _table(self, rows: list[Row]) -> Iterator[str]:
        columns, group = rows[0].columns, rows[0].group
        cells = [row.cells for row in rows]
        layout, same = self._layout, group == self._group
        if layout is None or not same or _labels(layout.columns) != _labels(columns) or not layout.fits(cells):
            layout = console_layout(columns, cells, self._width)
            yield from ["", *group.split("\n")] if group else []
            yield ""
            yield from layout.header()
        yield from map(layout.row, cells)
        self._layout, self._group, self._gap = layout, group, True


def without_origin(value: Any) -> Any:
    """Return `value` as it was on its host: without the notes that say where it came from."""
    if not isinstance(value, PSObject) or "PSComputerName" not in value.extended:
        return value
    kept = {name: item for name, item in value.extended.items() if name not in ORIGIN}
    return PSObject(value.type_names, value.to_string, value.base, value.adapted, kept)


def visible_properties(target: PSObject) -> dict[str, Any]:
    """Return the properties that are shown: PSComputerName when it may be, PSShowComputerName never."""
    shown = target.properties
    if is_enum(target):
        shown["Value"] = text(target)  # a script property of PowerShell's own
    show = shown.pop("PSShowComputerName", False)
    if show is not True:
        shown.pop("PSComputerName", None)
    return shown


def is_enum(target: PSObject) -> bool:
    """Tell whether an object is the value of an enumeration."""
    return any(name.endswith(_ENUM) for name in target.type_names)


def column_of(label: str, value: Any) -> Column:
    """Return a column for a property, numbers and booleans to the right as PowerShell has them."""
    inner = bare(value)
    right = isinstance(inner, (int, float)) and not (isinstance(value, PSObject) and is_enum(value))
    return Column(one_line(label), right=right or type(inner).__name__ in ("Decimal", "Char"))


def _is_plain(value: PSObject) -> bool:
    """True for what is shown as an object; the others are shown as the value inside."""
    return bare(value) is value or is_enum(value)


def _object_block(target: PSObject) -> Block:
    found = find_format(target.type_names)
    show = target.get("PSShowComputerName") is True
    if isinstance(found, TableFormat):
        columns = [field.column for field in found.fields]
        cells = [cell_text(field.value(target)) for field in found.fields]
        if show:
            columns.append(Column("PSComputerName"))
            cells.append(cell_text(target.get("PSComputerName")))
        return Row(tuple(columns), tuple(cells), found.group(target) if found.group else "")
    if isinstance(found, ListFormat):
        names = [*found.names, "PSComputerName"] if show else found.names
        return Entry(tuple((name, cell_text(target.get(name))) for name in names))
    if isinstance(found, TextFormat):
        said = value_of(target, found.source)
        return Lines(tuple(_LINE_END.split(text(target) if said is None else cell_text(said))), spaced=True)
    shown = visible_properties(target)
    if not shown:
        return Lines(tuple(_LINE_END.split(text(target))))
    if len(target.properties) + is_enum(target) > _TABLE_PROPERTIES:
        return Entry(tuple((name, cell_text(item)) for name, item in shown.items()))
    columns = [column_of(name, item) for name, item in shown.items()][:_TABLE_COLUMNS]
    return Row(tuple(columns), tuple(cell_text(item) for item in shown.values())[:_TABLE_COLUMNS])


def _members(value: Any) -> PSObject | None:
    """Return a natural value with the properties that its view asks for; None for what is shown as its text."""
    if isinstance(value, datetime):
        return PSObject(("System.DateTime",), adapted={"DateTime": long_date(value)})
    if isinstance(value, timedelta):
        return PSObject(("System.TimeSpan",), adapted=_span_members(value))
    if isinstance(value, uuid.UUID):
        return PSObject(("System.Guid",), adapted={"Guid": str(value)})
    if isinstance(value, Version):
        parts = [*value.parts, -1, -1][:4]
        names = ("Major", "Minor", "Build", "Revision")
        return PSObject(("System.Version",), adapted=dict(zip(names, parts, strict=True)))
    return None


def _span_members(value: timedelta) -> dict[str, Any]:
    """The properties of a TimeSpan; .NET's division goes towards zero."""
    ticks, milliseconds = span_ticks(value), span_ticks(value) / 10_000
    sign = -1 if ticks < 0 else 1
    seconds, fraction = divmod(abs(ticks), _TICKS)
    return {
        "Days": sign * (seconds // 86400),
        "Hours": sign * (seconds // 3600 % 24),
        "Minutes": sign * (seconds // 60 % 60),
        "Seconds": sign * (seconds % 60),
        "Milliseconds": sign * (fraction // 10_000),
        "Ticks": ticks,
        "TotalDays": ticks / (86400 * _TICKS),
        "TotalHours": ticks / (3600 * _TICKS),
        "TotalMinutes": ticks / (60 * _TICKS),
        "TotalSeconds": ticks / _TICKS,
        "TotalMilliseconds": max(min(milliseconds, _MOST_MILLISECONDS), -_MOST_MILLISECONDS),
    }


def _kind(block: Block) -> tuple[str, Any, str]:
    if isinstance(block, Row):
        return ("row", _labels(block.columns), block.group)
    return (type(block).__name__, None, "")


def _labels(columns: Iterable[Column]) -> tuple[str, ...]:
    return tuple(column.label for column in columns)
