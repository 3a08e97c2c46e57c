"""What a script that ends in Format-Table or Format-List sends: its console's layout in place of objects.

Knows PowerShell's format records, which come as objects with types of Microsoft.PowerShell.Commands.Internal.Format.
Must not know records or hosts. PowerShell's own Invoke-Command shows them as the table or list that they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from remotejobs.views.cells import bare, cell_text
from remotejobs.views.display import Block, Entry, Lines, Row
from remotejobs.views.layout import Column
from remotejobs.views.terminal import one_line
from remotejobs.wsman.clixml.values import PSObject

_NAMESPACE = "Microsoft.PowerShell.Commands.Internal.Format."
_RIGHT = 3  # TextAlignment.Right
_DEPTH = 16
_MOST_COLUMNS = 100  # of a table; what it has more is left out


def format_type(value: Any) -> str:
    """Return the short type name of a format record, empty for every other value."""
    if not isinstance(value, PSObject) or not value.type_names:
        return ""
    name = value.type_names[0].removeprefix("Deserialized.")
    return name[len(_NAMESPACE) :] if name.startswith(_NAMESPACE) else ""


class FormatData:
    """One stream of format records; the first one tells the columns of the rows that follow."""

    def __init__(self) -> None:
        self._columns: tuple[Column, ...] = ()
        self._group = ""

    def blocks(self, value: PSObject) -> Iterator[Block]:
        """Yield what one record shows: most show nothing."""
        kind = format_type(value)
        if kind == "FormatStartData":
            self._columns, self._group = _columns(value.get("shapeInfo")), ""
        elif kind == "GroupStartData":
            self._group = "".join(_texts(value.get("groupingEntry"))).strip("\r\n")
        elif kind == "FormatEntryData":
            yield from self._entry(value.get("formatEntryInfo"))

    def _entry(self, entry: Any) -> Iterator[Block]:
        kind = format_type(entry)
        if kind == "TableRowEntry":
            fields = _items(entry.get("formatPropertyFieldList"))
            cells = [cell_text(field.get("propertyValue")) for field in fields][: len(self._columns)]
            cells += [""] * (len(self._columns) - len(cells))
            if cells:
                yield Row(self._columns, tuple(cells), self._group)
        elif kind == "ListViewEntry":
            fields = _items(entry.get("listViewFieldList"))
            yield Entry(tuple((_label(field), _value(field.get("formatPropertyField"))) for field in fields))
        elif kind == "WideViewEntry":
            yield Lines((one_line(_value(entry.get("formatPropertyField"))),))
        elif kind == "RawTextFormatEntry":
            yield Lines(tuple(cell_text(entry.get("text")).splitlines()))
        elif kind:
            yield Lines(tuple("".join(_texts(entry)).splitlines()))


def _columns(shape: Any) -> tuple[Column, ...]:
    if format_type(shape) != "TableHeaderInfo":
        return ()
    return tuple(
        Column(one_line(_label(column)), _width(column.get("width")), column.get("alignment") == _RIGHT)
        for column in _items(shape.get("tableColumnInfoList"))[:_MOST_COLUMNS]
    )


def _label(field: PSObject) -> str:
    return cell_text(field.get("label") or field.get("propertyName"))


def _width(value: Any) -> int:
    return min(max(value, 0), 1000) if isinstance(value, int) else 0


def _value(field: Any) -> str:
    return cell_text(field.get("propertyValue")) if isinstance(field, PSObject) else ""


def _items(value: Any) -> list[PSObject]:
    inner = bare(value)
    return [item for item in inner if isinstance(item, PSObject)] if isinstance(inner, list) else []


def _texts(value: Any, depth: int = _DEPTH) -> Iterator[str]:
    """Yield the texts in a custom view, which nests frames, texts, properties and line ends."""
    kind = format_type(value)
    if kind == "FormatNewLine":
        yield "\n"
    elif kind == "FormatTextField":
        yield cell_text(value.get("text"))
    elif kind == "FormatPropertyField":
        yield _value(value)
    elif depth and kind:
        for name in ("groupingEntry", "formatValueList", "formatValue"):
            yield from _texts(value.get(name), depth - 1)
    elif depth:
        for item in _items(value):
            yield from _texts(item, depth - 1)
