"""Reading CLIXML: what PowerShell reads and refuses, and what a hostile host may send."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.wsman.clixml.read import deserialize, objects, type_names
from remotejobs.wsman.clixml.values import (
    NO_BASE,
    Char,
    DateTime,
    Int64,
    OrderedDictionary,
    PSObject,
    SecureString,
    TimeSpan,
    Uri,
    Version,
    XmlDocument,
)
from tests.wsman.clixml_recordings import Shown, check_names, check_text, outputs


@pytest.mark.parametrize("shown", outputs(), ids=lambda shown: shown.case)
def test_recorded_output(shown: Shown) -> None:
    value = deserialize(shown.raw)
    check_names(shown.raw, shown.type_names)
    if isinstance(value, PSObject) and value.base is NO_BASE:
        origin = json.loads(shown.json) if not shown.json.endswith("...") else {"RunspaceId": str(UUID(int=0))}
        value.set_origin("localhost", UUID(origin["RunspaceId"]), show=False)
    check_text(value, shown)


def test_primitives_are_natural_values() -> None:
    raw = (
        b"<Obj><LST><S>a</S><I32>-5</I32><I64>5</I64><B>true</B><Db>1.5</Db><D>1.10</D><C>65</C><BA>AAE=</BA>"
        b"<G>12345678-1234-1234-1234-123456789abc</G><Version>5.10.2</Version><URI>http://a/_x0042_</URI><Nil/>"
        b"<SBK>1 + 1</SBK><XD>&lt;a/&gt;</XD><TS>-PT1.5S</TS><TS>PT0.0000001S</TS><SS>c2VjcmV0</SS></LST></Obj>"
    )
    guid = UUID("12345678-1234-1234-1234-123456789abc")
    expected = ["a", -5, 5, True, 1.5, Decimal("1.10"), "A", b"\0\1", guid, "5.10.2", "http://a/B", None, "1 + 1"]
    values = deserialize(raw)
    assert values[:13] == expected
    assert [type(value) for value in values[1:4]] == [int, Int64, bool]
    assert isinstance(values[6], Char)
    assert isinstance(values[9], Version)
    assert values[9].parts > Version("5.9").parts
    assert isinstance(values[10], Uri)
    assert values[13:16] == [XmlDocument("<a/>"), timedelta(seconds=-1.5), TimeSpan(tick=1)]
    assert isinstance(values[16], SecureString)
    assert "c2VjcmV0" not in repr(values[16]) + str(values[16])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2026-11-20T03:04:05.0061234Z", DateTime(2026, 11, 20, 3, 4, 5, 6123, UTC, tick=4)),
        ("2026-11-20T03:04:05.5+01:00", datetime(2026, 11, 20, 3, 4, 5, 500000, timezone(timedelta(hours=1)))),
        ("2026-11-20", datetime.fromisoformat("2026-11-20")),
        ("2026-11-20T03:04:05.00000025", DateTime(2026, 11, 20, 3, 4, 5, tick=2)),
        ("2026-11-20T03:04:05.00000015000", DateTime(2026, 11, 20, 3, 4, 5, tick=2)),
        ("2026-12-31T23:59:59.99999995", datetime.fromisoformat("2027-01-01")),
    ],
)
def test_dates_keep_kind_and_ticks(written: str, value: datetime) -> None:
    found = deserialize(f"<DT>{written}</DT>".encode())
    assert (found, found.utcoffset(), getattr(found, "tick", 0)) == (
        value,
        value.utcoffset(),
        getattr(value, "tick", 0),
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.50", "1.50"),
        ("-79228162514264337593543950335", "-79228162514264337593543950335"),
        ("0.123456789012345678901234567890", "0.1234567890123456789012345679"),
        ("12345678901.1234567890123456789", "12345678901.123456789012345679"),
        ("0." + "0" * 50, "0." + "0" * 28),
    ],
)
def test_decimals_have_the_digits_that_dotnet_has_room_for(written: str, value: str) -> None:
    assert str(deserialize(f"<D>{written}</D>".encode())) == str(Decimal(value))


def test_a_single_is_infinite_where_it_is_too_large() -> None:
    assert deserialize(b"<Obj><LST><Sg>-1e39</Sg><Sg>3.4028235E+38</Sg></LST></Obj>") == [-math.inf, 3.4028235e38]


def test_a_document_is_its_elements() -> None:
    begin = b'\xef\xbb\xbf<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
    one = b'<Obj RefId="0"><LST><S>a</S></LST></Obj>'
    assert objects(begin + one + b'<S S="Error">b</S><Nil />' + one + b"</Objs>") == [["a"], "b", None, ["a"]]
    assert objects(b"<Objs/>") == objects(b'<Objs Version="1.1.0.1" />') == []
    first, second = objects(begin + one + b'<Ref RefId="0" /></Objs>')
    assert first is second
    wrong = (b"<S>a</S>", b'<Objs Version="" />', b'<Objs Version="2.0" />', b"<Objs><Ref RefId='0' /></Objs>", b"")
    for raw in wrong:
        with pytest.raises(ProtocolError):
            objects(raw)
    with pytest.raises(LimitError):
        objects(begin + one * 10 + b"</Objs>", max_items=60)
    with pytest.raises(LimitError):
        objects(begin + one + b"</Objs>", max_depth=2)


@pytest.mark.parametrize(
    "raw",
    [
        *("<I32>1_0</I32>", "<I32>٣</I32>", "<I32>2147483648</I32>", "<I32></I32>", "<Db>1_0</Db>", "<Db>inf</Db>"),
        *("<U64>-1</U64>", "<D>NaN</D>", "<TS>P</TS>", "<TS>PT</TS>", "<TS>P99999999D</TS>", "<G>{1}</G>"),
        *("<DT>2026-11-20T03:04:05+99:00</DT>", "<DT>2026-02-30</DT>", "<Version>1.2.3.4.5</Version>", "<C>65536</C>"),
        *("<S><I32>1</I32></S>", "<T>x</T>", "<LST/>", "<Obj><Nil/></Obj>", "<Obj><TN><S>x</S></TN></Obj>", "<Ref/>"),
        *('<Obj><TNRef RefId="0"/></Obj>', "<Obj><LST>x</LST></Obj>", "<Obj><LST><I32>1</I32>x</LST></Obj>"),
        *("<Obj><Props><S>x</S></Props></Obj>", "<Obj><DCT><S/></DCT></Obj>", "<XD>&lt;a&gt;</XD>", "<BA>A</BA>"),
        *("plain", "<S>a", "<S>&unknown;</S>", "<S>\x01</S>", "<a:S>x</a:S>", '<S xmlns="other">x</S>', "<!-- --><S/>"),
    ],
)
def test_refuses(raw: str) -> None:
    with pytest.raises(ProtocolError):
        deserialize(raw.encode())


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(ProtocolError):
        deserialize(b"<S>\xff</S>")
    assert deserialize('<?xml version="1.0" encoding="utf-16"?><S>é</S>'.encode()) == "é"  # whatever it claims


def test_a_refusal_does_not_show_the_content() -> None:
    with pytest.raises(ProtocolError) as refused:
        deserialize(b"<BA>secret!</BA>")
    assert "secret" not in refused.value.message
    assert "System.Byte[]" in refused.value.message


def test_document_types_are_refused_before_they_are_read() -> None:
    bomb = b'<!DOCTYPE S [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><S N="&b;">&b;</S>'
    for raw in (bomb, b"\xef\xbb\xbf" + bomb, b'<?xml version="1.0"?>\n' + bomb):
        with pytest.raises(ProtocolError, match="does not begin with an element"):
            deserialize(raw)


@pytest.mark.parametrize(
    "part",
    [(b"<Obj><LST>", b"</LST></Obj>"), (b'<Obj><MS><Obj N="a"><MS>', b"</MS></Obj></MS></Obj>"), (b"<Obj>", b"</Obj>")],
)
@pytest.mark.parametrize("times", [60, 10_000])
def test_deep_objects_are_refused(part: tuple[bytes, bytes], times: int) -> None:
    raw = part[0] * times + part[1] * times
    if part[0] == b'<Obj><MS><Obj N="a"><MS>':
        raw = b'<Obj N="a"><MS>' * times + b"</MS></Obj>" * times
    with pytest.raises(ProtocolError):
        deserialize(raw)


def test_depth_is_that_of_powershell() -> None:
    def nested(levels: int) -> bytes:
        return b"<Obj><LST>" * (levels - 1) + b"<I32>1</I32>" + b"</LST></Obj>" * (levels - 1)

    value = deserialize(nested(49))
    for _ in range(48):
        value = value[0]
    assert value == 1
    with pytest.raises(LimitError):
        deserialize(nested(50))
    with pytest.raises(LimitError):
        deserialize(nested(4), max_depth=4)


def test_tags_are_counted_before_they_are_parsed() -> None:
    raw = b"<Obj><LST>" + b"<Nil/>" * 1000 + b"</LST></Obj>"
    assert len(deserialize(raw, max_items=1004)) == 1000
    with pytest.raises(LimitError, match="1004 XML tags"):
        deserialize(raw, max_items=1003)


def test_references_resolve_by_identity_and_may_be_circular() -> None:
    raw = (
        b'<Obj RefId="0"><LST><Obj RefId="1"><MS><Ref N="me" RefId="1"/><Ref N="all" RefId="0"/></MS></Obj></LST></Obj>'
    )
    whole = deserialize(raw)
    assert whole[0].me is whole[0]
    assert whole[0].all is whole
    table = deserialize(b'<Obj RefId="h"><DCT><En><S N="Key">me</S><Ref N="Value" RefId="h"/></En></DCT></Obj>')
    assert table["me"] is table
    with pytest.raises(ProtocolError, match="does not have"):
        deserialize(b'<Obj RefId="0"><LST><Ref RefId="1"/></LST></Obj>')


def test_many_references_cost_nothing() -> None:
    rows = b"".join(
        b'<Obj RefId="%d"><LST>%s</LST></Obj>' % (n, b'<Ref RefId="%d"/>' % (n - 1) * 100 if n else b"<I32>1</I32>")
        for n in range(20)
    )
    assert len(deserialize(b"<Obj><LST>" + rows + b"</LST></Obj>")) == 20  # 100 ** 19 if it were unfolded


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("_x005F_x0041_", "_x0041_"),
        ("_xD83D__xDE00_", "😀"),
        ("_xD83D_", "\ud83d"),
        ("_xDE00__xD83D_", "\ude00\ud83d"),
        ("_x0041", "_x0041"),
        ("_x00zz_", "_x00zz_"),
        ("_X000a_", "\n"),
        ("_x0001F600_", "😀"),
        ("&#xFFFE;&#65535;", "\ufffe\uffff"),
        ("&#x1;&#x9;&#xD83D;&#x1F600;", "\x01\t\ud83d😀"),
        ("a<!-- c --><![CDATA[<b>]]><?p i?>c", "a<b>c"),
        (" \u2028 ", " \u2028 "),
    ],
)
def test_strings(written: str, value: str) -> None:
    assert deserialize(f"<S>{written}</S>".encode()) == value
    assert deserialize(f'<Obj><MS><S N="_x000A_{"é"}">{written}</S></MS></Obj>'.encode()).extended == {"\né": value}


def test_a_namespace_is_as_good_as_none() -> None:
    raw = b'<Obj xmlns="http://schemas.microsoft.com/powershell/2004/04"><MS><I32 N="a">1</I32></MS></Obj>'
    assert deserialize(raw).a == 1


def test_containers() -> None:
    names = b"<TN RefId='0'><T>System.Collections.Specialized.OrderedDictionary</T><T>System.Object</T></TN>"
    entry = b'<DCT><En><S N="Key">b</S><Nil N="Value"/></En></DCT>'
    ordered = deserialize(b"<Obj>" + names + entry + b"</Obj>")
    assert isinstance(ordered, OrderedDictionary)
    assert ordered == {"b": None}
    assert type(deserialize(b"<Obj>" + entry + b"</Obj>")) is dict
    stack = deserialize(b"<Obj><STK><I32>2</I32><I32>1</I32></STK></Obj>")
    assert (stack.type_names[0], stack.base, list(stack), stack[-1]) == ("System.Collections.Stack", [2, 1], [2, 1], 1)
    tagged = deserialize(b"<Obj><IE><I32>1</I32></IE><Props><I32 N='Count'>1</I32></Props></Obj>")
    assert (tagged.base, tagged.Count) == ([1], 1)


def test_keys_that_python_cannot_hash_are_their_text() -> None:
    day = (
        b"<Obj N='Key'><TN><T>System.DayOfWeek</T><T>System.Enum</T></TN><ToString>Monday</ToString><I32>1</I32></Obj>"
    )
    entries = [day, b"<Obj N='Key'><LST><I32>1</I32><I32>2</I32></LST></Obj>", b"<I32 N='Key'>7</I32>"]
    raw = b"".join(b"<En>" + key + b"<S N='Value'>v</S></En>" for key in entries)
    assert deserialize(b"<Obj><DCT>" + raw + b"</DCT></Obj>") == {"Monday": "v", "1 2": "v", 7: "v"}


def test_a_cim_instance_has_no_metadata_among_its_properties() -> None:
    raw = (
        b"<Obj><TN><T>Microsoft.Management.Infrastructure.CimInstance#root/cimv2/Win32_Service</T></TN>"
        b"<Props><S N='Name'>x</S></Props><MS><Obj N='__ClassMetadata'><LST/></Obj><S N='Extra'>y</S></MS></Obj>"
    )
    assert deserialize(raw).properties == {"Extra": "y", "Name": "x"}


def test_type_names_without_decoding() -> None:
    assert type_names(b"") == ()
    assert type_names(b"junk") == ()
    assert type_names(b"<Nil/>") == ()
    assert type_names(b"\xef\xbb\xbf<I32>1</I32>") == ("System.Int32",)
    assert type_names(b"<Obj><I32>1</I32></Obj>") == ("System.Int32",)
    assert type_names(b"<Obj><MS/></Obj>")[0] == "System.Management.Automation.PSCustomObject"
    assert type_names(b"<Obj/>")[0] == "System.Management.Automation.PSCustomObject"
    assert type_names(b"<Obj RefId='0'><TN RefId='0'><T>A&amp;_x0042_</T></TN><broken") == ("A&B",)
