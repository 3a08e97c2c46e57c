"""What may be written out of a value that is made of references."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.tree import bounded
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import serialize


def lists(levels: int, times: int) -> bytes:
    """A list of lists that are all the same one, so many levels deep."""
    inner = "<S>x</S>"
    for number in range(levels):
        again = f'<Ref RefId="{number - 1}" />' * (times - 1) if number else ""
        inner = f'<Obj RefId="{number}"><LST>{inner}{again}</LST></Obj>'
    return inner.encode()


def size(value: Any) -> int:
    """Values, as they would be written out."""
    if isinstance(value, PSObject):
        return 1 + size(value.base) + size(list(value.adapted.values())) + size(list(value.extended.values()))
    if isinstance(value, dict):
        return 1 + sum(map(size, value.values()))
    return 1 + sum(map(size, value)) if isinstance(value, list) else 1


def test_without_references_it_is_the_value() -> None:
    raw = serialize(["x" * 10_000, {"a": [1, 2]}])
    value = deserialize(raw)
    assert bounded(value, raw) is value


def test_some_references_are_written_out() -> None:
    raw = lists(3, 5)
    value = deserialize(raw)
    assert bounded(value, raw) is value


def test_lists_of_lists_end() -> None:
    raw = lists(12, 10)
    whole = bounded(deserialize(raw), raw)
    assert len(whole) == 10
    assert size(whole) < 20_000
    last = whole
    while isinstance(last, list):
        last = last[-1]
    assert last == "…"


def test_what_contains_itself_is_whole_near_its_top() -> None:
    raw = b'<Obj RefId="0"><MS><S N="Name">n</S><Ref N="Self" RefId="0" /></MS></Obj>'
    whole = bounded(deserialize(raw), raw)
    assert whole.Self.Self.Self.Name == "n"
    assert size(whole) < 20_000


def test_one_long_text_ends() -> None:
    members = "".join(f'<Ref N="p{number}" RefId="1" />' for number in range(1000))
    raw = f'<Obj RefId="0"><MS><Obj N="a" RefId="1"><S>{"x" * 50_000}</S></Obj>{members}</MS></Obj>'.encode()
    whole = bounded(deserialize(raw), raw)
    texts = list(whole.properties.values())
    assert texts[-1] == "…"
    assert sum(map(len, texts)) < 100 * len(raw)


def test_one_long_name_ends() -> None:
    again = '<Ref RefId="1" />' * 1000
    raw = f'<Obj RefId="0"><LST><Obj RefId="1"><MS><Nil N="{"x" * 50_000}"/></MS></Obj>{again}</LST></Obj>'.encode()
    whole = bounded(deserialize(raw), raw)
    assert sum(len(name) for item in whole for name in item.properties) < 100 * len(raw)


def test_who_writes_references_needs_less() -> None:
    for raw in (lists(12, 10), b'<Obj RefId="0"><LST><Ref RefId="0" /><Ref RefId="0" /></LST></Obj>'):
        value = deserialize(raw)
        assert bounded(value, raw, references=True) is value
    again = '<Ref RefId="1" />' * 20_000
    raw = f'<Obj RefId="0"><LST><Obj RefId="1"><S>{"x" * 50_000}</S></Obj>{again}</LST></Obj>'.encode()
    whole = bounded(deserialize(raw), raw, references=True)  # a text has no reference
    assert len(serialize(whole)) < 100 * len(raw)


@given(st.recursive(st.just(0), lambda inner: st.lists(inner, max_size=4), max_leaves=20), st.integers(0, 9))
def test_a_copy_is_equal_as_far_as_it_goes(value: Any, again: int) -> None:
    def begins(copy: Any, whole: Any) -> bool:
        if copy == "…":
            return True
        if not isinstance(copy, list):
            return bool(copy == whole)
        return all(part == "…" or begins(part, of) for part, of in zip(copy, [*whole, None], strict=False))

    shared = [value] * again * 300
    raw = serialize(shared) + b"<Ref"
    assert begins(bounded(shared, raw), shared)
