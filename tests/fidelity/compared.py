"""What our client made of a pipeline, held against what PowerShell's own client made of it."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Stream
from remotejobs.sim.clixml_parse import from_clixml
from remotejobs.sim.interpreter import HostMethod
from remotejobs.sim.psrp_wire import Message, MessageType
from remotejobs.sim.recorded import Recording
from remotejobs.sim.values import PSObject as Seen
from remotejobs.sim.values import to_text
from remotejobs.states import EndReason
from remotejobs.views.tojson import to_json
from remotejobs.wsman.clixml.read import deserialize, type_names
from remotejobs.wsman.clixml.records import ErrorRecord, error_record
from remotejobs.wsman.clixml.values import (
    NO_BASE,
    Byte,
    Char,
    Int16,
    Int64,
    PSObject,
    SByte,
    Single,
    UInt16,
    UInt32,
    UInt64,
    Uri,
    Version,
    text,
)
from tests.fidelity.played import Played, ends_by, exit_code, messages, records

_CUT = 4000  # characters after which the recorder cut JSON
_CUT_TEXT = 400  # and text
_MOST = 60  # objects of a job, and properties of an object, that were recorded
_SEALED = re.compile(r'{"Length":\d+')  # a SecureString: it is encrypted, and so its length is not known
_SURROGATE = re.compile("[\ud800-\udfff]")
_ID = re.compile(r'"RunspaceId":"([0-9a-f-]{36})"')
_ORIGIN = ("PSComputerName", "RunspaceId", "PSShowComputerName")
_SELECTED = "Selected.System.Management.Automation.PSCustomObject"  # put there by the recorder's own Select-Object
_MEMBERS = re.compile(r"(NoteProperty|Property) (.*?) (\S*\[\[.*\]\]|\S*)\Z")
_CLR: dict[type, str] = {
    str: "String", bool: "Boolean", int: "Int32", float: "Double", Decimal: "Decimal", datetime: "DateTime",
    timedelta: "TimeSpan", uuid.UUID: "Guid", bytes: "Byte[]", Byte: "Byte", SByte: "SByte", Int16: "Int16",
    UInt16: "UInt16", UInt32: "UInt32", UInt64: "UInt64", Int64: "Int64", Single: "Single", Char: "Char", Uri: "Uri",
    Version: "Version",
}  # fmt: skip


def of(result: Played, stream: Stream) -> list[Any]:
    """The values of a stream that a record was sent for; not those that we made of a call of the host."""
    return [r.value for r in result.records if r.stream is stream and r.record.object_id > 0]


def same_records(result: Played, child: dict[str, Any], *, left_early: bool = False) -> None:
    """Every record of every stream; of outputs that are $null only how many there are.

    Args:
        result: What we made of them.
        child: What the recorded client made of them.
        left_early: It did not wait for all of the output.
    """
    outputs = [record for record in result.records if record.stream is Stream.Output and record.record.raw]
    if left_early:
        outputs = outputs[: child["counts"]["output"]]
    else:
        assert {stream: len(of(result, Stream[stream.title()])) for stream in child["counts"]} == child["counts"]
    for record, recorded in zip(outputs[:_MOST], child["output"], strict=True):
        same_object(record, recorded)
    for error, recorded in zip(of(result, Stream.Error), child["errors"], strict=True):
        same_error(error, recorded)
    for stream in (Stream.Warning, Stream.Verbose, Stream.Debug):
        assert [record.message for record in of(result, stream)] == child[stream.name.lower()]
    for written, recorded in zip(of(result, Stream.Information), child["information"], strict=True):
        tags = [tag for tag in recorded["tags"] if tag != "FORWARDED"]  # the recorded client's own mark
        assert (str(written), written.source, list(written.tags)) == (recorded["data"], recorded["source"], tags)
    for step, recorded in zip(of(result, Stream.Progress), child["progress"], strict=True):
        shown = (step.activity_id, step.parent_activity_id, step.activity, step.status_description)
        assert shown == (recorded["id"], recorded["parent"], recorded["activity"], recorded["status"])
        assert (step.percent_complete, step.seconds_remaining) == (recorded["percent"], recorded["seconds"])
        assert (step.current_operation, step.record_type) == (recorded["op"] or "", recorded["type"])


def same_end(result: Played, recording: Recording, child: dict[str, Any], received: dict[str, Any] | None) -> None:
    """State, reason, and the error that Receive-Job shows of it."""
    outcome, how, code = result.outcome, ends_by(recording), exit_code(recording)
    assert outcome.details.get("exit_code") == code
    assert outcome.error_count == child["counts"]["error"] == result.job.child_jobs[0].error_count
    if how == "prompt":  # it waited for its user; nobody sits here, and PowerShell's error says so
        assert (outcome.state.name, outcome.error_id) == ("Failed", "HostFunctionNotImplemented")
        assert "does not support user interaction" in outcome.message
        return
    # `exit` ends the process of a job of this computer, and of a remote one nothing but the script
    assert outcome.state.name == ("Completed" if code is not None and child["state"] == "Stopped" else child["state"])
    if how == "death":  # how a client learns of it, and puts it, is a matter of what carries the packets
        assert outcome.reason is EndReason.Unknown
        assert child["reason"]["clr"] == "System.Management.Automation.Remoting.PSRemotingTransportException"
        return
    reason = child["reason"] or {"message": "", "id": ""}
    assert (outcome.message, outcome.error_id) == (reason["message"], reason["id"])
    if outcome.failure and received:
        (shown,) = [
            each for each in received["errors"] if (each["message"], each["id"]) == (reason["message"], reason["id"])
        ]
        same_error(error_record(outcome.failure), shown)


def same_state(result: Played, recording: Recording) -> None:
    """As the pipeline itself said; of one that did not live to say it, as of one that waited for a user, Failed."""
    states = re.findall(rb'"PipelineState">(\d)<', b"".join([message.payload for message in messages(recording)]))
    expected = {b"3": "Stopped", b"4": "Completed", b"5": "Failed"}[states[-1]] if states else "Failed"
    assert result.outcome.state.name == expected


def same_object(record: ReceivedRecord, recorded: dict[str, Any]) -> None:
    """One output object: type names, properties, its text, its values as ConvertTo-Json -Depth 3 gives them."""
    # What PowerShell's API returns, not its jobs, has no mark of where it comes from.
    marked = any(_ORIGIN[0] in line for line in recorded["properties"])
    value = record.value if marked or not recorded["properties"] else deserialize(record.record.raw)
    same_type(value, record.record.raw, recorded["type_names"])
    if isinstance(value, PSObject) and value.base is NO_BASE:
        same_properties(value, recorded["properties"])
    if not (isinstance(value, PSObject) and value.base is not NO_BASE and value.to_string is not None):
        # of an enum the recorder's cast to [string] gave the number
        said = recorded["to_string"].replace(_id_in(recorded["json"]) or "\0", str(record.runspace_id))
        assert text(value)[:_CUT_TEXT] == said[:_CUT_TEXT]
    same_json(value, record, recorded["json"])


def same_type(value: Any, raw: bytes, recorded: list[str]) -> None:
    """The names as they came, `Deserialized.` before them where PowerShell has put it."""
    names = [name for name in recorded if name != _SELECTED]
    sent = list(type_names(raw))
    if names[0].startswith("Deserialized."):
        assert [f"Deserialized.{name.removeprefix('Deserialized.')}" for name in sent] == names
    else:  # a primitive, or what PowerShell brings back to life
        assert sent[0] == names[0]
    if isinstance(value, PSObject) and value.base is NO_BASE:
        assert list(value.type_names) == sent


def same_properties(value: PSObject, recorded: list[str]) -> None:
    """Each property with its kind, its name and its type, in order."""
    expected = [found.groups() for line in recorded if (found := _MEMBERS.match(line))]
    expected = [(kind, name, clr) for kind, name, clr in expected if name not in _ORIGIN]
    notes = {name: member for name, member in value.extended.items() if name not in _ORIGIN}
    ours = [("NoteProperty", name, member) for name, member in notes.items()]
    ours += [("Property", name, member) for name, member in value.adapted.items()]
    ours = ours[: len(expected)] if len(recorded) == _MOST else ours
    assert [(kind, name) for kind, name, _ in ours] == [(kind, name) for kind, name, _ in expected]
    for (_, name, member), (_, _, clr) in zip(ours, expected, strict=True):
        if type(member) in _CLR:
            assert (name, f"System.{_CLR[type(member)]}") == (name, clr)
        elif member is None:
            assert (name, clr) in ((name, ""), (name, "System.Object"))
        elif isinstance(member, PSObject) and member.type_names and clr != _SELECTED:
            assert (name, member.type_names[0]) == (name, clr.removeprefix("Deserialized."))


def same_json(value: Any, record: ReceivedRecord, recorded: str) -> None:
    """Compare with ConvertTo-Json -Depth 3; the id of the runspace is this job's own."""
    theirs = _id_in(recorded)
    if theirs and not isinstance(value, PSObject):  # PowerShell has its notes on a dictionary, too
        value = PSObject(base=value)
        value.set_origin(record.computer_name, record.runspace_id, show=record.show_computer_name)
    expected = recorded.replace(theirs, str(record.runspace_id)) if theirs else recorded
    expected = _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", expected)
    written = to_json(value, 3, compress=True)
    if '{"Length":null' in written:
        expected = _SEALED.sub('{"Length":null', expected)
    if len(recorded) > _CUT:
        assert written.startswith(expected.removesuffix("..."))
    else:
        assert written == expected


