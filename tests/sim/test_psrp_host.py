"""The PSRP server of a simulated host, spoken to by psrpcore's client and by bytes of the tests' own."""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from functools import partial

import pytest
from psrpcore import ClientRunspacePool
from psrpcore.types import HostMethodIdentifier, PSSecureString

from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.interpreter import Invocation, Streams
from remotejobs.sim.psrp_host import PsrpHost, psrp_shell_factory
from remotejobs.sim.psrp_wire import FRAGMENT_SIZE, MessageType, fragments, pack_message, unpack_message
from remotejobs.sim.shells import ConnectableShell, HostInfo
from remotejobs.sim.values import SecureString
from tests.sim.psrp_conversation import CTRL_C, Client, Seen, Sink, in_loop

POOL = uuid.UUID("0f0e0d0c-0b0a-0908-0706-050403020100")
INIT = (
    '<Obj><MS><I32 N="MinRunspaces">1</I32><I32 N="MaxRunspaces">1</I32><I32 N="PSThreadOptions">0</I32>'
    '<I32 N="ApartmentState">2</I32><Obj N="HostInfo">{host}</Obj><Nil N="ApplicationArguments"/></MS></Obj>'
)
CAPABILITY = (
    '<Obj RefId="0"><MS><Version N="protocolversion">{}</Version><Version N="PSVersion">2.0</Version>'
    '<Version N="SerializationVersion">1.1.0.1</Version></MS></Obj>'
)
NO_HOST = '<MS><B N="_isHostUINull">true</B></MS>'
CREATE = (
    '<Obj><MS><B N="NoInput">true</B><I32 N="ApartmentState">2</I32><I32 N="RemoteStreamOptions">0</I32>'
    '<B N="AddToHistory">false</B><Obj N="HostInfo"/><Obj N="PowerShell"><MS><B N="IsNested">false</B>'
    '<Obj N="Cmds"><LST><Obj><MS><S N="Cmd">{script}</S><B N="IsScript">true</B>'
    '<Nil N="UseLocalScope"/><I32 N="MergeMyResult">0</I32>'
    '<I32 N="MergeToResult">0</I32><I32 N="MergePreviousResults">0</I32>{more}<Nil N="Args"/></MS></Obj></LST></Obj>'
    '<Nil N="History"/><B N="RedirectShellErrorOutputPipe">false</B></MS></Obj><B N="IsNested">false</B></MS></Obj>'
)


async def opened(*, interactive: bool = False) -> Client:
    sink = Sink()
    client = Client(psrp_shell_factory(Dialect())(HostInfo("WEB01"), sink), sink, interactive=interactive)
    await client.open()
    return client


def raw(kind: int, clixml: str, pipeline: uuid.UUID | None = None, object_id: int = 1) -> bytes:
    return b"".join(fragments(object_id, pack_message(kind, POOL, pipeline, clixml.encode(), to=2)))


def bare(*, host: str = NO_HOST, protocol: str = "2.3") -> tuple[PsrpHost, Sink]:
    """A pool opened by a minimal client: no RefId, no type names, no byte order mark."""
    sink = Sink()
    shell = PsrpHost(Dialect(), HostInfo("WEB01"), sink)
    shell.create(
        raw(MessageType.SESSION_CAPABILITY, CAPABILITY.format(protocol))
        + raw(MessageType.INIT_RUNSPACEPOOL, INIT.format(host=host), object_id=2)
    )
    return shell, sink


def begin(shell: PsrpHost, script: str, *, more: str = "") -> str:
    pipeline = uuid.uuid4()
    data = raw(MessageType.CREATE_PIPELINE, CREATE.format(script=script, more=more), pipeline, 3)
    shell.command(str(pipeline).upper(), "", [base64.b64encode(data).decode()], {})
    return str(pipeline).upper()


def names(seen: list[Seen]) -> list[str]:
    return [s.name for s in seen]


