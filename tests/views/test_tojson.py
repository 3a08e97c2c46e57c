"""JSON: as ConvertTo-Json gave it."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.views.tojson import to_json, to_plain
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import (
    Char,
    Int64,
    OrderedDictionary,
    PSObject,
    SecureString,
    Single,
    TimeSpan,
    Uri,
    Version,
    XmlDocument,
)
from tests.wsman.clixml_recordings import Shown, outputs

_SURROGATE = re.compile("[\ud800-\udfff]")


@pytest.mark.parametrize("shown", outputs(), ids=lambda shown: shown.case)
def test_recorded_json(shown: Shown) -> None:
    value = deserialize(shown.raw)
    whole = value if isinstance(value, PSObject) else PSObject(base=value)
    runspace_id = re.search(r'"RunspaceId":"([0-9a-f-]{36})"', shown.json)
    if runspace_id is not None:  # strings and dates show none
        whole.set_origin("localhost", UUID(runspace_id[1]), show=False)
    written = to_json(whole, 3, compress=True)
    recorded = _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown.json)
    if len(recorded) > 4000:  # the recorder cut it
        assert written.startswith(recorded.removesuffix("..."))
    else:
        assert written == recorded
        assert json.loads(written) == json.loads(recorded)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        (Int64(5), "5"),
        (2**70, str(2**70)),
        (1.0, "1.0"),
        (1e17, "1E+17"),
        (Single(0.1), "0.1"),
        (math.nan, '"NaN"'),
        (-math.inf, '"-Infinity"'),
        (Decimal(5), "5.0"),
        (Decimal("0.10"), "0.10"),
        (Char("\0"), '"\\u0000"'),
        ('\x1f"\\/\b\f\n\r\t\x7f\x85\u2028é😀', '"\\u001f\\"\\\\/\\b\\f\\n\\r\\t\x7f\\u0085\\u2028é😀"'),
        ("\ud83d", '"\\ud83d"'),
        (b"\1\2", "[1,2]"),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Uri("http://a"), '"http://a"'),
        (XmlDocument("<a/>"), '"<a/>"'),
        (datetime(2026, 1, 2, 3, 4, 5, 600000, UTC), '"2026-01-02T03:04:05.6Z"'),
        ({"a": 1, 2: None}, '{"a":1,"2":null}'),
        (OrderedDictionary(b=1, a=2), '{"b":1,"a":2}'),
        (PSObject(), "{}"),
        (PSObject(base=Uri("u"), extended={"Tag": 1}), '{"value":"u","Tag":1}'),
        (PSObject(base="text", extended={"Tag": 1}), '"text"'),
        (PSObject(base={"a": 1}, extended={"a": 2, "b": 3}), '{"a":1,"b":3}'),
        (PSObject(extended={"a": 1}, adapted={"A": 2, "c": 3}), '{"a":1,"c":3}'),
        (SecureString("cAB3AA=="), '{"Length":2}'),
        (SecureString("A" * 21 + "A=="), '{"Length":null}'),
        (
            Version("1.2.3.65537"),
            '{"Major":1,"Minor":2,"Build":3,"Revision":65537,"MajorRevision":1,"MinorRevision":1}',
        ),
    ],
)
def test_values(value: Any, written: str) -> None:
    assert to_json(value, compress=True) == written


def test_indented_is_powershells_layout() -> None:
    value = {"a": [], "b": {}, "c": [1, {"d": "x"}]}
    assert to_json(value) == json.dumps(value, indent=2)
    assert to_json("x") == '"x"'


def test_what_is_too_deep_is_text() -> None:
    inner = PSObject(extended={"n": 1})
    deep = {
        "list": [1, [2], None],
        "bag": inner,
        "span": timedelta(seconds=1),
        "object": PSObject(("X",), "x"),
        "n": 1.5,
    }
    assert to_plain(deep, 0) == {
        "list": "1 System.Collections.ArrayList ",
        "bag": "@{n=1}",
        "span": "00:00:01",
        "object": "x",
        "n": 1.5,
    }
    assert to_plain({"a": inner}, 1) == {"a": {"n": 1}}


def test_cycles_end_at_the_depth() -> None:
    bag = PSObject(extended={"n": 1})
    bag.extended["self"] = bag
    assert to_plain(bag, 1) == {"n": 1, "self": {"n": 1, "self": "@{n=1; self=}"}}


def test_an_ip_address_is_alive_again() -> None:
    flags = {"AddressFamily": "InterNetworkV6", "ScopeId": Int64(3), "IsIPv6Teredo": False}
    address = PSObject(("System.Net.IPAddress",), "fe80::1", adapted=flags, extended={"IPAddressToString": "fe80::1"})
    assert list(to_plain(address).items()) == [
        ("AddressFamily", 23),
        ("ScopeId", 3),
        ("IsIPv6Teredo", False),
        ("Address", None),
        ("IPAddressToString", "fe80::1"),
    ]


def test_time_spans_are_cut_towards_zero() -> None:
    plain = to_plain(TimeSpan(microseconds=-1_234_500, tick=9))
    assert (plain["Ticks"], plain["Seconds"], plain["Milliseconds"], plain["Nanoseconds"]) == (
        -12344991,
        -1,
        -234,
        -100,
    )
    assert (plain["Days"], plain["TotalSeconds"]) == (0, -1.2344991)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(places=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(_VALUES, st.booleans())
def test_every_result_is_json(value: Any, compress: bool) -> None:
    assert json.loads(to_json(value, 9, compress)) == json.loads(json.dumps(to_plain(value, 9)))
