"""The runspace's own rules, with messages made here: what no recording shows, or not alone."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from remotejobs.errors import ProtocolError
from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.clixml.values import Int64, PSObject
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.psrp.fragments import fragments
from remotejobs.wsman.psrp.messages import MessageType, write_message
from remotejobs.wsman.psrp.runspace import PipelineState, PoolState, RecordData, Runspace
from tests.wsman.psrp_recordings import walk

POOL, PIPELINE = uuid.UUID(int=1), uuid.UUID(int=2)
STATE = MessageType.PIPELINE_STATE
CALL = MessageType.PIPELINE_HOST_CALL


def new_runspace() -> Runspace:
    return Runspace(POOL, PIPELINE, b"", b"", max_object=1_000_000)


def sent_by(runspace: Runspace) -> bytes:
    """The fragments that answer host calls."""
    return b"".join(p for reply in runspace.replies for p in runspace.replying(reply, reply.payload, 30_000))


def wire(*messages: tuple[MessageType, bytes]) -> bytes:
    """The server's fragments of messages, numbered from 1."""
    written = [write_message(kind, POOL, PIPELINE, data) for kind, data in messages]
    return b"".join(piece for number, one in enumerate(written, 1) for piece in fragments(number, one, 500))


def host_call(method: int, *parameters: Any, call_id: int = -100) -> bytes:
    number = PSObject(("System.Management.Automation.Remoting.RemoteHostMethodId",), f"Method{method}", method)
    return serialize(PSObject(extended={"ci": Int64(call_id), "mi": number, "mp": list(parameters)}))


def state(number: int, name: str = "PipelineState") -> bytes:
    return f'<Obj RefId="0"><MS><I32 N="{name}">{number}</I32></MS></Obj>'.encode()


def information(data: Any) -> bytes:
    return serialize(PSObject(extended={"MessageData": data, "Source": "Write-Information", "Tags": []}))


def warning(message: str) -> bytes:
    return serialize(PSObject(to_string=message, extended={"InformationalRecord_Message": message}))


def texts(records: list[RecordData]) -> list[tuple[Stream, bool, str]]:
    """Stream, whether we made it, text."""
    return [(one.stream, one.object_id < 0, str(from_clixml(one.stream, deserialize(one.raw)))) for one in records]


@pytest.mark.parametrize(
    ("record", "call"),
    [
        ((MessageType.INFORMATION_RECORD, information("a")), (16, "a")),
        ((MessageType.INFORMATION_RECORD, information("")), (15,)),
        ((MessageType.INFORMATION_RECORD, information({"k": 1})), (16, "System.Collections.Hashtable")),
        ((MessageType.INFORMATION_RECORD, information(PSObject(extended={"Message": "m"}))), (16, "@{Message=m}")),
        ((MessageType.INFORMATION_RECORD, information("\x1b[31;1mred\x1b[0m")), (16, "red")),
        ((MessageType.INFORMATION_RECORD, information("n")), (14, 12, -1, "n")),
        ((MessageType.WARNING_RECORD, warning("line1\nline2")), (22, "line1\nline2")),
        ((MessageType.VERBOSE_RECORD, warning("v")), (21, "v")),
        ((MessageType.DEBUG_RECORD, warning("")), (19, "")),
        ((MessageType.PROGRESS_RECORD, serialize(PSObject(extended={"Activity": "a"}))), (20, Int64(0), PSObject())),
    ],
)
def test_a_record_and_the_call_that_shows_it_are_one(record: tuple[MessageType, bytes], call: Any) -> None:
    shown = (CALL, host_call(*call))
    runspace = new_runspace()
    assert [one.object_id for one in runspace.feed_pipeline(wire(record, shown))] == [1]
    if record[0] is not MessageType.PROGRESS_RECORD:  # the same again is another text
        assert [one.object_id for one in new_runspace().feed_pipeline(wire(record, shown, shown))] == [1, -3]


def test_a_silent_record_does_not_swallow_a_later_text() -> None:
    silent = (MessageType.INFORMATION_RECORD, information("a"))
    output = (MessageType.PIPELINE_OUTPUT, b"<I32>1</I32>")
    other = (CALL, host_call(16, "b"))
    same = (CALL, host_call(16, "a"))
    records = new_runspace().feed_pipeline(wire(silent, other, silent, output, same))
    assert texts(records) == [
        (Stream.Information, False, "a"),
        (Stream.Information, True, "b"),
        (Stream.Information, False, "a"),
        (Stream.Output, False, "1"),
        (Stream.Information, True, "a"),
    ]


