"""Tables and lists of text, laid out as PowerShell does (its TableWriter, ColumnWidthManager and ListWriter).

Knows columns, cells and widths. Must not know values or records: cells are text already. A width of None is a pipe or a
file, where nothing is cut or wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from remotejobs.views.terminal import cell_width, head, one_line, tail

ELLIPSIS = "…"
_LINE_END = re.compile("\r\n|\r|\n")
_WORD = re.compile(r"[^ \t]*[ \t]|[^ \t]+")
_SEPARATOR = " : "
_WIDEST = 500  # columns that are kept free for one column in a pipe; a longer text moves what stands behind it
_WIDEST_ROW = 5_000  # likewise for all columns of a report
_WIDEST_LABEL = 100  # columns that the labels of a list have in a pipe
_NARROWEST_FIELD = 10  # columns that they leave on a screen (ListWriter)
_READABLE = 8  # columns that a cell keeps before columns are left out


class Column(NamedTuple):
    """One column; the label has no line end. A `width` of 0 goes by the content, or by the room that others leave."""

    label: str
    width: int = 0
    right: bool = False


class Layout(NamedTuple):
    """Columns with the widths that they got; 0 is a column that is left out."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    cut: bool

    def header(self) -> list[str]:
        """Return the labels and the dashes under them. A label wider than its column takes several lines."""
        labels = [cut_up(column.label, width) for column, width in self._shown()]
        lines = [self._line([label[at] if at < len(label) else "" for label in labels]) for at in range(_most(labels))]
        return [*lines, self._line(["-" * min(cell_width(c.label), width) for c, width in self._shown()])]

    def row(self, cells: Sequence[str]) -> str:
        """Return one row; a cell is cut at its first line end, and at its width."""
        shown = zip(cells, self.columns, self.widths, strict=True)
        return self._line([fitted(text, width, column.right, self.cut) for text, column, width in shown if width])

    def fits(self, rows: Iterable[Sequence[str]]) -> bool:
        """Tell whether rows can follow under the same header without losing or moving anything."""
        return all(
            cell_width(text) <= width or column.width > 0 or width >= _WIDEST
            for cells in rows
            for text, column, width in zip(cells, self.columns, self.widths, strict=True)
        )

    def _shown(self) -> list[tuple[Column, int]]:
        return [(column, width) for column, width in zip(self.columns, self.widths, strict=True) if width]

    def _line(self, texts: Sequence[str]) -> str:
        parts = []
        for text, (column, width) in zip(texts, self._shown(), strict=True):
            padding = " " * (width - cell_width(text))
            parts.append(padding + text if column.right else text + padding)
        return " ".join(parts).rstrip()


def console_layout(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None) -> Layout:
    """Lay a table out as PowerShell's console does: what does not fit is cut, then left out, from the right."""
    content = _content_widths(columns, rows)
    if width is None:
        widths = [max(column.width, min(needed, _WIDEST)) for column, needed in zip(columns, content, strict=True)]
        return Layout(tuple(columns), tuple(widths), cut=False)
    if any(column.width for column in columns):
        widths = _share([column.width for column in columns], width)
    else:
        widths = content
    return Layout(tuple(columns), tuple(_trim(widths, width)), cut=True)


def report_layout(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None, *, keep_last: bool
) -> Layout:
    """Lay a table out by its content: the widest columns give way first, then the last ones are left out.

    Args:
        columns: The columns, whose own widths do not count.
        rows: All cells.
        width: Columns of the screen; None for no limit.
        keep_last: The last column stays whole: it says which host a row is of.
    """
    widths = [min(each, width or _WIDEST) for each in _content_widths(columns, rows)]
    room = width or _WIDEST_ROW
    yielding = list(range(len(widths) - keep_last))
    while _total(widths) > room and yielding:
        widest = max(yielding, key=widths.__getitem__)
        if widths[widest] > _READABLE or (len(yielding) == 1 and not keep_last):
            widths[widest] -= 1
        else:
            widths[yielding.pop()] = 0
    return Layout(tuple(columns), tuple(widths), cut=width is not None)


