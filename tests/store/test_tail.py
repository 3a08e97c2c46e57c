"""The records that a reader is given without the file: the same as the file has, or none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remotejobs.model import Record, Stream
from remotejobs.rows import Arrival
from remotejobs.store.tail import Appended, Tail


def records(count: int, size: int = 1) -> list[Record]:
    return [Record(seq, Stream.Output, b"x" * size, seq, 1.0) for seq in range(1, count + 1)]


def test_what_follows_is_given_and_what_is_behind_is_let_go() -> None:
    tail = Tail(10)
    assert tail.read(10, 99) == []
    assert tail.add([Appended(11, 0, records(2)), Appended(13, 1, records(1))])
    assert [(a.number, a.child, a.record.seq) for a in tail.read(10, 99)] == [(11, 0, 1), (12, 0, 2), (13, 1, 1)]
    assert [a.number for a in tail.read(10, 2)] == [11, 12]
    assert [a.number for a in tail.read(12, 99)] == [13]
    assert tail.read(10, 99) == []  # another reader, further back: the file has them


def test_a_gap_or_too_much_ends_it() -> None:
    assert not Tail(0).add([Appended(2, 0, records(1))])
    tail = Tail(0)
    assert tail.add([Appended(1, 0, records(4, 1 << 20))])
    assert tail.read(2, 99)
    assert tail.add([Appended(5, 0, records(2, 1 << 20))])
    assert not tail.add([Appended(7, 0, records(1, 1 << 20))])


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=20), st.data())
def test_a_reader_sees_all_in_order(pieces: list[tuple[int, int]], data: st.DataObject) -> None:
    tail, done, number, seen = Tail(0), 0, 1, list[Arrival]()
    for count, child in pieces:
        assert tail.add([Appended(number, child, records(count))])
        number += count
        page = tail.read(done, data.draw(st.integers(1, 8)))
        seen += page
        done = page[-1].number if page else done
    while page := tail.read(done, 3):
        seen += page
        done = page[-1].number
    assert [arrival.number for arrival in seen] == list(range(1, number))
    assert [a.child for a in seen] == [child for count, child in pieces for _ in range(count)]
