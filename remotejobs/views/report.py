"""The Table and List formats: all hosts together, each object with the name of its host.

Knows which properties a report has. Must not know how a table is drawn. A table needs all of its rows to be laid out,
so it comes at the end; after MOST_ROWS rows it is written and a new one begun, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO

from remotejobs.jobs.received import ReceivedRecord
from remotejobs.views.cells import bare, cell_text
from remotejobs.views.console import Console, StreamView
from remotejobs.views.display import column_of, is_enum, shown_properties, without_origin
from remotejobs.views.formats import ListFormat, TableFormat, find_format
from remotejobs.views.layout import Column, list_lines, report_layout
from remotejobs.views.terminal import encodable, harmless
from remotejobs.wsman.clixml.values import PSObject, text

MOST_ROWS = 10_000
"""Rows that are laid out together."""

MOST_COLUMNS = 100
"""Columns of one table; what an object has more is left out."""

_NAME = "PSComputerName"
_VALUE = "Value"
_DEPTH = 8


class _Table:
    """Rows of one kind, and the union of their columns in the order in which they turned up."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}
        self.rows: list[tuple[int, str, dict[str, str]]] = []

    def lines(self, width: int | None, *, show_name: bool) -> Iterator[str]:
        """Yield the table, rows in the order of the target list."""
        columns = [*self.columns.values(), Column(_NAME)] if show_name else list(self.columns.values())
        cells = []
        for _, name, row in sorted(self.rows, key=lambda each: each[0]):
            texts = [row.get(column, "") for column in self.columns]
            cells.append([*texts, name] if show_name else texts)
        if columns:
            layout = report_layout(columns, cells, width, keep_last=show_name)
            yield from layout.header()
            yield from map(layout.row, cells)


class _Cells(NamedTuple):
    """One object: what kind of table it goes to, and its columns with their texts."""

    kind: tuple[str, ...]
    cells: list[tuple[Column, str]]


class TableView(StreamView):
    """Format-Table over all hosts."""

    def __init__(self, out: TextIO, console: Console, show_name: bool, width: int | None) -> None:
        super().__init__(out, console)
        self._show_name = show_name
        self._width = width
        self._tables: dict[tuple[str, ...], _Table] = {}
        self._count = 0
        self._written = False
        self._then: list[Callable[[], None]] = []

    def output(self, item: ReceivedRecord, value: Any) -> None:
        """Keep one object until the table is laid out."""
        for kind, cells in _table_cells(without_origin(value)):
            table = self._tables.setdefault(kind, _Table())
            for column, _ in cells:
                if len(table.columns) < MOST_COLUMNS:
                    table.columns.setdefault(column.label.lower(), column)
            row = {column.label.lower(): shown for column, shown in cells}
            table.rows.append((item.child_id, item.computer_name, row))
            self._count += 1
            if self._count >= MOST_ROWS:
                self._write()

    def written(self, then: Callable[[], None]) -> None:
        """Call `then` when the rows so far are on the screen."""
        self._then.append(then)
        if not self._count:
            self._write()

    def close(self) -> None:
        """Write the tables."""
        self._write()
        super().close()

    def _write(self) -> None:
        self.console.clear()
        for table in self._tables.values():
            lines = "\n".join(table.lines(self._width, show_name=self._show_name))
            self.out.write(_safe(("\n" if self._written else "") + lines + "\n", self._width))
            self._written = True
        self._tables.clear()
        self._count = 0
        self.out.flush()
        while self._then:
            self._then.pop(0)()


class ListView(StreamView):
    """Format-List, object by object as they come."""

    def __init__(self, out: TextIO, console: Console, show_name: bool, width: int | None) -> None:
        super().__init__(out, console)
        self._show_name = show_name
        self._width = width
        self._written = False

    def output(self, item: ReceivedRecord, value: Any) -> None:
        """Write one object, a list as its items."""
        for pairs in _list_pairs(without_origin(value)):
            shown = [*pairs, (_NAME, item.computer_name)] if self._show_name else pairs
            lines = "\n".join(list_lines(shown, self._width))
            self.console.clear()
            self.out.write(_safe(("\n" if self._written else "") + lines + "\n", self._width))
            self._written = True
        self.out.flush()


def _table_cells(value: Any) -> Iterator[_Cells]:
    for target in _objects(value, _DEPTH):
        found = find_format(target) if isinstance(target, PSObject) else None
        if isinstance(found, TableFormat):
            cells = [(field.column, _text(field.value(target))) for field in found.fields]
            yield _Cells(tuple(field.column.label for field in found.fields), cells)
        else:
            kind = () if isinstance(target, PSObject) else (_VALUE,)
            yield _Cells(kind, [(column_of(name, item), _text(item)) for name, item in _members(target).items()])


def _list_pairs(value: Any) -> Iterator[list[tuple[str, str]]]:
    for target in _objects(value, _DEPTH):
        yield [(name, _text(item)) for name, item in _members(target).items()]


def _text(value: Any) -> str:
    return cell_text(value).strip("\r\n")


def _members(target: Any) -> dict[str, Any]:
    if not isinstance(target, PSObject):
        return {_VALUE: target}
    found = find_format(target)
    if isinstance(found, ListFormat):
        return {name: target.get(name) for name in found.names}
    return shown_properties(target)


def _objects(value: Any, depth: int) -> Iterator[Any]:
    """Yield what is one row each: the items of a list, the entries of a dictionary; a PSObject has members to show."""
    inner = bare(value)
    if isinstance(inner, dict):
        for key, item in inner.items():
            yield PSObject(("System.Collections.DictionaryEntry",), adapted={"Name": key, "Value": item})
    elif isinstance(inner, (list, tuple)) and depth:
        for item in inner:
            yield from _objects(item, depth - 1)
    elif isinstance(value, PSObject) and is_enum(value):
        yield text(value)
    elif inner is not None:
        yield inner


def _safe(text: str, width: int | None) -> str:
    return harmless(text) if width is not None else encodable(text)
