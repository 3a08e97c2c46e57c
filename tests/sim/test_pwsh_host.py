"""Simulated hosts whose PowerShell is a process: here the stand-in, which keeps PowerShell's rules strictly."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import uuid
from pathlib import Path

import pytest

from remotejobs.errors import ConfigurationError
from remotejobs.sim.packets import POOL, Packet, parse_packet
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.pwsh_host import Patience, PwshHost, find_pwsh, pwsh_shell_factory
from remotejobs.sim.shells import ConnectableShell, HostInfo
from tests.sim.psrp_conversation import CASES, CTRL_C, Client, Sink, in_loop

STANDIN = (sys.executable, "-m", "remotejobs.sim.pwsh_standin", "-s", "-NoLogo", "-NoProfile")


class Process:
    """A client on a shell that is a process; closed when the test is over."""

    def __init__(self, *command: str, interactive: bool = False, patience: Patience = Patience()) -> None:  # noqa: B008
        self.sink = Sink()
        shell = pwsh_shell_factory(command or STANDIN, patience)(HostInfo("WEB07"), self.sink)
        assert isinstance(shell, PwshHost)
        self.shell = shell
        self.client = Client(shell, self.sink, interactive=interactive)

    async def __aenter__(self) -> Client:
        await self.client.open()
        return self.client

    async def __aexit__(self, *_: object) -> None:
        self.shell.close()
        assert self.shell.task
        async with asyncio.timeout(20):
            await self.shell.task


@in_loop
async def test_a_script_runs_in_a_process_of_its_own() -> None:
    async with Process() as client:
        assert await client.outputs("$env:COMPUTERNAME; 1 + 1") == ["<S>WEB07</S>", "<I32>2</I32>"]
        assert client.sink.cuts == [2]
        assert isinstance(client.shell, PwshHost)
        kinds = [type(e).__name__ for e in client.events()]
        assert kinds[-1] == "PipelineStateEvent"


@in_loop
async def test_scripts_are_counted() -> None:
    process = Process()
    async with process as client:
        await client.run("'twice'")
        await client.run("'twice'")
    assert process.shell._host.counters.scripts == {"'twice'": 2}


@in_loop
async def test_what_comes_too_early_waits_its_turn() -> None:
    """Capability, INIT, Command and CREATE_PIPELINE at once: the stand-in drops a CREATE before the pool is open."""
    process = Process()
    process.client.pool.open()
    process.shell.create(process.client.sent())
    process.client.pool.state = type(process.client.pool.state).Opened
    command = process.client.start("'early'")
    assert (await process.sink.done(command))[0].clixml == "<S>early</S>"
    await process.__aexit__()


@in_loop
async def test_many_pipelines_and_much_input() -> None:
    async with Process() as client:
        commands = [client.start(f"'{number}'") for number in range(6)]
        for number, command in enumerate(commands):
            assert (await client.sink.done(command))[0].clixml == f"<S>{number}</S>"
        command = client.start("$input | Measure-Object -Sum | % Sum", no_input=False)
        for number in range(300):
            client.message(MessageType.PIPELINE_INPUT, f"<I32>{number}</I32>", command)
        client.message(MessageType.END_OF_PIPELINE_INPUT, "", command)
        assert (await client.sink.done(command))[0].clixml == "<Db>44850</Db>"


@in_loop
async def test_stop_is_orderly() -> None:
    async with Process() as client:
        command = client.start("try { 'try'; Start-Sleep 60 } finally { 'finally' }")
        await client.sink.until(lambda: client.sink.of(command))
        client.shell.signal(command, CTRL_C)
        seen = await client.sink.done(command)
        assert [s.name for s in seen] == ["PIPELINE_OUTPUT", "PIPELINE_OUTPUT", "PIPELINE_STATE"]
        assert '"PipelineState">3<' in seen[-1].clixml
        assert await client.outputs("'next'") == ["<S>next</S>"]


@in_loop
async def test_terminate_closes_without_a_word() -> None:
    async with Process() as client:
        command = client.start("while ($true) { 'x' }")
        await client.sink.until(lambda: client.sink.of(command))
        client.shell.signal(command, "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/terminate")
        count = len(client.sink.of(command))
        assert await client.outputs("'next'") == ["<S>next</S>"]
        assert len(client.sink.of(command)) == count


@in_loop
async def test_prompts_are_answered_through_the_process() -> None:
    async with Process(interactive=True) as client:
        command = client.start("Read-Host")
        await client.sink.until(lambda: any(s.name == "PIPELINE_HOST_CALL" for s in client.sink.of(command)))
        response = '<Obj><MS><S N="mr">typed</S><I64 N="ci">1</I64><I32 N="mi">11</I32></MS></Obj>'
        client.message(MessageType.PIPELINE_HOST_RESPONSE, response, command, stream="pr")
        seen = await client.sink.done(command)
        assert seen[1].clixml == "<S>typed</S>"


@in_loop
async def test_close_while_running_leaves_no_process() -> None:
    process = Process()
    async with process as client:
        command = client.start("try { 'a'; Start-Sleep 60 } finally { 'f' }")
        await client.sink.until(lambda: client.sink.of(command))
    assert process.shell._process
    assert process.shell._process.returncode == 160  # it went by itself: nothing had to be killed


@in_loop
async def test_connect_is_answered_for_the_process() -> None:
    async with Process() as client:
        assert isinstance(client.shell, ConnectableShell)
        running = client.start("Start-Sleep -Milliseconds 50; 'late'")
        answer = client.shell.connect(b"")
        assert b'<Version N="protocolversion">2.3</Version>' in answer
        assert b'<I32 N="MaxRunspaces">2</I32>' in answer
        assert (await client.sink.done(running))[0].clixml == "<S>late</S>"
        assert client.sink.of(None)[-1].clixml == client.sink.of(None)[1].clixml


DYING = """
import sys
sys.stdin.readline()
print("some banner")
sys.stderr.write("Out of luck.\\n")
sys.exit(7)
"""


@in_loop
async def test_a_process_that_dies_breaks_the_pool_and_says_why() -> None:
    process = Process(sys.executable, "-c", DYING)
    process.client.pool.open()
    process.shell.create(process.client.sent())
    await process.sink.until(lambda: process.sink.seen)
    (seen,) = process.sink.seen
    assert seen.name == "RUNSPACEPOOL_STATE"
    assert '"RunspaceState">5<' in seen.clixml
    assert "PowerShell ended with exit code 7." in seen.clixml
    assert "Out of luck." in seen.clixml
    assert "some banner" in seen.clixml


async def broken(script: str, **patience: float) -> str:
    """What the client of a process gets to know: one state message, whatever goes wrong; and the process is gone."""
    process = Process(sys.executable, "-c", f"import sys, time\n{script}", patience=Patience(**patience))
    process.client.pool.open()
    process.shell.create(process.client.sent())
    await process.sink.until(lambda: process.sink.seen)
    assert process.shell.task
    async with asyncio.timeout(20):
        await process.shell.task
    process.shell.close()
    (seen,) = process.sink.seen
    assert seen.name == "RUNSPACEPOOL_STATE"
    assert '"RunspaceState">5<' in seen.clixml
    return seen.clixml


@in_loop
async def test_a_banner_is_shown() -> None:
    said = await broken("print('Welcome to WEB07', flush=True); time.sleep(60)", trouble=0.05)
    assert "It printed &apos;Welcome to WEB07&apos;" in said.replace("'", "&apos;")


@in_loop
async def test_a_command_for_a_broken_pool_fails_at_once() -> None:
    process = Process(sys.executable, "-c", "import time; print('Welcome', flush=True); time.sleep(60)")
    await process.client.open()
    seen = await process.sink.done(process.client.start("'late'"))
    assert '"PipelineState">5<' in seen[-1].clixml
    assert "Welcome" in seen[-1].clixml
    await process.__aexit__()


@in_loop
async def test_what_it_says_on_stderr_is_shown() -> None:
    """All that comes in a moment; Start-Job takes any line as fatal too."""
    script = "print('One.', file=sys.stderr, flush=True); print('Two.', file=sys.stderr, flush=True); time.sleep(60)"
    assert "One. Two." in await broken(script, trouble=0.3)


@in_loop
async def test_a_process_that_never_answers_is_given_up() -> None:
    said = await broken("time.sleep(60)", opening=0.1)
    assert "PowerShell has not opened a runspace pool within 0.1 seconds." in said


@in_loop
async def test_a_process_that_closes_its_output_is_given_up() -> None:
    said = await broken("import os; os.close(1); time.sleep(60)", ending=0.05)
    assert "PowerShell closed its output." in said


def test_a_child_of_the_process_that_holds_its_output_keeps_nothing_open_here() -> None:
    _with_a_child_that_lives_on()
    gc.collect()  # pipes left open are told of here, as errors


@in_loop
async def _with_a_child_that_lives_on() -> None:
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(2)'])"
    script = f"import subprocess, sys; {child}; print('begun', file=sys.stderr, flush=True); sys.stdin.read()"
    process = Process(sys.executable, "-c", script)
    process.client.pool.open()
    process.shell.create(process.client.sent())
    await process.sink.until(lambda: process.sink.seen)
    killed = process.shell._process
    assert killed
    assert process.shell.task
    killed.kill()
    while killed.returncode is None:
        await asyncio.sleep(0.01)
    process.shell.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await process.shell.task


@in_loop
async def test_packets_that_cannot_be_read_are_reported() -> None:
    """A fragment from the middle of a message."""
    line = Packet("Data", POOL, bytes(7) + b"\1" + bytes(7) + b"\5\0" + bytes(4)).line()
    said = await broken(f"sys.stdout.buffer.write({line!r}); sys.stdout.flush(); time.sleep(60)", trouble=0.05)
    assert "It sent what cannot be read" in said


@in_loop
async def test_blank_lines_and_a_byte_order_mark_do_no_harm() -> None:
    """A wrapper prints them before PowerShell's first packet."""
    script = (
        "import subprocess, sys; sys.stdout.buffer.write(b'\\xef\\xbb\\xbf\\r\\n\\n'); sys.stdout.flush(); "
        f"sys.exit(subprocess.call({list(STANDIN)!r}))"
    )
    async with Process(sys.executable, "-c", script) as client:
        assert await client.outputs("1 + 1") == ["<I32>2</I32>"]


