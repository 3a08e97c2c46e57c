"""The Text format: what each host's console would show, line by line, behind the name of the host.

Knows how lines are put together and when they are written. Must not know how a value becomes lines: display.py does. On
a terminal the names are aligned and nothing that a host sends can act on it; in a pipe its text goes through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from remotejobs.jobs.job import ChildEnd
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Stream
from remotejobs.views.console import Console, StreamView, host_text
from remotejobs.views.display import Block, Lines, Printer, blocks, without_origin
from remotejobs.views.formatdata import FormatData, format_type
from remotejobs.views.terminal import cell_width, encodable, harmless

_MOST_HELD = 256  # blocks that wait to be laid out together
_LONGEST_LINE = 64 * 1024  # characters that Write-Host -NoNewline may put together
_WIDEST_NAME = 30
_NARROWEST = 20


@dataclass(slots=True)
class _Child:
    """What is under way of one child; `line` is what Write-Host -NoNewline began."""

    id: int
    name: str
    held: list[Block] = field(default_factory=list)
    line: str | None = None
    formatted: FormatData = field(default_factory=FormatData)
    printer: Printer = field(default_factory=lambda: Printer(None))


class TextView(StreamView):
    """Text, written host by host; rows of one kind that come together from one host share a header."""

    takes_format_data = True

    def __init__(
        self, out: TextIO, console: Console, show_name: bool, width: int | None, computer_names: Sequence[str]
    ) -> None:
        super().__init__(out, console)
        self._show_name = show_name
        self._width = width
        self._name_width = min(max(map(cell_width, computer_names), default=0), _WIDEST_NAME)
        self._children: dict[int, _Child] = {}
        self._waiting: dict[int, _Child] = {}
        self._count = 0
        self._last = -1

    def output(self, item: ReceivedRecord, value: Any) -> None:
        """Hold an object until there is nothing more at hand, or enough."""
        child = self._child(item.child_id, item.computer_name)
        self._end_line(child)
        self._hold(child, child.formatted.blocks(value) if format_type(value) else blocks(without_origin(value)))

    def other(self, item: ReceivedRecord, value: Any) -> None:
        """Show another record after the objects that came before it; Write-Host goes among them, as on a console."""
        child = self._child(item.child_id, item.computer_name)
        said = host_text(value)
        if said is not None:
            text, goes_on = said
            child.line = (child.line or "") + text
            if not goes_on or len(child.line) > _LONGEST_LINE:
                self._end_line(child)
            return
        if item.stream is not Stream.Progress:
            self._end_line(child)
            self._write(child)
        super().other(item, value)

    def outcome(self, child: ChildEnd) -> None:
        """Write the rest of a child, then its end."""
        ended = self._children.pop(child.child_id, None)
        if ended:
            self._end_line(ended)
            self._write(ended)
        super().outcome(child)

    def flush(self) -> None:
        """Write what is held, host by host."""
        for child in list(self._waiting.values()):
            self._write(child)
        self._count = 0
        super().flush()

    def close(self) -> None:
        """Write what is left, lines without an end too."""
        for child in self._children.values():
            self._end_line(child)
        super().close()

    def _child(self, child_id: int, name: str) -> _Child:
        found = self._children.get(child_id)
        if found is None:
            found = self._children[child_id] = _Child(child_id, name)
        return found

    def _end_line(self, child: _Child) -> None:
        if child.line is not None:
            line, child.line = child.line, None
            self._hold(child, blocks(line))

    def _hold(self, child: _Child, more: Iterable[Block]) -> None:
        for block in more:
            child.held.append(block)
            self._waiting[child.id] = child
            self._count += 1
            if self._count >= _MOST_HELD:
                self.flush()

    def _write(self, child: _Child) -> None:
        if self._waiting.pop(child.id, None) is None:
            return
        held, child.held = child.held, []
        prefix = self._prefix(child.name)
        begins = self._last != child.id
        if begins:
            self._last = child.id
            child.printer.resume()
            if self._width is not None:
                child.printer.width = max(self._width - cell_width(prefix), _NARROWEST)
        lines = list(child.printer.lines(map(_trimmed, held) if prefix else held))
        if prefix and begins and len(lines) > 1 and not lines[0]:
            del lines[0]  # the blank line before a table: the name parts the hosts
        shown = "".join([f"{prefix}{line}\n" if line else f"{prefix.rstrip()}\n" for line in lines])
        self.console.clear()
        self.out.write(harmless(shown) if self._width is not None else encodable(shown))
        self.out.flush()

    def _prefix(self, name: str) -> str:
        if not self._show_name:
            return ""
        if self._width is None:
            return f"{name}: "
        self._name_width = max(self._name_width, min(cell_width(name), _WIDEST_NAME))
        return f"{name}:{' ' * (self._name_width - cell_width(name))} "


def _trimmed(block: Block) -> Block:
    """Take the blank lines around a text of several lines off: behind a name they say nothing."""
    if not isinstance(block, Lines) or len(block.lines) == 1:
        return block
    filled = [index for index, line in enumerate(block.lines) if line.strip()]
    return block._replace(lines=block.lines[filled[0] : filled[-1] + 1] if filled else ("",))
