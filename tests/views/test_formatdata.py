from __future__ import annotations

import io
from typing import Any

from remotejobs.model import Stream
from remotejobs.views.view import view
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.psrp.messages import MessageType
from tests.recordings import RECORDINGS, needs_recordings
from tests.views.factory import raw_record, record
from tests.views.wire import raw_records


def part(kind: str, **members: Any) -> PSObject:
    return PSObject((f"Deserialized.Microsoft.PowerShell.Commands.Internal.Format.{kind}",), adapted=members)


def shown(*values: PSObject, format_name: str = "Text") -> tuple[list[str], str]:
    out, err = io.StringIO(), io.StringIO()
    target = view(format_name, out, err)
    for value in values:
        target.record(record(value, "web01"))
    target.close()
    return out.getvalue().splitlines(), err.getvalue()


def entry(info: PSObject) -> PSObject:
    return part("FormatEntryData", formatEntryInfo=info, outOfBand=False)


def field(text: str) -> PSObject:
    return part("FormatPropertyField", propertyValue=text, alignment=0)


TABLE = part(
    "FormatStartData",
    shapeInfo=part(
        "TableHeaderInfo",
        tableColumnInfoList=[
            part("TableColumnInfo", width=0, alignment=1, label=None, propertyName="Name"),
            part("TableColumnInfo", width=6, alignment=3, label="Size", propertyName="Length"),
        ],
    ),
)


@needs_recordings
def test_a_recorded_format_table() -> None:
    assert RECORDINGS is not None
    out = io.StringIO()
    target = view("Text", out, io.StringIO())
    wire = RECORDINGS / "pwsh" / "cases" / "format-objects.wire.jsonl"
    for raw in raw_records(wire, MessageType.PIPELINE_OUTPUT):
        target.record(raw_record(raw, "web01", Stream.Output))
    target.close()
    assert out.getvalue().splitlines() == ["web01: Name", "web01: ----", "web01: hostname"]


def test_a_table_with_groups() -> None:
    group = part(
        "GroupingEntry", formatValueList=[part("FormatEntry", formatValueList=[part("FormatTextField", text="G")])]
    )
    rows = [entry(part("TableRowEntry", formatPropertyFieldList=[field(name), field("12")])) for name in ("a", "b")]
    lines, _ = shown(TABLE, part("GroupStartData", groupingEntry=group), *rows, part("GroupEndData"))
    assert lines == [
        "web01: G", "web01:", "web01: Name   Size", "web01: ----   ----", "web01: a        12", "web01: b        12",
    ]  # fmt: skip


def test_a_list_and_other_shapes() -> None:
    pair = part("ListViewField", label=None, propertyName="A", formatPropertyField=field("1"))
    custom = part("FormatEntry", formatValueList=[field("x"), part("FormatNewLine"), part("FormatTextField", text="y")])
    lines, _ = shown(
        entry(part("ListViewEntry", listViewFieldList=[pair])),
        entry(part("WideViewEntry", formatPropertyField=field("wide"))),
        entry(part("RawTextFormatEntry", text="raw\ntext")),
        entry(part("ComplexViewEntry", formatValueList=[custom])),
    )
    assert [line.removeprefix("web01:").strip() for line in lines] == ["A : 1", "", "wide", "raw", "text", "x", "y"]


def test_what_only_claims_to_be_format_data_is_survived() -> None:
    odd: list[PSObject] = [
        part("FormatStartData", shapeInfo=5),
        part("FormatStartData", shapeInfo=part("TableHeaderInfo", tableColumnInfoList=["x"])),
        entry(part("TableRowEntry", formatPropertyFieldList=None)),
        TABLE,
        entry(part("TableRowEntry", formatPropertyFieldList=[field("only one")])),
        entry(part("ListViewEntry", listViewFieldList=[part("ListViewField")])),
        part("FormatEntryData", formatEntryInfo="text"),
        part("Unheard"),
    ]
    lines, _ = shown(*odd)
    assert "web01: only one" in lines


def test_other_formats_say_what_to_do() -> None:
    lines, err = shown(TABLE, TABLE, format_name="Csv")
    assert lines == []
    assert err.count("\n") == 1
    assert "Format-" in err
