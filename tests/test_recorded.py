"""The count of recorded cases and its list of exceptions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.recorded import listed, marked, summary


def _marked(count: int, *excepted: str) -> list[Any]:
    exceptions = {("kind", case): "its reason" for case in excepted}
    return marked("kind", list(range(count)), str, exceptions)


def _report(case: str, outcome: Any, when: Any = "call", **more: Any) -> pytest.TestReport:
    report = pytest.TestReport(case, ("", None, ""), {}, outcome, None, when)
    report.user_properties.append(("recorded kind", case))
    vars(report).update(more)
    return report


def test_exceptions_are_listed_once_with_a_reason() -> None:
    row = '[[exception]]\nkind = "k"\nid = "a"\nreason = "no clock"\n'
    assert listed(row) == {("k", "a"): "no clock"}
    assert listed("") == {}
    for wrong in (row + row, row.replace("no clock", " ")):
        with pytest.raises(ValueError, match="k a"):
            listed(wrong)


def test_one_in_twenty_may_be_excepted() -> None:
    assert [len(param.marks) for param in _marked(20, "7")] == [1] * 7 + [2] + [1] * 12
    with pytest.raises(ValueError, match="1 of 19 kind"):
        _marked(19, "7")
    assert len(_marked(19, "7", "19")) == 19  # other recordings, without the case 19


def test_an_excepted_case_that_passes_fails() -> None:
    xfail = _marked(20, "7")[7].marks[1]
    assert (xfail.name, xfail.kwargs) == ("xfail", {"reason": "its reason", "strict": True})


def test_the_count() -> None:
    reports = [
        _report("met", "passed"),
        _report("met", "passed", "setup"),
        _report("met", "passed"),
        _report("half", "passed"),
        _report("half", "failed"),
        _report("broken", "failed", "setup"),
        _report("excepted", "skipped", wasxfail="its reason"),
        _report("missing", "skipped", "setup"),
        _report("apart", "skipped", longrepr=("file", 1, "Skipped: out of scope: no such thing here")),
    ]
    assert summary(reports) == "recorded cases: kind 1 of 5 (1 excepted, 1 out of scope)"
    assert summary([]) == ""
