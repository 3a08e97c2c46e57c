"""The client's side of PSRP against what real servers sent, and what PowerShell's own client made of it."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import error_record, from_clixml
from remotejobs.wsman.clixml.values import PSObject, text
from remotejobs.wsman.psrp import hostcalls
from remotejobs.wsman.psrp.messages import MessageType
from remotejobs.wsman.psrp.runspace import PipelineState, PoolState, RecordData, Runspace
from tests.recorded import recorded
from tests.recordings import needs_recordings
from tests.wsman import psrp_recordings
from tests.wsman.psrp_recordings import Conversation, omi, pieces, walk, windows

STREAMS: dict[int, Stream] = {
    MessageType.PIPELINE_OUTPUT: Stream.Output,
    MessageType.ERROR_RECORD: Stream.Error,
    MessageType.WARNING_RECORD: Stream.Warning,
    MessageType.VERBOSE_RECORD: Stream.Verbose,
    MessageType.DEBUG_RECORD: Stream.Debug,
    MessageType.INFORMATION_RECORD: Stream.Information,
    MessageType.PROGRESS_RECORD: Stream.Progress,
}
WRITES = frozenset(range(13, 19))  # the host's methods that write text
CASES = [one for one in psrp_recordings.recorded("cases") if one.case]
CALLS = [one for one in psrp_recordings.recorded("calls") if one.child is not None and len(one.scripts) == 1]


def new_runspace() -> Runspace:
    return Runspace(uuid.UUID(int=1), uuid.UUID(int=2), b"", b"", max_object=200_000_000)


def run(packets: Iterable[bytes]) -> tuple[Runspace, list[RecordData]]:
    runspace = new_runspace()
    return runspace, [record for packet in packets for record in runspace.feed_pipeline(packet)]


def host_calls(stream: bytes) -> list[PSObject]:
    return [deserialize(sent.data) for sent in walk(stream) if sent.type == MessageType.PIPELINE_HOST_CALL]


def method(call: PSObject) -> int:
    found = call["mi"]
    return int(found.base if isinstance(found, PSObject) else found)


def shown(records: Iterable[RecordData]) -> list[str]:
    decoded = [from_clixml(one.stream, deserialize(one.raw)) for one in records if one.stream is Stream.Information]
    return [str(record) for record in decoded]


@cache
def everything() -> tuple[Conversation, ...]:
    return (*CASES, *psrp_recordings.recorded("calls"), *psrp_recordings.recorded("handmade"), *windows(), *omi())


@recorded("psrp-cases", CASES, lambda case: case.name)
def test_a_script_gives_what_powershells_client_had(case: Conversation) -> None:
    runspace = new_runspace()
    for packet in case.pool:
        runspace.feed_pool(packet)
    assert runspace.version == "2.4"
    assert runspace.pool_state is PoolState.Closed
    runspace, records = run(case.scripts[-1])
    child = case.child
    if child is None:  # its own client would not parse it; sent as text it fails
        assert runspace.pipeline_state is PipelineState.Failed
        assert runspace.failure
        known = case.case["sent"]["error"]
        failure = error_record(runspace.failure)
        assert (failure.message, failure.fully_qualified_error_id) == (known["message"], known["id"])
        assert (failure.category, failure.category_info) == (known["category"], known["category_info"])
        return
    theirs = [record for record in records if record.object_id > 0]
    if runspace.exit_code is None:
        counts = Counter(record.stream.name.lower() for record in theirs)
        assert {name: counts[name] for name in child["counts"]} == child["counts"]
        assert runspace.pipeline_state.name == child["state"]
    else:  # PowerShell's client closes the runspace, whatever may still come
        assert child["state"] == "Stopped"
        assert runspace.pipeline_state is PipelineState.Completed
    for stream in (Stream.Warning, Stream.Verbose, Stream.Debug):
        decoded = [from_clixml(stream, deserialize(one.raw)).message for one in theirs if one.stream is stream]
        assert decoded == child[stream.name.lower()]
    check_outputs([deserialize(one.raw) for one in theirs if one.stream is Stream.Output], child["output"])
    check_errors([one.raw for one in theirs if one.stream is Stream.Error], child["errors"])
    if child["state"] == "Failed":
        assert runspace.failure
        failure = error_record(runspace.failure)
        assert (failure.message, failure.fully_qualified_error_id) == (
            child["reason"]["message"],
            child["reason"]["id"],
        )
        assert failure.exception_type
    else:
        assert runspace.failure is None


def check_outputs(values: list[Any], known: list[dict[str, Any] | None]) -> None:
    for value, expected in zip(values, known, strict=False):  # of many only the first were written down
        if expected is None:
            assert value is None
        elif isinstance(value, str | int):  # all others are compared where CLIXML is tested
            assert text(value).startswith(expected["to_string"].removesuffix("..."))


def check_errors(raws: list[bytes], known: list[dict[str, Any]]) -> None:
    for raw, expected in zip(raws, known, strict=False):
        record = error_record(raw)
        assert (record.message, record.fully_qualified_error_id) == (expected["text"], expected["id"])
        assert (record.category, record.category_info) == (expected["category"], expected["category_info"])
        assert record.exception_type


@recorded("psrp-calls", CALLS, lambda case: case.name)
def test_a_call_of_one_host_gives_what_powershells_client_had(case: Conversation) -> None:
    child = case.child
    assert child is not None
    runspace, records = run(case.scripts[0])
    counts = Counter(record.stream.name.lower() for record in records if record.object_id > 0)
    assert {name: counts[name] for name in child["counts"]} == child["counts"]
    if not runspace.ended:
        assert child["state"] == "Failed"  # the process died
    elif "PSSession" not in case.case["call"]:
        assert runspace.pipeline_state.name == child["state"]
    check_outputs([deserialize(one.raw) for one in records if one.stream is Stream.Output], child["output"])


@needs_recordings
def test_every_message_of_every_server_is_taken_once() -> None:
    names = set()
    for conversation in everything():
        for packets in conversation.scripts:
            sent = list(walk(b"".join(packets)))
            runspace, records = run(packets)
            theirs = [record for record in records if record.object_id > 0]
            expected = [(STREAMS[one.type], one.object_id, one.data) for one in sent if one.type in STREAMS]
            if conversation.name == "client-coalesced-cut":
                expected = expected[:1]  # a server that gives all its messages one id, as no real one does
            assert theirs == expected, conversation.name
            states = [one.data for one in sent if one.type == MessageType.PIPELINE_STATE]
            known = [deserialize(state)["PipelineState"] for state in states]
            if conversation.name != "client-coalesced-cut":
                assert runspace.pipeline_state == (known[-1] if known else 0), conversation.name
            assert not runspace.cut_short
            names.add(conversation.name)
    assert len(names) > 200


def test_any_cut_of_the_stream_gives_the_same() -> None:
    for conversation in everything():
        for packets in conversation.scripts:
            stream = b"".join(packets)
            if len(stream) > 300_000:
                continue
            _, expected = run([stream])
            cuts = [packets, *([stream[at : at + size] for at in range(0, len(stream), size)] for size in (20, 1000))]
            if len(stream) < 3000:
                cuts.append([stream[at : at + 1] for at in range(len(stream))])
            if conversation.name != "client-coalesced-cut":
                cuts.append([piece for piece in pieces(stream) for _ in range(2)])  # each answer came twice
            for cut in cuts:
                assert run(cut)[1] == expected, conversation.name


def test_what_a_host_call_shows_is_there_once() -> None:
    for conversation in everything():
        for packets in conversation.scripts:
            stream = b"".join(packets)
            written = [
                text(one["mp"][-1]) if len(one["mp"]) else "" for one in host_calls(stream) if method(one) in WRITES
            ]
            _, records = run(packets)
            recorded_texts = Counter(shown(record for record in records if record.object_id > 0))
            assert Counter(shown(records)) == recorded_texts | Counter(written), conversation.name
            ours = [record for record in records if record.object_id < 0]
            assert {record.stream for record in ours} <= {Stream.Information}, conversation.name
            assert len({record.object_id for record in records}) == len(records), conversation.name


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("host-writeline", ["line", "w", "e", "col"]),
        ("whatif", ['What if: Performing the operation "Remove Directory" on target "/tmp".']),
        ("all-streams", ["info", "host"]),
        ("information", ["info default", "info shown", "System.Collections.Hashtable", "@{a=1}"]),
        ("warning-multi", []),
    ],
)
def test_texts_for_the_screen(name: str, texts: list[str]) -> None:
    case = next(case for case in CASES if case.name == name)
    assert shown(run(case.scripts[-1])[1]) == texts


@needs_recordings
def test_colours_and_partial_lines_of_a_console() -> None:
    conversation = next(one for one in omi() if one.name == "write-host")
    assert shown(run(conversation.scripts[-1])[1]) == ["red", " plain", "ui"]
    conversation = next(one for one in windows() if one.name == "test_psrp_pshost_ui_mocked_methods")
    _, records = run(conversation.scripts[-1])
    assert shown(records) == ["Write1", "Write2", "", "WriteLine2", "WriteLine3", "WriteErrorLine"]
    partial = [
        from_clixml(one.stream, deserialize(one.raw)).message_data["NoNewLine"] for one in records if one.object_id < 0
    ]
    assert partial == [True, True, False, False, False, False]


@pytest.mark.parametrize("exit_code", [("exit-code", 3), ("exit-zero", 0), ("host-exit", 7)], ids=str)
def test_exit_codes(exit_code: tuple[str, int]) -> None:
    name, code = exit_code
    for case in CASES:
        if case.name == name:
            assert run(case.scripts[-1])[0].exit_code == code


def test_every_question_is_refused_with_its_own_number() -> None:
    refused = 0
    for conversation in everything():
        for packets in conversation.scripts:
            stream = b"".join(packets)
            questions = [(one["ci"], method(one)) for one in host_calls(stream) if one["ci"] != -100]
            runspace = run(packets)[0]
            replies = [p for one in runspace.replies for p in runspace.replying(one, one.payload, 30_000)]
            sent = list(walk(b"".join(replies)))
            assert {one.type for one in sent} <= {MessageType.PIPELINE_HOST_RESPONSE}
            answers = [deserialize(one.data) for one in sent]
            if conversation.name != "client-host-getters":  # which uses one object id for all
                assert [(one["ci"], method(one)) for one in answers] == questions, conversation.name
            assert all("me" in one and "mr" not in one for one in answers)
            refused += len(answers)
    assert refused >= 3


@needs_recordings
def test_a_refusal_has_the_shape_of_powershells_own() -> None:
    """The real client was asked for KeyAvailable, and its host threw."""
    wire = next(one for one in psrp_recordings.recorded("handmade") if one.name == "client-host-getters")
    (guid,) = wire.pipelines
    theirs = next(v for v in (deserialize(s.data) for s in walk(wire.requests[guid])) if "me" in v)
    call = hostcalls.HostCall(theirs["ci"], method(theirs), theirs["mi"].to_string, [])
    ours = deserialize(hostcalls.refuse(call))
    assert list(ours.extended) == list(theirs.extended)
    assert (ours["ci"], ours["mi"]) == (theirs["ci"], theirs["mi"])
    assert list(ours["me"].extended) == list(theirs["me"].extended)
    assert ours["me"].type_names == theirs["me"].type_names == ()
    for name, value in theirs["me"].extended.items():
        assert type(ours["me"][name]) is type(value), name
    assert {"Message", "HResult", "StackTrace"} <= ours["me"]["Exception"].adapted.keys()
