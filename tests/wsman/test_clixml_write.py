"""Writing CLIXML: as PowerShell writes it, and so that reading gives the same again."""

from __future__ import annotations

import math
import re
import struct
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import UsageError
from remotejobs.wsman.clixml.primitives import escape, unescape
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import (
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
from remotejobs.wsman.clixml.write import document, serialize
from tests.recordings import needs_recordings
from tests.wsman.clixml_recordings import cases, element, lines, messages

_NATIVE: dict[str, Any] = {
    "int": 5,
    "string": "text",
    "char": Char("x"),
    "double": 0.1,
    "double-large": 1.7976931348623157e308,
    "float": Single(0.1),
    "decimal": Decimal("1.50"),
    "guid": uuid.UUID("12345678-1234-1234-1234-123456789abc"),
    "version": Version("1.2.3.4"),
    "array": [1, "a", None],
    "nested-array": [1, [2, [3, [4]]]],
    "hashtable": {"a": {"b": {"c": {"d": 1}}}},
    "ordered": OrderedDictionary(z=1, a=2),
}


def _recorded(line: dict[str, Any]) -> bytes:
    return element(re.sub(r">\s+<", "><", line["clixml"]))


@pytest.mark.parametrize(
    "line",
    [line for line in lines("serialize.jsonl") if line["clixml"]],
    ids=lambda line: f"{line['name']}-{line['depth']}",
)
def test_what_powershell_wrote_is_written_again(line: dict[str, Any]) -> None:
    raw = _recorded(line)
    value = deserialize(raw)
    written = serialize(value)
    assert serialize(deserialize(written)) == written
    if line["name"] not in ("fileinfo", "scriptblock"):  # strings written once and referred to; a string is read
        assert written == raw
    if line["name"] in _NATIVE:
        assert serialize(_NATIVE[line["name"]]) == raw


@needs_recordings
def test_every_recorded_message_survives() -> None:
    written = 0
    for kind in ("cases", "calls"):
        for wire, _ in cases(kind):
            if "large" in wire.name:
                continue
            for direction in ("s2c", "c2s"):
                for raw in {data for _, data in messages(wire, direction)}:
                    again = serialize(deserialize(raw))
                    assert serialize(deserialize(again)) == again
                    written += 1
    assert written > 1000


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "<Nil />"),
        ("", "<S></S>"),
        ("a\r\n\t_x_X_ _\x7f\x9f\xa0", "<S>a_x000D__x000A__x0009__x005F_x_x005F_X_ __x007F__x009F_\xa0</S>"),
        ("😀\ud83d", "<S>_xD83D__xDE00__xD83D_</S>"),
        ("<&>\"'\ufffe\uffff\ufeff\u2028", "<S>&lt;&amp;&gt;\"'&#xFFFE;&#xFFFF;\ufeff\u2028</S>"),
        (b"", "<BA />"),
        (bytearray(b"\0\1\2"), "<BA>AAEC</BA>"),
        (True, "<B>true</B>"),
        (2**31, "<I64>2147483648</I64>"),
        (-(2**63), "<I64>-9223372036854775808</I64>"),
        (Byte(1), "<By>1</By>"),
        (SByte(-1), "<SB>-1</SB>"),
        (Int16(1), "<I16>1</I16>"),
        (UInt16(1), "<U16>1</U16>"),
        (UInt32(1), "<U32>1</U32>"),
        (Int64(1), "<I64>1</I64>"),
        (UInt64(1), "<U64>1</U64>"),
        (1e-5, "<Db>1E-05</Db>"),
        (1e15, "<Db>1000000000000000</Db>"),
        (1.2345678901234568e17, "<Db>1.2345678901234568E+17</Db>"),
        (-0.0, "<Db>-0</Db>"),
        (math.nan, "<Db>NaN</Db>"),
        (-math.inf, "<Db>-INF</Db>"),
        (Decimal("1E+3"), "<D>1000</D>"),
        (Decimal(2**96 - 1), "<D>79228162514264337593543950335</D>"),
        (datetime.fromisoformat("2026-01-02T03:04:05"), "<DT>2026-01-02T03:04:05</DT>"),
        (datetime(1, 1, 1, tzinfo=UTC), "<DT>0001-01-01T00:00:00Z</DT>"),
        (DateTime(2026, 1, 2, 3, 4, 5, 6, tick=7), "<DT>2026-01-02T03:04:05.0000067</DT>"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3.5))), "<DT>2026-01-02T00:00:00-03:30</DT>"),
        (timedelta(0), "<TS>PT0S</TS>"),
        (timedelta(days=1, hours=12), "<TS>P1DT12H</TS>"),
        (timedelta(days=2), "<TS>P2D</TS>"),
        (timedelta(seconds=-1.2345), "<TS>-PT1.2345S</TS>"),
        (TimeSpan(tick=1), "<TS>PT0.0000001S</TS>"),
        (Uri("http://a/?b&c"), "<URI>http://a/?b&amp;c</URI>"),
        (XmlDocument("<a>\n</a>"), "<XD>&lt;a&gt;_x000A_&lt;/a&gt;</XD>"),
        (SecureString("AAEC"), "<SS>AAEC</SS>"),
        (PSObject(("T", "O"), base=()), '<Obj RefId="0"><TN RefId="0"><T>T</T><T>O</T></TN><LST /></Obj>'),
        (
            PSObject(extended={'"<_x\n>"': None}),
            '<Obj RefId="0"><MS><Nil N="&quot;&lt;_x005F_x_x000A_&gt;&quot;" /></MS></Obj>',
        ),
        (
            PSObject(("T",), "", 5, {"a": 1}),
            '<Obj RefId="0"><TN RefId="0"><T>T</T></TN><ToString /><I32>5</I32><Props><I32 N="a">1</I32></Props></Obj>',
        ),
    ],
)
def test_escapes_and_forms(value: Any, written: str) -> None:
    assert serialize(value) == written.encode("utf-8")


