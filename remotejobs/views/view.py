"""The one port that every output format serves, and the factory that picks one.

Knows the names of the formats. Must not know how any of them looks: each is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from remotejobs.errors import UsageError

if TYPE_CHECKING:  # the command line reads FORMATS before it knows whether a job, and asyncio with it, is needed
    from remotejobs.jobs.job import ChildEnd
    from remotejobs.jobs.received import ReceivedRecord

FORMATS = ("Text", "Table", "List", "Json", "Jsonl", "Csv", "Clixml")
"""The values of -OutputFormat; case does not matter."""


class View(Protocol):
    """Where records and ends go. Not thread-safe; write errors (a closed pipe) are the caller's."""

    def record(self, item: ReceivedRecord) -> None:
        """Take one record, in the order of arrival. One that cannot be decoded is reported and passed over."""
        ...

    def outcome(self, child: ChildEnd) -> None:
        """Take the end of one child, after its last record."""
        ...

    def aside(self, entry: Mapping[str, Any], text: str) -> None:
        """Take what no host sent, a job or an event: `entry` for programs, `text` for people."""
        ...

    def flush(self) -> None:
        """Write what is held back to be laid out together: nothing more is at hand for now."""
        ...

    def written(self, then: Callable[[], None]) -> None:
        """Call `then` once all that was taken so far is written out: now, or when what is held back is."""
        ...

    def close(self) -> None:
        """Write what is left, and what the format ends with. After an interrupt too."""
        ...


def view(
    format_name: str,
    out: TextIO,
    err: TextIO,
    *,
    show_computer_name: bool = True,
    terminal_width: int | None = None,
    colour: bool = False,
    computer_names: Sequence[str] = (),
    error_view: str = "ConciseView",
    depth: int = 2,
) -> View:
    """Return a view.

    Args:
        format_name: One of FORMATS.
        out: Where objects go; for Json and Jsonl everything.
        err: Where the other streams and the ends go. One line of progress is shown if it is a terminal.
        show_computer_name: False with -HideComputerName: objects come without the host that they are of.
        terminal_width: Columns of `out`; None where it is no terminal, and then nothing is cut.
        colour: Colour errors and warnings.
        computer_names: The targets, to align what is put before lines on a terminal.
        error_view: How errors are worded on `err`: ConciseView, NormalView, CategoryView or DetailedView.
        depth: Of Json and Jsonl: the levels of an object below its first, as ConvertTo-Json's -Depth.

    Raises:
        UsageError: There is no such format.
    """
    name = format_name.lower()
    if name in ("json", "jsonl"):
        from remotejobs.views.jsonlines import JsonView

        return JsonView(out, err, array=name == "json", depth=depth)
    from remotejobs.views.console import Console

    console = Console(err, colour=colour, error_view=error_view)
    if name == "text":
        from remotejobs.views.text import TextView

        return TextView(out, console, show_computer_name, terminal_width, computer_names)
    if name in ("table", "list"):
        from remotejobs.views.report import ListView, TableView

        return (TableView if name == "table" else ListView)(out, console, show_computer_name, terminal_width)
    if name == "csv":
        from remotejobs.views.csvout import CsvView

        return CsvView(out, console, show_computer_name)
    if name == "clixml":
        from remotejobs.views.clixmlout import ClixmlView

        return ClixmlView(out, console)
    raise UsageError(f"There is no output format {format_name!r}: take one of {', '.join(FORMATS)}.")
