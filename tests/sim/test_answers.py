"""Answers by hand and from recordings, served over a simulated host's PSRP."""

from __future__ import annotations

import base64
import json
import re
import uuid
from pathlib import Path

import pytest

from remotejobs.errors import ConfigurationError
from remotejobs.sim.answers import Answers
from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.interpreter import InTurn
from remotejobs.sim.psrp_host import PsrpHost
from remotejobs.sim.psrp_wire import Message, MessageType
from remotejobs.sim.recorded import Recording, load_recording
from remotejobs.sim.shells import HostInfo
from tests.recordings import needs_recordings
from tests.sim.psrp_conversation import CASES, CTRL_C, Client, Seen, Sink, in_loop

RECORDED = sorted(CASES.glob("*.wire.jsonl"))

BY_HAND = """
[[answer]]
script = "get-disk *"
hosts = "web*"
[[answer.record]]
value = { Name = "C", Free = 12884901888, Tags = ["a", 1.5, true], When = 2026-11-20T03:04:05Z }
type = "My.Disk"
[[answer.record]]
stream = "Warning"
message = "low"
[[answer.record]]
stream = "Error"
message = "no such disk"
id = "NoDisk,Get-Disk"
category = "ObjectNotFound"
target = "D"
[[answer.record]]
stream = "Progress"
activity = "Scan"
percent = 40

[[answer]]
match = "^restart-"
repeat = 2
exit = 3
[[answer.record]]
value = "again"

[[answer]]
script = "fails"
error = { message = "boom" }
[[answer.record]]
clixml = "<I64>7</I64>"
"""


async def opened(folder: Path, *, host: str = "web01", interactive: bool = False) -> Client:
    sink = Sink()
    shell = PsrpHost(InTurn([Answers(folder), Dialect()]), HostInfo(host), sink)
    client = Client(shell, sink, interactive=interactive)
    await client.open()
    return client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hand.toml").write_text(BY_HAND, "utf-8")
    return tmp_path


def names(seen: list[Seen]) -> list[str]:
    return [s.name for s in seen]


@in_loop
async def test_records_by_hand(folder: Path) -> None:
    client = await opened(folder)
    seen = await client.run("  Get-Disk -Number 1\n")
    assert names(seen) == ["PIPELINE_OUTPUT", "WARNING_RECORD", "ERROR_RECORD", "PROGRESS_RECORD", "PIPELINE_STATE"]
    assert seen[0].clixml == (
        '<Obj RefId="0"><TN RefId="0"><T>My.Disk</T><T>System.Management.Automation.PSCustomObject</T>'
        '<T>System.Object</T></TN><MS><S N="Name">C</S><I64 N="Free">12884901888</I64><Obj N="Tags" RefId="1">'
        '<TN RefId="1"><T>System.Object[]</T><T>System.Array</T><T>System.Object</T></TN><LST><S>a</S><Db>1.5</Db>'
        '<B>true</B></LST></Obj><DT N="When">2026-11-20T03:04:05Z</DT></MS></Obj>'
    )
    error = client.events()[2].record
    assert (error.FullyQualifiedErrorId, str(error.TargetObject)) == ("NoDisk,Get-Disk", "D")
    assert '<I32 N="ErrorCategory_Category">13</I32>' in seen[2].clixml


@in_loop
async def test_repeat_and_exit(folder: Path) -> None:
    seen = await (await opened(folder)).run("Restart-Service x")
    assert names(seen) == ["PIPELINE_OUTPUT", "PIPELINE_OUTPUT", "PIPELINE_HOST_CALL", "PIPELINE_STATE"]
    assert "SetShouldExit" in seen[2].clixml


@in_loop
async def test_a_script_may_fail(folder: Path) -> None:
    seen = await (await opened(folder)).run("fails")
    assert seen[0].clixml == "<I64>7</I64>"
    assert '"PipelineState">5<' in seen[1].clixml
    assert '<S N="FullyQualifiedErrorId">boom</S>' in seen[1].clixml


