"""Every recorded call whose packets are there: what came down ends here as it ended for PowerShell's own client."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from remotejobs.model import Stream
from remotejobs.sim.recorded import Recording
from remotejobs.wsman.clixml.values import text
from tests.fidelity.compared import (
    of,
    same_end,
    same_exceptions,
    same_host_calls,
    same_object,
    same_records,
    same_state,
)
from tests.fidelity.played import ends_by, pipelines, played
from tests.recorded import recorded
from tests.recordings import RECORDINGS

CALLS = sorted((RECORDINGS / "pwsh" / "calls").glob("*.json")) if RECORDINGS else []
# The script block is the last statement of the call, and what it gives is what the call returns.
_RETURNS_ALL = re.compile(r"\$\w+\.(Invoke|EndInvoke)\([^()]*\)(; \$ps\.Dispose\(\) })?\Z")
_THROWN_AWAY = re.compile(r"\$null = \$\w+\.(Invoke|EndInvoke)\(")
_STREAMS = re.compile(r"state (\w+) hadErrors|(Error|Warning|Verbose|Debug|Information|Progress) (\d+)\Z")
_OF_THE_HOST = "System.Management.Automation.RemoteException"  # other reasons are the recorded client's own


def came_down() -> list[Path]:
    """The calls for which a host ran something."""
    return [path for path in CALLS if any(pipelines(path).values())]


@recorded("calls-down", came_down(), lambda path: path.stem)
def test_a_recorded_call(case: Path) -> None:
    known = json.loads(case.read_text("utf-8"))
    asked = {conn: found for conn, found in pipelines(case).items() if found}
    if known.get("job"):
        same_job(known, asked)
    else:
        same_call(known, [pipeline for found in asked.values() for pipeline in found])


def same_job(known: dict[str, Any], asked: dict[int, list[Recording]]) -> None:
    """Each connection is that of one child: the pipeline asked for last ran its script."""
    left = list(known["job"]["children"])
    for recording in [found[-1] for found in asked.values()][: len(left)]:
        faults: list[Exception] = []
        for child in list(left):
            try:
                same_child(known, recording, child)
            except (AssertionError, ValueError) as fault:  # zip() says that by ValueError
                faults.append(fault)
            else:
                left.remove(child)
                break
        else:
            raise faults[0]
    assert all(child["state"] == "Failed" and child["reason"]["clr"] != _OF_THE_HOST for child in left)  # not reached


def same_child(known: dict[str, Any], recording: Recording, child: dict[str, Any]) -> None:
    """One child of the job."""
    if ends_by(recording) == "prompt":  # what came before it is what there was while it waited
        child = next(each for each in known["blocked"]["children"] if each["location"] == child["location"])
    elsewhere = "Invoke-Command" in known["call"] and "-HideComputerName" not in known["call"]
    result = played(recording, child["location"], hide=not elsewhere)
    same_end(result, recording, child, known.get("received"))
    same_records(result, child)
    same_exceptions(result, recording)
    same_host_calls(result, recording)


def same_call(known: dict[str, Any], asked: list[Recording]) -> None:
    """A call of PowerShell's API: what its pipelines gave, one after the other."""
    results = [played(recording) for recording in asked]
    for result, recording in zip(results, asked, strict=True):
        same_state(result, recording)
        same_exceptions(result, recording)
        same_host_calls(result, recording)
    outputs = [record for result in results for record in result.records if record.stream is Stream.Output]
    returned = known.get("returned", [])
    if returned and _RETURNS_ALL.search(known["call"]):
        for object_ in returned:
            record = next(each for each in outputs if text(each.value) == object_["to_string"])
            same_object(record, object_)
            outputs.remove(record)
        assert not outputs or _THROWN_AWAY.search(known["call"])
    for line in [_STREAMS.match(object_["to_string"]) for object_ in returned]:
        if line and line[1]:
            assert results[-1].outcome.state.name == line[1]
        elif line:
            assert len(of(results[-1], Stream[line[2]])) == int(line[3])
    thrown = known.get("terminating", {}).get("message", "")
    if thrown.startswith("Exception calling"):
        assert results[-1].outcome.message in thrown
        assert results[-1].outcome.message
