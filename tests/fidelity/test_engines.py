"""Every recorded case through the established libraries ends as it does through our own engine."""

from __future__ import annotations

from pathlib import Path

from tests.fidelity.engines import CASES, is_text, same_records, same_text
from tests.recorded import recorded


@recorded("engine-pypsrp", CASES, lambda path: path.stem)
def test_equal_records(case: Path) -> None:
    same_records(case)


@recorded("engine-pywinrm", filter(is_text, CASES), lambda path: path.stem)
def test_equal_text(case: Path) -> None:
    same_text(case)
