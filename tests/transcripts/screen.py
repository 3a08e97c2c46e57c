"""What a script shows, made by the views; and held against what PowerShell showed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

from remotejobs.sim.records import ErrorRecord
from remotejobs.sim.values import NOTHING, PSObject, is_array
from remotejobs.views.cells import cell_text
from remotejobs.views.display import Entry, Printer, Row, blocks, column_of, visible_properties
from remotejobs.views.jobtable import table_lines, write_jobs
from remotejobs.wsman.clixml.values import PSObject as Ours
from tests.transcripts import decisions
from tests.transcripts.values import ErrorValue, JobValue, ours

CONSOLE = 79  # PowerShell leaves the last of 80 columns free
_TEXTS = ("WarningRecord", "VerboseRecord", "DebugRecord")
_AT = re.compile(r"(?P<label>[\w-]+): SCRIPT\.ps1:\d+")
_SOURCE = re.compile(r"Line \||\s+\d+ \| .*|\s+\| [\s~]*~\s*")
_SAID = re.compile(r"\s+\| (?P<text>.*)")
_JOB_LIST = re.compile(r"^State +: .*\n(?:\w+ +: .*\n)*PSJobTypeName *: .*(?:\n\w+ +: .*)*$", re.MULTILINE)
_SSH = "ssh: "  # what the ssh program writes to its stderr


class Line(NamedTuple):
    """One line; an `optional` one is shown by us and not always by PowerShell."""

    text: str
    error: bool = False
    optional: bool = False


class Formatted(NamedTuple):
    """What a Format- command makes of objects."""

    kind: str
    values: list[Any]


class Text(str):  # noqa: SLOT000 - lines are kept
    """What Out-String gives, with the lines that it was."""

    lines: list[Line]

    def __new__(cls, lines: list[Line]) -> Self:
        made = super().__new__(cls, "".join(f"{line.text}\n" for line in lines))
        made.lines = lines
        return made


class Screen:
    """Lines, as objects come.

    Args:
        width: Columns.
    """

    def __init__(self, width: int = CONSOLE) -> None:
        self.lines: list[Line] = []
        self.width = width
        self._printer = Printer(width)
        self._after_job = self._goes_on = False

    def say(self, text: str, *, optional: bool = False, goes_on: bool = False) -> None:
        """Show a text of the host, whose line may go on."""
        if self._goes_on:
            text = self.lines.pop().text + text
        self._goes_on = goes_on
        self.lines += [Line(line, optional=optional) for line in text.split("\n")]

    def error(self, text: str) -> None:
        """Show an error."""
        self.lines.append(Line(text, error=True))

    def show(self, value: Any, kind: str = "") -> None:
        """Show an object as it is shown by default, or by a Format- command."""
        if isinstance(value, Formatted):
            self._formatted(*value)
            return
        job, self._after_job = self._after_job, isinstance(value, JobValue) and kind != "list"
        if value is None or value is NOTHING:
            return
        if isinstance(value, Text):
            self.lines += value.lines
        elif isinstance(value, ErrorValue):
            self.error(value.line)
        elif isinstance(value, ErrorRecord):
            self.error(error_line(value))
        elif isinstance(value, JobValue) and kind == "list":
            for line in decisions.listed(_job_list(value)):
                self.say(line, optional=line.split(" ")[0] in decisions.OURS_ALONE)
        elif isinstance(value, JobValue):
            shown = list(table_lines([_Numbered(value)], self.width))
            self._write(shown[2:] if job else shown)
        elif _is_text(value):
            self._write([str(value.text)])
        elif is_array(value):
            for item in value:
                self.show(item)
        else:
            self._write(self._printer.lines(blocks(ours(value))))

    def _formatted(self, kind: str, values: list[Any]) -> None:
        if all(isinstance(value, PSObject) and not _is_text(value) for value in values) and not any(
            isinstance(value, JobValue | ErrorValue) for value in values
        ):
            self._write(self._printer.lines([_formatted(kind, ours(value)) for value in values]))
            return
        for value in values:
            self.show(value, kind)

    def _write(self, lines: Sequence[str] | Iterator[str]) -> None:
        for line in lines:
            self.say(line)


def _is_text(value: Any) -> bool:
    return isinstance(value, PSObject) and bool(value.types) and value.types[0].rsplit(".", 1)[-1] in _TEXTS


class _Numbered:
    """A job with the id and name that PowerShell would have given it."""

    def __init__(self, value: JobValue) -> None:
        self._job = value.job
        self.id, self.name = value.number, value.name
        self.state = decisions.state(value.job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)


def _job_list(value: JobValue) -> list[str]:
    out = io.StringIO()
    write_jobs("List", [_Numbered(value)], out, None)
    return out.getvalue().splitlines()


def _formatted(kind: str, value: Any) -> Row | Entry:
    target = value if isinstance(value, Ours) else Ours(base=value)
    view = next(blocks(target), None) if kind == "table" else None
    if isinstance(view, Row) and view.view is not None:
        return view
    shown = visible_properties(target)
    if kind == "list":
        if "PSShowComputerName" in target:  # asked for by name, it is shown; so is what it hides
            shown = {name: target.get(name) for name in target.properties}
        return Entry(tuple((name, cell_text(item)) for name, item in shown.items()))
    columns = tuple(column_of(name, item) for name, item in shown.items())
    return Row(columns, tuple(cell_text(item) for item in shown.values()))


def error_line(record: ErrorRecord) -> str:
    """An error of a command, or of the language."""
    label = record.activity or ("" if record.category == "NotSpecified" else record.category)
    return f"{label or record.exception.name}: {record.message}"


def recorded_lines(output: str) -> list[Line]:
    """What was recorded, an error of a command in one line, and without empty lines."""
    found: list[Line] = []
    output = output.replace("\u202f", " ")  # ICU's blank before AM and PM
    output = _JOB_LIST.sub(lambda block: "\n".join(decisions.listed(block[0].split("\n"))), output)
    label, said = "", list[str]()
    for line in [*output.split("\n"), ""]:
        if label and _SOURCE.fullmatch(line):
            continue
        more = _SAID.fullmatch(line) if label else None
        if more:
            said.append(more["text"])
            continue
        if label:
            found.append(Line(f"{label}: {' '.join(said)}", error=True))
        at = _AT.fullmatch(line)
        label, said = (at["label"], []) if at else ("", [])
        if not at and line.strip() and not line.startswith(_SSH):
            found.append(Line(line))
    return found


def differences(shown: list[Line], recorded: list[Line], *, loosely: bool) -> list[str]:
    """What differs, line by line; empty where nothing does.

    Args:
        shown: What we show.
        recorded: What PowerShell showed.
        loosely: The types of jobs are not the same, so columns may be moved.
    """
    left = [line for line in shown if line.text.strip()]
    for number, line in enumerate(recorded):
        while left and left[0].optional and not _same(left[0], line, loosely):
            left.pop(0)
        if not left or not _same(left[0], line, loosely):
            return [f"- {each.text}" for each in recorded[number:]] + [f"+ {each.text}" for each in left]
        left.pop(0)
    return [f"+ {line.text}" for line in left if not line.optional]


def _same(mine: Line, recorded: Line, loosely: bool) -> bool:
    ours_text, theirs_text = decisions.comparable(mine.text), decisions.comparable(recorded.text)
    if recorded.error or mine.error:
        ours_text, theirs_text = " ".join(ours_text.split()), " ".join(theirs_text.split())
        return ours_text == theirs_text or (recorded.error and decisions.same_refusal(ours_text, theirs_text))
    if loosely:
        theirs_text = " ".join(theirs_text.replace("BackgroundJob", "RemoteJob").split())
        ours_text = " ".join(ours_text.split())
    return ours_text.rstrip() == theirs_text.rstrip()
