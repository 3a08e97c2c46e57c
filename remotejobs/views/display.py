"""PowerShell's default display: what its console shows for a value when nobody says how.

Knows values and their formats. Must not know records, hosts or streams. A string is its lines, a list its items, a
dictionary a Name/Value table. A type of formats.py has its view; any other object is a table of its properties where it
has four at most and a list of them otherwise (notes count, hidden ones too; semantics of Invoke-Command).

The first object of a run decides how it is shown. What follows and has no place in its view is a list of its
properties; a string or a number is a line among the others, and the table goes on below it. Source: PowerShell's
InnerFormatShapeCommand and OutOfBandFormatViewManager.

Not as PowerShell: a list within a list is shown by its items, not by its Capacity and Count; and a table without a view
never leaves cells empty or properties out for an object of another kind, which gets a table or list of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from remotejobs.views.cells import bare, cell_text, scalar_text
from remotejobs.views.formats import Format, ListFormat, TableFormat, TextFormat, find_format, property_set, value_of
from remotejobs.views.layout import Column, Layout, console_layout, list_lines
from remotejobs.views.members import with_members
from remotejobs.views.terminal import one_line
from remotejobs.wsman.clixml.values import PSObject, text

ORIGIN = ("PSComputerName", "RunspaceId", "PSShowComputerName")
"""The notes that say where an object came from."""

_TABLE_PROPERTIES = 4  # PropertyCountForTable
_TABLE_COLUMNS = 10
_DEPTH = 8
_LINE_END = re.compile("\r\n|\r|\n")
_ENUM = "System.Enum"


class Lines(NamedTuple):
    """Text: a value, or an object whose `view` is a text; `target` is that object."""

    lines: tuple[str, ...]
    view: Format | None = None
    target: PSObject | None = None


class Row(NamedTuple):
    """A row of a table; rows with the same columns and group stand under one header.

    `view` is None where PowerShell has none for the type, and `target` the object, for where the view has no place.
    """

    columns: tuple[Column, ...]
    cells: tuple[str, ...]
    group: str = ""
    view: Format | None = None
    target: PSObject | None = None


class Entry(NamedTuple):
    """An object as a list of its properties; `view` and `target` as those of a row.

    `aside` is one whose type has no place in the view of the objects around it.
    """

    pairs: tuple[tuple[str, str], ...]
    view: Format | None = None
    target: PSObject | None = None
    aside: bool = False


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
            entry = {"Key": key, "Value": item, "Name": key}
            yield _object_block(PSObject(("System.Collections.DictionaryEntry",), adapted=entry))
    elif isinstance(inner, (list, tuple, bytes)) and depth:
        for item in inner:
            yield from blocks(item, depth - 1)
    elif (members := with_members(inner)) is not None:
        if isinstance(value, PSObject):
            members.extended = value.extended
        yield _object_block(members)
    elif inner is not None:
        yield Lines(tuple(_LINE_END.split(scalar_text(inner))))


class Printer:
    """Writes blocks one after the other; a table goes on where the next row is of the same kind and fits.

    Args:
        width: Columns; None for no limit. It may be set anew.
    """

    def __init__(self, width: int | None) -> None:
        self.width = width
        self._first: _First | None = None
        self._began = self._written = 0
        self._layout: Layout | None = None
        self._group = ""
        self._owes_blank = False

    def resume(self) -> None:
        """Something else was written: the next row needs its header again."""
        self._began += 1
        self._owes_blank = False

    def lines(self, blocks: Iterable[Block]) -> Iterator[str]:
        """Yield the lines of `blocks`; the first of a table or list is blank."""
        placed = map(self._placed, blocks)
        for (began, _), run in groupby(placed, key=lambda each: (each[0], _kind(each[1]))):
            items = [block for _, block in run]
            if isinstance(items[0], Row):
                yield from self._table([item for item in items if isinstance(item, Row)], began)
                continue
            for item in items:
                aside = item.aside if isinstance(item, Entry) else isinstance(item, Lines) and item.view is None
                yield from self._blank(begins=not aside and began != self._written)
                if not aside:
                    self._written = began
                if isinstance(item, Lines):
                    yield from item.lines
                elif isinstance(item, Entry):
                    yield from [""] if aside else []
                    yield from list_lines(item.pairs, self.width)
                    self._owes_blank = True

    def _placed(self, block: Block) -> tuple[int, Block]:
        """Return `block` as the view of the first object lets it be shown, and how many views have begun with it."""
        if isinstance(block, Lines) and block.view is None:
            return self._began, block
        first, target = self._first, block.target
        if first is not None and first.of_object and target is not None:
            if first.view is not None and block.view is not first.view:
                return self._began, Entry(_pairs(target), aside=True)
            if first.view is None and first.kind[0] is Entry:
                return self._began, Entry(_pairs(target))
        kind = _kind(block)[:2]
        if first is None or kind != first.kind or block.view is not first.view:
            self._first = _First(kind, block.view, target is not None)
            self._began += 1
        return self._began, block

    def _blank(self, *, begins: bool) -> Iterator[str]:
        """Yield the blank line that is due: below a list, or above what begins."""
        if self._owes_blank or begins:
            yield ""
        self._owes_blank = False

    def _table(self, rows: list[Row], began: int) -> Iterator[str]:
        columns, group = rows[0].columns, rows[0].group
        cells = [row.cells for row in rows]
        layout = self._layout if began == self._written else None
        if layout is None or group != self._group or not layout.fits(cells):
            layout = console_layout(columns, cells, self.width)
            yield from ["", *group.split("\n")] if group else []
            yield ""
            yield from layout.header()
            self._owes_blank = False
        yield from self._blank(begins=False)
        yield from map(layout.row, cells)
        self._layout, self._group, self._written = layout, group, began


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
    found = find_format(target)
    show = target.get("PSShowComputerName") is True
    if isinstance(found, TableFormat):
        columns = [field.column for field in found.fields]
        cells = [cell_text(field.value(target)) for field in found.fields]
        if show:
            columns.append(Column("PSComputerName"))
            cells.append(cell_text(target.get("PSComputerName")))
        return Row(tuple(columns), tuple(cells), found.group(target) if found.group else "", found, target)
    if isinstance(found, ListFormat):
        names = [*found.names, "PSComputerName"] if show else found.names
        return Entry(tuple((name, cell_text(target.get(name))) for name in names), found, target)
    if isinstance(found, TextFormat):
        said = value_of(target, found.source)
        lines = tuple(_LINE_END.split(text(target) if said is None else cell_text(said)))
        return Lines(lines) if found.aside else Lines(lines, found, target)
    shown = shown_properties(target)
    if not shown:
        return Lines(tuple(_LINE_END.split(text(target))))
    names = property_set(target.type_names)
    count = sum(name in target for name in names) or len(target.properties) + is_enum(target)
    if count > _TABLE_PROPERTIES:
        return Entry(_pairs(target), None, target)
    columns = [column_of(name, item) for name, item in shown.items()][:_TABLE_COLUMNS]
    cells = [cell_text(item) for item in shown.values()][:_TABLE_COLUMNS]
    return Row(tuple(columns), tuple(cells), target=target)


def shown_properties(target: PSObject) -> dict[str, Any]:
    """Return the properties that an object without a view is shown by: the default ones of its type, else all."""
    names = [name for name in property_set(target.type_names) if name in target]
    if not names:
        return visible_properties(target)
    if target.get("PSShowComputerName") is True:
        names.append("PSComputerName")
    return {name: target.get(name) for name in names}


def _pairs(target: PSObject) -> tuple[tuple[str, str], ...]:
    return tuple((name, cell_text(item)) for name, item in shown_properties(target).items())


class _First(NamedTuple):
    """What the first object of a run decided."""

    kind: tuple[type[Block], tuple[str, ...]]
    view: Format | None
    of_object: bool


def _kind(block: Block) -> tuple[type[Block], tuple[str, ...], str]:
    if isinstance(block, Row):
        return Row, tuple(column.label for column in block.columns), block.group
    return type(block), (), ""
