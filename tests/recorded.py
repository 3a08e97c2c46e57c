"""Recorded cases: one test each, the few that cannot be met listed in exceptions.toml, and a count at the end of a run.

    @recorded("binding", rows, lambda row: row["line"])
    def test_line_as_recorded(case): ...

The test's argument is called `case`, and `rows` are all cases of the kind. A case is met when its tests pass. One that
is excepted is expected to fail, and is an error where it passes. With too many exceptions of a kind nothing is
collected. Other recordings, without the cases that are excepted, may be put in the place of these.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

_T = TypeVar("_T")
_MARK = "recorded"
_PREFIX = "recorded "  # a report's property is called so, with the kind
_APART = "out of scope: "
_ONE_IN = 20  # of a kind may be excepted


def listed(written: str) -> dict[tuple[str, str], str]:
    """Kind and id of each exception, with its reason."""
    found: dict[tuple[str, str], str] = {}
    for row in tomllib.loads(written).get("exception", []):
        kind, case, reason = row["kind"], row["id"], row["reason"].strip()
        if not reason or (kind, case) in found:
            raise ValueError(f"exceptions.toml: {kind} {case} has no reason, or is there twice")
        found[kind, case] = reason
    return found


EXCEPTIONS = listed(Path(__file__).with_name("exceptions.toml").read_text("utf-8"))


def recorded(kind: str, rows: Iterable[_T], name: Callable[[_T], str]) -> pytest.MarkDecorator:
    """Parametrize a test over all cases of a kind; `name` gives a case's id; what has the same id counts once."""
    return pytest.mark.parametrize("case", marked(kind, list(rows), name, EXCEPTIONS))


def marked(
    kind: str,
    rows: list[_T],
    name: Callable[[_T], str],
    exceptions: dict[tuple[str, str], str],
) -> list[Any]:
    """The cases as pytest's parameters."""
    names = [name(row) for row in rows]
    excepted = {case: reason for (of_kind, case), reason in exceptions.items() if of_kind == kind}
    if excepted.keys() <= set(names) and len(excepted) * _ONE_IN > len(names):
        raise ValueError(f"exceptions.toml: {len(excepted)} of {len(names)} {kind} are more than one in {_ONE_IN}")
    return [
        pytest.param(row, id=case, marks=list(_marks(kind, case, excepted)))
        for row, case in zip(rows, names, strict=True)
    ]


def _marks(kind: str, case: str, excepted: dict[str, str]) -> Iterator[pytest.MarkDecorator]:
    yield pytest.mark.recorded(kind, case)
    if case in excepted:
        yield pytest.mark.xfail(reason=excepted[case], strict=True)


def out_of_scope(reason: str) -> NoReturn:
    """End the test of a case that means nothing here; it is counted apart."""
    pytest.skip(_APART + reason)


def summary(reports: Iterable[pytest.TestReport]) -> str:
    """`recorded cases: binding 88 of 90 (2 excepted), ...`; empty where no test was of one."""
    outcomes: dict[str, dict[object, set[str]]] = {}
    for report in reports:
        for name, case in report.user_properties:
            if name.startswith(_PREFIX) and (report.when == "call" or report.outcome != "passed"):
                outcome = _outcome(report)
                outcomes.setdefault(name.removeprefix(_PREFIX), {}).setdefault(case, set()).add(outcome)
    kinds = []
    for kind, cases in sorted(outcomes.items()):
        met, apart = (sum([found == {which} for found in cases.values()]) for which in ("passed", _APART))
        listed_ones = sum(["excepted" in found for found in cases.values()])
        said = [f"{listed_ones} excepted"] * bool(listed_ones) + [f"{apart} out of scope"] * bool(apart)
        kinds.append(f"{kind} {met} of {len(cases) - apart}" + (f" ({', '.join(said)})" if said else ""))
    return "recorded cases: " + ", ".join(kinds) if kinds else ""


def _outcome(report: pytest.TestReport) -> str:
    if report.skipped and hasattr(report, "wasxfail"):
        return "excepted"
    return _APART if report.skipped and _APART in str(report.longrepr) else report.outcome


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{_MARK}(kind, id): a recorded case, counted at the end of the run")


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers(_MARK):
        kind, case = mark.args
        item.user_properties.append((_PREFIX + kind, case))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    line = summary([report for report in reports if isinstance(report, pytest.TestReport)])
    if line:
        terminalreporter.write_line(line)