def list_lines(pairs: Sequence[tuple[str, str]], width: int | None) -> Iterator[str]:
    """Yield `Label : text` lines, the labels aligned, long texts wrapped and hanging."""
    pairs = [(one_line(label), text) for label, text in pairs]
    widest = max((cell_width(label) for label, _ in pairs), default=0)
    if width is None:
        label_width, room = min(widest, _WIDEST_LABEL), None
    else:
        label_width = min(widest, max(width - len(_SEPARATOR) - _NARROWEST_FIELD, 1))
        room = max(width - label_width - len(_SEPARATOR), 1)
    if width is not None:
        pairs = [(head(label, label_width), text) for label, text in pairs]
    for label, text in pairs:
        prefix = label + " " * (label_width - cell_width(label)) + _SEPARATOR
        for line in _LINE_END.split(text):
            for piece in wrap(line, room):
                yield (prefix + piece).rstrip()
                prefix = " " * (label_width + len(_SEPARATOR))


def wrap(line: str, width: int | None) -> Iterator[str]:
    """Break one line between words, or within one that is wider than `width`. A word keeps the blank behind it."""
    if width is None or cell_width(line) <= width:
        yield line
        return
    current, used = "", 0
    for word in _WORD.findall(line):
        if cell_width(word) <= width:
            pieces = [word]
        else:
            first = head(word, width - used)
            pieces = [first, *cut_up(word[len(first) :], width)]
        for piece in pieces:
            if used + cell_width(piece) > width:
                yield current
                current, used = "", 0
            current += piece
            used += cell_width(piece)
    yield current


def _content_widths(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[int]:
    widths = [cell_width(column.label) for column in columns]
    for cells in rows:
        for index, text in enumerate(cells):
            if len(text) * 2 > widths[index]:
                widths[index] = max(widths[index], cell_width(text))
    return [max(each, 1) for each in widths]


def _share(widths: list[int], width: int) -> list[int]:
    """Give the room that is left to the columns without a width, column by column."""
    flexible = [index for index, each in enumerate(widths) if not each]
    if not flexible:
        return widths
    room = width - _total([each or 1 for each in widths])
    each, more = divmod(max(room, 0), len(flexible))
    shared = {index: 1 + each + (at < more) for at, index in enumerate(flexible)}
    return [shared.get(index, own) for index, own in enumerate(widths)]


def _trim(widths: list[int], width: int) -> list[int]:
    """Shrink the last column that shows, or leave it out, until the table fits."""
    widths = list(widths)
    for index in reversed(range(len(widths))):
        excess = _total(widths) - width
        if excess <= 0:
            break
        widths[index] = max(widths[index] - excess, 0)
    return widths


def _total(widths: Iterable[int]) -> int:
    shown = [each for each in widths if each]
    return sum(shown) + max(len(shown) - 1, 0)


def fitted(text: str, width: int, right: bool, cut: bool) -> str:
    """Return the text of one cell: with `cut` no wider than `width` and without what follows a line end."""
    if not cut:
        return one_line(text) if _LINE_END.search(text) else text
    first = _LINE_END.split(text, maxsplit=1)[0]
    if first != text:
        text = first + ELLIPSIS
    if cell_width(text) <= width:
        return text
    if width == 1:
        return head(text, 1)
    return ELLIPSIS + tail(text, width - 1) if right else head(text, width - 1) + ELLIPSIS


def cut_up(text: str, width: int) -> list[str]:
    """Cut text into pieces of at most `width` columns."""
    pieces, at = [], 0
    while at < len(text):
        piece = head(text[at : at + 4 * width], width) or text[at]  # marks that combine have no width
        pieces.append(piece)
        at += len(piece)
    return pieces


def _most(labels: Sequence[Sequence[str]]) -> int:
    return max(map(len, labels), default=0)