@in_loop
async def test_pool_opens_in_two_steps() -> None:
    client = await opened()
    assert names(client.sink.of(None)) == ["SESSION_CAPABILITY", "APPLICATION_PRIVATE_DATA", "RUNSPACEPOOL_STATE"]
    assert client.sink.cuts == [2]
    table = client.pool.application_private_data["PSVersionTable"]
    assert str(table["PSVersion"]) == "7.6.5"
    assert str(table["PSRemotingProtocolVersion"]) == "2.3"


@pytest.mark.parametrize(("offered", "answered"), [("2.1", "2.1"), ("2.2", "2.2"), ("2.3", "2.3"), ("2.4", "2.3")])
@in_loop
async def test_protocol_version_is_answered_in_kind(offered: str, answered: str) -> None:
    _, sink = bare(protocol=offered)
    assert f'<Version N="protocolversion">{answered}</Version>' in sink.seen[0].clixml


@in_loop
async def test_the_first_capability_has_no_pool_id_yet() -> None:
    _, sink = bare()
    messages = [unpack_message(data[21:], to=1) for _, data in sink.raw]
    assert messages[0].pool_id == uuid.UUID(int=0)
    assert {m.pool_id for m in messages[1:]} == {POOL}


@in_loop
async def test_all_streams_reach_psrpcores_client() -> None:
    client = await opened()
    script = (
        "'out'; Write-Error 'err'; Write-Warning 'warn'; Write-Verbose 'verb' -Verbose; Write-Debug 'dbg' -Debug; "
        "Write-Information 'info'; Write-Progress 'prog' 'status' -PercentComplete 5"
    )
    await client.run(script)
    kinds = [type(e).__name__ for e in client.events()]
    assert kinds == [
        "PipelineOutputEvent", "ErrorRecordEvent", "WarningRecordEvent", "VerboseRecordEvent", "DebugRecordEvent",
        "InformationRecordEvent", "ProgressRecordEvent", "PipelineStateEvent",
    ]  # fmt: skip
    assert client.shell.host.counters.scripts == {script: 1}  # type: ignore[attr-defined]


@in_loop
async def test_a_client_with_a_host_is_told_twice() -> None:
    client = await opened(interactive=True)
    seen = await client.run("Write-Host 'h'; Write-Warning 'w'; Write-Error 'e'; Write-Information 'quiet'")
    assert names(seen) == [
        "INFORMATION_RECORD", "PIPELINE_HOST_CALL", "WARNING_RECORD", "PIPELINE_HOST_CALL", "ERROR_RECORD",
        "INFORMATION_RECORD", "PIPELINE_STATE",
    ]  # fmt: skip
    assert "<ToString>WriteLine2</ToString>" in seen[1].clixml
    assert '<I64 N="ci">-100</I64>' in seen[1].clixml


@in_loop
async def test_an_empty_host_info_declares_a_full_host() -> None:
    shell, sink = bare(host="")
    seen = await sink.done(begin(shell, "Write-Warning w"))
    assert names(seen) == ["WARNING_RECORD", "PIPELINE_HOST_CALL", "PIPELINE_STATE"]


@in_loop
async def test_exit_is_told_to_a_client_without_a_host_too() -> None:
    client = await opened()
    seen = await client.run("'a'; exit 3; 'b'")
    assert names(seen) == ["PIPELINE_OUTPUT", "PIPELINE_HOST_CALL", "PIPELINE_STATE"]
    assert "SetShouldExit" in seen[1].clixml
    assert "<I32>3</I32></LST>" in seen[1].clixml