def _id_in(recorded: str) -> str:
    found = _ID.search(recorded)
    return found[1] if found else ""


def same_error(error: ErrorRecord, recorded: dict[str, Any]) -> None:
    """One error, field by field. RemoteException, in place of the exception, is the recorded client's own."""
    assert (error.message, error.exception_message.strip() or error.message) == (recorded["text"], recorded["message"])
    shown = (error.fully_qualified_error_id, error.category, error.category_info, error.category_message)
    assert shown == tuple(recorded[key] for key in ("id", "category", "category_info", "category_message"))
    assert text(error.target) == (recorded["target"] or "")
    details = recorded["details"] or {"message": "", "action": ""}
    assert (error.error_details_message, error.recommended_action) == (details["message"], details["action"])
    assert error.script_stack_trace == (recorded["stack"] or "")
    place = error.invocation
    if recorded["position"] is not None:
        assert place
        assert (place.position_message, place.script_line_number) == (recorded["position"], recorded["line"])


def same_exceptions(result: Played, recording: Recording) -> None:
    """What was sent of the exception of each error, and of those inside it, as another reader of CLIXML sees it."""
    ours = of(result, Stream.Error)
    failure = result.outcome.failure
    if failure and ends_by(recording) != "prompt":
        ours.append(error_record(failure))
    sent = [seen for message in messages(recording) if (seen := _sent_error(message))]
    assert len(ours) == len(sent)
    for error, seen in zip(ours, sent, strict=True):
        chain, exception = [], seen.get("Exception")
        while isinstance(exception, Seen):
            chain.append((exception.types[0].removeprefix("Deserialized."), to_text(exception.get("Message"))))
            exception = exception.get("InnerException")
        inner = [(each.exception_type, each.message) for each in error.inner_exceptions]
        assert [(error.exception_type, error.exception_message), *inner] == chain
        if seen.get("SerializeExtendedInfo"):
            place = error.invocation
            assert place
            assert place.script_line_number == seen.get("InvocationInfo_ScriptLineNumber")
            assert place.position_message == seen.get("InvocationInfo_PositionMessage")


