"""How the limit of open files is shared out."""

from __future__ import annotations

import pytest

from remotejobs.engine import descriptors
from remotejobs.engine.descriptors import capacity


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A process that has 36 files open and may have 1,100; what it asked for."""
    wanted: list[int] = []

    def raise_limit(needed: int) -> int:
        wanted.append(needed)
        return min(needed, 1100)

    monkeypatch.setattr(descriptors, "_in_use", lambda: 36)
    monkeypatch.setattr(descriptors, "_raise_limit", raise_limit)
    return wanted


def test_hosts_have_what_they_need_as_far_as_the_limit_goes(asked: list[int]) -> None:
    assert capacity(400) == (400, 50, 600)
    assert capacity(5000) == (800, 100, 1100)
    assert asked == [600, 6350]


def test_a_second_connection_of_each_host_counts(asked: list[int]) -> None:
    assert capacity(400, 2) == (400, 100, 1100)
    assert capacity(5000, 2) == (400, 100, 1100)
    assert asked == [1100, 12600]


def test_at_least_one_host(monkeypatch: pytest.MonkeyPatch, asked: list[int]) -> None:
    monkeypatch.setattr(descriptors, "_in_use", lambda: 2000)
    assert capacity(5, 2).slots == 2
    assert capacity(1, 2).slots == 1


def test_where_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "_raise_limit", lambda needed: None)
    assert capacity(5000, 2) == (5000, 500, None)