@in_loop
async def test_read_host_waits_for_the_client() -> None:
    client = await opened(interactive=True)
    command = client.start("'before'; $x = Read-Host 'name'; \"got $x\"")
    await client.sink.until(lambda: (command, "Pending") in client.sink.states)
    call = client.events()[-1]
    assert call.method_identifier == HostMethodIdentifier.Prompt
    wrong = f'<Obj><MS><I64 N="ci">{call.ci + 7}</I64><I32 N="mi">23</I32></MS></Obj>'
    client.message(MessageType.PIPELINE_HOST_RESPONSE, wrong, command)  # ignored
    answer = '<Obj><DCT><En><S N="Key">name</S><S N="Value">web</S></En></DCT></Obj>'.replace(
        "<Obj>", '<Obj N="mr">', 1
    )
    response = f'<Obj><MS><I64 N="ci">{call.ci}</I64><I32 N="mi">23</I32>{answer}</MS></Obj>'
    client.message(MessageType.PIPELINE_HOST_RESPONSE, response, command, stream="pr")
    seen = await client.sink.done(command)
    assert [s.clixml for s in seen if s.name == "PIPELINE_OUTPUT"] == ["<S>before</S>", "<S>got web</S>"]


def _asked(client: Client, command: str, times: int) -> bool:
    return client.sink.states.count((command, "Pending")) == times


@in_loop
async def test_a_refused_prompt_is_an_error_that_a_script_can_catch() -> None:
    client = await opened(interactive=True)
    command = client.start("try { Read-Host } catch { \"caught $($_.FullyQualifiedErrorId) $_\" }; Read-Host; 'on'")
    refusal = (
        '<Obj><MS><I64 N="ci">{}</I64><I32 N="mi">11</I32><Obj N="me"><MS><S N="Exception">no</S>'
        '<S N="FullyQualifiedErrorId">RemoteHostExecutionException</S></MS></Obj></MS></Obj>'
    )
    for call in (1, 2):
        await client.sink.until(partial(_asked, client, command, call))
        client.message(MessageType.PIPELINE_HOST_RESPONSE, refusal.format(call), command)
    seen = await client.sink.done(command)
    caught = "caught RemoteHostExecutionException,Microsoft.PowerShell.Commands.ReadHostCommand no"
    assert seen[1].clixml == f"<S>{caught}</S>"
    assert names(seen[2:]) == ["PIPELINE_HOST_CALL", "ERROR_RECORD", "PIPELINE_OUTPUT", "PIPELINE_STATE"]


@in_loop
async def test_prompts_fail_without_a_host() -> None:
    client = await opened()
    seen = await client.run("Read-Host 'q'; 'on'")
    assert names(seen) == ["ERROR_RECORD", "PIPELINE_OUTPUT", "PIPELINE_STATE"]
    assert "HostFunctionNotImplemented,Microsoft.PowerShell.Commands.ReadHostCommand" in seen[0].clixml


@pytest.mark.parametrize(
    "waiting", ["Start-Sleep 60", "while ($true) { $null = 1 }", "Read-Host", "for (;;) { 'x' * 9000 }"]
)
@in_loop
async def test_stop_runs_finally_and_ends_with_stopped(waiting: str) -> None:
    client = await opened(interactive=True)
    command = client.start(f"try {{ 'try'; {waiting} }} finally {{ 'finally'; Write-Warning 'w' }}; 'never'")
    await client.sink.until(lambda: client.sink.of(command))
    client.shell.signal(command, CTRL_C)
    seen = await client.sink.done(command)
    assert names(seen[-4:]) == ["PIPELINE_OUTPUT", "WARNING_RECORD", "PIPELINE_HOST_CALL", "PIPELINE_STATE"]
    assert seen[-4].clixml == "<S>finally</S>"
    assert '"PipelineState">3<' in seen[-1].clixml
    assert "PipelineStopped" in seen[-1].clixml


@in_loop
async def test_a_queued_pipeline_is_stopped_without_a_reason() -> None:
    shell, sink = bare()
    running = begin(shell, "'run'; Start-Sleep 60")
    queued = begin(shell, "'queued'")
    await sink.until(lambda: sink.of(running))
    shell.signal(queued, CTRL_C)
    assert [s.clixml for s in await sink.done(queued)] == [
        '<Obj RefId="0"><MS><I32 N="PipelineState">3</I32></MS></Obj>'
    ]
    shell.signal(running, CTRL_C)
    assert "PipelineStopped" in (await sink.done(running))[-1].clixml