def _sent_error(message: Message) -> Seen | None:
    if message.type == MessageType.ERROR_RECORD:
        found = _seen(message)
    elif message.type == MessageType.PIPELINE_STATE and b'"PipelineState">5<' in message.payload:
        found = _seen(message).get("ExceptionAsErrorRecord")
    else:
        return None
    return found if isinstance(found, Seen) else None


def _seen(message: Message) -> Any:
    return from_clixml(message.payload, lambda wire: wire)


def same_host_calls(result: Played, recording: Recording) -> None:
    """A call that shows the record before it is dropped; any other one that writes has become a record."""
    expected: list[tuple[Stream, str]] = []
    before: Message | None = None
    for message in messages(recording):
        if message.type == MessageType.PIPELINE_HOST_CALL:
            call = _seen(message)
            number, parameters = int(call.get("mi").value), call.get("mp").value
            stream = _WRITES.get(number)
            shown = before is not None and _SHOWN.get(before.type) is stream
            written = to_text(parameters[-1]) if parameters and number != _EMPTY_LINE else ""
            if stream and not (shown and before and written in _shown_text(before)):
                expected.append((stream, written))
        before = message
    made = [(r.stream, str(r.value)) for r in result.records if r.record.object_id < 0]
    assert made == expected
    assert sum(1 for r in result.records if r.record.object_id > 0) == records(recording).total()


def _shown_text(message: Message) -> str:
    seen = _seen(message)
    if message.type == MessageType.INFORMATION_RECORD:
        data = seen.get("MessageData")
        return re.sub(r"\x1b\[[\d;]*m", "", to_text(data))
    return to_text(seen.get("InformationalRecord_Message"))


_EMPTY_LINE = 15
_WRITES = {
    **dict.fromkeys((13, 14, _EMPTY_LINE, 16, 17, int(HostMethod.WriteErrorLine)), Stream.Information),
    int(HostMethod.WriteDebugLine): Stream.Debug,
    int(HostMethod.WriteVerboseLine): Stream.Verbose,
    int(HostMethod.WriteWarningLine): Stream.Warning,
}
_SHOWN: dict[int, Stream] = {
    MessageType.INFORMATION_RECORD: Stream.Information,
    MessageType.DEBUG_RECORD: Stream.Debug,
    MessageType.VERBOSE_RECORD: Stream.Verbose,
    MessageType.WARNING_RECORD: Stream.Warning,
}
