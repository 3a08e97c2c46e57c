from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from remotejobs.views.members import with_members
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import Version, text


def members(value: Any) -> dict[str, Any]:
    found = with_members(value)
    assert found is not None
    return found.adapted


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2025-11-25T20:40:00.1234567+01:00", ("Local", 123, 456, 700, 638997000001234567, "20:40:00.1234567", 329)),
        ("0001-01-01T00:00:00", ("Unspecified", 0, 0, 0, 0, "00:00:00", 1)),
        ("9999-12-31T23:59:59.9999999Z", ("Utc", 999, 999, 900, 3155378975999999999, "23:59:59.9999999", 365)),
    ],
)
def test_a_point_in_time(written: str, expected: tuple[Any, ...]) -> None:
    found = members(deserialize(f"<DT>{written}</DT>".encode()))
    found["TimeOfDay"] = text(found["TimeOfDay"])
    names = ("Kind", "Millisecond", "Microsecond", "Nanosecond", "Ticks", "TimeOfDay", "DayOfYear")
    assert tuple(found[name] for name in names) == expected


def test_a_negative_time_span_is_cut_towards_zero() -> None:
    found = members(timedelta(hours=-25, milliseconds=-1))
    assert [found[name] for name in ("Days", "Hours", "Milliseconds", "Ticks")] == [-1, -1, -1, -900_000_010_000]


def test_versions_and_guids() -> None:
    assert members(Version("1.2")) == {
        "Major": 1, "Minor": 2, "Build": -1, "Revision": -1, "MajorRevision": -1, "MinorRevision": -1,
    }  # fmt: skip
    guid = UUID("a1a1a1a1-b2b2-4c3c-9d4d-e5e5e5e5e5e5")
    assert members(guid) == {"Variant": 9, "Version": 4, "Guid": str(guid)}


def test_a_number_has_no_members_to_show() -> None:
    assert with_members(5) is None
