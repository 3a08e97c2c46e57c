"""Writing CLIXML: as PowerShell writes it, and so that reading gives the same again."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from remotejobs.errors import UsageError
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import (
    Byte,
    Char,
    DateTime,
    Int16,
    Int64,
    PSObject,
    SByte,
    ScriptBlock,
    SecureString,
    TimeSpan,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    XmlDocument,
)
from remotejobs.wsman.clixml.write import document, serialize
from tests.recordings import needs_recordings
from tests.wsman.clixml_recordings import ERROR_RECORD, PIPELINE_OUTPUT, cases, element, lines, messages

# A list or dictionary keeps no type name, nor that it was another enumerable; a script block is read as a string.
_NAMES = re.compile(rb'<TN RefId="\d+">(?:<T>[^<]*</T>)*</TN>|<TNRef RefId="\d+" />')

_SHARED_TEXT = re.compile(rb"<Obj [^>]*><S>[^<]*</S></Obj>")  # written once and referred to; it is read as a text


def _but_for_names(raw: bytes) -> bytes:
    bare = _NAMES.sub(b"", raw.removeprefix(b"\xef\xbb\xbf"))
    for tag, read in ((b"SBK", b"S"), (b"IE", b"LST")):
        bare = re.sub(rb"<(/?)" + tag + rb"\b", rb"<\1" + read, bare)
    return bare


@needs_recordings
def test_every_recorded_message_is_written_again() -> None:
    written, deeper = 0, set()
    for kind in ("cases", "calls"):
        for wire, _ in cases(kind):
            if "large" in wire.name:
                continue
            for direction in ("s2c", "c2s"):
                for of_type, raw in {message for message in messages(wire, direction) if message[1]}:
                    value = deserialize(raw)
                    again = serialize(value)
                    if not _SHARED_TEXT.search(raw):
                        assert _but_for_names(again) == _but_for_names(raw), wire.name
                    assert serialize(deserialize(again)) == again
                    live = direction == "s2c" and of_type in (PIPELINE_OUTPUT, ERROR_RECORD)
                    if live and serialize(value, depth=1) != again:
                        deeper.add(wire.name)
                    written += 1
    assert written > 1000
    # What a host sends is cut to a depth of 1 already; a few types have more, of which nothing else is known.
    assert len(deeper) <= 2, deeper


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
        (DateTime(2026, 1, 2, tick=7, tzinfo=timezone(timedelta(hours=15))), "<DT>2026-01-01T09:00:00.0000007Z</DT>"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(seconds=1172))), "<DT>2026-01-01T23:40:28Z</DT>"),
        (timedelta(0), "<TS>PT0S</TS>"),
        (timedelta(days=1, hours=12), "<TS>P1DT12H</TS>"),
        (timedelta(days=2), "<TS>P2D</TS>"),
        (timedelta(seconds=-1.2345), "<TS>-PT1.2345S</TS>"),
        (TimeSpan(tick=1), "<TS>PT0.0000001S</TS>"),
        (Uri("http://a/?b&c"), "<URI>http://a/?b&amp;c</URI>"),
        (XmlDocument("<a>\n</a>"), "<XD>&lt;a&gt;_x000A_&lt;/a&gt;</XD>"),
        (ScriptBlock(" 1 < 2\n"), "<SBK> 1 &lt; 2_x000A_</SBK>"),
        (ScriptBlock(), "<SBK></SBK>"),
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
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=15))),
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
    for deeper in ([value], [[value]], {"a": value}):
        with pytest.raises(UsageError, match="nested"):
            serialize(deeper)


_CUSTOM = ("System.Management.Automation.PSCustomObject", "System.Object")


def _live(shown: str, **adapted: Any) -> PSObject:
    return PSObject(("My.Live", "System.Object"), shown, adapted=adapted)


_DAY = PSObject(("System.DayOfWeek", "System.Enum", "System.ValueType", "System.Object"), "Friday", 5)


_CREDENTIAL = ("System.Management.Automation.PSCredential",)
_PAST: list[tuple[Any, str]] = [
    (_live("text", a=1), "<S>text</S>"),
    (_DAY, "<S>Friday</S>"),
    (PSObject(extended={"a": 1}), '<Obj RefId="1"><S>@{a=1}</S><MS><I32 N="a">1</I32></MS></Obj>'),
    (
        PSObject(("My.T", *_CUSTOM), extended={"a": _DAY}),
        (
            f'<Obj RefId="1"><TN RefId="1"><T>My.T</T><T>{_CUSTOM[0]}</T><T>{_CUSTOM[1]}</T></TN>'
            '<S>@{a=Friday}</S><MS><S N="a">Friday</S></MS></Obj>'
        ),
    ),
    # What is no object is never cut, nor are containers; but what they hold is, and they lose their members.
    (5, "<I32>5</I32>"),
    (PSObject(base="a", extended={"n": 1}), '<Obj RefId="1"><S>a</S><MS><I32 N="n">1</I32></MS></Obj>'),
    (
        PSObject(("L",), base=[_live("x"), PSObject(base=(_DAY,))], adapted={"Count": 2}, extended={"n": _DAY}),
        (
            '<Obj RefId="1"><TN RefId="1"><T>L</T></TN><LST><S>x</S><Obj RefId="2"><LST><S>Friday</S></LST></Obj></LST>'
            "</Obj>"
        ),
    ),
    # Some types have a depth of their own.
    (
        PSObject(_CREDENTIAL, "c", adapted={"UserName": "u", "Live": _live("x")}),
        (
            f'<Obj RefId="1"><TN RefId="1"><T>{_CREDENTIAL[0]}</T></TN><ToString>c</ToString>'
            '<Props><S N="UserName">u</S><S N="Live">x</S></Props></Obj>'
        ),
    ),
]


@pytest.mark.parametrize(("held", "written"), _PAST)
def test_past_the_depth_an_object_is_its_text(held: Any, written: str) -> None:
    head = '<Obj RefId="0"><TN RefId="0"><T>My.Live</T><T>System.Object</T></TN><ToString>outer</ToString><Props>'
    named = re.sub(r"^<(\w+)", r'<\1 N="held"', written)
    assert serialize(_live("outer", held=held), depth=1).decode() == f"{head}{named}</Props></Obj>"


def test_notes_are_as_deep_as_what_holds_them() -> None:
    live = _live("l", inner=_live("i", innermost=_live("m", a=1)))
    for depth, shown in ((1, b"<S "), (2, b"<S "), (3, b"<I32 ")):
        raw = serialize(PSObject(extended={"n": [PSObject(extended={"l": live})]}), depth=depth)
        assert raw.count(b"<Props>") == depth
        assert shown in raw
    assert serialize(live, depth=3) == serialize(live)


def test_the_document_is_what_export_clixml_writes() -> None:
    recorded = next(line for line in lines("serialize.jsonl") if line["name"] == "hashtable" and line["depth"] == 2)
    written = "".join(document([deserialize(element(recorded["clixml"]))]))
    assert re.sub(r">\s+<", "><", written).strip() == re.sub(r">\s+<", "><", recorded["clixml"])
    assert len(list(document(iter([1, 2])))) == 4
