"""Sessions on hosts as a table, a list and for programs; what a host says is shown, never obeyed."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from remotejobs.jobs.sessions import Command, Owner, PSSession
from remotejobs.states import JobState
from remotejobs.views.sessiontable import write_sessions

GUID = "3c4c1c41-7e5b-45b9-979a-548e734e58aa"


async def _never() -> bool:
    raise AssertionError


def session(**changes: Any) -> PSSession:
    return PSSession(
        **{
            "computer_name": "web01",
            "instance_id": GUID,
            "name": "Nightly",
            "state": "Disconnected",
            "configuration_name": "Microsoft.PowerShell",
            "owner": "WEB01\\ops",
            "job": Owner(42, "web01", JobState.Disconnected),
            "commands": (Command("8313", "", "Running"),),
            "client": "10.0.0.1",
            "process_id": "2000",
            "idle_timeout": 7200.0,
            "inactivity": 61.0,
            "run_time": 90061.0,
            "buffer_mode": "Block",
            "delete": _never,
            **changes,
        }
    )


def written(format_name: str, *sessions: PSSession, width: int | None = None) -> str:
    out = io.StringIO()
    write_sessions(format_name, sessions, out, width)
    return out.getvalue()


def test_table() -> None:
    lines = written("Table", session(), session(job=None, state="Connected", commands=())).splitlines()
    assert lines[0].split() == [
        "Name", "ComputerName", "State", "Job", "Owner", "Commands", "IdleTimeout", "Availability",
        "ConfigurationName", "InstanceId",
    ]  # fmt: skip
    assert lines[2].split() == [
        "Nightly", "web01", "Disconnected", "42/web01", "WEB01\\ops", "1", "2:00:00", "None", "Microsoft.PowerShell",
        GUID,
    ]  # fmt: skip
    assert lines[3].split()[2:6] == ["Connected", "WEB01\\ops", "0", "2:00:00"]
    assert "Busy" in lines[3]


@pytest.mark.parametrize("width", [20, 80, 100, 120, 160])
def test_a_screen_keeps_what_instance_id_takes(width: int) -> None:
    lines = written("Table", session(name="n" * 60), width=width).splitlines()
    assert lines[-1].endswith(GUID) or width < len(GUID)
    assert all(len(line) <= width for line in lines) or width < 60


def test_list() -> None:
    lines = written("list", session(), session()).splitlines()
    assert lines[0] == "Name              : Nightly"
    assert "Job               : 42/web01" in lines
    assert "RunTime           : 1 day, 1:01:01" in lines
    assert "Commands          : 8313 (Running)" in lines
    assert lines.count("") == 1


def test_for_programs() -> None:
    (entry,) = json.loads(written("Json", session()))
    assert (entry["schema"], entry["job"]) == (
        "remotejobs.session.1",
        {"id": 42, "location": "web01", "state": "Disconnected"},
    )
    assert len(json.loads(written("Json", session(), session()))) == 2
    lines = written("Jsonl", session(), session(job=None)).splitlines()
    assert [json.loads(line)["job"] is None for line in lines] == [False, True]
    (row,) = csv.DictReader(io.StringIO(written("Csv", session(name="=cmd()"))))
    assert (row["InstanceId"], row["Name"]) == (GUID, "'=cmd()")


def test_of_none_there_is_nothing_to_show() -> None:
    assert [written(name) for name in ("Table", "List", "Csv", "Jsonl", "Json")] == ["", "", "", "", "[]\n"]


@pytest.mark.parametrize("format_name", ["Table", "List"])
def test_what_a_host_says_does_nothing_to_the_terminal(format_name: str) -> None:
    text = written(format_name, session(name="\x1b[2Jx\u202ey", owner="a\rb\ud800", state="\x07"), width=200)
    assert not {"\x1b", "\r", "\x07", "\u202e", "\ud800"} & set(text)


def test_a_host_may_say_any_time() -> None:
    assert "IdleTimeout       : never" in written("List", session(idle_timeout=9e14, inactivity=None))
