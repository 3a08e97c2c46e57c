"""Reading the file of an exported job, and doubting it line by line.

Knows the format (`exported` describes it) and the rows of ports. Must not know stores, hosts, or where the file lies.
The file may come from anybody: each line has a limit, each field a type and a range, and what is not known here is
refused. No more of the records is held than a page.
"""

from __future__ import annotations

import gzip
import json
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Any, Final, NoReturn, TypeVar

from remotejobs.errors import ConfigurationError
from remotejobs.model import Outcome, Record, Stream, Target
from remotejobs.rows import Arrival, ChildRow, Fresh, JobRow, Phase, Request
from remotejobs.states import EndReason, JobState
from remotejobs.store.encoding import decode_outcome, decode_target
from remotejobs.store.exported import MAX_CHILDREN, MAX_OBJECT, MAX_RECORD, VERSION
from remotejobs.store.specified import check, read_spec

MAX_NUMBER: Final = 2**32 - 1
_HEAD: Final = 200  # of a record, before its CLIXML
_PAGE_RECORDS, _PAGE_BYTES = 1000, 4 * 1024 * 1024
_LATEST: Final = 253_402_300_799.0  # the end of the year 9999
_LONG: Final = 2**63 - 1
_MAX_DEPTH: Final = 20
_PHASES: Final = {phase.name: phase for phase in (Phase.QUEUED, Phase.STARTING, Phase.STARTED, Phase.ENDED)}
_REASONS: Final = frozenset(reason.value for reason in EndReason)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OPEN_STATES: Final = frozenset({"NotStarted", "Running", "Blocked", "Stopping", "Disconnected"})
_decoder = json.JSONDecoder()
_E = TypeVar("_E")


@dataclass(slots=True)
class JobFile:
    """What a file holds.

    Attributes:
        row: The job as it was, without name, counts and the ids that its computer gave.
        unread: For each child the number of its first record that nobody has received; None where all were.
        computer: Where it was written.
        exported: When, seconds since the epoch.
        pages: The records; read from the file as they are taken, once.
    """

    row: JobRow
    unread: list[int | None]
    computer: str
    exported: float
    pages: Iterator[list[Arrival]]


def read_job(file: IO[bytes], name: str) -> JobFile:
    """Read a file up to its records.

    Args:
        file: The file.
        name: For messages.

    Raises:
        ConfigurationError: It is no exported job, of a later version, damaged, or holds what none may hold.
    """
    lines = _Lines(file, name)
    head = _Fields(lines, lines.read_object())
    if head.held.pop("remotejobs", None) != "job":
        raise lines.foreign()
    version = head.held.pop("version", None)
    if version != VERSION:
        raise ConfigurationError(
            f"{name} was written by another version of remotejobs (format {version!s:.20}, this one reads {VERSION}): "
            "import it there, or export it anew with this version.",
            path=name,
        )
    head.text("by")
    computer, exported = head.text("computer"), head.time("exported")
    count = head.number("children", 1, MAX_CHILDREN)
    row = JobRow(
        id=0,
        name="",
        instance_id=head.identifier("instance_id"),
        spec=read_spec(lines.bad, head.take("spec", dict)),
        location="",
        children=(),
        began=head.time("began"),
        counts={},
        ended=head.time_or_none("ended"),
        last_change=head.one_of("last_change", JobState.__members__) if head.given("last_change") else None,
        notes=tuple(head.texts("notes")),
        requests=frozenset({Request.STOP} if head.flag("stop_requested") else ()),
    )
    head.done()
    children: list[ChildRow] = []
    unread: list[int | None] = []
    ends: list[tuple[int, int]] = []
    for index in range(count):
        fields = _Fields(lines, lines.read_object())
        child = _child(fields)
        children.append(child)
        unread.append(fields.number("unread", 1, MAX_NUMBER) if fields.given("unread") else None)
        order = fields.number("order", 0, MAX_CHILDREN, default=0)
        if bool(order) != (child.outcome is not None):
            lines.bad("'order' belongs to a host that has ended, and to no other")
        if order:
            ends.append((order, index))
        fields.done()
    row.spec = replace(row.spec, targets=tuple(child.target for child in children))
    row.location = ",".join(child.target.name for child in children)
    row.children = children
    if (row.ended is None) != any(child.outcome is None for child in children):
        lines.bad("the job has an end and a host without one, or the other way round")
    row.ends = [index for _, index in sorted(ends)]
    return JobFile(row, unread, computer, exported, _pages(lines, count))