def test_a_number_too_large_for_any_element() -> None:
    read = deserialize(serialize(2**70))
    assert (read.type_names[0], str(read), read.IsEven) == ("System.Numerics.BigInteger", str(2**70), True)
    # Two that were made on the way never share a RefId.
    assert list(map(str, deserialize(serialize([2**70 + n for n in range(50)])))) == [str(2**70 + n) for n in range(50)]


def test_what_occurs_twice_is_referred_to() -> None:
    inner: list[Any] = [1]
    inner.append(inner)
    raw = serialize({"a": inner, "b": inner})
    assert raw.count(b"<Ref") == 2
    read = deserialize(raw)
    assert read["a"] is read["b"]
    assert read["a"][1] is read["a"]


@pytest.mark.parametrize(
    "value",
    [
        *(object(), {1, 2}, {None: 1}, timedelta(days=99_999_999), Decimal("NaN"), Decimal("1E-29")),
        *(Decimal(2**96), Decimal("1E+999999"), Char("ab"), [date(2026, 1, 1)]),
    ],
)
def test_what_powershell_has_no_room_for(value: Any) -> None:
    with pytest.raises(UsageError):
        serialize(value)


def test_depth_is_what_powershell_reads() -> None:
    value: Any = 1
    for _ in range(48):
        value = [value]
    assert deserialize(serialize(value)) == value
    with pytest.raises(UsageError, match="nested"):
        serialize([[value]])


def test_the_document_is_what_export_clixml_writes() -> None:
    recorded = next(line for line in lines("serialize.jsonl") if line["name"] == "hashtable" and line["depth"] == 2)
    written = "".join(document([deserialize(_recorded(recorded))]))
    assert re.sub(r">\s+<", "><", written).strip() == re.sub(r">\s+<", "><", recorded["clixml"])
    assert len(list(document(iter([1, 2])))) == 4


def _joined(value: str) -> str:
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


_TEXT = st.text(st.characters(codec=None), max_size=30) | st.from_regex(r"[_xX0-9a-fA-F]{0,20}", fullmatch=True)


@given(_TEXT)
def test_every_text_comes_back(value: str) -> None:
    assert unescape(escape(value)) == _joined(value)
    assert deserialize(serialize(value)) == _joined(value)
    assert deserialize(serialize(PSObject(extended={value: value}))).extended == {_joined(value): _joined(value)}


_SPANS = st.integers(-(2**63), 2**63 - 1)
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
)
_KEYS = st.text(max_size=5) | st.integers(-1000, 1000)


@given(st.recursive(_PRIMITIVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4)))
def test_every_value_comes_back(value: Any) -> None:
    assert deserialize(serialize(value)) == value


@given(st.floats(width=32, allow_nan=False))
def test_every_single_comes_back(value: float) -> None:
    read = deserialize(serialize(Single(value)))
    assert isinstance(read, Single)
    assert struct.pack("f", read) == struct.pack("f", value)


@given(_SPANS)
def test_every_time_span_comes_back(ticks: int) -> None:
    assert span_ticks(deserialize(serialize(TimeSpan(microseconds=ticks // 10, tick=ticks % 10)))) == ticks
