"""Conversations of a real PowerShell, served over WS-Man and received with our client: what it made of them, we do."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from remotejobs.model import Stream, Target
from remotejobs.sim.answers import Answers
from remotejobs.views.tojson import to_json
from remotejobs.wsman.clixml.values import PSObject
from tests.e2e.hosts import Result, run, started, targets
from tests.recordings import RECORDINGS

FOLDER = RECORDINGS / "pwsh" / "cases" if RECORDINGS else Path(__file__).parents[1] / "data" / "pwsh"
_CUT = 4000  # characters after which the recorder cut JSON
_SEALED = re.compile(r'{"Length":\d+}')  # a SecureString: protocol 2.3 encrypts it, and so its length is not known
_SURROGATE = re.compile("[\ud800-\udfff]")
_ID = re.compile(r'"RunspaceId":"([0-9a-f-]{36})"')


def recorded_cases() -> list[str]:
    """The cases whose job was recorded; the others do not parse and were never sent."""
    return sorted(p.stem for p in FOLDER.glob("*.json") if "job" in json.loads(p.read_text("utf-8")))


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers(FOLDER)


def served(answers: Answers, case: dict[str, Any]) -> Result:
    async def main() -> Result:
        async with started({"localhost": ""}, interpreter=answers) as hosts:
            return await asyncio.wait_for(run(targets(hosts), case["script"], hide_computer_name=True), 60)

    return asyncio.run(main())


def of(result: Result, stream: str) -> list[Any]:
    """The values of a stream that a record was sent for; not those that we made of a call of the host."""
    wanted = Stream[stream]
    return [r.value for r in result.records if r.stream is wanted and r.record.object_id > 0]


@pytest.mark.parametrize("name", recorded_cases())
def test_a_recorded_case(name: str, answers: Answers) -> None:
    case = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    result = served(answers, case)
    child, outcome = case["job"]["children"][0], result.ends["localhost"].outcome

    if "blocked" in case:  # it waited for its user; we have none, and the script ends by PowerShell's error for that
        assert (outcome.state.name, outcome.error_id) == ("Failed", "HostFunctionNotImplemented")
        assert "does not support user interaction" in outcome.message
        child = case["blocked"]["children"][0]
    elif "exit_code" in outcome.details:  # `exit` ends the process of the recorded job, and of a remote one nothing
        assert (outcome.state.name, child["state"]) == ("Completed", "Stopped")
    else:
        reason = child["reason"] or {"message": "", "id": ""}
        recorded = (child["state"], reason["message"], reason["id"])
        assert (outcome.state.name, outcome.message, outcome.error_id) == recorded
        counts = Counter(r.stream.name.lower() for r in result.records if r.record.object_id > 0)
        assert {stream: counts[stream] for stream in child["counts"]} == child["counts"]
    same_records(result, child)
    assert outcome.error_count == len(of(result, "Error")) == result.job.child_jobs[0].error_count


def same_records(result: Result, child: dict[str, Any]) -> None:
    """What both have is the same; counts are compared elsewhere (the recorder kept the first objects only)."""
    outputs = zip(result.values("localhost"), child["output"], strict=False)
    for value, recorded in ((value, recorded) for value, recorded in outputs if recorded is not None):
        same_json(result, value, recorded["json"])
    for error, recorded in zip(of(result, "Error"), child["errors"], strict=False):
        ours = (error.message, error.fully_qualified_error_id, error.category, error.category_info)
        assert ours == tuple(recorded[key] for key in ("message", "id", "category", "category_info"))
    for stream in ("Warning", "Verbose", "Debug"):
        messages = [record.message for record in of(result, stream)]
        assert messages == child[stream.lower()]
    for written, recorded in zip(of(result, "Information"), child["information"], strict=True):
        tags = [tag for tag in recorded["tags"] if tag != "FORWARDED"]  # the recorded client's own mark
        assert (str(written), written.source, list(written.tags)) == (recorded["data"], recorded["source"], tags)
    for step, recorded in zip(of(result, "Progress"), child["progress"], strict=True):
        ours = (step.activity_id, step.parent_activity_id, step.activity, step.status_description)
        assert ours == (recorded["id"], recorded["parent"], recorded["activity"], recorded["status"])
        rest = (step.percent_complete, step.seconds_remaining, step.record_type)
        assert rest == (recorded["percent"], recorded["seconds"], recorded["type"])


def same_json(result: Result, value: Any, recorded: str) -> None:
    """Compare with ConvertTo-Json -Depth 3; the id of the runspace is this job's own."""
    runspace_id = result.records[0].runspace_id
    found = _ID.search(recorded)
    if found and not isinstance(value, PSObject):  # PowerShell has its notes on a dictionary, too
        value = PSObject(base=value)
        value.set_origin("localhost", runspace_id, show=False)
    expected = recorded.replace(found[1], str(runspace_id)) if found else recorded
    expected = _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", expected)
    written = to_json(value, 3, compress=True)
    if '{"Length":null}' in written:
        expected = _SEALED.sub('{"Length":null}', expected)
    if len(recorded) > _CUT:
        assert written.startswith(expected.removesuffix("..."))
    else:
        assert written == expected


def test_many_hosts_at_a_time_get_the_same(answers: Answers) -> None:
    """Nothing of one conversation reaches another."""
    script = json.loads((FOLDER / "all-streams.json").read_text("utf-8"))["script"]
    names = [f"web{number:02}" for number in range(1, 13)]

    async def main() -> Result:
        async with started(dict.fromkeys(names, ""), interpreter=answers) as hosts:
            return await run(targets(hosts), script, throttle_limit=5)

    result = asyncio.run(main())
    by_host = {name: [r.record.raw for r in result.records if r.computer_name == name] for name in names}
    assert len({tuple(records) for records in by_host.values()}) == 1
    assert {r.runspace_id for r in result.records if r.computer_name == names[0]} != {
        r.runspace_id for r in result.records if r.computer_name == names[1]
    }
    assert [end.outcome.reason.value for end in result.job.outcomes] == ["Completed"] * 12


def test_a_script_that_no_recording_knows_fails_with_a_reason(answers: Answers) -> None:
    async def main() -> Result:
        async with started({"web01": ""}, interpreter=answers) as hosts:
            (target,) = targets(hosts)
            assert isinstance(target, Target)
            return await run([target], "Get-Unrecorded")

    result = asyncio.run(main())
    assert result.reason("web01") == "CommandFailed"
    assert result.message("web01")