def test_calls_without_a_record_become_records() -> None:
    calls: list[Any] = [
        (13, "w"),
        (14, 1, 2, "c"),
        (15,),
        (16, None),
        (18, "e"),
        (19, "d"),
        (21, "v"),
        (22, "x"),
        (20, Int64(1), 5),
    ]
    records = new_runspace().feed_pipeline(wire(*((CALL, host_call(*call)) for call in calls)))
    assert texts(records) == [
        *((Stream.Information, True, text) for text in ("w", "c", "", "", "e")),
        (Stream.Debug, True, "d"),
        (Stream.Verbose, True, "v"),
        (Stream.Warning, True, "x"),
    ]
    first = from_clixml(records[0].stream, deserialize(records[0].raw))
    assert (first.tags, first.message_data["NoNewLine"], first.message_data["Message"]) == (("PSHOST",), True, "w")


def test_other_calls_without_an_answer_are_nothing() -> None:
    runspace = new_runspace()
    assert runspace.feed_pipeline(wire(*((CALL, host_call(number, 1)) for number in (7, 28, 42, 47, 51, 99)))) == []
    assert runspace.replies == []


@pytest.mark.parametrize(
    ("method", "parameters", "question"),
    [
        (11, (), None),
        (46, (4,), None),
        (26, ("cap", "Are you sure?", [], 1), "Are you sure?"),
        (26, ("cap", " ", [], 1), "cap"),
        (26, ("cap", "x" * 5000, [], 1), "x" * 1000),
        (23, ("", "", [PSObject(extended={"name": "Name"}), PSObject(extended={"name": "Age"})]), "Name, Age"),
        (23, ("", "", 5), None),
        (25, ("only",), "only"),
        (25, (), None),
    ],
)
def test_questions_are_refused(method: int, parameters: tuple[Any, ...], question: str | None) -> None:
    runspace = new_runspace()
    assert runspace.feed_pipeline(wire((CALL, host_call(method, *parameters, call_id=7)))) == []
    (sent,) = walk(sent_by(runspace))
    assert sent.type == MessageType.PIPELINE_HOST_RESPONSE
    answer = deserialize(sent.data)
    assert (answer["ci"], answer["mi"].base, answer["mi"].to_string) == (7, method, f"Method{method}")
    error = answer["me"]
    assert (error["FullyQualifiedErrorId"], error["ErrorCategory_Category"]) == ("HostFunctionNotImplemented", 11)
    message = error["Exception"]["Message"]
    assert message.startswith("A command that prompts the user failed because")
    asked = message.partition(" (to answer it: ")[0]
    assert asked.endswith(f": {question}") if question else asked.endswith("do not support user interaction.")


def test_a_question_of_the_pool_is_answered_to_the_pool() -> None:
    runspace = new_runspace()
    runspace.feed_pool(wire((MessageType.RUNSPACEPOOL_HOST_CALL, host_call(11, call_id=1))))
    reply = sent_by(runspace)
    (sent,) = walk(reply)
    assert sent.type == MessageType.RUNSPACEPOOL_HOST_RESPONSE
    assert reply[21 + 24 : 21 + 40] == bytes(16)
    runspace.feed_pool(wire((MessageType.RUNSPACEPOOL_HOST_CALL, host_call(16, "profile"))))
    assert len(runspace.replies) == 1


def test_object_ids_of_ours_rise_over_requests_and_answers() -> None:
    runspace = new_runspace()
    sent = [*runspace.opening(30_000), *runspace.starting(30_000)]
    runspace.feed_pipeline(wire((CALL, host_call(11, call_id=1)), (CALL, host_call(11, call_id=2))))
    assert [one.object_id for one in walk(b"".join([*sent, sent_by(runspace)]))] == [1, 2, 3, 4, 5]


