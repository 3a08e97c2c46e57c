"""What we send: accepted by another implementation of the server, and with all that PowerShell's insists on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psrpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psrpcore.types import (
    ApartmentState,
    ChoiceDescription,
    FieldDescription,
    HostMethodIdentifier,
    NETException,
    PipelineResultTypes,
    RunspacePoolState,
)

from remotejobs.auth.credentials import Secret
from remotejobs.errors import UsageError
from remotejobs.model import (
    MERGEABLE,
    HostInfo,
    InvocationSettings,
    PipelineCommand,
    RemoteStreamOptions,
    ScriptCommand,
    Stream,
)
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import error_record, from_clixml
from remotejobs.wsman.clixml.values import (
    BigInteger,
    Byte,
    Char,
    Int16,
    Int64,
    PSObject,
    SByte,
    SecureString,
    Single,
    UInt16,
    UInt32,
    UInt64,
    Version,
)
from remotejobs.wsman.psrp.messages import (
    PROTOCOL_VERSION,
    SESSION_CAPABILITY,
    create_pipeline,
    init_runspacepool,
    pipeline_input,
)
from remotejobs.wsman.psrp.prompts import Answers
from remotejobs.wsman.psrp.runspace import PipelineState, PoolState, Runspace
from tests.recordings import needs_recordings
from tests.wsman.psrp_recordings import POOL, recorded, walk

POOL_ID, PIPELINE_ID = uuid.UUID(int=0xA1), uuid.UUID(int=0xB2)


class Server:
    """psrpcore's server, with our client at its other end."""

    def __init__(
        self,
        script: str | tuple[PipelineCommand, ...],
        arguments: Sequence[Any] = (),
        size: int = 32768,
        settings: InvocationSettings | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.pool = psrpcore.ServerRunspacePool()
        command = (
            ScriptCommand(script, tuple(arguments)) if isinstance(script, str) else ScriptCommand("", commands=script)
        )
        settings = settings or InvocationSettings()
        self.client = Runspace(
            *(POOL_ID, PIPELINE_ID, init_runspacepool(settings), create_pipeline(command, settings)),
            max_object=10_000_000,
            answers=answers,
        )
        self.size = size

    def take(self, packets: Sequence[bytes], pipeline: uuid.UUID | None = None) -> list[Any]:
        events = []
        for packet in packets:
            assert len(packet) <= self.size
            self.pool.receive_data(psrpcore.PSRPPayload(packet, psrpcore.StreamType.default, pipeline))
            while event := self.pool.next_event():
                events.append(event)
        return events

    def answer(self) -> list[Any]:
        """Give the client all that the server has to say."""
        records: list[Any] = []
        while payload := self.pool.data_to_send():
            if payload.pipeline_id:
                records += self.client.feed_pipeline(payload.data)
            else:
                self.client.feed_pool(payload.data)
        return records

    def open(self) -> list[Any]:
        events = self.take(self.client.opening(self.size))
        self.answer()
        return events

    def replies(self) -> list[bytes]:
        """What the client answers to host calls."""
        client = self.client
        return [p for reply in client.take_replies() for p in client.replying(reply, reply.payload, self.size)]

    def start(self) -> psrpcore.ServerPipeline:
        pipeline = psrpcore.ServerPipeline(self.pool, PIPELINE_ID)
        (event,) = self.take(self.client.starting(self.size), PIPELINE_ID)
        assert isinstance(event, psrpcore.CreatePipelineEvent)
        self.created = event
        pipeline.start()
        return pipeline


@pytest.mark.parametrize("size", [100, 500, 32768, 500_000])
def test_another_server_opens_our_pool(size: int) -> None:
    server = Server("1", size=size)
    _, init = server.open()
    assert isinstance(init, psrpcore.InitRunspacePoolEvent)
    assert (init.min_runspaces, init.max_runspaces) == (1, 1)
    host = init.host_info
    assert (host.IsHostNull, host.IsHostUINull, host.IsHostRawUINull, host.UseRunspaceHost) == (False,) * 4
    assert host.HostDefaultData.BufferSize.Width == 120
    assert host.HostDefaultData.WindowTitle == "remotejobs"
    assert server.pool.state is RunspacePoolState.Opened
    assert server.client.pool_state is PoolState.Opened
    assert server.client.version == "2.3"


@pytest.mark.parametrize("size", [100, 32768, 500_000])
def test_another_server_runs_our_script(size: int) -> None:
    script = "param($a)\n\t'x' <# & ]]> \U0001f600 \x07 _x0041_ #>\r\n" + "'padding'\n" * (
        30 if size == 100 else 100_000
    )
    server = Server(script, (), size)
    server.open()
    pipeline = server.start()
    shell = server.created.pipeline
    assert shell.commands[0].command_text == script
    assert (shell.commands[0].is_script, shell.is_nested, shell.no_input) == (True, False, True)
    assert (shell.add_to_history, len(shell.commands)) == (True, 1)
    assert shell.host.UseRunspaceHost
    pipeline.write_output("answer")
    pipeline.complete()
    (record,) = server.answer()
    assert record.raw == b"<S>answer</S>"
    assert server.client.pipeline_state is PipelineState.Completed


PLAIN: list[tuple[Any, str]] = [
    (None, ""),
    (True, "True"),
    (5, "5"),
    (-(2**31), "-2147483648"),
    (2**31, "2147483648"),
    (2**70, "1180591620717411303424"),
    (1.5, "1.5"),
    ("", ""),
    ("-Verb <&>'\" \U0001f600\n_x000A_", "-Verb <&>'\" \U0001f600\n_x000A_"),
    (b"\x00\xff", "b'\\x00\\xff'"),
    (Decimal("1.10"), "1.10"),
    (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02 03:04:05.000006+00:00"),
    (timedelta(days=1, seconds=2), "1 day, 0:00:02"),
    (uuid.UUID(int=3), "00000000-0000-0000-0000-000000000003"),
    (Byte(1), "1"),
    (SByte(-1), "-1"),
    (Int16(-2), "-2"),
    (UInt16(2), "2"),
    (UInt32(3), "3"),
    (Int64(4), "4"),
    (UInt64(2**63), "9223372036854775808"),
    (Single(0.5), "0.5"),
    (Char("x"), "x"),
    (Version("1.2.3"), "1.2.3"),
]


def test_arguments_of_every_plain_type_arrive() -> None:
    server = Server("$args", [value for value, _ in PLAIN])
    server.open()
    server.start()
    arguments = server.created.pipeline.commands[0].parameters
    assert [name for name, _ in arguments] == [None] * len(PLAIN)
    for (value, expected), (_, arrived) in zip(PLAIN, arguments, strict=True):
        if value is None:
            assert arrived is None
        elif isinstance(value, datetime | timedelta):
            assert arrived == value
        elif isinstance(value, str) and type(value) is Char:
            assert chr(int(arrived)) == expected if str(arrived).isdigit() else str(arrived) == expected
        else:
            assert str(arrived) == expected


def test_arguments_that_hold_others_arrive() -> None:
    server = Server("$args", [[1, "two", None, [3]], {"k": [1], 2: "v"}, PSObject(extended={"A": 1, "B": {"c": None}})])
    server.open()
    server.start()
    (_, items), (_, table), (_, bag) = server.created.pipeline.commands[0].parameters
    assert list(items[:3]) == [1, "two", None]
    assert list(items[3]) == [3]
    assert (table["k"], table[2]) == ([1], "v")
    assert (bag.A, bag.B) == (1, {"c": None})


@pytest.mark.parametrize("value", [SecureString("AAAA"), [{"k": SecureString("AAAA")}], object(), {1}, float])
def test_arguments_that_cannot_be_sent_are_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        create_pipeline(ScriptCommand("1", (value,)))


def test_text_that_looks_like_a_secure_string_is_text() -> None:
    assert create_pipeline(ScriptCommand("'<SS>'", ("<SS>AAAA</SS>", {"<SS>": "<SS"})))


def test_another_server_reads_statements_and_what_is_merged() -> None:
    first = PipelineCommand("Get-Item", arguments=(("Path", "x"), (None, [1])), merged=(Stream.Error, Stream.Warning))
    second = PipelineCommand("$_", is_script=True, use_local_scope=True, merged=MERGEABLE, end_of_statement=True)
    server = Server((first, second, PipelineCommand("Get-Date", merge_previous_results=True)))
    server.open()
    server.start()
    commands = server.created.pipeline.commands
    assert [(each.command_text, each.is_script, each.use_local_scope, each.end_of_statement) for each in commands] == [
        ("Get-Item", False, None, False),
        ("$_", True, True, True),
        ("Get-Date", False, None, True),
    ]
    assert commands[0].parameters == [("Path", "x"), (None, [1])]
    merged = ["merge_my", "merge_to", "merge_error", "merge_warning", "merge_verbose", "merge_debug"]
    merged += ["merge_information"]
    none, output, error = PipelineResultTypes.none, PipelineResultTypes.Output, PipelineResultTypes.Error
    assert [[getattr(each, name) for name in merged] for each in commands] == [
        [error, output, output, output, none, none, none],
        [none, none, output, output, output, output, output],
        [none] * 7,
    ]
    assert [each.merge_unclaimed for each in commands] == [False, False, True]


def test_another_server_reads_the_settings() -> None:
    settings = InvocationSettings(
        add_to_history=False,
        remote_stream_options=RemoteStreamOptions.AddInvocationInfoToErrorRecord
        | RemoteStreamOptions.AddInvocationInfoToDebugRecord,
        apartment_state="STA",
        host=HostInfo(buffer_size=(200, 99), window_title="<&>"),
        application_arguments={"a": {"b": (1, None)}, "c": b"\x00"},
    )
    server = Server("1", settings=settings)
    _, init = server.open()
    server.start()
    shell = server.created.pipeline
    assert (shell.add_to_history, shell.remote_stream_options.value) == (False, 5)
    assert init.apartment_state is shell.apartment_state is ApartmentState.STA
    assert (init.host_info.HostDefaultData.BufferSize.Width, init.host_info.HostDefaultData.WindowTitle) == (200, "<&>")
    assert init.application_arguments == {"a": {"b": [1, None]}, "c": b"\x00"}
    written = deserialize(create_pipeline(ScriptCommand("1"), settings))
    assert written["RemoteStreamOptions"].to_string == "AddInvocationInfoToErrorRecord, AddInvocationInfoToDebugRecord"


def test_a_host_that_is_none() -> None:
    server = Server("1", settings=InvocationSettings(host=None))
    _, init = server.open()
    host = init.host_info
    assert (host.IsHostNull, host.IsHostUINull, host.IsHostRawUINull, host.UseRunspaceHost) == (True, True, True, False)


@pytest.mark.parametrize("value", [SecureString("AAAA"), SecureString("Using[x]"), object(), Secret("word")])
def test_application_arguments_that_cannot_be(value: Any) -> None:
    with pytest.raises(UsageError) as refused:
        init_runspacepool(InvocationSettings(application_arguments={"a": value}))
    assert "word" not in refused.value.message


def test_values_that_cannot_go_up_are_refused_by_name() -> None:
    inside: list[Any] = []
    inside.append(inside)
    for value in (inside, {"b": {"c": {1}}}, {1: 2}, [PSObject()], 2**63, BigInteger(1)):
        with pytest.raises(UsageError, match=r"^application_arguments: "):
            init_runspacepool(InvocationSettings(application_arguments={"a": value}))
    with pytest.raises(UsageError, match=r"^Pipeline input: "):
        pipeline_input({1})
    for many in (10**5000, [-(10**5000)]):
        with pytest.raises(UsageError, match="no room for this int: of thousands of digits"):
            create_pipeline(ScriptCommand("1", (many,)))


def test_an_apartment_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="STA, MTA, Unknown, not 'sta'"):
        InvocationSettings(apartment_state="sta")


def test_a_refusal_is_understood_by_another_server() -> None:
    server = Server("Read-Host")
    server.open()
    pipeline = server.start()
    call_id = pipeline.host_call(HostMethodIdentifier.PromptForChoice, ["cap", "Go on?", [], 0])
    assert server.answer() == []
    (answer,) = server.take(server.replies(), PIPELINE_ID)
    assert isinstance(answer, psrpcore.PipelineHostResponseEvent)
    assert answer.ci == call_id
    assert answer.method_identifier is HostMethodIdentifier.PromptForChoice
    error = answer.error
    assert error
    assert error.FullyQualifiedErrorId == "HostFunctionNotImplemented"
    assert (int(error.CategoryInfo.Category), error.CategoryInfo.Reason) == (11, "HostException")
    assert error.Exception.Message.endswith("with the following message: Go on?")


def test_answers_are_understood_by_another_server() -> None:
    """Its types: a name for each field, numbers for choices, a key."""
    server = Server("x", answers=Answers([("", "No"), ("Name", "web01"), ("Read-Host", "line"), ("ReadKey", "a")]))
    server.open()
    pipeline = server.start()
    choices = [ChoiceDescription(Label="&Yes"), ChoiceDescription(Label="&No")]
    fields = [FieldDescription("Name", ParameterTypeFullName="System.String")]
    asked = {
        pipeline.host_call(method, parameters): method
        for method, parameters in (
            (HostMethodIdentifier.PromptForChoice, ["cap", "Go on?", choices, 0]),
            (HostMethodIdentifier.PromptForChoiceMultipleSelection, ["cap", "Which?", choices, [0]]),
            (HostMethodIdentifier.Prompt, ["", "", fields]),
            (HostMethodIdentifier.ReadLine, []),
            (HostMethodIdentifier.ReadKey, [4]),
        )
    }
    server.answer()
    answers = server.take(server.replies(), PIPELINE_ID)
    assert {answer.ci: answer.method_identifier for answer in answers} == asked
    choice, several, prompt, line, key = (answer.result for answer in answers)
    assert (choice, list(several), dict(prompt), line) == (1, [1], {"Name": "web01"}, "line")
    assert (str(key.Character), key.VirtualKeyCode, key.KeyDown) == ("a", 65, True)


def test_records_of_another_server_come_on_their_streams() -> None:
    server = Server("streams")
    server.open()
    pipeline = server.start()
    pipeline.write_output(None)
    pipeline.write_error(NETException("went wrong"), fully_qualified_error_id="Wrong")
    pipeline.write_warning("w")
    pipeline.write_verbose("v")
    pipeline.write_debug("d")
    pipeline.write_information("i", "source")
    pipeline.write_progress("p", 1, "s")
    records = server.answer()
    assert [record.stream for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert error_record(records[1].raw).fully_qualified_error_id == "Wrong"
    assert [str(from_clixml(record.stream, deserialize(record.raw))) for record in records[1:]] == [
        "went wrong",
        "w",
        "v",
        "d",
        "i",
        "p: s",
    ]
    pipeline.begin_stop()
    pipeline.stop()
    assert server.answer() == []
    assert server.client.pipeline_state is PipelineState.Stopped


def members(value: Any) -> dict[str, Any]:
    """The names of the members and of what they hold, without the values."""
    if isinstance(value, PSObject):
        return {name: members(inside) for name, inside in value.extended.items()}
    return {"[]": members(value[0])} if isinstance(value, list) and value else {}


def within(small: dict[str, Any], large: dict[str, Any]) -> bool:
    return all(name in large and within(inside, large[name]) for name, inside in small.items())


def test_what_powershell_insists_on_is_there() -> None:
    """protocol: `INIT_RUNSPACEPOOL: all six members`, and the members of CREATE_PIPELINE and of each command."""
    init = deserialize(init_runspacepool())
    assert set(init.extended) == {
        "MinRunspaces",
        "MaxRunspaces",
        "PSThreadOptions",
        "ApartmentState",
        "HostInfo",
        "ApplicationArguments",
    }
    created = deserialize(create_pipeline(ScriptCommand("1", (1,))))
    assert {
        "NoInput",
        "ApartmentState",
        "RemoteStreamOptions",
        "AddToHistory",
        "HostInfo",
        "IsNested",
        "PowerShell",
    } <= set(created.extended)
    shell = created["PowerShell"]
    assert {"IsNested", "Cmds", "History", "RedirectShellErrorOutputPipe"} <= set(shell.extended)
    (command,) = shell["Cmds"]
    assert {
        "Cmd",
        "IsScript",
        "UseLocalScope",
        "Args",
        "MergeMyResult",
        "MergeToResult",
        "MergePreviousResults",
    } <= set(command.extended)
    (argument,) = command["Args"]
    assert argument.extended == {"N": None, "V": 1}
    assert (created["RemoteStreamOptions"].base, created["NoInput"], created["IsNested"]) == (0, True, False)


@needs_recordings
def test_what_real_servers_were_content_with_is_there() -> None:
    minimal = next(one for one in recorded("handmade") if one.name == "minimal")
    capability, init = (deserialize(sent.data) for sent in walk(minimal.requests[POOL]))
    (guid,) = minimal.pipelines
    created = deserialize(next(walk(minimal.requests[guid])).data)
    assert within(members(capability), members(deserialize(SESSION_CAPABILITY)))
    assert within(members(init), members(deserialize(init_runspacepool())))
    assert within(members(created), members(deserialize(create_pipeline(ScriptCommand("1")))))


@needs_recordings
def test_our_messages_have_the_types_of_the_real_client() -> None:
    """What we send of the members that PowerShell's client sends has the same types."""
    case = next(one for one in recorded("cases") if one.name == "warning")
    theirs = {sent.type: deserialize(sent.data) for sent in walk(case.requests[POOL])}
    guid = next(guid for guid, stream in case.requests.items() if b"careful" in stream)
    created = deserialize(next(walk(case.requests[guid])).data)
    check_types(created, deserialize(create_pipeline(ScriptCommand(case.case["script"]))))
    check_types(theirs[0x10004], deserialize(init_runspacepool()), skip={"ApplicationArguments"})
    check_types(theirs[0x10002], deserialize(SESSION_CAPABILITY))


def check_types(theirs: Any, ours: Any, skip: frozenset[str] | set[str] = frozenset()) -> None:
    if isinstance(ours, list):
        for one, other in zip(theirs, ours, strict=True):
            check_types(one, other)
        return
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            check_types(theirs[key], ours[key])
    if isinstance(ours, PSObject):
        assert type(ours.base) is type(theirs.base)
        assert ours.type_names == theirs.type_names
        for name in ours.extended.keys() - skip:
            check_types(theirs[name], ours[name])


def test_the_version_that_is_offered() -> None:
    assert deserialize(SESSION_CAPABILITY)["protocolversion"] == PROTOCOL_VERSION == "2.3"


NAME = st.none() | st.text(min_size=1, max_size=5)


@given(st.lists(st.tuples(st.text(max_size=20), st.booleans(), st.lists(st.tuples(NAME, st.text(max_size=9))))))
def test_whatever_a_pipeline_says_arrives(commands: list[tuple[str, bool, list[tuple[str | None, str]]]]) -> None:
    pipeline = [PipelineCommand(text, arguments=tuple(given), end_of_statement=end) for text, end, given in commands]
    shell = deserialize(create_pipeline(ScriptCommand("", commands=tuple(pipeline))))["PowerShell"]
    found = [each["Cmds"] for each in shell.get("ExtraCmds") or [shell]]
    assert found[0] == shell["Cmds"]
    read = [
        (each["Cmd"], each is of[-1], [(argument["N"], argument["V"]) for argument in each["Args"]])
        for of in found
        for each in of
    ]
    assert [(text, given) for text, _, given in read] == [(text, given) for text, _, given in commands] or not commands
    assert [end for _, end, _ in read][:-1] == [end for _, end, _ in commands][:-1]
