"""Jobs as PowerShell shows them: the table of Get-Job, the list of Format-List *, and JSON and CSV for programs.

Knows the columns, their widths and the order of properties. Must not know stores or how a job is run: a job is any
object with the properties below.
"""

# ruff: noqa: D102 - the properties of a job are named after what they are
from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from remotejobs.model import Outcome
from remotejobs.states import JobState
from remotejobs.views.layout import Column, console_layout, cut_up, fitted, list_lines
from remotejobs.views.terminal import cell_width, encodable, harmless

JOB_SCHEMA = "remotejobs.job.1"


class Job(Protocol):
    """What a parent job and a child job have in common. A child's `ps_job_type_name` is empty."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def instance_id(self) -> uuid.UUID: ...
    @property
    def ps_job_type_name(self) -> str: ...
    @property
    def state(self) -> JobState: ...
    @property
    def has_more_data(self) -> bool: ...
    @property
    def location(self) -> str: ...
    @property
    def command(self) -> str: ...
    @property
    def ps_begin_time(self) -> datetime | None: ...
    @property
    def ps_end_time(self) -> datetime | None: ...


# PowerShellCore_format_ps1xml: widths as in the recorded tables, one blank between columns.
_COLUMNS = (
    Column("Id", 6),
    Column("Name", 15),
    Column("PSJobTypeName", 15),
    Column("State", 13),
    Column("HasMoreData", 15),
    Column("Location", 20),
    Column("Command", 25),
)
_LAST = len(_COLUMNS) - 1
_STREAMS = ("Output", "Error", "Progress", "Verbose", "Debug", "Warning", "Information")
_CSV = (
    "Id", "Name", "PSJobTypeName", "State", "HasMoreData", "Location", "Command", "InstanceId", "PSBeginTime",
    "PSEndTime", "EndReason", "Message", "ErrorId", "ErrorCount",
)  # fmt: skip


def write_jobs(
    format_name: str, jobs: Sequence[Job], out: TextIO, width: int | None, *, children_listed: bool = False
) -> None:
    """Write jobs in one of the formats Table, List, Json, Jsonl and Csv.

    Args:
        format_name: Case does not matter.
        jobs: In the order to show; child jobs may be among them.
        out: Where they go.
        width: Columns of the terminal; None where `out` is none, and nothing is cut.
        children_listed: The child jobs to show are among `jobs`: JSON puts them, and no others, into their parents.
    """
    name = format_name.lower()
    safe = encodable if width is None else harmless
    if name == "table":
        out.writelines(f"{safe(line)}\n" for line in table_lines(jobs, width))
    elif name == "list":
        out.write("\n".join(safe("\n".join(_list(job, width))) + "\n" for job in jobs))
    elif name == "csv":
        _write_csv(jobs, out)
    else:
        _write_json(jobs, out, array=name == "json", children_listed=children_listed)


def table_lines(jobs: Iterable[Job], width: int | None) -> Iterator[str]:
    """Yield the lines of Get-Job's table; none where there are no jobs, as in PowerShell.

    On a screen the columns keep their widths from the left, the first that does not fit gets what is left, and the
    others vanish. The last column is padded but for its header, and Command never is.
    """
    rows = [_cells(job) for job in jobs]
    if not rows:
        return
    if width is None:
        layout = console_layout(_COLUMNS, rows, None)
        yield from layout.header()
        yield from map(layout.row, rows)
        return
    widths = _widths(width)
    labels = [cut_up(column.label, room) for column, room in zip(_COLUMNS, widths, strict=False)]
    for at in range(max(map(len, labels))):
        yield _line([label[at] if at < len(label) else "" for label in labels], [*widths[:-1], 0])
    if len(widths) > _LAST:
        widths[_LAST] = -widths[_LAST]
    dashes = [min(len(column.label), abs(room)) for column, room in zip(_COLUMNS, widths, strict=False)]
    yield _line(["-" * count for count in dashes], widths)
    for cells in rows:
        yield _line([fitted(text, abs(room), False, True) for text, room in zip(cells, widths, strict=False)], widths)


def _widths(width: int) -> list[int]:
    widths: list[int] = []
    for column in _COLUMNS:
        left = width - sum(widths) - len(widths)
        if left < 1:
            break
        widths.append(min(column.width, left))
    return widths or [1]


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Join cells; one with a width below 1 is not padded."""
    return " ".join(text + " " * (width - cell_width(text)) for text, width in zip(texts, widths, strict=True))


def _cells(job: Job) -> tuple[str, ...]:
    return (
        str(job.id),
        job.name,
        job.ps_job_type_name,
        job.state.name,
        str(job.has_more_data),
        job.location,
        job.command,
    )