@in_loop
async def test_the_next_pipeline_starts_when_one_ends() -> None:
    shell, sink = bare()
    first, second = begin(shell, "Start-Sleep -Milliseconds 1; '1'"), begin(shell, "'2'")
    await sink.done(second)
    assert [s.command_id for s in sink.seen if s.name == "PIPELINE_STATE"] == [first, second]


@in_loop
async def test_any_other_signal_closes_without_a_word() -> None:
    client = await opened()
    command = client.start("'a'; try { Start-Sleep 60 } finally { 'finally' }")
    await client.sink.until(lambda: client.sink.of(command))
    client.shell.signal(command, "powershell/signal/ctrl_c")
    assert await client.outputs("'next'") == ["<S>next</S>"]
    assert names(client.sink.of(command)) == ["PIPELINE_OUTPUT"]


@in_loop
async def test_close_ends_everything_at_once() -> None:
    client = await opened()
    command = client.start("while ($true) { 'x' }")
    await client.sink.until(lambda: client.sink.of(command))
    client.shell.close()
    count = len(client.sink.seen)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    assert len(client.sink.seen) == count


@in_loop
async def test_output_waits_while_nobody_reads() -> None:
    client = await opened()
    client.sink.full = True
    command = client.start("1..3")
    await asyncio.sleep(0.05)
    assert client.sink.of(command) == []
    client.sink.full = False
    assert len(await client.sink.done(command)) == 4


@in_loop
async def test_big_objects_are_cut_and_ids_rise() -> None:
    client = await opened()
    await client.run("'x' * 100000; 'y'")
    sizes = [len(data) for command, data in client.sink.raw if command]
    assert sizes[:3] == [FRAGMENT_SIZE] * 3
    assert max(sizes) == FRAGMENT_SIZE
    ids = [int.from_bytes(data[:8]) for _, data in client.sink.raw]
    assert ids == sorted(ids)
    assert [e.data for e in client.events()[:2]] == ["x" * 100000, "y"]


@in_loop
async def test_create_pipeline_may_come_in_parts() -> None:
    shell, sink = bare()
    pipeline = uuid.uuid4()
    message = pack_message(
        MessageType.CREATE_PIPELINE, POOL, pipeline, CREATE.format(script="'ok'", more="").encode(), to=2
    )
    parts = list(fragments(3, message, 200))
    command = str(pipeline).upper()
    shell.command(command, "", [base64.b64encode(parts[0]).decode()], {})
    for part in parts[1:]:
        shell.send("stdin", part[:10], command, False)
        shell.send("stdin", part[10:], command, False)
    assert (await sink.done(command))[0].clixml == "<S>ok</S>"


@in_loop
async def test_pipeline_input_goes_to_process_and_input() -> None:
    client = await opened()
    for script in ("process { \"[$_]\" } end { 'end' }", "$input | ForEach-Object { \"[$_]\" }; 'end'"):
        command = client.start(script, no_input=False)
        for clixml in ("<I32>1</I32>", "", "<S>a</S>"):
            client.message(MessageType.PIPELINE_INPUT, clixml, command)
        client.message(MessageType.END_OF_PIPELINE_INPUT, "", command)
        outputs = [s.clixml for s in await client.sink.done(command)][:-1]
        assert outputs == ["<S>[1]</S>", "<S>[]</S>", "<S>[a]</S>", "<S>end</S>"]


