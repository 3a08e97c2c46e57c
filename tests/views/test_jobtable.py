"""The job table as PowerShell printed it, at every width, and jobs for programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from remotejobs.model import Outcome
from remotejobs.states import EndReason, JobState
from remotejobs.views.jobtable import table_lines, write_jobs
from tests.recordings import RECORDINGS, needs_recordings

_STARTS = (0, 7, 23, 39, 53, 69, 90)
_HEADER = "Id     Name            PSJobTypeName   State         HasMoreData"


@dataclass
class Child:
    id: int
    location: str = "web01"
    state: JobState = JobState.Running
    has_more_data: bool = True
    command: str = " Start-Sleep 2; 1 "
    outcome: Outcome | None = None
    error_count: int = 0
    name: str = ""
    ps_job_type_name: str = ""
    instance_id: UUID = field(default_factory=lambda: UUID(int=7))
    ps_begin_time: datetime | None = datetime(2026, 11, 21, 9, 32, 58, 500_000, UTC)
    ps_end_time: datetime | None = None
    child_jobs: list[Child] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.name = self.name or f"Job{self.id}"


def parent(**changes: Any) -> Child:
    return Child(1, **{"name": "WinRM", "ps_job_type_name": "RemoteJob", "location": "web01,web02,web03", **changes})


def lines(*jobs: Child, width: int | None) -> list[str]:
    return list(table_lines(jobs, width))


def test_the_table_of_a_fan_out_with_children() -> None:
    jobs = [parent(), *(Child(n, f"web0{n - 1}", JobState.NotStarted) for n in (2, 3, 4))]
    assert lines(*jobs, width=140) == [
        "Id     Name            PSJobTypeName   State         HasMoreData     Location             Command",
        "--     ----            -------------   -----         -----------     --------             -------",
        "1      WinRM           RemoteJob       Running       True            web01,web02,web03     Start-Sleep 2; 1 ",
        "2      Job2                            NotStarted    True            web01                 Start-Sleep 2; 1 ",
        "3      Job3                            NotStarted    True            web02                 Start-Sleep 2; 1 ",
        "4      Job4                            NotStarted    True            web03                 Start-Sleep 2; 1 ",
    ]


def test_no_jobs_print_nothing() -> None:
    assert lines(width=80) == lines(width=None) == []


def test_columns_give_way_from_the_right() -> None:
    job = parent(name="a-very-long-job-name", command=" one\ntwo ", location="LON-DC1,LON-SVR1")
    assert lines(job, width=115)[2].endswith("LON-DC1,LON-SVR1      one…")
    assert lines(job, width=80) == [
        f"{_HEADER}     Location",
        "--     ----            -------------   -----         -----------     --------   ",
        "1      a-very-long-jo… RemoteJob       Running       True            LON-DC1,LO…",
    ]
    assert lines(job, width=79)[2].endswith("LON-DC1,L…")
    assert lines(job, width=72)[:3] == [
        f"{_HEADER}     Loc",
        f"{' ' * 69}ati",
        f"{' ' * 69}on",
    ]
    assert lines(job, width=70)[-1].endswith("True            L")
    assert lines(job, width=69)[0] == _HEADER
    assert lines(job, width=91)[-1].endswith("LON-DC1,LON-SVR1      ")
    assert lines(job, width=1)[-1] == "1"


def test_a_pipe_gets_everything() -> None:
    job = parent(name="a-very-long-job-name", command="x" * 60, location=",".join(f"server{n}" for n in range(9)))
    header, _, row = lines(job, width=None)
    assert (job.name in row, job.location in row, row.endswith("x" * 60)) == (True, True, True)
    assert header.index("PSJobTypeName") == row.index("RemoteJob")


def tables() -> Iterator[Any]:
    if RECORDINGS is None:
        return
    table = re.compile(rf"^{_HEADER}.*\n-- .*\n(?:\d+ +\S.*\n)*", re.MULTILINE)
    for folder, member in (("transcripts", "output"), ("calls", "table")):
        for path in sorted((RECORDINGS / "pwsh" / folder).glob("*.json")):
            text = json.loads(path.read_text(encoding="utf-8")).get(member) or ""
            for number, match in enumerate(table.finditer(text)):
                yield pytest.param(match[0].splitlines(), id=f"{path.stem}-{number}")


@needs_recordings
@pytest.mark.parametrize("recorded", list(tables()))
def test_recorded_tables(recorded: list[str]) -> None:
    """Cells read from a recorded table make the same table again: at the width of Out-String, or the console's 79."""
    jobs = []
    for row in recorded[2:]:
        cells = [row[a:b] for a, b in zip(_STARTS, (*_STARTS[1:], None), strict=True)]
        state, more = JobState[cells[3].strip()], cells[4].strip() == "True"
        jobs.append(Child(int(cells[0]), cells[5].strip(), state, more, cells[6], name=cells[1].strip()))
        jobs[-1].ps_job_type_name = cells[2].strip()
    assert any(lines(*jobs, width=width) == recorded for width in (79, 80, 100, 120, 140)), recorded


