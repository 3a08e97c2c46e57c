from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from remotejobs.model import Outcome, Stream
from remotejobs.states import EndReason
from remotejobs.views.console import Console, failure_text
from remotejobs.views.errorview import concise
from remotejobs.wsman.clixml.records import error_record
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.psrp.messages import MessageType
from tests.recordings import RECORDINGS, needs_recordings
from tests.views.factory import Terminal, end, error, informational, progress, record, written_to_host
from tests.views.wire import raw_records

VIEW = "ConciseView"


@needs_recordings
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("cmdlet-nonterminating", "Get-Item: Cannot find path '/does/not/exist' because it does not exist."),
        ("divide-by-zero", "RuntimeException: Attempted to divide by zero."),
        ("all-streams", "Write-Error: err"),
    ],
)
def test_recorded_errors(case: str, expected: str) -> None:
    assert RECORDINGS is not None
    folder: Path = RECORDINGS / "pwsh" / "cases"
    first = raw_records(folder / f"{case}.wire.jsonl", MessageType.ERROR_RECORD)[0]
    assert concise(error_record(first)) == expected
    recorded = json.loads((folder / f"{case}.json").read_text("utf-8"))["job"]["children"][0]["errors"][0]
    assert error_record(first).message == recorded["message"]


def test_a_failure_prints_the_error_that_ended_the_script() -> None:
    failure = serialize(error("boom", "", 14))
    ended = Outcome(EndReason.CommandFailed, "boom", failure=failure)
    assert failure_text(ended, VIEW, "web01") == "OperationStopped: boom"
    assert failure_text(Outcome(EndReason.CommandFailed, "ours", failure=b"<broken"), VIEW, "web01") == "ours"
    assert failure_text(Outcome(EndReason.CommandFailed, "ours"), VIEW, "web01") == "ours"


def test_an_end_without_a_message_is_its_reason() -> None:
    err = io.StringIO()
    Console(err, colour=False).outcome(end("web01", EndReason.Stopped))
    assert err.getvalue() == "[web01] Stopped\n"


def test_colour_is_per_line() -> None:
    err = io.StringIO()
    item = record(informational("a\nb"), "web01", Stream.Warning)
    Console(err, colour=True).record(item, item.value)
    assert err.getvalue() == "\x1b[33;1mWARNING: [web01] a\x1b[0m\n\x1b[33;1mWARNING: [web01] b\x1b[0m\n"


def test_what_a_host_says_cannot_act_on_the_terminal() -> None:
    err = Terminal()
    item = record(error("a\x1b[2J\rb", "\x1b]0;x\x07"), "web01", Stream.Error)
    Console(err, colour=False).record(item, item.value)
    assert err.getvalue() == "[web01] ␛]0;x␇: a␛[2J\n[web01] b\n"


def test_every_line_of_a_message_names_its_host() -> None:
    err = io.StringIO()
    item = record(error("one\r\n\r\n[web02] fake\n", "Get-Item"), "web01", Stream.Error)
    Console(err, colour=False).record(item, item.value)
    assert err.getvalue() == "[web01] Get-Item: one\n[web01] \n[web01] [web02] fake\n"


def test_progress_is_one_line_rewritten_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "41")
    err = Terminal()
    console = Console(err, colour=False)
    for value in (progress("Copying", "file", 50), progress("Copying", "a very long status of one file", 51)):
        item = record(value, "web01", Stream.Progress)
        console.record(item, item.value)
    first, second = "[web01] Copying: file 50%", "[web01] Copying: a very long status of o"
    assert err.getvalue() == f"{first}\r{' ' * len(first)}\r{second}"
    console.clear()
    console.clear()
    assert err.getvalue().endswith(f"{second}\r{' ' * len(second)}\r")


def test_progress_goes_when_it_is_completed_or_something_is_said() -> None:
    err = Terminal()
    console = Console(err, colour=False)
    for value in (progress("Copying", "", 1), progress("Copying", "", -1, completed=True)):
        item = record(value, "web01", Stream.Progress)
        console.record(item, item.value)
    assert err.getvalue().endswith("\r")
    item = record(progress("Copying", "", 1), "web01", Stream.Progress)
    console.record(item, item.value)
    console.note("web01", "careful")
    assert err.getvalue().endswith("\rWARNING: [web01] careful\n")


def test_no_progress_in_a_pipe() -> None:
    err = io.StringIO()
    item = record(progress("Copying", "file", 50), "web01", Stream.Progress)
    Console(err, colour=False).record(item, item.value)
    assert err.getvalue() == ""


def test_write_host_has_no_label() -> None:
    """As on PowerShell's screen, in the formats whose objects go elsewhere too."""
    err = io.StringIO()
    for said in (written_to_host("checking"), PSObject(extended={"MessageData": "loud", "Tags": ["t"]})):
        item = record(said, "web01", Stream.Information)
        Console(err, colour=True).record(item, item.value)
    assert err.getvalue() == "[web01] checking\nINFORMATION: [web01] loud\n"