@in_loop
async def test_commands_to_the_debugger_complete_nested_or_not() -> None:
    shell, sink = bare()
    clixml = CREATE.format(script="__Set-PSUnhandledBreakpointMode", more="").replace(
        '<B N="IsScript">true<', '<B N="IsScript">false<'
    )
    for nested in (clixml, clixml.replace('<B N="IsNested">false<', '<B N="IsNested">true<')):
        pipeline = uuid.uuid4()
        data = base64.b64encode(raw(MessageType.CREATE_PIPELINE, nested, pipeline, 3)).decode()
        shell.command(str(pipeline).upper(), "", [data], {})
        assert '"PipelineState">4<' in sink.of(str(pipeline).upper())[0].clixml
    assert not shell.host.counters.scripts


@in_loop
async def test_merged_streams_become_output() -> None:
    shell, sink = bare()
    merge = '<I32 N="MergeError">1</I32><I32 N="MergeWarning">1</I32>'
    seen = await sink.done(begin(shell, "Write-Error e; Write-Warning w; Write-Verbose v", more=merge))
    assert names(seen) == ["PIPELINE_OUTPUT", "PIPELINE_OUTPUT", "PIPELINE_STATE"]


@pytest.mark.parametrize("member", ["NoInput", "HostInfo", "MergeMyResult", "Args", "History"])
@in_loop
async def test_a_missing_member_is_named(member: str) -> None:
    shell, sink = bare()
    pipeline = str(uuid.uuid4()).upper()
    clixml = CREATE.format(script="1", more="").replace(f'N="{member}"', 'N="Other"')
    data = raw(MessageType.CREATE_PIPELINE, clixml, uuid.UUID(pipeline), 3)
    shell.command(pipeline, "", [base64.b64encode(data).decode()], {})
    seen = await sink.done(pipeline)
    assert f"the property {member} is missing" in seen[0].clixml


@pytest.mark.parametrize(
    "clixml",
    [
        "<!DOCTYPE x [<!ENTITY a 'b'>]><S>&a;</S>",
        "<S>x",
        "<Zork/>",
        "<Obj><Ref RefId='9'/></Obj>",
        "<I32>x</I32>",
        "<Obj>" * 5000,
        "<DT>now</DT>",
        "<SS>AAAA</SS>",
    ],
)
@in_loop
async def test_hostile_messages_end_their_pipeline_only(clixml: str) -> None:
    client = await opened()
    command = client.start("$input", no_input=False)
    client.message(MessageType.PIPELINE_INPUT, clixml, command)
    seen = await client.sink.done(command)
    assert '"PipelineState">5<' in seen[-1].clixml
    assert await client.outputs("'alive'") == ["<S>alive</S>"]


@pytest.mark.parametrize("data", [b"\0" * 30, b"\xff" * 100, raw(MessageType.SET_MAX_RUNSPACES, "<S>x</S>")])
@in_loop
async def test_hostile_pool_messages_break_the_pool(data: bytes) -> None:
    shell, sink = bare()
    shell.send("stdin", data, None, False)
    if data != b"\xff" * 100:  # a fragment that is not there yet is waited for, within a limit
        assert '"RunspaceState">5<' in sink.seen[-1].clixml
    else:
        assert "more than" in sink.seen[-1].clixml


@in_loop
async def test_runspaces_are_counted_and_set() -> None:
    client = await opened()
    client.pool.get_available_runspaces()
    client.pool.set_max_runspaces(5)
    client.pool.set_min_runspaces(-1)
    client.shell.send("stdin", client.sent(), None, False)
    answers = [s.clixml for s in client.sink.of(None) if s.name == "RUNSPACE_AVAILABILITY"]
    assert [
        '<I64 N="SetMinMaxRunspacesResponse">2<' in answers[0],
        ">true<" in answers[1],
        ">false<" in answers[2],
    ] == [True] * 3
    client.events()
    assert client.pool.max_runspaces == 5