STUCK = """
import subprocess, sys
process = subprocess.Popen({command!r}, stdin=subprocess.PIPE)
for line in sys.stdin:
    if "<Command" in line:
        break
    process.stdin.write(line.encode())
    process.stdin.flush()
sys.stdin.read()
process.kill()
"""


@in_loop
async def test_a_process_that_stops_answering_is_given_up() -> None:
    """Its pool is open, and a pipeline waits."""
    process = Process(
        sys.executable, "-c", STUCK.format(command=list(STANDIN)), patience=Patience(answer=0.2, ending=1)
    )
    await process.client.open()
    command = process.client.start("'never'")
    seen = await process.sink.done(command)
    assert '"PipelineState">5<' in seen[-1].clixml
    assert "PowerShell has not answered for 0.2 seconds." in seen[-1].clixml
    process.shell.close()
    assert process.shell.task
    await process.shell.task


@in_loop
async def test_a_silent_script_is_not_given_up() -> None:
    """Everything that it got was acknowledged."""
    process = Process(patience=Patience(answer=0.1))
    async with process as client:
        assert await client.outputs("Start-Sleep -Milliseconds 600; 'late'") == ["<S>late</S>"]


@in_loop
async def test_a_signal_does_not_overtake_the_pipeline() -> None:
    """Stop and terminate at once after the start: the process is told in an order in which it can do it."""
    process = Process()
    async with process as client:
        stopped = client.start("'a'; Start-Sleep 60")
        client.shell.signal(stopped, CTRL_C)
        assert '"PipelineState">3<' in (await client.sink.done(stopped))[-1].clixml
        ended = client.start("'a'; Start-Sleep 60")
        client.shell.signal(ended, "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/terminate")
        assert await client.outputs("'next'") == ["<S>next</S>"]
    assert process.shell._process
    assert process.shell._process.returncode == 160


