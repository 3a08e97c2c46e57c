"""The Text format: what each host's console would show, line by line, behind the name of the host.

Knows how lines are put together and when they are written. Must not know how a value becomes lines: display.py does. On
a terminal the names are aligned and nothing that a host sends can act on it; in a pipe its text goes through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from remotejobs.jobs.job import ChildEnd
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Stream
from remotejobs.views.console import Console, StreamView, host_text
from remotejobs.views.display import Block, Lines, Printer, blocks, without_origin
from remotejobs.views.terminal import cell_width, encodable, harmless

_MOST_HELD = 256  # blocks that wait to be laid out together
_WIDEST_NAME = 30


class TextView(StreamView):
    """Text, written host by host as it comes; rows of one kind from one host share a header."""

    def __init__(
        self, out: TextIO, console: Console, show_name: bool, width: int | None, computer_names: Sequence[str]
    ) -> None:
        super().__init__(out, console)
        self._show_name = show_name
        self._width = width
        self._name_width = min(max(map(cell_width, computer_names), default=0), _WIDEST_NAME)
        self._held: dict[int, tuple[str, list[Block]]] = {}
        self._count = 0
        self._unfinished: dict[int, str] = {}  # Write-Host -NoNewline
        self._last: int | None = None
        self._printer = Printer(width)

    def output(self, item: ReceivedRecord, value: object) -> None:
        """Hold the object until there is nothing more at hand, or enough."""
        self._end_line(item)
        self._hold(item, blocks(without_origin(value)))

    def record(self, item: ReceivedRecord) -> None:
        """Take a record; Write-Host goes to stdout among the objects, as on a console."""
        said = host_text(item) if item.stream is Stream.Information else None
        if said is not None:
            text, unfinished = said
            text = self._unfinished.pop(item.child_id, "") + text
            if unfinished:
                self._unfinished[item.child_id] = text
            else:
                self._hold(item, blocks(text))
            return
        if item.stream not in (Stream.Output, Stream.Progress):
            self._end_line(item)
            self._write(item.child_id)
        super().record(item)

    def outcome(self, child: ChildEnd) -> None:
        """Write the rest of the child, then its end."""
        text = self._unfinished.pop(child.child_id, None)
        if text is not None:
            self._held.setdefault(child.child_id, (child.computer_name, []))[1].extend(blocks(text))
        self._write(child.child_id)
        super().outcome(child)

    def flush(self) -> None:
        """Write what is held, host by host."""
        for child_id in list(self._held):
            self._write(child_id)
        self._count = 0
        super().flush()

    def _end_line(self, item: ReceivedRecord) -> None:
        text = self._unfinished.pop(item.child_id, None)
        if text is not None:
            self._hold(item, blocks(text))

    def _hold(self, item: ReceivedRecord, more: Iterable[Block]) -> None:
        held = self._held.setdefault(item.child_id, (item.computer_name, []))[1]
        for block in more:
            held.append(block)
            self._count += 1
            if self._count >= _MOST_HELD:
                self.flush()
                held = self._held.setdefault(item.child_id, (item.computer_name, []))[1]

    def _write(self, child_id: int) -> None:
        name, held = self._held.pop(child_id, ("", []))
        if not held:
            return
        prefix = self._prefix(name)
        begins = self._last != child_id
        if begins:
            self._last = child_id
            self._printer = Printer(None if self._width is None else max(self._width - cell_width(prefix), 20))
        lines = list(self._printer.lines(map(_trimmed, held) if prefix else held))
        if prefix and begins and lines and not lines[0] and len(lines) > 1:
            del lines[0]  # the blank line before a table: the name parts the hosts
        self.write("".join(f"{prefix}{line}\n" if line else f"{prefix.rstrip()}\n" for line in lines))
        self.out.flush()

    def _prefix(self, name: str) -> str:
        if not self._show_name:
            return ""
        if self._width is None:
            return f"{name}: "
        self._name_width = max(self._name_width, min(cell_width(name), _WIDEST_NAME))
        return f"{name}:{' ' * (self._name_width - cell_width(name))} "

    def write(self, text: str) -> None:
        """Write to stdout, harmless where it is a terminal."""
        self.console.clear()
        self.out.write(harmless(text) if self._width is not None else encodable(text))


def _trimmed(block: Block) -> Block:
    """Take the blank lines around a text of several lines off: behind a name they say nothing."""
    if not isinstance(block, Lines) or len(block.lines) == 1:
        return block
    filled = [index for index, line in enumerate(block.lines) if line.strip()]
    return Lines(block.lines[filled[0] : filled[-1] + 1]) if filled else Lines(("",))
