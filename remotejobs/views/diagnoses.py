"""What was found out about hosts: a row for each and what helps, or everything; and JSON for programs.

Knows verdicts, columns and widths. Must not know hosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from remotejobs.doctor.findings import Diagnosis, Finding, HostDiagnosis, Remedy, Verdict
from remotejobs.targets.ranges import fold
from remotejobs.views.layout import Column, report_layout, wrap
from remotejobs.views.listing import write_items
from remotejobs.views.terminal import one_line

SCHEMA = "remotejobs.test.1"
_CELLS = {
    Verdict.Passed: "ok",
    Verdict.Warning: "warn",
    Verdict.Failed: "FAIL",
    Verdict.Skipped: ".",
    Verdict.NotTried: "-",
}
_LABELS = {"Listener": "HTTP", "Mechanisms": "Mech", "Identify": "Ident", "Authentication": "Auth"}
_PLACES = {"host": "on the host", "here": "here"}
_INDENT = "    "


def write_diagnoses(format_name: str, diagnoses: Sequence[HostDiagnosis], out: TextIO, width: int | None) -> None:
    """Write diagnoses in one of the formats Table, List, Json and Jsonl.

    Args:
        format_name: Case does not matter.
        diagnoses: In the order to show.
        out: Where they go.
        width: Columns of the terminal; None where `out` is none, and nothing is cut.
    """
    write_items(
        format_name,
        diagnoses,
        out,
        table=lambda: _table(diagnoses, width),
        block=lambda each: _list(each, width),
        entry=_entry,
    )


def _table(diagnoses: Sequence[HostDiagnosis], width: int | None) -> Iterator[str]:
    """A row for each host, then what failed, the same on several hosts once, and a line that adds up."""
    if not diagnoses:
        return
    steps = [each.step for each in diagnoses[0].findings if _is_told(each.step, diagnoses)]
    columns = [Column("ComputerName"), *(Column(_LABELS.get(step, step)) for step in steps)]
    rows = [[each.computer_name, *(_cell(each.finding(step)) for step in steps)] for each in diagnoses]
    products = [_product(each) for each in diagnoses]
    if any(products):
        columns.append(Column("Product"))
        rows = [[*row, product] for row, product in zip(rows, products, strict=True)]
    layout = report_layout(columns, rows, width, keep_last=False)
    yield from layout.header()
    yield from map(layout.row, rows)
    for names, finding in _folded(diagnoses):
        yield ""
        verdict = "failed" if finding.verdict is Verdict.Failed else "warning"
        first = f" On {names[0]}:" if len(names) > 1 else ""
        yield from _wrapped(f"{fold(names)}: {finding.step} {verdict}.{first} {finding.text}", width)
        yield from _advice(finding.diagnosis, _INDENT, width)
    passed = [each for each in diagnoses if each.passed]
    warned = sum(any(finding.verdict is Verdict.Warning for finding in each.findings) for each in passed)
    some = f" ({warned:,} with a warning)" if warned else ""
    yield ""
    yield f"{len(passed):,} passed{some}, {len(diagnoses) - len(passed):,} failed: {_hosts(len(diagnoses))}"


def _hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count:,} hosts"


def _is_told(step: str, diagnoses: Sequence[HostDiagnosis]) -> bool:
    """Whether something came of a step at any host."""
    verdicts = [finding.verdict for each in diagnoses if (finding := each.finding(step))]
    return any(verdict not in (Verdict.NotTried, Verdict.Skipped) for verdict in verdicts)


def _product(diagnosis: HostDiagnosis) -> str:
    """What the host says it is: more to those who are logged on."""
    found = (diagnosis.finding(step) for step in ("Authentication", "Identify"))
    return next((str(each.facts["version"]) for each in found if each and "version" in each.facts), "")


def _cell(finding: Finding | None) -> str:
    return _CELLS[finding.verdict] if finding else ""


def _folded(diagnoses: Sequence[HostDiagnosis]) -> Iterator[tuple[list[str], Finding]]:
    """What failed, and what was warned of: the same on several hosts once, with the first one's words."""
    groups: dict[tuple[str, ...], tuple[list[str], Finding]] = {}
    for each in diagnoses:
        for finding in each.findings:
            if finding.verdict in (Verdict.Failed, Verdict.Warning):
                diagnosis = finding.diagnosis
                why = diagnosis.cause or finding.text.replace(each.computer_name, "\0")
                key = (finding.step, finding.verdict, why, diagnosis.error_id)
                groups.setdefault(key, ([], finding))[0].append(each.computer_name)
    yield from groups.values()


def _list(diagnosis: HostDiagnosis, width: int | None) -> Iterator[str]:
    """Everything about one host."""
    yield f"{diagnosis.computer_name}  {diagnosis.url}  {diagnosis.authentication}"
    yield ""
    label = max((len(each.step) for each in diagnosis.findings), default=0)
    hanging = " " * (label + 9)
    for each in diagnosis.findings:
        head = f"  {each.step:{label}} {_CELLS[each.verdict]:4}  "
        yield from _wrapped(one_line(each.text), width, head, hanging)
        if each.verdict in (Verdict.Failed, Verdict.Warning):
            yield from _advice(each.diagnosis, hanging, width)


def _advice(diagnosis: Diagnosis, indent: str, width: int | None) -> Iterator[str]:
    """The likely cause, and what to type where; commands are not cut, so that they can be copied."""
    if diagnosis.cause:
        yield from _wrapped(f"Likely: {diagnosis.cause}", width, indent, indent + "  ")
    for remedy in diagnosis.remedies:
        yield f"{indent}{_PLACES.get(remedy.where, remedy.where)}: {remedy.command}"
    if diagnosis.error_id:
        yield f"{indent}PowerShell: {diagnosis.error_id}"


def _wrapped(text: str, width: int | None, first: str = "", hanging: str = _INDENT) -> Iterator[str]:
    room = None if width is None else max(width - max(len(first), len(hanging)), 20)
    for index, line in enumerate(wrap(one_line(text), room)):
        yield f"{hanging if index else first}{line}".rstrip()


def _entry(diagnosis: HostDiagnosis) -> dict[str, Any]:
    failure = diagnosis.failure
    return {
        "schema": SCHEMA,
        "computer_name": diagnosis.computer_name,
        "url": diagnosis.url,
        "authentication": diagnosis.authentication,
        "passed": diagnosis.passed,
        "failed_step": failure.step if failure else None,
        "steps": [_step(each) for each in diagnosis.findings],
    }


def _step(finding: Finding) -> dict[str, Any]:
    diagnosis = finding.diagnosis
    return {
        "step": finding.step,
        "verdict": finding.verdict.value,
        "text": finding.text,
        "cause": diagnosis.cause,
        "remedies": [Remedy._asdict(remedy) for remedy in diagnosis.remedies],
        "error_id": diagnosis.error_id,
        "seconds": round(finding.seconds, 3),
        "facts": finding.facts,
    }