def test_the_list_has_every_property_in_order() -> None:
    out = io.StringIO()
    write_jobs("List", [parent(child_jobs=[Child(2), Child(3)]), Child(2)], out, None)
    whole, child = out.getvalue().split("\n\n")
    assert [line.partition(":")[0].strip() for line in whole.splitlines()] == [
        *("State", "HasMoreData", "StatusMessage", "Location", "Command", "JobStateInfo", "Finished", "InstanceId"),
        *("Id", "Name", "ChildJobs", "PSBeginTime", "PSEndTime", "PSJobTypeName", "Output", "Error", "Progress"),
        *("Verbose", "Debug", "Warning", "Information"),
    ]
    assert "ChildJobs     : {Job2, Job3}" in whole
    assert "JobStateInfo  : Running" in whole
    assert re.search(r"PSBeginTime   : 11/2\d/2026 \d+:\d\d:58 [AP]M", whole)
    assert child.startswith("State         : Running\nStatusMessage :\nHasMoreData   : True\n")


def test_the_list_ends_with_the_notes_of_the_job() -> None:
    out = io.StringIO()
    write_jobs("List", [parent(notes=("slow", "refused"))], out, None)
    assert out.getvalue().splitlines()[-2:] == ["Notes         : slow", "Notes         : refused"]


@needs_recordings
def test_the_list_is_that_of_the_recording() -> None:
    assert RECORDINGS
    text = (RECORDINGS / "pwsh" / "transcripts" / "list-child.json").read_text(encoding="utf-8")
    recorded = [line.partition(" ")[0] for line in json.loads(text)["output"].split("\n") if " : " in line]
    out = io.StringIO()
    write_jobs("List", [Child(2)], out, 120)
    ours = [line.partition(" ")[0] for line in out.getvalue().splitlines()]
    objects = {"Runspace", "Debugger", "IsAsync", "Output", "Error", "Progress", "Verbose", "Debug", "Warning"}
    common = [name for name in recorded if name not in objects | {"Information"}]
    assert ours[: len(common)] == common
    assert ours[len(common) :] == ["EndReason", "Message", "ErrorCount"]


FAILED = Outcome(EndReason.Unreachable, "web02: no route", "NetworkPathNotFound,PSSessionStateBroken")


def test_json_has_the_children_and_how_they_ended() -> None:
    children = [Child(2), Child(3, "web02", JobState.Failed, False, outcome=FAILED, ps_begin_time=None)]
    job = parent(child_jobs=children, notes=("slow",))
    out = io.StringIO()
    write_jobs("Jsonl", [job, parent()], out, None)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["schema"], first["id"], first["type"], first["notes"]) == (
        "remotejobs.job.1",
        1,
        "RemoteJob",
        ["slow"],
    )
    assert first["begin_time"] == "2026-11-21T09:32:58.500Z"
    assert [child["reason"] for child in first["children"]] == [None, "Unreachable"]
    assert first["children"][1]["error_id"] == FAILED.error_id
    assert first["children"][1]["begin_time"] is None
    assert second["children"] == []
    out = io.StringIO()
    write_jobs("Json", [job, children[1]], out, None, children_listed=True)
    (only,) = json.loads(out.getvalue())
    assert [child["id"] for child in only["children"]] == [3]
    out = io.StringIO()
    write_jobs("json", [], out, None)
    assert json.loads(out.getvalue()) == []


def test_csv_is_one_row_a_job() -> None:
    out = io.StringIO()
    child = Child(3, "web02", JobState.Failed, False, '=cmd "x"', outcome=FAILED)
    write_jobs("Csv", [parent(), child], out, None)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["Name"] for row in rows] == ["WinRM", "Job3"]
    assert rows[1]["Command"] == '\'=cmd "x"'
    assert (rows[1]["EndReason"], rows[1]["Message"], rows[0]["ErrorCount"]) == ("Unreachable", "web02: no route", "")


def test_a_terminal_is_not_commanded() -> None:
    out = io.StringIO()
    write_jobs("Table", [parent(name="\x1b[2J")], out, 80)
    assert "\x1b" not in out.getvalue()