def _pages(lines: _Lines, children: int) -> Iterator[list[Arrival]]:
    page: list[Arrival] = []
    last = count = size = 0
    while (line := lines.read(MAX_RECORD)).startswith("["):
        at = line.find('"', 0, _HEAD)
        if at < 0:
            lines.bad("is no record")
        try:
            number, child, seq, stream, object_id, time, _ = json.loads(line[:at] + "0]")
            text, end = _decoder.raw_decode(line, at)
            raw = text.encode("utf-8", "surrogateescape")
        except (ValueError, TypeError, RecursionError):
            lines.bad("is no record")
        if line[end:] != "]\n" or not all(type(value) is int for value in (number, child, seq, stream, object_id)):
            lines.bad("is no record")
        if not last < number <= MAX_NUMBER:
            lines.bad(f"the records are not in order: {number} after {last}")
        if not (0 <= child < children and 0 <= seq <= _LONG and 1 <= stream <= 7 and abs(object_id) <= _LONG):
            lines.bad("a record of a host or a stream that is not there, or a number out of range")
        page.append(Arrival(number, child, Record(seq, Stream(stream), raw, object_id, _time(lines, time))))
        last, count, size = number, count + 1, size + len(raw)
        if len(page) >= _PAGE_RECORDS or size >= _PAGE_BYTES:
            yield page
            page, size = [], 0
    end_fields = _Fields(lines, lines.object_of(line))
    if end_fields.number("records", 0, MAX_NUMBER) != count:
        lines.bad(f"says another number of records than the {count} that are there")
    end_fields.done()
    lines.end()
    if page:
        yield page


