"""Recorded conversations of a real PowerShell as a folder of answers: which host gives what, and to which script."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from remotejobs.model import Target
from remotejobs.sim.answers import Answers
from tests.e2e.hosts import Result, run, started, targets
from tests.recordings import RECORDINGS

FOLDER = RECORDINGS / "pwsh" / "cases" if RECORDINGS else Path(__file__).parents[1] / "data" / "pwsh"


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers(FOLDER)


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