@in_loop
async def test_reset_forgets_variables() -> None:
    shell, sink = bare()
    await sink.done(begin(shell, "$a = 5"))
    assert (await sink.done(begin(shell, "$a")))[0].clixml == "<I32>5</I32>"
    shell.send(
        "stdin", raw(MessageType.RESET_RUNSPACE_STATE, '<Obj><MS><I64 N="ci">4</I64></MS></Obj>', None, 9), None, False
    )
    assert '<B N="SetMinMaxRunspacesResponse">true</B><I64 N="ci">4</I64>' in sink.seen[-1].clixml
    assert (await sink.done(begin(shell, "$a")))[0].clixml == ""


@in_loop
async def test_a_message_for_another_pool_is_refused() -> None:
    shell, sink = bare()
    foreign = pack_message(MessageType.CREATE_PIPELINE, uuid.uuid4(), uuid.uuid4(), b"<S>x</S>", to=2)
    command = str(uuid.uuid4()).upper()
    shell.command(command, "", [base64.b64encode(b"".join(fragments(3, foreign))).decode()], {})
    assert "another runspace pool" in (await sink.done(command))[0].clixml


@in_loop
async def test_connect_takes_a_pool_over() -> None:
    client = await opened()
    assert isinstance(client.shell, ConnectableShell)
    running = client.start("Start-Sleep -Milliseconds 30; 'late'")
    other = ClientRunspacePool(runspace_pool_id=client.pool.runspace_pool_id)
    other.connect()
    payload = other.data_to_send()
    assert payload
    answer = client.shell.connect(payload.data)
    kinds = []
    while answer:
        length = 21 + int.from_bytes(answer[17:21])
        kinds.append(MessageType(unpack_message(answer[21:length], to=1).type).name)
        answer = answer[length:]
    assert kinds == ["SESSION_CAPABILITY", "RUNSPACEPOOL_INIT_DATA"]
    assert (await client.sink.done(running))[0].clixml == "<S>late</S>"
    assert client.sink.of(None)[-1].name == "APPLICATION_PRIVATE_DATA"


class Echo:
    """An interpreter that gives back its first argument and a SecureString of its own."""

    def open(self, host: HostInfo) -> Echo:
        return self

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        value = invocation.statements[0][0].parameters[0][1]
        await streams.output(type(value).__name__ + ":" + value)
        await streams.output(SecureString("sekrit"))


@in_loop
async def test_secure_strings_travel_under_the_session_key() -> None:
    sink = Sink()
    client = Client(PsrpHost(Echo(), HostInfo("WEB01"), sink), sink)
    await client.open()
    client.pool.exchange_key()
    client.shell.send("stdin", client.sent(), None, False)
    client.events()
    seen = await client.sink.done(client.start("x", PSSecureString("pässword")))
    assert seen[0].clixml == "<S>SecureString:pässword</S>"
    assert "cwBlAGsAcgBpAHQA" not in seen[1].clixml
    assert client.events()[1].data.decrypt() == "sekrit"


@in_loop
async def test_a_secure_string_before_the_exchange_is_refused() -> None:
    sink = Sink()
    shell = PsrpHost(Echo(), HostInfo("WEB01"), sink)
    client = Client(shell, sink)
    await client.open()
    command = client.start("x", "text", no_input=False)
    client.message(MessageType.PIPELINE_INPUT, "<SS>c2Vr</SS>", command)
    seen = await sink.done(command)
    assert seen[-1].name == "PIPELINE_STATE"
    assert sink.of(None)[-1].name == "PUBLIC_KEY_REQUEST"


class Faulty:
    def open(self, host: HostInfo) -> Faulty:
        return self

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        raise ZeroDivisionError("a bug")


@in_loop
async def test_a_bug_of_the_interpreter_leaves_nobody_waiting() -> None:
    sink = Sink()
    client = Client(PsrpHost(Faulty(), HostInfo("WEB01"), sink), sink)
    await client.open()
    seen = await client.run("x")
    assert "The simulated host failed: ZeroDivisionError: a bug" in seen[-1].clixml


def test_psrpcore_logs_nothing() -> None:
    assert not logging.getLogger("psrpcore._base").isEnabledFor(logging.CRITICAL)
