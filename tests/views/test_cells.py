from __future__ import annotations

from datetime import UTC, datetime

import pytest

from remotejobs.views.cells import cell_text, event_time, long_date, short_date, short_time
from remotejobs.wsman.clixml.values import NO_BASE, PSObject, Single


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        ("x", "x"),
        (12345678901234567890, "12345678901234567890"),
        (1e-7, "1E-07"),
        (1e20, "1E+20"),
        (-0.0, "-0"),
        (float("nan"), "NaN"),
        (float("-inf"), "-∞"),
        (Single(0.1), "0.1"),
        (datetime(2026, 11, 20, 12, 0, tzinfo=UTC), "11/20/2026 12:00:00 PM"),
        (datetime(1, 1, 1, tzinfo=UTC), "1/1/0001 12:00:00 AM"),
        ([], "{}"),
        ([1, "a", None, True, 5], "{1, a, $null, True…}"),
        ([1, [2, [3]]], "{1, 2 System.Collections.ArrayList}"),
        (b"\x00\x01", "{0, 1}"),
        ({"a": [1], "b": None}, "{[a, System.Collections.ArrayList], [b, ]}"),
        (PSObject(("System.DayOfWeek", "System.Enum"), "Monday", 1), "Monday"),
        (PSObject((), None, [1, 2]), "{1, 2}"),
        (PSObject((), None, datetime(2026, 11, 20, tzinfo=UTC), extended={"Tag": 1}), "11/20/2026 12:00:00 AM"),
        (PSObject((), None, NO_BASE, extended={"a": 1}), "@{a=1}"),
    ],
)
def test_cells(value: object, expected: str) -> None:
    assert cell_text(value) == expected


def test_dates() -> None:
    noon, night = datetime(2026, 11, 2, 12, 5, 9, tzinfo=UTC), datetime(2026, 1, 31, 0, 0, 0, tzinfo=UTC)
    assert long_date(noon) == "Monday, November 2, 2026 12:05:09 PM"
    assert (short_date(night), short_time(night)) == ("1/31/2026", "12:00 AM")
    assert event_time(noon) == "Nov 02 12:05"


def test_a_cycle_is_named_and_not_followed() -> None:
    endless = PSObject(extended={"n": 1})
    endless.extended["self"] = [endless]
    assert cell_text(endless.extended["self"]) == "{@{n=1; self=System.Collections.ArrayList}}"
