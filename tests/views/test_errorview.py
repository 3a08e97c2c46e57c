from __future__ import annotations

import io
import json

import pytest

from remotejobs.errors import JobError
from remotejobs.model import Stream
from remotejobs.views.console import Console
from remotejobs.views.errorview import ERROR_VIEWS, concise, error_text, normal, reported
from remotejobs.wsman.clixml.records import ErrorRecord, InnerException, InvocationInfo, error_record
from remotejobs.wsman.psrp.messages import MessageType
from tests.recordings import RECORDINGS, needs_recordings
from tests.views.factory import error, record
from tests.views.wire import raw_records

MISSING = ErrorRecord(
    "Cannot find path '/nope'.",
    exception_type="System.Management.Automation.ItemNotFoundException",
    exception_message="Cannot find path '/nope'.",
    fully_qualified_error_id="PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
    category="ObjectNotFound",
    activity="Get-Item",
    reason="ItemNotFoundException",
    target_name="/nope",
    target_type="String",
    target="/nope",
    script_stack_trace="at Copy, C:\\a.ps1: line 7\nat <ScriptBlock>, <No file>: line 3",
    invocation=InvocationInfo("Get-Item", "Get-Item", "", 3, 5, "    Get-Item /nope\n", "At line:3 char:5\n+ Get"),
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (MISSING, "Get-Item: Cannot find path '/nope'."),
        (ErrorRecord("boom", category="OperationStopped", reason="RuntimeException"), "OperationStopped: boom"),
        (ErrorRecord("x", category="NotSpecified", reason="RuntimeException"), "RuntimeException: x"),
        (ErrorRecord("just text"), "just text"),
        (ErrorRecord("x", activity="Copy-It", recommended_action="do this"), "Copy-It: x\n  Recommendation: do this"),
        (ErrorRecord("ls: no", reason="RemoteException", fully_qualified_error_id="NativeCommandError"), "ls: no"),
    ],
)
def test_concise(said: ErrorRecord, expected: str) -> None:
    """Semantics 4.13."""
    assert concise(said) == expected


def test_a_place_is_told_where_the_script_has_more_than_a_line() -> None:
    told = "Get-Item: Cannot find path '/nope'.\n  at line 3: Get-Item /nope"
    assert error_text(MISSING, "ConciseView", "web01") == told
    file = ErrorRecord("x", invocation=InvocationInfo(script_name="C:\\a.ps1", script_line_number=1, line="y" * 500))
    assert error_text(file, "ConciseView", "web01") == f"x\n  at C:\\a.ps1:1: {'y' * 200}…"
    only = ErrorRecord("x", invocation=InvocationInfo(script_line_number=1, line="y"))
    assert error_text(only, "ConciseView", "web01") == "x"


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        ("at <ScriptBlock>, <No file>: line 6", ["  at line 6"]),
        ("at <ScriptBlock>, <No file>: line 1", []),
        ("at Copy-It, C:\\a.ps1: line 1\nat <ScriptBlock>, <No file>: line 6", ["  at Copy-It, C:\\a.ps1: line 1"]),
        ("", []),
    ],
)
def test_the_place_of_write_error_comes_from_the_stack(stack: str, place: list[str]) -> None:
    said = ErrorRecord("x", script_stack_trace=stack, invocation=InvocationInfo("Write-Host a\nWrite-Error x"))
    assert error_text(said, "ConciseView", "web01").splitlines() == ["x", *place]
    assert "Write-Host" not in error_text(said, "DetailedView", "web01")


def test_normal_and_category() -> None:
    category = "ObjectNotFound: (/nope:String) [Get-Item], ItemNotFoundException"
    assert error_text(MISSING, "NormalView", "web01").splitlines() == [
        "Cannot find path '/nope'.",
        f"+ CategoryInfo          : {category}",
        "+ FullyQualifiedErrorId : PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
        "+ PSComputerName        : web01",
    ]
    assert error_text(MISSING, "CategoryView", "web01") == category
    assert normal(ErrorRecord("ls: no", fully_qualified_error_id="NativeCommandError"), "web01") == "ls: no"