class _Lines:
    """The lines of a file, each within its limit; what is wrong is said with its number."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = gzip.GzipFile(fileobj=file, mode="rb")
        self._name = name
        self.number = 0

    def read(self, limit: int = MAX_OBJECT) -> str:
        self.number += 1
        data = self._read(limit + 1)
        if len(data) > limit:
            self.bad(f"is longer than {limit:,} bytes")
        if not data.endswith(b"\n"):
            self.bad("the file ends in the middle: it was cut off. Copy it again")
        try:
            return data.decode("ascii")
        except UnicodeDecodeError:
            self.bad("is no JSON in ASCII")

    def read_object(self) -> dict[str, Any]:
        return self.object_of(self.read())

    def object_of(self, line: str) -> dict[str, Any]:
        try:
            value = json.loads(line, parse_constant=self._no_number)
        except (ValueError, RecursionError):
            self.bad("is no JSON that can be read")
        if not isinstance(value, dict):
            self.bad("is no JSON object")
        return value

    def end(self) -> None:
        self.number += 1
        if self._read(1):
            self.bad("something follows the end of the job")

    def bad(self, what: str) -> NoReturn:
        raise ConfigurationError(
            f"{self._name}, line {self.number}: {what}. Nothing of it was imported.", path=self._name, line=self.number
        )

    def foreign(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._name} is no exported job: `remotejob export` writes those. Nothing of it was imported.",
            path=self._name,
        )

    def _no_number(self, name: str) -> NoReturn:
        raise ValueError(name)

    def _read(self, size: int) -> bytes:
        try:
            return self._file.readline(size)
        except EOFError:
            self.bad("the file ends in the middle: it was cut off. Copy it again")
        except (gzip.BadGzipFile, zlib.error) as error:
            if self.number == 1:
                raise self.foreign() from None
            self.bad(f"the file is damaged ({error}). Copy it again")
        except OSError as error:
            self.bad(f"cannot be read: {error.strerror or error}")


class _Fields:
    """The fields of one object: each is taken once, with its type and range; what is left over is unknown."""

    def __init__(self, lines: _Lines, held: dict[str, Any]) -> None:
        self.lines = lines
        self.held = held

    def given(self, name: str) -> bool:
        """True where it is there; a null is as good as nothing."""
        if self.held.get(name) is None:
            self.held.pop(name, None)
            return False
        return True

    def take(self, name: str, kind: type[_E], default: _E | None = None) -> _E:
        value = self.held.pop(name, default)
        if type(value) is not kind:
            self.lines.bad(f"'{name}' is missing or of the wrong kind")
        return value

    def text(self, name: str, limit: int = 1024, default: str | None = None) -> str:
        value = self.take(name, str, default)
        if len(value) > limit or not value.isprintable():
            self.lines.bad(f"'{name}' is too long, or has control characters")
        return value

    def texts(self, name: str) -> list[str]:
        value: list[Any] = self.take(name, list)
        if len(value) > 100 or not all(isinstance(each, str) and len(each) <= 4096 for each in value):
            self.lines.bad(f"'{name}' is no list of texts")
        return value

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(name, int, default)
        if not low <= value <= high:
            self.lines.bad(f"'{name}' is out of range")
        return value

    def flag(self, name: str) -> bool:
        return self.take(name, bool, default=False)

    def time(self, name: str) -> float:
        return _time(self.lines, self.held.pop(name, None))

    def time_or_none(self, name: str) -> float | None:
        return self.time(name) if self.given(name) else None

    def identifier(self, name: str) -> uuid.UUID:
        return self.uuid(name, self.held.pop(name, None))

    def uuid(self, name: str, value: Any) -> uuid.UUID:
        try:
            found = uuid.UUID(value)
        except (ValueError, TypeError, AttributeError):
            found = uuid.UUID(int=0)
        if found.version != 4:
            self.lines.bad(f"'{name}' is no random UUID")
        return found

    def one_of(self, name: str, known: Any) -> Any:
        value = self.take(name, str)
        if value not in known:
            self.lines.bad(f"'{name}' is none of {', '.join(known)}")
        return known[value]

    def done(self) -> None:
        if self.held:
            self.lines.bad(f"has a field that is not known: {next(iter(self.held))[:50]!r}")


def _time(lines: _Lines, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= _LATEST:
        lines.bad("a time is missing or out of range")
    return float(value)


def _child(fields: _Fields) -> ChildRow:
    lines = fields.lines
    start = fields.take("start", list)
    if len(start) != len(Fresh._fields):
        lines.bad("'start' is no list of three ids")
    child = ChildRow(
        id=0,
        instance_id=fields.identifier("instance_id"),
        target=_target(fields),
        start=Fresh(*(fields.uuid("start", each) for each in start)),
        state=fields.one_of("state", JobState.__members__),
        phase=fields.one_of("phase", _PHASES),
        outcome=_outcome(fields, "outcome"),
        left=_outcome(fields, "left"),
        began=fields.time_or_none("began"),
        ended=fields.time_or_none("ended"),
        seen=fields.time_or_none("seen"),
        error_count=fields.number("error_count", 0, _LONG, default=0),
        shell_id=fields.text("shell_id", default=""),
        command_id=fields.text("command_id", default=""),
        seq=fields.number("seq", 0, _LONG, default=0),
        object_id=fields.number("object_id", -_LONG, _LONG, default=0),
        stop_requested=fields.flag("stop_requested"),
        told=fields.flag("told"),
    )
    ended = child.outcome is not None
    state = child.outcome.state if child.outcome else child.state
    fits = state is child.state and (state.finished if ended else state.name in _OPEN_STATES)
    if (
        not fits
        or ended != (child.phase is Phase.ENDED)
        or ended != (child.ended is not None)
        or (ended and child.left)
    ):
        lines.bad("state, phase and end of the host do not fit together")
    return child


def _target(fields: _Fields) -> Target:
    value = fields.held.pop("target", None)
    if isinstance(value, dict):
        check(fields.lines.bad, Target, value)
    elif not isinstance(value, str):
        fields.lines.bad("'target' is missing or of the wrong kind")
    name = value.get("name") if isinstance(value, dict) else value
    texts = value.values() if isinstance(value, dict) else (value,)
    if not name or any(isinstance(text, str) and not _printable(text) for text in texts):
        fields.lines.bad("'target' has no name, or control characters")
    return decode_target(value)


def _printable(text: str) -> bool:
    return len(text) <= 1024 and not _CONTROL.search(text)


def _outcome(fields: _Fields, name: str) -> Outcome | None:
    if not fields.given(name):
        return None
    lines, value = fields.lines, fields.take(name, dict)
    failure = fields.held.pop("failure", None)
    details = value.pop("details", {})
    if not isinstance(details, dict) or not _shallow(details, _MAX_DEPTH):
        lines.bad(f"the details of '{name}' are no plain values")
    check(lines.bad, Outcome, value)
    if value.get("reason") not in _REASONS:
        lines.bad(f"'{name}' has no end reason that is known")
    try:
        raw = None if failure is None else failure.encode("utf-8", "surrogateescape")
    except (AttributeError, UnicodeEncodeError):
        lines.bad("'failure' is no CLIXML")
    return decode_outcome(json.dumps({**value, "details": details}), raw)


def _shallow(value: Any, levels: int) -> bool:
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(each, levels - 1) for each in inner)
