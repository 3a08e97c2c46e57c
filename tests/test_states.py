from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from remotejobs.errors import JobError
from remotejobs.states import EndReason, JobState, parent_state, transition

C, F, S, D, B, R, N = (
    JobState.Completed,
    JobState.Failed,
    JobState.Stopped,
    JobState.Disconnected,
    JobState.Blocked,
    JobState.Running,
    JobState.NotStarted,
)


@pytest.mark.parametrize(
    ("children", "stop", "parent"),
    [
        ([C, C], False, C),
        ([C, C], True, S),
        ([C, F], False, F),
        ([C, F], True, F),
        ([S, S], True, S),
        ([C, S], True, S),
        ([C, S], False, S),  # PowerShell says Completed
        ([S, S], False, S),  # likewise
        ([F, S], False, F),
        ([C, F, S], True, F),
        ([R, C, F, S], False, R),
        ([N, C], False, R),
        ([N], False, R),
        ([B, R, C], False, B),
        ([B, C, F], False, B),
        ([D, R], False, R),
        ([D, D], False, D),
        ([D, C, F, S], False, D),
    ],
)
def test_the_truth_table(children: list[JobState], stop: bool, parent: JobState) -> None:
    assert parent_state(Counter(children), stop_requested=stop) is parent


def test_the_last_event_decides_between_blocked_and_disconnected() -> None:
    assert parent_state(Counter([D, B]), last_change=D) is D
    assert parent_state(Counter([D, B]), last_change=B) is B
    assert parent_state(Counter([D, B, R]), last_change=D) is B


def test_a_parent_ends_exactly_when_all_children_have() -> None:
    for children in product([N, R, C, F, S, D, B], repeat=3):
        state = parent_state(Counter(children))
        assert state.finished == all(child.finished for child in children), children


def test_every_move_is_either_in_the_table_or_refused() -> None:
    for old, new in product(JobState, repeat=2):
        try:
            assert transition(old, new) is new
        except JobError as error:
            assert error.details["current"] == old.name
            assert new.name not in error.details["expected"]
        else:
            assert not old.finished


def test_end_reasons_are_a_closed_set() -> None:
    for reason in EndReason:
        assert reason.state.persistent
        assert reason.exit_code in (0, 2, 3, 6)
    assert {r for r in EndReason if r.exit_code == 0} == {EndReason.Completed}