@in_loop
async def test_a_process_killed_under_a_pipeline_fails_it() -> None:
    process = Process()
    await process.client.open()
    command = process.client.start("'a'; Start-Sleep 60")
    await process.sink.until(lambda: process.sink.of(command))
    assert process.shell._process
    process.shell._process.kill()
    seen = await process.sink.done(command)
    assert '"PipelineState">5<' in seen[-1].clixml
    assert "PSSessionStateBroken" in seen[-1].clixml


@in_loop
async def test_a_program_that_does_not_start_is_named() -> None:
    process = Process("/no/such/pwsh")
    process.client.pool.open()
    process.shell.create(process.client.sent())
    await process.sink.until(lambda: process.sink.seen)
    assert "PowerShell (/no/such/pwsh) does not start" in process.sink.seen[0].clixml


def test_pwsh_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("REMOTEJOBS_PWSH", raising=False)
    assert find_pwsh() is None
    named = tmp_path / "my pwsh"
    named.write_text("", "utf-8")
    monkeypatch.setenv("REMOTEJOBS_PWSH", str(named))
    assert find_pwsh() == (str(named), "-s", "-NoLogo", "-NoProfile")
    monkeypatch.setenv("REMOTEJOBS_PWSH", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="no such file"):
        find_pwsh()


