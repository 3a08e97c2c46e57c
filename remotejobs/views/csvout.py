"""The Csv format: the objects as ConvertTo-Csv -NoTypeInformation writes them, and which host each is of.

Knows CSV. Must not know screens. There is one header for all hosts: the first object decides on the columns, as in
PowerShell, and what a later one has more is left out and said once. Every value is quoted, `$null` is nothing, a value
within another is what its ToString() gives (culture en-US). RunspaceId is left out, and a string or number is a column
`Value`, where PowerShell has only its Length. A text that a spreadsheet would take for a formula gets an apostrophe in
front; numbers do not.
"""

from __future__ import annotations

import math
import re
from typing import Any, TextIO

from remotejobs.jobs.received import ReceivedRecord
from remotejobs.views.cells import bare, scalar_text
from remotejobs.views.console import Console, StreamView
from remotejobs.views.display import is_enum, visible_properties, without_origin
from remotejobs.views.terminal import encodable
from remotejobs.wsman.clixml.values import PSObject, number_text

MOST_COLUMNS = 1_000
"""Columns of the one header; what an object has more is left out."""

_NAME = "PSComputerName"
_FORMULA = re.compile(r"[=+\-\t\r]|@(?!\{)")  # @{A=1} is an object within an object
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)*(?:[Ee][+-]?[0-9]+)?")


class CsvView(StreamView):
    """Csv, row by row as objects come."""

    def __init__(self, out: TextIO, console: Console, show_name: bool) -> None:
        super().__init__(out, console)
        self._show_name = show_name
        self._header: list[str] | None = None
        self._told = False

    def output(self, item: ReceivedRecord, value: Any) -> None:
        """Write one object, a list as its items."""
        for row in _rows(without_origin(value)):
            if self._header is None:
                self._header = [*row][:MOST_COLUMNS]
                self._write([*self._header, _NAME] if self._show_name else [*self._header])
            by_name = {name.lower(): text for name, text in row.items()}
            cells = [by_name.get(name.lower()) for name in self._header]
            self._write([*cells, item.computer_name] if self._show_name else cells)
            known = {name.lower() for name in self._header}
            if not self._told and not by_name.keys() <= known:
                self._told = True
                more = ", ".join(name for name in row if name.lower() not in known)
                self.console.note(
                    item.computer_name,
                    f"an object has more than the columns of the first one, and that is left out: {more}. "
                    "Select-Object in the script gives all the same columns; -OutputFormat Jsonl keeps everything.",
                )
        self.out.flush()

    def _write(self, cells: list[str | None]) -> None:
        self.console.clear()
        self.out.write(encodable(",".join(map(quoted, cells))) + "\n")


def _rows(value: Any, depth: int = 8) -> list[dict[str, str | None]]:
    inner = bare(value)
    if isinstance(inner, (list, tuple)) and depth:
        return [row for item in inner for row in _rows(item, depth - 1)]
    if isinstance(inner, dict):
        return [{scalar_text(key): _text(item) for key, item in inner.items()}]
    if isinstance(value, PSObject) and inner is value and not is_enum(value):
        return [{name: _text(item) for name, item in visible_properties(value).items()}]
    return [] if inner is None else [{"Value": _text(value)}]


def _text(value: Any) -> str | None:
    """The text of one property: nothing for `$null`, a list by its items with blanks between them."""
    inner = bare(value)
    if isinstance(inner, float) and math.isfinite(inner):
        return number_text(inner)  # all its digits, where the console shows fifteen
    return None if value is None else scalar_text(value)


def quoted(text: str | None) -> str:
    """Return one cell: nothing for None, else in quotes, and harmless to a spreadsheet."""
    if text is None:
        return ""
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"'
