"""PowerShell sessions on hosts as a table, a list, and JSON and CSV for programs.

Knows the columns and the order of properties. Must not know hosts or stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TextIO

from remotejobs.jobs.sessions import PSSession
from remotejobs.views.layout import Column, list_lines, report_layout
from remotejobs.views.listing import write_items

SESSION_SCHEMA = "remotejobs.session.1"
# On a screen the last ones but InstanceId give way first.
_COLUMNS = tuple(
    Column(label)
    for label in (
        "Name", "ComputerName", "State", "Job", "Owner", "Commands", "IdleTimeout", "Availability",
        "ConfigurationName", "InstanceId",
    )
)  # fmt: skip
_LEAST = 5  # columns that are shown on the narrowest screen


def write_sessions(format_name: str, sessions: Sequence[PSSession], out: TextIO, width: int | None) -> None:
    """Write sessions in one of the formats Table, List, Json, Jsonl and Csv.

    Args:
        format_name: Case does not matter.
        sessions: In the order to show.
        out: Where they go.
        width: Columns of the terminal; None where `out` is none, and nothing is cut.
    """
    write_items(
        format_name,
        sessions,
        out,
        table=lambda: _table(sessions, width),
        block=lambda each: list_lines(list(_properties(each).items()), width),
        entry=_entry,
        properties=_properties,
    )


def _table(sessions: Sequence[PSSession], width: int | None) -> Iterator[str]:
    if not sessions:
        return
    shown = [_properties(each) | {"Commands": str(len(each.commands))} for each in sessions]
    columns = list(_COLUMNS)
    while True:
        rows = [[properties[column.label] for column in columns] for properties in shown]
        needed = sum(report_layout(columns, rows, None, keep_last=True).widths) + len(columns) - 1
        if width is None or needed <= width or len(columns) == _LEAST:
            break
        del columns[-2]
    layout = report_layout(columns, rows, width, keep_last=True)
    yield from layout.header()
    yield from map(layout.row, rows)


def _properties(session: PSSession) -> dict[str, str]:
    """Return all properties as texts."""
    return {
        "Name": session.name,
        "ComputerName": session.computer_name,
        "State": session.state,
        "Availability": session.availability,
        "ConfigurationName": session.configuration_name,
        "Transport": "WSMan",
        "InstanceId": session.instance_id,
        "Job": str(session.job or ""),
        "JobState": session.job.state.name if session.job else "",
        "Owner": session.owner,
        "ClientIP": session.client,
        "ProcessId": session.process_id,
        "IdleTimeout": _duration(session.idle_timeout),
        "Inactivity": _duration(session.inactivity),
        "RunTime": _duration(session.run_time),
        "BufferMode": session.buffer_mode,
        "Commands": ", ".join(f"{each.line or each.command_id} ({each.state})" for each in session.commands),
    }


def _entry(session: PSSession) -> dict[str, Any]:
    job = session.job
    return {
        "schema": SESSION_SCHEMA,
        "computer_name": session.computer_name,
        "instance_id": session.instance_id,
        "name": session.name,
        "state": session.state,
        "availability": session.availability,
        "configuration_name": session.configuration_name,
        "owner": session.owner,
        "job": {"id": job.job_id, "location": job.location, "state": job.state.name} if job else None,
        "commands": [each._asdict() for each in session.commands],
        "client": session.client,
        "process_id": session.process_id,
        "idle_timeout": session.idle_timeout,
        "inactivity": session.inactivity,
        "run_time": session.run_time,
        "buffer_mode": session.buffer_mode,
    }


def _duration(seconds: float | None) -> str:
    """`2:00:00`; nothing where the host does not say."""
    try:
        return "" if seconds is None else str(timedelta(seconds=int(seconds)))
    except OverflowError:  # a host may say anything
        return "never"