def test_nothing_counts_after_the_end() -> None:
    output = (MessageType.PIPELINE_OUTPUT, b"<I32>1</I32>")
    runspace = new_runspace()
    late = [output, (CALL, host_call(16, "late")), (STATE, state(5)), (MessageType.ERROR_RECORD, b"<S>late</S>")]
    assert len(runspace.feed_pipeline(wire(output, (STATE, state(4)), *late))) == 1
    assert runspace.pipeline_state is PipelineState.Completed
    assert runspace.failure is None


@pytest.mark.parametrize("number", [6, 7, 100, -1, 2**40])
def test_states_that_a_pipeline_cannot_have_are_ignored(number: int) -> None:
    runspace = new_runspace()
    data = state(number) if number < 2**31 else state(number).replace(b"I32", b"I64")
    runspace.feed_pipeline(wire((STATE, data)))
    assert runspace.pipeline_state is PipelineState.NotStarted


def test_null_is_an_empty_record() -> None:
    assert new_runspace().feed_pipeline(wire((MessageType.PIPELINE_OUTPUT, b""))) == [RecordData(Stream.Output, 1, b"")]


def test_unknown_messages_are_ignored() -> None:
    runspace = new_runspace()
    unknown = write_message(MessageType.PIPELINE_OUTPUT, POOL, PIPELINE, b"?").replace(b"\x04\x10\x04", b"\xff\xff\x04")
    runspace.feed_pool(next(fragments(1, unknown, 500)))
    assert runspace.feed_pipeline(next(fragments(1, unknown, 500))) == []


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.4"])
def test_versions_that_are_understood(version: str) -> None:
    runspace = new_runspace()
    data = f'<Obj RefId="0"><MS><Version N="protocolversion">{version}</Version></MS></Obj>'.encode()
    runspace.feed_pool(wire((MessageType.SESSION_CAPABILITY, data)))
    assert runspace.version == version
    spaced = b"\xef\xbb\xbf" + data.replace(b"<MS>", b'<MS><Version N="PSVersion">2.0</Version>')
    runspace = new_runspace()
    runspace.feed_pool(wire((MessageType.SESSION_CAPABILITY, spaced)))
    assert runspace.version == version


@pytest.mark.parametrize(
    "data", [b"", b"<Nil/>", b"<S>2.3</S>", b"<Obj><MS><Version N='protocolversion'>3.0</Version></MS></Obj>"]
)
def test_other_versions_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        new_runspace().feed_pool(wire((MessageType.SESSION_CAPABILITY, data)))


def test_the_end_of_the_pool_has_a_reason() -> None:
    error = PSObject(("System.Management.Automation.ErrorRecord",), "The profile failed.", extended={"x": 1})
    data = serialize(PSObject(extended={"RunspaceState": 5, "ExceptionAsErrorRecord": error}))
    runspace = new_runspace()
    runspace.feed_pool(wire((MessageType.RUNSPACEPOOL_STATE, state(2, "RunspaceState"))))
    assert (runspace.pool_state, runspace.closed) == (PoolState.Opened, False)
    runspace = new_runspace()
    runspace.feed_pool(wire((MessageType.RUNSPACEPOOL_STATE, data)))
    assert (runspace.pool_state, runspace.pool_reason, runspace.closed) == (
        PoolState.Broken,
        "The profile failed.",
        True,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<S>no object</S>",
        b'<Obj RefId="0"><MS><I64 N="ci">1</I64></MS></Obj>',
        b'<Obj RefId="0"><MS><S N="ci">1</S><I32 N="mi">11</I32></MS></Obj>',
        b'<Obj RefId="0"><MS><I64 N="ci">1</I64><I64 N="mi">99999999999</I64></MS></Obj>',
    ],
)
def test_calls_that_cannot_be_answered_are_corruption(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        new_runspace().feed_pipeline(wire((CALL, data)))


def test_the_method_is_not_echoed_as_it_came() -> None:
    """A host could send any object in its place, deeper than ours may be."""
    deep: Any = "x" * 5000
    for _ in range(45):
        deep = [deep]
    number = PSObject(to_string="x" * 999, base=11, extended={"a": deep})
    call = PSObject(extended={"ci": Int64(1), "mi": number, "mp": []})
    runspace = new_runspace()
    runspace.feed_pipeline(wire((CALL, serialize(call))))
    (sent,) = walk(sent_by(runspace))
    assert len(sent.data) < 4000
