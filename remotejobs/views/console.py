"""What goes to stderr: errors in one of PowerShell's error views, warnings and their kin, progress, ends.

Knows the records of the streams and how a terminal shows them. Must not know the formats of objects. Every line names
its host, so that one host's lines can be found again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TextIO

from remotejobs.errors import ProtocolError
from remotejobs.jobs.job import ChildEnd
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Outcome, Stream
from remotejobs.states import EndReason
from remotejobs.views.errorview import ERROR_VIEWS, error_text
from remotejobs.views.formatdata import format_type
from remotejobs.views.terminal import cell_width, encodable, harmless, head, is_terminal, one_line, terminal_width
from remotejobs.wsman.clixml.records import ErrorRecord, InformationRecord, ProgressRecord, error_record
from remotejobs.wsman.clixml.tree import bounded
from remotejobs.wsman.clixml.values import PSObject, text

_RED, _YELLOW, _RESET = "\x1b[31;1m", "\x1b[33;1m", "\x1b[0m"  # PowerShell's, $PSStyle.Formatting
_LABELS = {
    Stream.Warning: "WARNING: ",
    Stream.Verbose: "VERBOSE: ",
    Stream.Debug: "DEBUG: ",
    Stream.Information: "INFORMATION: ",
}
_HOST_TAG = "PSHOST"


class Console:
    """Lines on stderr, and one line of progress below them where stderr is a terminal.

    Args:
        err: Where they go.
        colour: Errors in red, warnings in yellow.
        error_view: One of ERROR_VIEWS.
    """

    def __init__(self, err: TextIO, *, colour: bool, error_view: str = ERROR_VIEWS[0]) -> None:
        self._err = err
        self._error_view = error_view
        self._colour = colour
        self._terminal = is_terminal(err)
        self._progress = ""
        self._said: set[str] = set()

    def record(self, item: ReceivedRecord, value: Any) -> None:
        """Show one decoded record of any stream but Output."""
        if isinstance(value, ErrorRecord):
            self._lines(_host(item.computer_name), error_text(value, self._error_view, item.computer_name), _RED)
        elif isinstance(value, ProgressRecord):
            self._show_progress(item.computer_name, value)
        else:
            said = host_text(value)
            label = "" if said else _LABELS.get(item.stream, "")
            colour = "" if item.stream is Stream.Information else _YELLOW
            self._lines(f"{label}{_host(item.computer_name)}", said[0] if said else str(value), colour)

    def outcome(self, child: ChildEnd) -> None:
        """Say how a host ended that did not complete, and why: once."""
        outcome = child.outcome
        if outcome.reason in (EndReason.NotStarted, EndReason.NotStartedGuard):
            # All of them for the same reason, and the summary names them.
            if outcome.message not in self._said:
                self._said.add(outcome.message)
                self._lines("", outcome.message, _RED)
        elif outcome.reason is not EndReason.Completed:
            why = failure_text(outcome, self._error_view, child.computer_name)
            apart = "\n" if self._error_view == "DetailedView" else " "
            said = f"{outcome.reason}:{apart}{why}" if why else str(outcome.reason)
            if outcome.error_id and not outcome.failure:  # the script's own errors are shown as PowerShell shows them
                said += f" [{outcome.error_id}]"
            self._lines(_host(child.computer_name), said, _RED)

    def note(self, computer_name: str, message: str) -> None:
        """Say something of our own about what a host sent."""
        self._lines(f"WARNING: {_host(computer_name)}", message, _YELLOW)

    def say(self, message: str) -> None:
        """Say something of our own that is of no one host."""
        self._lines("", message, "")

    def clear(self) -> None:
        """Take the line of progress away: something else is written to the terminal."""
        if self._progress:
            self._err.write(f"\r{' ' * cell_width(self._progress)}\r")
            self._progress = ""
            self._err.flush()

    def _lines(self, prefix: str, message: str, colour: str) -> None:
        self.clear()
        lines = message.rstrip().splitlines() or [""]
        shown = "\n".join(f"{prefix}{line}" for line in lines)
        shown = harmless(shown) if self._terminal else encodable(shown)
        if self._colour and colour:
            shown = "\n".join(f"{colour}{line}{_RESET}" for line in shown.split("\n"))
        self._err.write(shown + "\n")
        self._err.flush()

    def _show_progress(self, computer_name: str, value: ProgressRecord) -> None:
        if not self._terminal:
            return
        if value.record_type == "Completed":
            self.clear()
            return
        percent = f" {value.percent_complete}%" if 0 <= value.percent_complete <= 100 else ""
        said = one_line(f"{_host(computer_name)}{value}{percent} {value.current_operation}")
        said = head(harmless(said), terminal_width(self._err) or 0)
        if said != self._progress:
            self.clear()
            self._err.write(said)
            self._err.flush()
            self._progress = said


class StreamView:
    """What all formats but Json and Jsonl share: objects to stdout, each in its way, all else to the console."""

    takes_format_data = False
    writes_references = False

    def __init__(self, out: TextIO, console: Console) -> None:
        self.out = out
        self.console = console
        self._told_of_format_data = False

    def record(self, item: ReceivedRecord) -> None:
        """Take one record."""
        try:
            value = bounded(item.value, item.record.raw, references=self.writes_references)
        except ProtocolError as error:
            self.console.note(
                item.computer_name, f"a record of stream {item.stream.name} is unreadable: {error.message}"
            )
            return
        if item.stream is not Stream.Output:
            self.other(item, value)
        elif self.takes_format_data or not format_type(value):
            self.output(item, value)
        elif not self._told_of_format_data:
            self._told_of_format_data = True
            self.console.note(
                item.computer_name,
                "the script ends in a Format- command, which gives layout and no objects: leave it out, or take "
                "-OutputFormat Text.",
            )

    def output(self, item: ReceivedRecord, value: Any) -> None:
        """Show one object."""
        raise NotImplementedError

    def other(self, item: ReceivedRecord, value: Any) -> None:
        """Show a record of another stream."""
        self.console.record(item, value)

    def outcome(self, child: ChildEnd) -> None:
        """Take the end of one child."""
        self.console.outcome(child)

    def aside(self, entry: Mapping[str, Any], text: str) -> None:  # noqa: ARG002 - of two forms this takes the other
        """Say it on stderr: stdout is for what hosts sent."""
        self.flush()
        self.console.say(text)

    def flush(self) -> None:
        """Write what is held back."""
        self.out.flush()

    def written(self, then: Callable[[], None]) -> None:
        """Write what is held back, and call `then`."""
        self.flush()
        then()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        self.console.clear()


def failure_text(outcome: Outcome, error_view: str, computer_name: str) -> str:
    """Return why a host did not complete: the error that ended its script as `error_view` has it, else our message."""
    if outcome.failure:
        try:
            record = error_record(outcome.failure)
        except ProtocolError:
            return outcome.message
        if record.message:
            return error_text(record, error_view, computer_name)
    return outcome.message


def host_text(value: Any) -> tuple[str, bool] | None:
    """Return what Write-Host wrote and whether the line goes on (-NoNewline); None for other information."""
    if not isinstance(value, InformationRecord) or _HOST_TAG not in value.tags:
        return None
    data = value.message_data
    if isinstance(data, PSObject):
        return text(data.get("Message", data)), data.get("NoNewLine") is True
    return text(data), False


def _host(computer_name: str) -> str:
    return f"[{computer_name}] "
