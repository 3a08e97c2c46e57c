from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.wsman.psrp.fragments import HEADER_SIZE, Defragmenter, fragments


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(22, 120), st.lists(st.integers(0, 90)))
def test_messages_survive_any_cut(messages: list[bytes], size: int, cuts: list[int]) -> None:
    wire = b"".join(piece for n, m in enumerate(messages, 1) for piece in fragments(n * 2, m, size))
    defragmenter = Defragmenter(1000)
    got = [item for piece in cut(wire, cuts) for item in defragmenter.feed(piece)]
    assert got == [(n * 2, m) for n, m in enumerate(messages, 1)]
    assert not defragmenter.incomplete


@given(st.lists(st.binary(min_size=1, max_size=100), min_size=1, max_size=5), st.integers(22, 60), st.data())
def test_a_replayed_batch_changes_nothing(messages: list[bytes], size: int, data: st.DataObject) -> None:
    pieces = [piece for n, m in enumerate(messages, 1) for piece in fragments(n, m, size)]
    stop = data.draw(st.integers(0, len(pieces)))
    start = data.draw(st.integers(0, stop))
    defragmenter = Defragmenter(1000)
    got = [item for piece in [*pieces[:stop], *pieces[start:]] for item in defragmenter.feed(piece)]
    assert got == list(enumerate(messages, 1))


def test_every_fragment_fits_and_is_numbered() -> None:
    pieces = list(fragments(7, b"x" * 100, 50))
    assert [len(p) for p in pieces] == [50, 50, 50, 21 + 13]
    assert [p[15] for p in pieces] == [0, 1, 2, 3]
    assert [p[16] for p in pieces] == [1, 0, 0, 2]
    assert all(p[7] == 7 for p in pieces)


@pytest.mark.parametrize("order", [[0, 2], [1], [0, 1, 3]], ids=["gap", "no start", "gap at the end"])
def test_a_gap_is_corruption(order: list[int]) -> None:
    pieces = list(fragments(1, b"x" * 100, 50))
    defragmenter = Defragmenter(1000)
    with pytest.raises(ProtocolError):
        for n in order:
            defragmenter.feed(pieces[n])


def test_another_object_before_the_end_is_corruption() -> None:
    defragmenter = Defragmenter(1000)
    defragmenter.feed(next(fragments(1, b"x" * 100, 50)))
    with pytest.raises(ProtocolError, match="before the end of object 1"):
        defragmenter.feed(next(fragments(2, b"y", 50)))


def test_gaps_between_objects_are_legal() -> None:
    defragmenter = Defragmenter(1000)
    wire = b"".join([*fragments(3, b"a", 50), *fragments(90, b"b", 50)])
    assert defragmenter.feed(wire) == [(3, b"a"), (90, b"b")]


def test_too_large_is_refused_before_it_is_kept() -> None:
    with pytest.raises(LimitError):
        Defragmenter(10).feed(next(fragments(1, b"x" * 11, 100)))
    defragmenter = Defragmenter(100)
    with pytest.raises(LimitError):
        for piece in fragments(1, b"x" * 200, 60):
            defragmenter.feed(piece)
    header_only = b"\x00" * 7 + b"\x01" + b"\x00" * 8 + b"\x03" + b"\xff\xff\xff\xff"
    with pytest.raises(LimitError):
        Defragmenter(1000).feed(header_only)


def test_a_cut_fragment_is_seen() -> None:
    defragmenter = Defragmenter(1000)
    assert defragmenter.feed(next(fragments(1, b"abc", 100))[:-1]) == []
    assert defragmenter.incomplete
    assert defragmenter.feed(b"c") == [(1, b"abc")]
    assert not defragmenter.incomplete


def test_no_room_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="room"):
        list(fragments(1, b"x", HEADER_SIZE))