@in_loop
async def test_other_hosts_and_other_scripts_go_to_the_next_interpreter(folder: Path) -> None:
    refused = await (await opened(folder, host="db01")).run("Get-Disk -Number 1")
    assert "SimulatedDialect" in refused[-1].clixml
    assert await (await opened(folder)).outputs("1 + 1") == ["<I32>2</I32>"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[answer]]\nscript = 'x'\nmatch = 'y'", "either script or match"),
        ("[[answer]]\nscript = 'x'\n[[answer.record]]\nstream = 'Out'", "no stream 'Out'"),
        ("[[answer]]\nscript = 'x'\n[[answer.record]]\nstream = 'Warning'", "needs message"),
        ("[[answer]]\nscript = 'x'\ndelya = 1", "has no 'delya'"),
        ("[[answer]]\nmatch = '('", "cannot be used"),
        ("[[answer]]\nscript = 'x'\nerror = { message = 'm', category = 'Odd' }", "no error category 'Odd'"),
        ("not toml", "cannot be used"),
    ],
)
def test_faults_are_said_with_their_file(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "bad.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(fault)) as caught:
        Answers(tmp_path)
    assert "bad.toml" in str(caught.value)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Answers(tmp_path / "none")


def test_a_recording_without_its_description_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.wire.jsonl").write_text("{}", "utf-8")
    with pytest.raises(ConfigurationError, match=r"x\.wire\.jsonl"):
        Answers(tmp_path)


@pytest.mark.parametrize("path", RECORDED, ids=[path.name.removesuffix(".wire.jsonl") for path in RECORDED])
def test_recordings_are_served_message_for_message(path: Path) -> None:
    _served(path)


@in_loop
async def _served(path: Path) -> None:
    recording = load_recording(path)
    sink = Sink()
    client = Client(PsrpHost(Folder(recording), HostInfo("web01"), sink), sink, interactive=True)
    await client.open()
    command = client.start(
        json.loads(path.with_name(path.name[: -len(".wire.jsonl")] + ".json").read_text("utf-8"))["script"]
    )
    await sink.until(lambda: any(c == command and s != "Running" for c, s in sink.states))
    if (command, "Done") not in sink.states:  # it waits for an answer to a host call: the recorded client stopped it
        client.shell.signal(command, CTRL_C)
    seen = await sink.done(command)
    expected = [(m.type, m.payload.decode()) for m in (*recording.messages, *recording.stopped)]
    got = [(s.type, s.clixml) for s in seen]
    if "<SS" in "".join(text for _, text in expected):  # sealed with this session's key
        assert [kind for kind, _ in got] == [kind for kind, _ in expected]
    else:
        assert got == expected


class Folder(Answers):
    """One recording, as if it were alone in a folder."""

    def __init__(self, recording: Recording) -> None:
        self.answers = [recording]


@in_loop
async def test_a_recorded_pipeline_that_was_stopped_waits_for_its_stop() -> None:
    def message(kind: MessageType, clixml: bytes) -> Message:
        return Message(kind, uuid.UUID(int=1), uuid.UUID(int=2), clixml)

    stopped = b'<Obj RefId="0"><MS><I32 N="PipelineState">3</I32></MS></Obj>'
    recording = Recording(
        "runs",
        (message(MessageType.PIPELINE_OUTPUT, b"<S>before</S>"),),
        (message(MessageType.PIPELINE_OUTPUT, b"<S>finally</S>"), message(MessageType.PIPELINE_STATE, stopped)),
    )
    sink = Sink()
    client = Client(PsrpHost(Folder(recording), HostInfo("web01"), sink), sink)
    await client.open()
    command = client.start("runs")
    await sink.until(lambda: sink.of(command))
    assert [s.clixml for s in sink.of(command)] == ["<S>before</S>"]
    client.shell.signal(command, CTRL_C)
    assert [s.clixml for s in await sink.done(command)] == ["<S>before</S>", "<S>finally</S>", stopped.decode()]


@in_loop
async def test_a_client_without_a_host_gets_no_calls_of_one() -> None:
    sink = Sink()
    recording = load_recording(CASES / "all-streams.wire.jsonl")
    client = Client(PsrpHost(Folder(recording), HostInfo("web01"), sink), sink)
    await client.open()
    seen = await client.run(recording.script)
    assert names(seen) == [
        "PIPELINE_OUTPUT", "ERROR_RECORD", "WARNING_RECORD", "VERBOSE_RECORD", "DEBUG_RECORD", "INFORMATION_RECORD",
        "INFORMATION_RECORD", "PROGRESS_RECORD", "PIPELINE_OUTPUT", "PIPELINE_STATE",
    ]  # fmt: skip
    assert seen[1].clixml == next(m for m in recording.messages if m.type == MessageType.ERROR_RECORD).payload.decode()


@needs_recordings
@in_loop
async def test_recorded_secure_strings_open_with_this_sessions_key() -> None:
    sink = Sink()
    recording = load_recording(CASES / "pscredential.wire.jsonl")
    client = Client(PsrpHost(Folder(recording), HostInfo("web01"), sink), sink)
    await client.open()
    client.pool.exchange_key()
    client.shell.send("stdin", client.sent(), None, False)
    client.events()
    await client.run(recording.script)
    credential = client.events()[0].data
    assert credential.Password.decrypt() == "pw"
    assert base64.b64encode("pw".encode("utf-16-le")).decode() not in sink.of(None)[-1].clixml
