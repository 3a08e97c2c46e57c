"""A short kill run in the suite; the long one is `python -m tests.kill`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kill.harness import Run, Tally, fleet


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_run_twice(seed: int, tmp_path: Path) -> None:
    rng, tally = random.Random(seed), Tally()
    home = tmp_path / "home"
    home.mkdir()
    with fleet(tmp_path) as hosts:
        while tally.kills < 3:
            Run(hosts, home, rng, tally).run(3)
    assert (tally.lost, tally.doubled, tally.ran_twice, tally.untrue) == (0, 0, 0, []), str(tally)
