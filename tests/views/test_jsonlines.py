from __future__ import annotations

import io
import json
from typing import Any

import pytest

from remotejobs.model import Stream
from remotejobs.states import EndReason
from remotejobs.views.view import view
from remotejobs.wsman.clixml.values import PSObject
from tests.views.factory import bag, end, error, informational, progress, raw_record, record, written_to_host


def lines(*items: Any, format_name: str = "Jsonl") -> list[Any]:
    out = io.StringIO()
    shown = view(format_name, out, io.StringIO())
    for item in items:
        (shown.outcome if hasattr(item, "outcome") else shown.record)(item)
    shown.close()
    assert out.getvalue().isascii()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_object() -> None:
    assert lines(record(bag(A=1, B=["x", None]), "web01", seq=7)) == [{
        "schema": "remotejobs.record.1",
        "job_id": 1,
        "computer_name": "web01",
        "stream": "Output",
        "seq": 7,
        "time": "2026-11-18T11:06:40.125Z",
        "type_names": ["System.Management.Automation.PSCustomObject", "System.Object"],
        "value": {"A": 1, "B": ["x", None]},
    }]  # fmt: skip


def test_an_end() -> None:
    assert lines(end("web07", EndReason.TimedOutConnect, "No connection.", error_id="X", seconds=30.00049)) == [{
        "schema": "remotejobs.outcome.1",
        "job_id": 1,
        "computer_name": "web07",
        "state": "Failed",
        "reason": "TimedOut(connect)",
        "message": "No connection.",
        "error_id": "X",
        "error_count": 0,
        "seconds": 30.0,
    }]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "stream", "expected"),
    [
        (
            error(),
            Stream.Error,
            {"message": "Cannot find path '/nope'.", "category": "ObjectNotFound", "target": "/nope"},
        ),
        (error(), Stream.Error, {"activity": "Get-Item", "reason": "ItemNotFoundException", "invocation": None}),
        (informational("w"), Stream.Warning, {"message": "w"}),
        (written_to_host("h"), Stream.Information, {"message": "h", "tags": ["PSHOST"], "source": "Write-Host"}),
        (progress("a", "b", 5), Stream.Progress, {"message": "a: b", "percent_complete": 5}),
    ],
)
def test_other_streams(value: Any, stream: Stream, expected: dict[str, Any]) -> None:
    (line,) = lines(record(value, "web01", stream))
    assert line["stream"] == stream.name
    assert expected.items() <= line["value"].items()


def test_null_and_odd_characters() -> None:
    null, text = lines(record(None), record("\x1b[1m \ud83d \u2028 é"))
    assert (null["value"], null["type_names"]) == (None, [])
    assert text["value"] == "\x1b[1m \ud83d \u2028 é"


def test_what_cannot_be_read_says_so() -> None:
    (line,) = lines(raw_record(b"<Obj RefId='0'><TN><T>X</T></TN>", "web01"))
    assert line["value"] is None
    assert line["unreadable"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_array(count: int) -> None:
    out = io.StringIO()
    shown = view("json", out, io.StringIO())
    for number in range(count):
        shown.record(record(number))
    shown.close()
    assert [item["value"] for item in json.loads(out.getvalue())] == list(range(count))


def test_each_line_is_written_at_once() -> None:
    out = io.StringIO()
    shown = view("jsonl", out, io.StringIO())
    shown.record(record(1))
    assert json.loads(out.getvalue())["value"] == 1


def test_what_caused_an_error_is_told() -> None:
    failed = error()
    cause = PSObject(("System.FormatException",), adapted={"Message": "no number"})
    failed["Exception"].extended["InnerException"] = cause
    (line,) = lines(record(failed, "web01", Stream.Error))
    assert line["value"]["inner_exceptions"] == [{"exception_type": "System.FormatException", "message": "no number"}]


def _nested(levels: int) -> PSObject:
    return bag(n=1) if not levels else bag(inner=_nested(levels - 1))


@pytest.mark.parametrize(
    ("depth", "value"),
    [
        (0, {"inner": "@{inner=}"}),
        (2, {"inner": {"inner": {"inner": "@{n=1}"}}}),
        (3, {"inner": {"inner": {"inner": {"n": 1}}}}),
    ],
)
def test_depth_is_that_of_convert_to_json(depth: int, value: dict[str, Any]) -> None:
    out, err = io.StringIO(), io.StringIO()
    shown = view("Jsonl", out, err, depth=depth)
    for _ in range(2):
        shown.record(record(_nested(3)))
    assert [json.loads(line)["value"] for line in out.getvalue().splitlines()] == [value] * 2
    said = f"WARNING: Resulting JSON is truncated as serialization has exceeded the set depth of {depth}. (-Depth)\n"
    assert err.getvalue() == (said if depth < 3 else "")


def test_a_record_of_another_stream_is_whole_at_any_depth() -> None:
    failed = error()
    cause = PSObject(("System.FormatException",), adapted={"Message": "no number"})
    failed["Exception"].extended["InnerException"] = cause
    out, err = io.StringIO(), io.StringIO()
    view("Jsonl", out, err, depth=0).record(record(failed, "web01", Stream.Error))
    assert json.loads(out.getvalue())["value"]["inner_exceptions"][0]["message"] == "no number"
    assert err.getvalue() == ""