def test_detailed_lists_all_that_the_host_said() -> None:
    assert error_text(MISSING, "DetailedView", "web01").splitlines() == [
        "Exception             :",
        "    Type    : System.Management.Automation.ItemNotFoundException",
        "    Message : Cannot find path '/nope'.",
        "TargetObject          : /nope",
        "CategoryInfo          : ObjectNotFound: (/nope:String) [Get-Item], ItemNotFoundException",
        "FullyQualifiedErrorId : PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
        "InvocationInfo        :",
        "    MyCommand        : Get-Item",
        "    ScriptLineNumber : 3",
        "    OffsetInLine     : 5",
        "    Line             : Get-Item /nope",
        "    PositionMessage  : At line:3 char:5",
        "                       + Get",
        "    InvocationName   : Get-Item",
        "ScriptStackTrace      : at Copy, C:\\a.ps1: line 7",
        "                        at <ScriptBlock>, <No file>: line 3",
        "PSComputerName        : web01",
    ]


def test_what_happened_then_where_then_what_to_do() -> None:
    where = InvocationInfo(script_line_number=2, line="Copy-It")
    said = ErrorRecord("x", activity="Copy-It", recommended_action="do this", invocation=where)
    assert error_text(said, "ConciseView", "web01").splitlines() == [
        "Copy-It: x",
        "  at line 2: Copy-It",
        "  Recommendation: do this",
    ]


@needs_recordings
@pytest.mark.parametrize("case", ["cmdlet-nonterminating", "divide-by-zero", "all-streams", "write-error-full"])
def test_recorded_errors_in_normal_view(case: str) -> None:
    assert RECORDINGS is not None
    folder = RECORDINGS / "pwsh" / "cases"
    first = error_record(raw_records(folder / f"{case}.wire.jsonl", MessageType.ERROR_RECORD)[0])
    said = json.loads((folder / f"{case}.json").read_text("utf-8"))["job"]["children"][0]["errors"][0]
    assert normal(first, said["origin"]) == (
        f"{(said['details'] or said)['message']}\n+ CategoryInfo          : {said['category_message']}\n"
        f"+ FullyQualifiedErrorId : {said['id']}\n+ PSComputerName        : {said['origin']}"
    )


@pytest.mark.parametrize("view", ERROR_VIEWS)
def test_every_line_names_its_host(view: str) -> None:
    err = io.StringIO()
    item = record(error("one\n[web02] fake"), "web01", Stream.Error)
    Console(err, colour=False, error_view=view).record(item, item.value)
    lines = err.getvalue().splitlines()
    assert lines
    assert all(line.startswith("[web01] ") for line in lines)


def test_detailed_lists_what_caused_it() -> None:
    """Inside of each other, as Get-Error has them."""
    inner = (InnerException("System.FormatException", "no number"), InnerException("System.Exception", "why"))
    said = ErrorRecord("x", exception_type="E", exception_message="x", inner_exceptions=inner)
    assert error_text(said, "DetailedView", "").splitlines()[:8] == [
        "Exception    :",
        "    Type           : E",
        "    Message        : x",
        "    InnerException :",
        "        Type           : System.FormatException",
        "        Message        : no number",
        "        InnerException :",
        "            Type    : System.Exception",
    ]
    many = ErrorRecord("x", inner_exceptions=inner * 10_000)
    assert error_text(many, "DetailedView", "").count("InnerException") == 10


@needs_recordings
def test_a_recorded_error_and_its_cause() -> None:
    assert RECORDINGS is not None
    wire = RECORDINGS / "pwsh" / "cases" / "error-view-detail.wire.jsonl"
    said = error_text(error_record(raw_records(wire, MessageType.ERROR_RECORD)[0]), "DetailedView", "localhost")
    assert "    InnerException :\n        Type    : System.IO.FileNotFoundException\n" in said


def test_an_error_of_ours_in_every_view() -> None:
    refused = JobError("No.", error_id="PSSessionConnectFailed")
    category = "OpenError: (web[01-02]:String) [remotejob connect], PSRemotingTransportException"
    assert reported(refused, "NormalView", activity="remotejob connect", computer_name="web[01-02]").splitlines() == [
        "No.",
        f"+ CategoryInfo          : {category}",
        "+ FullyQualifiedErrorId : PSSessionConnectFailed",
        "+ PSComputerName        : web[01-02]",
    ]
    assert reported(refused, "CategoryView", activity="retry") == "NotSpecified: (:) [retry], JobError"
    assert "Message : No." in reported(refused, "DetailedView", activity="remotejob retry")