def _list(job: Job, width: int | None) -> Iterator[str]:
    """Yield all properties in the order of Format-List *. What is an object of PowerShell's own process is left out."""
    children = _children(job)
    state, more = job.state, str(job.has_more_data)
    first = [("State", state.name)]
    message = ("StatusMessage", "")
    first += [("HasMoreData", more), message] if job.ps_job_type_name else [message, ("HasMoreData", more)]
    pairs = [
        *first,
        ("Location", job.location),
        ("Command", job.command),
        ("JobStateInfo", state.name),
        ("Finished", str(state.finished)),
        ("InstanceId", str(job.instance_id)),
        ("Id", str(job.id)),
        ("Name", job.name),
        ("ChildJobs", _braces([child.name for child in children])),
        ("PSBeginTime", _local(job.ps_begin_time)),
        ("PSEndTime", _local(job.ps_end_time)),
        ("PSJobTypeName", job.ps_job_type_name),
    ]
    if job.ps_job_type_name:
        pairs += [(stream, "{}") for stream in _STREAMS]  # a parent's own, which PowerShell keeps empty
        pairs += [("Notes", note) for note in _notes(job)]  # not PowerShell's
    else:
        outcome = _outcome(job)
        pairs.append(("EndReason", str(outcome.reason) if outcome else ""))
        pairs.append(("Message", outcome.message if outcome else ""))
        pairs.append(("ErrorCount", str(_error_count(job))))
    yield from list_lines(pairs, width)


def _write_csv(jobs: Iterable[Job], out: TextIO) -> None:
    from remotejobs.views.csvout import quoted

    out.write(",".join(map(quoted, _CSV)) + "\n")
    for job in jobs:
        outcome = _outcome(job)
        cells = [
            *_cells(job),
            str(job.instance_id),
            _iso(job.ps_begin_time) or "",
            _iso(job.ps_end_time) or "",
            str(outcome.reason) if outcome else "",
            outcome.message if outcome else "",
            outcome.error_id if outcome else "",
            "" if job.ps_job_type_name else str(_error_count(job)),
        ]
        out.write(encodable(",".join(map(quoted, cells))) + "\n")


def _write_json(jobs: Sequence[Job], out: TextIO, *, array: bool, children_listed: bool) -> None:
    listed = {job.id for job in jobs} if children_listed else None
    nested = {child.id for job in jobs for child in _children(job)} if children_listed else set[int]()
    begun = False
    for job in jobs:
        if job.id in nested:
            continue
        text = json.dumps(job_entry(job, listed), separators=(",", ":"))
        out.write((f"{',' if begun else '['}\n{text}") if array else f"{text}\n")
        begun = True
    if array:
        out.write("\n]\n" if begun else "[]\n")


def job_entry(job: Job, listed: set[int] | None = None) -> dict[str, Any]:
    """Return one job for JSON, with its children.

    Args:
        job: A parent or a child.
        listed: Ids of the children to show; None for all.
    """
    entry: dict[str, Any] = {"schema": JOB_SCHEMA, **_common(job)}
    if not job.ps_job_type_name:
        return entry | _end(job)
    shown = [child for child in _children(job) if listed is None or child.id in listed]
    return entry | {"notes": list(_notes(job)), "children": [_common(child) | _end(child) for child in shown]}


def _common(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "instance_id": str(job.instance_id),
        "type": job.ps_job_type_name,
        "state": job.state.name,
        "has_more_data": job.has_more_data,
        "location": job.location,
        "command": job.command,
        "begin_time": _iso(job.ps_begin_time),
        "end_time": _iso(job.ps_end_time),
    }


def _end(job: Job) -> dict[str, Any]:
    outcome = _outcome(job)
    return {
        "reason": outcome.reason.value if outcome else None,
        "message": outcome.message if outcome else "",
        "error_id": outcome.error_id if outcome else "",
        "error_count": _error_count(job),
    }


def _children(job: Job) -> Sequence[Job]:
    children: Sequence[Job] = getattr(job, "child_jobs", ())
    return children


def _notes(job: Job) -> Sequence[str]:
    notes: Sequence[str] = getattr(job, "notes", ())
    return notes


def _outcome(job: Job) -> Outcome | None:
    """How a child ended, or why it is Disconnected."""
    outcome: Outcome | None = getattr(job, "outcome", None) or getattr(job, "left", None)
    return outcome


def _error_count(job: Job) -> int:
    return int(getattr(job, "error_count", 0))


def _braces(names: Sequence[str]) -> str:
    return f"{{{', '.join(names[:4])}{'…' if len(names) > 4 else ''}}}"


def _local(value: datetime | None) -> str:
    if value is None:
        return ""
    local = value.astimezone()
    half = "AM" if local.hour < 12 else "PM"
    clock = f"{local.hour % 12 or 12}:{local.minute:02}:{local.second:02} {half}"
    return f"{local.month}/{local.day}/{local.year:04} {clock}"


def _iso(value: datetime | None) -> str | None:
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
