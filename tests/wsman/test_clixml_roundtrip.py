"""Whatever is written is read again as what it was."""

from __future__ import annotations

import struct
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remotejobs.wsman.clixml.primitives import escape, unescape
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import (
    NO_BASE,
    BigInteger,
    Byte,
    Char,
    DateTime,
    Int16,
    Int64,
    OrderedDictionary,
    PSObject,
    SByte,
    SecureString,
    Single,
    TimeSpan,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    Version,
    XmlDocument,
    span_ticks,
)
from remotejobs.wsman.clixml.write import serialize


def _joined(value: str) -> str:
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


_TEXT = st.text(st.characters(codec=None), max_size=30) | st.from_regex(r"[_xX0-9a-fA-F]{0,20}", fullmatch=True)


@given(_TEXT)
def test_every_text_comes_back(value: str) -> None:
    assert unescape(escape(value)) == _joined(value)
    assert deserialize(serialize(value)) == _joined(value)
    assert deserialize(serialize(PSObject(extended={value: value}))).extended == {_joined(value): _joined(value)}


_SPANS = st.integers(-(2**63), 2**63 - 1)
_CLEAN = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes), f"UTC{minutes}"))
_SIZES: list[tuple[type[int], int, int]] = [
    *((Byte, 0, 255), (SByte, -128, 127), (Int16, -(2**15), 2**15 - 1), (UInt16, 0, 2**16 - 1)),
    *((UInt32, 0, 2**32 - 1), (Int64, -(2**63), 2**63 - 1), (UInt64, 0, 2**64 - 1)),
]
_PRIMITIVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.uuids()
    | st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.builds(DateTime, st.integers(1, 9999), st.just(2), st.just(3), tick=st.integers(1, 9))
    | st.builds(lambda n: TimeSpan(microseconds=n // 10, tick=n % 10), _SPANS)
    | st.builds(lambda n, places: Decimal(n).scaleb(-places), st.integers(-(10**27), 10**27), st.integers(0, 28))
    | st.datetimes(timezones=_ZONES)
    | st.one_of([st.builds(kind, st.integers(lowest, highest)) for kind, lowest, highest in _SIZES])
    | st.builds(lambda unit: Char(chr(unit)), st.integers(0, 0xFFFF))
    | st.builds(Single, st.floats(width=32, allow_nan=False))
    | st.builds(Uri, _CLEAN)
    | st.lists(st.integers(0, 2**31 - 1).map(str), min_size=2, max_size=4).map(lambda parts: Version(".".join(parts)))
    | st.builds(lambda inner: XmlDocument(f"<a>{inner}</a>"), st.text("ab 1", max_size=5))
    | st.builds(SecureString, st.just("AAEC"))
)
_KEYS = st.text(max_size=5) | st.integers(-1000, 1000)


_TYPE_NAMES = st.lists(_CLEAN.filter(bool), min_size=1, max_size=3).map(tuple)


def _holding(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, max_size=4)
    entries = st.dictionaries(_KEYS, inner, max_size=4)
    members = st.dictionaries(_CLEAN, inner, max_size=3)
    notes = st.dictionaries(_CLEAN, inner, min_size=1, max_size=3)
    base = st.just(NO_BASE) | st.integers(0, 9) | _CLEAN | items | entries
    named = st.builds(PSObject, _TYPE_NAMES, st.none() | _CLEAN, base, members, notes)
    bag = st.builds(lambda notes: PSObject(extended=notes), notes)
    return items | entries | entries.map(OrderedDictionary) | named | bag


_VALUES = st.recursive(_PRIMITIVES, _holding, max_leaves=20)


@given(_VALUES)
def test_every_value_comes_back(value: Any) -> None:
    raw = serialize(value)
    read = deserialize(raw)
    assert read == value
    assert deserialize(serialize(read)) == value


@given(_PRIMITIVES)
def test_every_primitive_comes_back_as_what_it_was(value: Any) -> None:
    raw = serialize(value)
    assert serialize(deserialize(raw)) == raw  # its kind of number, its kind of time


@given(st.integers() | st.integers(-(2**200), 2**200))
def test_every_big_integer_comes_back_as_its_text(value: int) -> None:
    read = deserialize(serialize(BigInteger(value)))
    assert (read.type_names[0], int(str(read)), read.IsEven) == ("System.Numerics.BigInteger", value, value % 2 == 0)


@given(st.lists(st.lists(st.integers(0, 7), max_size=5), min_size=8, max_size=8), st.booleans())
def test_every_graph_comes_back(links: list[list[int]], bags: bool) -> None:
    nodes: list[Any] = [PSObject(extended={"n": 0}) if bags else [] for _ in links]
    for node, targets in zip(nodes, links, strict=True):
        for place, target in enumerate(targets):
            if bags:
                node.extended[f"to{place}"] = nodes[target]
            else:
                node.append(nodes[target])
    raw = serialize(nodes)
    assert serialize(deserialize(raw)) == raw


@given(_VALUES, st.integers(1, 3))
def test_every_value_can_be_cut(value: Any, depth: int) -> None:
    deserialize(serialize(value, depth=depth))
    assert serialize(value, depth=49) == serialize(value)


@given(st.floats(width=32, allow_nan=False))
def test_every_single_comes_back(value: float) -> None:
    read = deserialize(serialize(Single(value)))
    assert isinstance(read, Single)
    assert struct.pack("f", read) == struct.pack("f", value)


@given(_SPANS)
def test_every_time_span_comes_back(ticks: int) -> None:
    assert span_ticks(deserialize(serialize(TimeSpan(microseconds=ticks // 10, tick=ticks % 10)))) == ticks
