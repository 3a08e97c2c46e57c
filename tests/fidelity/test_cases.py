"""Every recorded script: what our job says of it is what PowerShell's own job said."""

from __future__ import annotations

import json
from pathlib import Path

from remotejobs.wsman.clixml.records import error_record
from tests.fidelity.compared import same_end, same_error, same_exceptions, same_host_calls, same_records
from tests.fidelity.engines import CASES, recording_of, through
from tests.fidelity.played import ends_by, exit_code
from tests.recorded import recorded


@recorded("cases", CASES, lambda path: path.stem)
def test_a_recorded_case(case: Path) -> None:
    known = json.loads(case.read_text("utf-8"))
    recording, result = recording_of(case), through("native", case)
    if "sent" in known:  # it does not parse: sent as text, it is the host that says so
        outcome = result.outcome
        assert (outcome.state.name, outcome.failure is not None) == (known["sent"]["state"], True)
        assert outcome.failure
        same_error(error_record(outcome.failure), known["sent"]["error"])
    else:
        # we refuse a prompt; the recorded client waited for its user
        job = known["blocked"] if ends_by(recording) == "prompt" else known["job"]
        child = job["children"][0]
        same_end(result, recording, child, known.get("received"))
        if job is known["job"]:
            assert result.job.state.name == job["state"]
        # `exit` ended the process of the recorded client's job at once; of ours it ends nothing but the script
        same_records(result, child, left_early=exit_code(recording) is not None)
    same_exceptions(result, recording)
    same_host_calls(result, recording)
