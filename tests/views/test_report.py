from __future__ import annotations

import io
from datetime import timedelta

import pytest

from remotejobs.views import report
from remotejobs.views.view import view
from remotejobs.wsman.clixml.values import PSObject
from tests.views.factory import Terminal, bag, record, service


def rendered(format_name: str, *items: tuple[str, object], width: int | None = None, show: bool = True) -> list[str]:
    out = Terminal() if width else io.StringIO()
    shown = view(format_name, out, io.StringIO(), terminal_width=width, show_computer_name=show)
    for host, value in items:
        shown.record(record(value, host))
    shown.close()
    return out.getvalue().splitlines()


def test_get_service_on_twenty_hosts_is_one_table() -> None:
    hosts = [f"web{number:02}" for number in range(20, 0, -1)]
    winrm = service("Running", "WinRM", "Windows Remote Management (WS-Management)")
    lines = rendered("Table", *((host, winrm) for host in hosts))
    assert lines[0] == "Status  Name  DisplayName                               PSComputerName"
    assert lines[2:] == [f"Running WinRM Windows Remote Management (WS-Management) web{n:02}" for n in range(1, 21)]


def test_a_narrow_terminal_cuts_but_keeps_the_host() -> None:
    winrm = service("Running", "WinRM", "Windows Remote Management (WS-Management)")
    lines = rendered("Table", ("web01", winrm), width=60)
    assert lines[2] == "Running WinRM Windows Remote Management (WS-… web01"
    assert max(map(len, lines)) <= 60


def test_objects_without_a_view_share_the_union_of_their_columns() -> None:
    assert rendered("Table", ("web01", bag(A=1, B="x")), ("web02", bag(b="y", C=True))) == [
        "A B    C PSComputerName",
        "- -    - --------------",
        "1 x      web01",
        "  y True web02",
    ]


def test_kinds_have_tables_of_their_own() -> None:
    lines = rendered("Table", ("web01", service("Running", "a", "A")), ("web01", 5), ("web02", "x"))
    assert lines[4:] == ["Value PSComputerName", "----- --------------", "    5 web01", "    x web02"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(hours=1), "01:00:00"),
        (PSObject(("System.DayOfWeek", "System.Enum"), "Monday", 1), "Monday"),
        ("\n\nfirst\nsecond", "first second"),
    ],
)
def test_scalars_are_a_value(value: object, expected: str) -> None:
    assert rendered("Table", ("web01", value), show=False)[2].strip() == expected


def test_a_dictionary_is_its_entries_and_a_list_its_items() -> None:
    assert rendered("Table", ("web01", {"k": [1, 2]}))[2] == "k    {1, 2} web01"
    assert rendered("Table", ("web01", [1, None, 2]), show=False)[2:] == ["    1", "    2"]
    assert rendered("Table", ("web01", None)) == []


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_ROWS", 3)
    monkeypatch.setattr(report, "MOST_COLUMNS", 2)
    out = io.StringIO()
    shown = view("Table", out, io.StringIO(), show_computer_name=False)
    for number in range(3):
        shown.record(record(bag(A=number, B=0, C=0)))
    assert out.getvalue() == "A B\n- -\n0 0\n1 0\n2 0\n"
    shown.record(record(bag(A=9)))
    shown.close()
    assert out.getvalue().endswith("\n\nA\n-\n9\n")


def test_a_list() -> None:
    assert rendered("List", ("web01", bag(A=1, Long=[1, 2])), ("web02", 5)) == [
        "A              : 1",
        "Long           : {1, 2}",
        "PSComputerName : web01",
        "",
        "Value          : 5",
        "PSComputerName : web02",
    ]


def test_a_list_without_names_on_a_terminal() -> None:
    assert rendered("List", ("web01", bag(A="\x1b[1m" + "x" * 20)), width=20, show=False) == [
        "A : ␛[1mxxxxxxxxxxxx",
        "    xxxxxxxx",
    ]


def test_properties_that_claim_an_origin_do_not_double_the_host() -> None:
    assert rendered("Table", ("web01", bag(A=1, PSComputerName="evil"))) == [
        "A PSComputerName",
        "- --------------",
        "1 web01",
    ]


def test_rows_that_are_held_back_do_not_count_as_written() -> None:
    out, moved = io.StringIO(), list[str]()
    shown = view("Table", out, io.StringIO())
    shown.written(lambda: moved.append("nothing was held"))
    shown.record(record(5, "web01"))
    shown.written(lambda: moved.append(out.getvalue()))
    shown.flush()
    assert moved == ["nothing was held"]
    shown.close()
    assert "5" in moved[1]