def test_the_password_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_PASSWORD", "sekrit")
    _run_without_password()


@in_loop
async def _run_without_password() -> None:
    script = "import os, sys; sys.stdin.readline(); sys.exit(3 if 'REMOTEJOBS_PASSWORD' in os.environ else 4)"
    process = Process(sys.executable, "-c", script)
    process.client.pool.open()
    process.shell.create(process.client.sent())
    await process.sink.until(lambda: process.sink.seen)
    assert "exit code 4" in process.sink.seen[0].clixml


async def talk(*lines: bytes) -> tuple[int, str]:
    """Say lines to a stand-in at once; its exit code and stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*STANDIN, stdin=pipe, stdout=pipe, stderr=pipe)
    _, errors = await process.communicate(b"".join(lines))
    assert process.returncode is not None
    return process.returncode, errors.decode()


@in_loop
async def test_the_standin_is_not_kind() -> None:
    data = Packet("Data", POOL, b"x" * 40)
    code, said = await talk(data.line(), data.line())
    assert (code, "before the one before it was acknowledged" in said) == (160, True)
    assert "not a packet" in (await talk(b"plain text\n"))[1]
    assert "An unknown element DataAck" in (await talk(Packet("DataAck", POOL).line()))[1]
    assert await talk(b"") == (160, 'An unknown element "" was received.\n')


def test_packets_are_written_and_read() -> None:
    guid = uuid.uuid4()
    for packet in (Packet("Data", guid, b"\0\1", "PromptResponse"), Packet("CommandAck", guid), Packet("Close", POOL)):
        assert parse_packet(packet.line().decode()) == packet
    for line in ("", "<Data PSGuid='x'>AA==</Data>", f"<Data Stream='Default' PSGuid='{guid}'>?</Data>", "<Close />"):
        with pytest.raises(ValueError, match=r"packet|base64|badly formed"):
            parse_packet(line)


def test_recorded_packets_are_read_and_written_as_they_were() -> None:
    total = 0
    for path in sorted(CASES.glob("*.wire.jsonl")):
        for row in map(json.loads, path.read_text("utf-8").splitlines()):
            if row["dir"] in {"c2s", "s2c"}:
                assert parse_packet(row["line"]).line() == row["line"].strip().encode() + b"\n"
                total += 1
    assert total > 50
