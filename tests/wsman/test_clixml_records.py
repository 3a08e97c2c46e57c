"""Records: as recorded, and from hosts that leave out or twist everything."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import (
    ErrorCategory,
    ErrorRecord,
    InformationalRecord,
    InformationRecord,
    InnerException,
    InvocationInfo,
    ProgressRecord,
    error_record,
    from_clixml,
)
from remotejobs.wsman.clixml.values import PSObject, text
from tests.recordings import needs_recordings
from tests.wsman.clixml_recordings import PIPELINE_STATE, cases, messages

_STREAMS = {
    0x41005: Stream.Error,
    0x41007: Stream.Debug,
    0x41008: Stream.Verbose,
    0x41009: Stream.Warning,
    0x41010: Stream.Progress,
    0x41011: Stream.Information,
}


@needs_recordings
def test_recorded_records_say_what_powershell_says() -> None:
    compared = 0
    for wire, case in cases():
        found: dict[Stream, list[Any]] = {stream: [] for stream in Stream}
        failures = []
        for kind, raw in messages(wire):
            if kind in _STREAMS:
                found[_STREAMS[kind]].append(from_clixml(_STREAMS[kind], deserialize(raw)))
            elif kind == PIPELINE_STATE and b"ExceptionAsErrorRecord" in raw:
                failures.append(error_record(raw))
        children = (case.get("job") or {}).get("children", ())
        if len(children) != 1:
            continue
        child = children[0]
        for name, stream in (("warning", Stream.Warning), ("verbose", Stream.Verbose), ("debug", Stream.Debug)):
            assert [record.message for record in found[stream]] == child[name], case["name"]
        for record, known in zip(found[Stream.Error], child["errors"], strict=False):
            shown = (record.message, record.fully_qualified_error_id, record.category, record.category_info)
            assert shown == (known["text"], known["id"], known["category"], known["category_info"])
            assert record.script_stack_trace == (known["stack"] or "")
            assert text(record.target) == (known["target"] or "")
            details = known["details"] or {"message": "", "action": ""}
            assert (record.error_details_message, record.recommended_action) == (details["message"], details["action"])
            compared += 1
        for record, known in zip(found[Stream.Information], child["information"], strict=False):
            tags = [tag for tag in known["tags"] if tag != "FORWARDED"]  # which the client adds
            assert (text(record.message_data), list(record.tags), record.source) == (
                known["data"],
                tags,
                known["source"],
            )
            assert isinstance(record.time_generated, datetime)
            compared += 1
        for record, known in zip(found[Stream.Progress], child["progress"], strict=False):
            assert (record.activity, record.activity_id, record.status_description) == (
                known["activity"],
                known["id"],
                known["status"],
            )
            assert (record.parent_activity_id, record.percent_complete) == (known["parent"], known["percent"])
            assert (record.seconds_remaining, record.record_type) == (known["seconds"], known["type"])
            compared += 1
        if child["reason"] and failures:
            assert failures[-1].message == child["reason"]["message"]
            assert failures[-1].fully_qualified_error_id == child["reason"]["id"]
            compared += 1
    assert compared > 40


def test_an_error_with_all_of_its_members() -> None:
    raw = (
        b'<Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.ErrorRecord</T></TN>'
        b'<ToString>said</ToString><MS><Obj N="Exception" RefId="1"><TN RefId="1">'
        b"<T>Deserialized.System.IO.IOException</T><T>System.Exception</T></TN>"
        b'<ToString>System.IO.IOException: said</ToString><Props><S N="Message">said</S></Props></Obj>'
        b'<I32 N="TargetObject">5</I32><S N="FullyQualifiedErrorId">Id,Cmd</S><Nil N="InvocationInfo"/>'
        b'<I32 N="ErrorCategory_Category">13</I32><S N="ErrorCategory_Activity">Get-X</S>'
        b'<S N="ErrorCategory_Reason">IOException</S><S N="ErrorCategory_TargetName">5</S>'
        b'<S N="ErrorCategory_TargetType">Int32</S><S N="ErrorCategory_Message"></S>'
        b'<S N="ErrorDetails_Message">better said</S><B N="SerializeExtendedInfo">true</B>'
        b'<S N="InvocationInfo_InvocationName">gx</S><I32 N="InvocationInfo_ScriptLineNumber">3</I32>'
        b'<I32 N="InvocationInfo_OffsetInLine">2</I32><S N="InvocationInfo_Line">gx 5</S>'
        b'<S N="CommandInfo_Name">Get-X</S><S N="InvocationInfo_PositionMessage">At line:3 char:2</S>'
        b'<S N="InvocationInfo_ScriptName">C:\\a.ps1</S></MS></Obj>'
    )
    record = error_record(raw)
    assert record == ErrorRecord(
        message="better said",
        exception_type="System.IO.IOException",
        exception_message="said",
        fully_qualified_error_id="Id,Cmd",
        category="ObjectNotFound",
        activity="Get-X",
        reason="IOException",
        target_name="5",
        target_type="Int32",
        error_details_message="better said",
        target=5,
        invocation=InvocationInfo("Get-X", "gx", "C:\\a.ps1", 3, 2, "gx 5", "At line:3 char:2"),
    )
    assert record.category_info == "ObjectNotFound: (5:Int32) [Get-X], IOException"
    assert str(record) == "better said"
    state = b'<Obj><MS><I32 N="PipelineState">5</I32>' + raw.replace(b"<Obj ", b'<Obj N="ExceptionAsErrorRecord" ', 1)
    assert error_record(state + b"</MS></Obj>") == record


def test_what_caused_an_exception() -> None:
    cause = PSObject(("Deserialized.System.FormatException",), adapted={"Message": "not a number"})
    middle = PSObject(("System.InvalidCastException",), adapted={"Message": "no", "InnerException": cause})
    outer = PSObject(("System.Exception",), adapted={"Message": "failed", "InnerException": middle})
    record = from_clixml(Stream.Error, PSObject(extended={"Exception": outer}))
    assert (record.exception_type, record.exception_message) == ("System.Exception", "failed")
    assert record.inner_exceptions == (
        InnerException("System.InvalidCastException", "no"),
        InnerException("System.FormatException", "not a number"),
    )
    cause.adapted["InnerException"] = outer  # as a hostile host may have it
    assert from_clixml(Stream.Error, PSObject(extended={"Exception": outer})) == record


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Exception": "only text"}, "only text"),
        ({"Exception": PSObject(("T",), "T: text")}, "T: text"),
        ({"Exception": PSObject(adapted={"Message": " "}), "ErrorCategory_Message": "category"}, "category"),
        ({}, "whole"),
        ({"Exception": [1], "ErrorCategory_Category": "x", "ErrorDetails_Message": {}, "InvocationInfo": 5}, None),
        ({"ErrorCategory_Category": 10**30, "SerializeExtendedInfo": True, "FullyQualifiedErrorId": None}, "whole"),
    ],
)
def test_errors_with_members_missing_or_twisted(members: dict[str, Any], message: str | None) -> None:
    record = from_clixml(Stream.Error, PSObject(to_string="whole", extended=members))
    assert isinstance(record, ErrorRecord)
    assert message in (None, record.message)


@pytest.mark.parametrize("value", [None, "text", 5, [1], {"a": 1}, PSObject(), PSObject(to_string="text")])
@pytest.mark.parametrize("stream", [stream for stream in Stream if stream is not Stream.Output])
def test_anything_makes_a_record(stream: Stream, value: Any) -> None:
    record = from_clixml(stream, value)
    assert isinstance(record, ErrorRecord | InformationalRecord | InformationRecord | ProgressRecord)
    assert isinstance(str(record), str)
    if value == "text":
        assert str(record) == "text"


def test_output_is_left_alone() -> None:
    assert from_clixml(Stream.Output, 5) == 5


def test_a_warning_with_its_place() -> None:
    members: dict[str, Any] = {"InformationalRecord_Message": "m", "InformationalRecord_SerializeInvocationInfo": True}
    record = from_clixml(Stream.Warning, PSObject(extended={**members, "InvocationInfo_ScriptLineNumber": 4}))
    assert record == InformationalRecord("m", InvocationInfo(script_line_number=4))
    assert from_clixml(Stream.Verbose, PSObject(to_string="bare")).message == "bare"


def test_information_and_progress() -> None:
    shown = PSObject(("System.Management.Automation.HostInformationMessage",), "hi", adapted={"NoNewLine": True})
    tags = PSObject(("System.Collections.Generic.List`1[[System.String]]",), base=["PSHOST"])
    record = from_clixml(Stream.Information, PSObject(extended={"MessageData": shown, "Tags": tags, "ProcessId": 7}))
    assert (str(record), record.tags, record.process_id, record.time_generated) == ("hi", ("PSHOST",), 7, None)
    kind = PSObject(("System.Management.Automation.ProgressRecordType",), "Completed", 1)
    progress = from_clixml(Stream.Progress, PSObject(extended={"Activity": "a", "Type": kind, "PercentComplete": 5}))
    assert progress == ProgressRecord("a", percent_complete=5, record_type="Completed")
    old = deserialize(b"<PR><AV>a</AV><AI>1</AI><Nil/><PI>-1</PI><PC>9</PC><T>Completed</T><SR>-1</SR><SD>s</SD></PR>")
    expected = ProgressRecord("a", 1, "s", percent_complete=9, record_type="Completed")
    assert from_clixml(Stream.Progress, old) == expected


def test_categories_have_powershells_numbers() -> None:
    assert (ErrorCategory.ObjectNotFound, ErrorCategory.NotEnabled) == (13, 31)
    assert len(ErrorCategory) == 32
