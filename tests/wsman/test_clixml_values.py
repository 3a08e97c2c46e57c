"""PSObject and PowerShell's texts."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from remotejobs.wsman.clixml.values import NO_BASE, DateTime, PSObject, Single, TimeSpan, Version, number_text, text

_ID = UUID("12345678-1234-1234-1234-123456789abc")


def test_members_are_found_whatever_their_case_extended_first() -> None:
    value = PSObject(adapted={"Name": "adapted", "Id": 1}, extended={"name": "extended", "Type_Names": 2})
    assert value["NAME"] == "extended"
    assert value.Name == "extended"
    assert value.Type_Names == 2  # what differs in case from an attribute of Python's is a property
    assert value.get("iD") == 1
    assert value.get("nothing", 7) == 7
    assert "ID" in value
    assert 5 not in value
    assert value.properties == {"name": "extended", "Type_Names": 2, "Id": 1}
    assert list(value.properties) == ["name", "Type_Names", "Id"]
    with pytest.raises(KeyError):
        value["other"]
    with pytest.raises(AttributeError, match="'Other'"):
        value.Other  # noqa: B018


def test_a_dictionary_inside_is_asked_too() -> None:
    value = PSObject(base={"Key": 1, 2: 3}, extended={"Tag": "t"})
    assert (value["key"], value.Tag, len(value), list(value)) == (1, "t", 2, ["Key", 2])


def test_a_list_inside_is_reached_by_number() -> None:
    value = PSObject(base=[1, 2, 3], extended={"Tag": "t"})
    assert (value[0], value[-1], value[1:], len(value), list(value)) == (1, 3, [2, 3], 3, [1, 2, 3])
    bag = PSObject(extended={"a": 1})
    assert bag
    with pytest.raises(TypeError, match="properties"):
        list(bag)


def test_origin_is_ours_and_comes_last() -> None:
    value = PSObject(extended={"runspaceID": "theirs", "A": 1, "PSComputerName": "theirs"})
    value.set_origin("web01", _ID, show=True)
    assert list(value.extended.items()) == [
        ("A", 1),
        ("PSComputerName", "web01"),
        ("RunspaceId", _ID),
        ("PSShowComputerName", True),
    ]
    forged = PSObject(extended={"psshowcomputername": False}, adapted={"PSComputerName": "theirs"})
    forged.set_origin("web01", _ID, show=True)
    assert forged.PSShowComputerName is True
    assert forged.PSComputerName == "web01"
    assert [name.lower() for name in forged.properties].count("pscomputername") == 1


def test_equality_copies_and_repr() -> None:
    value = PSObject(("System.Diagnostics.Process",), "p", adapted={"Id": 1, "Name": "x" * 500})
    assert value == copy.deepcopy(value) == pickle.loads(pickle.dumps(value))
    assert value != PSObject(("System.Diagnostics.Process",), "p", adapted={"Id": 2})
    assert value != "p"
    assert repr(value) == "<PSObject Process: 'p'>"
    assert len(repr(PSObject(extended={"a": "x" * 500}))) < 100
    assert PSObject().base is NO_BASE


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "True"),
        (1.0, "1"),
        (0.1 + 0.2, "0.3"),
        (1e15, "1E+15"),
        (Single(0.1), "0.1"),
        (Decimal("1.10"), "1.10"),
        (datetime.fromisoformat("2026-11-20T03:04:05"), "11/20/2026 03:04:05"),
        (datetime.fromisoformat("0001-02-03"), "02/03/0001 00:00:00"),
        (timedelta(days=-1, hours=-2), "-1.02:00:00"),
        (TimeSpan(seconds=1, tick=5), "00:00:01.0000005"),
        (Version("1.2"), "1.2"),
        (b"\0\xff", "0 255"),
        ([1, None, "x", [2], {}], "1  x System.Collections.ArrayList System.Collections.Hashtable"),
        ({}, "System.Collections.Hashtable"),
        (PSObject(), ""),
        (
            PSObject(extended={"a": 1, "b": PSObject(extended={"c": 1}), "d": [1]}),
            "@{a=1; b=; d=System.Collections.ArrayList}",
        ),
        (PSObject(to_string="shown", base=5), "shown"),
        (PSObject(base=[1, PSObject(("X",), "x")]), "1 x"),
        (PSObject(("System.Collections.Generic.Queue`1[[System.Int32]]",), base=[1, 2]), "1 2"),
        ([PSObject(("System.Collections.Queue",), base=[])], "System.Collections.Queue"),
    ],
)
def test_text_is_that_of_powershell(value: Any, shown: str) -> None:
    assert text(value) == shown


def test_text_of_what_contains_itself() -> None:
    bag = PSObject(extended={"n": 1})
    bag.extended["self"] = bag
    assert str(bag) == "@{n=1; self=}"


@pytest.mark.parametrize(
    ("value", "shortest"),
    [
        (100.0, "100"),
        (0.0001, "0.0001"),
        (0.00001, "1E-05"),
        (1e16, "10000000000000000"),
        (1e17, "1E+17"),
        (-1.5, "-1.5"),
    ],
)
def test_numbers_are_those_of_dotnet(value: float, shortest: str) -> None:
    assert number_text(value) == shortest


def test_the_seventh_digit_counts() -> None:
    assert DateTime(2026, 1, 1, tick=1) != datetime.fromisoformat("2026-01-01")
    assert DateTime(2026, 1, 1, tick=1) == DateTime(2026, 1, 1, tick=1)
    assert TimeSpan(tick=1) != timedelta(0)
