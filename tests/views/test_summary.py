from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.model import Outcome
from remotejobs.states import EndReason
from remotejobs.views.summary import duration, exit_code, pending, summary
from tests.views.factory import end

R = EndReason


def hosts(first: int, last: int) -> list[str]:
    return [f"web{number:02}" for number in range(first, last + 1)]


def test_the_summary_folds_names() -> None:
    ends = [end(name) for name in hosts(1, 18)]
    ends += [end("web19", R.Unreachable), end("web20", R.CommandFailed)]
    assert summary(ends, 20, 3.21) == [
        "18 completed, 1 failed (web20), 1 unreachable (web19): 20 hosts in 3.2 s",
    ]


def test_all_well() -> None:
    assert summary([end("web01")], 1, 0.04) == ["1 completed: 1 host in 0.0 s"]
    assert summary([], 0, 0) == ["nothing to do: 0 hosts in 0.0 s"]


def test_notes_of_the_run_come_last() -> None:
    lines = summary([end("web01", R.Unknown)], 1, 1, ["Credential ops: 1 logon tried, 1 refused, none accepted."])
    assert (len(lines), lines[-1]) == (3, "Credential ops: 1 logon tried, 1 refused, none accepted.")


def test_errors_are_counted_on_hosts_that_failed_too() -> None:
    ends = [end("web01", error_count=2), end("web02", R.CommandFailed, error_count=1), end("web03")]
    assert summary(ends, 3, 1)[1] == "3 errors on web[01-02]"


def test_exit_codes_of_what_completed_are_named() -> None:
    ends = [
        end("web01", details={"exit_code": 3}),
        end("web02", details={"exit_code": 3}),
        end("web03", details={"exit_code": -1}),
        end("web04", details={"exit_code": 0}),
        end("web05", R.Stopped, details={"exit_code": 9}),
    ]
    assert summary(ends, 5, 1)[1:] == ["exit code -1 on web03, 3 on web[01-02]"]


def test_hints_for_the_uncertain() -> None:
    lines = summary([end("web01", R.Unknown), end("web02", R.Disconnected)], 2, 1)
    assert lines[0] == "1 unknown (web01), 1 disconnected (web02): 2 hosts in 1.0 s"
    assert lines[1].startswith("Unknown: the script may have run")
    assert len(lines) == 2


@given(st.lists(st.sampled_from(list(EndReason)), max_size=40), st.integers(0, 5))
def test_the_counts_sum_to_the_targets(reasons: list[EndReason], running: int) -> None:
    ends = [end(f"web{number}", reason) for number, reason in enumerate(reasons)]
    counted, _, total = summary(ends, len(ends) + running, 1.0)[0].rpartition(": ")
    parts = re.sub(r"\([^)]*\)", "", counted).split(", ")
    assert sum(int(part.split()[0]) for part in parts if part != "nothing to do") == len(ends) + running
    assert total.startswith(f"{len(ends) + running} host")


def test_thousands_of_names_stay_one_line() -> None:
    ends = [end(f"h{number * number}", R.Unreachable) for number in range(3000)]
    assert all(len(line) < 700 for line in summary(ends, 3000, 1.0))


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([], 0),
        ([R.Completed], 0),
        ([R.Completed, R.CommandFailed], 2),
        ([R.Stopped, R.NotStarted], 2),
        ([R.Unreachable], 3),
        ([R.NotStartedGuard, R.AuthenticationFailed, R.Unknown], 3),
        ([R.CommandFailed, R.Unreachable], 4),
        ([R.Disconnected, R.Completed], 6),
        ([R.Disconnected, R.Unreachable], 3),
    ],
)
def test_exit_codes(reasons: list[EndReason], expected: int) -> None:
    assert exit_code([Outcome(reason) for reason in reasons]) == expected


def test_fail_on_error() -> None:
    outcomes = [Outcome(R.Completed, error_count=1), Outcome(R.Unreachable)]
    assert exit_code(outcomes[:1]) == 0
    assert exit_code(outcomes[:1], fail_on_error=True) == 2
    assert exit_code(outcomes, fail_on_error=True) == 4


@pytest.mark.parametrize(
    ("code", "errors", "script", "cmd"), [(0, 0, 0, 0), (0, 2, 2, 0), (3, 0, 2, 2), (-1, 1, 2, 2), (None, 1, 2, 0)]
)
def test_fail_on_error_and_exit_codes(code: int | None, errors: int, script: int, cmd: int) -> None:
    details = {} if code is None else {"exit_code": code}
    for expected, shell in ((script, {}), (cmd, {"shell": "cmd"})):
        outcome = Outcome(R.Completed, error_count=errors, details={**details, **shell})
        assert exit_code([outcome], fail_on_error=True) == expected
        assert exit_code([outcome]) == 0


def test_pending() -> None:
    assert pending(hosts(3, 14), 200) == (
        "12 of 200 hosts are still running: web[03-14]; stopping them. Press Ctrl-C again to leave at once."
    )
    assert pending(["web01"], 1).startswith("1 host is still running: web01; stopping it.")
    assert pending([], 5).startswith("All hosts have ended")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
