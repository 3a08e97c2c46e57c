"""Short trouble runs in the suite; the long ones are `python -m tests.trouble`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.trouble.harness import Counts
from tests.trouble.scenes import DISKS, full_disk, many_readers, reboots

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes and limits of POSIX")


def kept(counts: Counts) -> None:
    """Every promise was."""
    assert (counts.lost, counts.doubled, counts.ran_twice, counts.untrue) == (0, 0, 0, []), f"{counts}"


def test_hosts_that_reboot_in_the_middle(tmp_path: Path) -> None:
    counts = reboots(tmp_path, random.Random(1), 12, 1000)
    kept(counts)
    assert counts.reasons["Completed"] >= 4
    assert counts.reasons["Unknown"]


@pytest.mark.parametrize("kind", DISKS)
def test_the_disk_fills_and_then_there_is_room_again(kind: str, tmp_path: Path) -> None:
    try:
        counts = full_disk(tmp_path, kind, 6, 1500, 3 << 20)
    except OSError as error:
        pytest.skip(f"no small disk: {error}")
    kept(counts)
    assert counts.reasons == {"Completed": 6}
    assert counts.received == [6 * 1501]
    assert "remotejob connect 1" in "".join(counts.told)


def test_many_readers_while_hosts_write(tmp_path: Path) -> None:
    counts = many_readers(tmp_path, 3, 30, 50)
    kept(counts)
    assert counts.received == [30 * 51] * 3
