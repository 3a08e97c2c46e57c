"""Hosts that send anything at all: only ProtocolError (LimitError is one) may come out, and always something does."""

from __future__ import annotations

import tracemalloc
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.wsman.psrp.fragments import HEADER_SIZE, Defragmenter, fragments
from remotejobs.wsman.psrp.messages import MessageType
from remotejobs.wsman.psrp.runspace import Runspace
from tests.wsman.psrp_recordings import pieces, recorded
from tests.wsman.test_psrp_runspace import host_call, information, state, warning

SMALL = [
    stream
    for case in recorded("cases")
    for packets in [case.pool, *case.scripts]
    if 0 < len(stream := b"".join(packets)) < 20_000
]
KNOWN = [
    b"",
    b"<Nil/>",
    b"<S>text</S>",
    state(4),
    state(5),
    state(2, "RunspaceState"),
    state(5, "RunspaceState"),
    b'<Obj RefId="0"><MS><S N="PipelineState">x</S></MS></Obj>',
    b'<Obj RefId="0"><MS><Version N="protocolversion">2.3</Version></MS></Obj>',
    information("a"),
    warning("a"),
    *(
        host_call(method, "a", "b", ["c"], call_id=call_id)
        for method in (6, 11, 16, 20, 22, 23)
        for call_id in (-100, 1)
    ),
]
NUMBERS = st.sampled_from([b"0", b"-1", b"5", b"-100", b"16", b"23", b"4294967296", b"9" * 30, b"x", b""])
TYPES = st.one_of(st.sampled_from(list(MessageType)).map(int), st.integers(0, 2**32 - 1))


def feed(packets: list[bytes]) -> Runspace:
    """Give the same to the pool and to the pipeline, each as far as it goes."""
    runspace = Runspace(uuid.UUID(int=1), uuid.UUID(int=2), b"", b"", max_object=100_000)
    with suppress(ProtocolError):
        for packet in packets:
            runspace.feed_pool(packet)
    with suppress(ProtocolError):
        for packet in packets:
            for record in runspace.feed_pipeline(packet):
                assert isinstance(record.raw, bytes)
    for name in ("failure", "pool_reason", "exit_code", "version"):
        getattr(runspace, name)
    return runspace


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Known payloads, some with another number or text somewhere, and any bytes."""
    data = draw(st.one_of(st.sampled_from(KNOWN), st.binary(max_size=80)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        data = data[:at] + draw(st.one_of(NUMBERS, st.sampled_from(KNOWN), st.binary(max_size=8))) + data[end:]
    return data


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_any_bytes(packets: list[bytes]) -> None:
    feed(packets)


@given(st.lists(st.tuples(TYPES, payloads()), max_size=8))
def test_any_messages(messages: list[tuple[int, bytes]]) -> None:
    written = [bytes(4) + kind.to_bytes(4, "little") + bytes(32) + data for kind, data in messages]
    feed([piece for number, one in enumerate(written, 1) for piece in fragments(number, one, 400)])


@given(st.data())
def test_recorded_streams_with_other_bytes_in_them(data: st.DataObject) -> None:
    stream = bytearray(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 5))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(stream)))
    feed([bytes(stream[:cut]), bytes(stream[cut:])])


@given(st.data())
def test_recorded_fragments_in_any_order(data: st.DataObject) -> None:
    found = pieces(data.draw(st.sampled_from(SMALL)))
    feed(data.draw(st.lists(st.sampled_from(found), max_size=12)))


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(),
)
def test_any_header(object_id: int, number: int, flags: int, size: int, rest: bytes) -> None:
    header = (
        object_id.to_bytes(8, "big", signed=True) + number.to_bytes(8, "big") + bytes([flags]) + size.to_bytes(4, "big")
    )
    feed([header + rest])


@pytest.mark.parametrize("object_id", [0, -1, -(2**63)])
def test_ids_that_no_database_holds_are_refused(object_id: int) -> None:
    with pytest.raises(ProtocolError, match="object id"):
        Defragmenter(1000).feed(next(fragments(object_id, b"x", 100)))


def test_empty_fragments_without_end_are_not_kept() -> None:
    defragmenter = Defragmenter(1000)
    header = (1).to_bytes(8, "big")
    defragmenter.feed(header + bytes(8) + b"\x01" + bytes(4))
    tracemalloc.start()
    for number in range(1, 20_000):
        assert defragmenter.feed(header + number.to_bytes(8, "big") + bytes(5)) == []
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000
    end = header + (20_000).to_bytes(8, "big") + b"\x02" + (1).to_bytes(4, "big") + b"x"
    assert defragmenter.feed(end) == [(1, b"x")]


def test_a_large_fragment_in_small_packets_is_looked_at_once() -> None:
    """Each look copies what is there: with a look at every packet this would take minutes."""
    wire = next(fragments(1, b"x" * 20_000_000, 30_000_000))
    defragmenter = Defragmenter(30_000_000)
    done = [one for at in range(0, len(wire), 500) for one in defragmenter.feed(wire[at : at + 500])]
    assert [len(message) for _, message in done] == [20_000_000]


def test_what_follows_a_cut_header_is_bounded_too() -> None:
    wire = next(fragments(1, b"x" * 200, 1000))
    defragmenter = Defragmenter(100)
    assert defragmenter.feed(wire[: HEADER_SIZE - 1]) == []
    with pytest.raises(LimitError):
        defragmenter.feed(wire[HEADER_SIZE - 1 :])


def test_deep_and_large_payloads_are_refused() -> None:
    deep = b'<Obj RefId="0"><MS><Obj N="ExceptionAsErrorRecord">' + b"<LST>" * 30_000
    written = bytes(4) + (0x21005).to_bytes(4, "little") + bytes(32) + deep
    with pytest.raises(ProtocolError):
        Runspace(uuid.UUID(int=1), uuid.UUID(int=2), b"", b"", max_object=1_000_000).feed_pool(
            b"".join(fragments(1, written, 30_000))
        )
