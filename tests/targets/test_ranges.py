"""Ranges: the table ranges.toml, properties over many names, and limits."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import TargetError
from remotejobs.targets.ranges import MAX_NAMES, expand, fold, split_list

CASES: dict[str, list[dict[str, Any]]] = tomllib.loads(Path(__file__).with_name("ranges.toml").read_text("utf-8"))

# Names that are likely to fold, and to fold wrongly: few texts, short numbers, zeros in front, mixed case.
texts = st.sampled_from(["web", "Web", "db", "n", "-", ".", ".example.com", "", "ß", "Σ", "ς"])
numbers = st.from_regex(r"[0-9]{0,3}", fullmatch=True)
likely_names = st.lists(st.tuples(texts, numbers), min_size=1, max_size=3).map(lambda p: "h" + "".join(map("".join, p)))
any_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9][A-Za-z0-9-]{0,20}){0,2}", fullmatch=True)
ipv6_names = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
grids = st.builds(
    lambda rows, columns, holes: [
        name for i, name in enumerate(f"r{r}n{c:02d}" for r, c in product(rows, columns)) if i not in holes
    ],
    st.sets(st.integers(0, 12)),
    st.sets(st.integers(0, 12)),
    st.sets(st.integers(0, 60)),
)


def folded_names(names: list[str]) -> Counter[str]:
    return Counter(name.casefold() for name in names)


@pytest.mark.parametrize("case", CASES["expand"], ids=lambda case: case["expression"])
def test_expand(case: dict[str, Any]) -> None:
    assert list(expand(case["expression"])) == case["names"]


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["expression"])
def test_what_expand_refuses(case: dict[str, Any]) -> None:
    # At the call: nothing is expanded before all has been read.
    with pytest.raises(TargetError, match=re.escape(case["because"])):
        expand(case["expression"])


@pytest.mark.parametrize("case", CASES["fold"], ids=lambda case: case["folded"])
def test_fold(case: dict[str, Any]) -> None:
    assert fold(case["names"]) == case["folded"]
    if case["names"]:
        assert folded_names(list(expand(case["folded"]))) == folded_names(case["names"])


@given(st.lists(st.one_of(likely_names, any_names, ipv6_names), min_size=1, max_size=60) | grids.filter(bool))
def test_expand_gives_back_what_was_folded(names: list[str]) -> None:
    folded = fold(names)
    assert folded_names(list(expand(folded))) == folded_names(names)
    assert len(folded) <= len(",".join(names))


@given(st.lists(likely_names, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_the_names_does_not_matter_to_fold(names: list[str], random: Any) -> None:
    names = [name.lower() for name in names]
    shuffled = random.sample(names, len(names))
    assert fold(shuffled) == fold(names)


@given(st.lists(any_names, min_size=1, max_size=20))
def test_a_comma_list_expands_to_itself(names: list[str]) -> None:
    assert list(expand(",".join(names))) == names


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 50), st.integers(1, 6))
def test_a_range_counts_as_range_does(first: int, length: int, step: int, width: int) -> None:
    last = first + length
    names = list(expand(f"web[{first:0{width}d}-{last:0{width}d}/{step}]"))
    assert names == [f"web{number:0{width}d}" for number in range(first, last + 1, step)]


@given(st.text(alphabet="[],-/:0159aZ.w ", max_size=30))
def test_any_text_is_either_expanded_or_refused(text: str) -> None:
    try:
        names = list(expand(text))
    except TargetError as error:
        assert error.message.isprintable()
    else:
        assert names
        assert all(name == name.strip() != "" for name in names)


def test_a_hundred_thousand_names_there_and_back() -> None:
    names = list(expand("web[00001-50000]-[1-2]"))
    assert len(names) == 100_000
    assert fold(reversed(names)) == "web[00001-50000]-[1-2]"


def test_twenty_thousand_names_with_two_numbers_fold_to_one_item() -> None:
    assert fold(f"rack{rack}node{node:03d}" for rack in range(200) for node in range(100)) == "rack[0-199]node[000-099]"


def test_the_most_names_and_one_more() -> None:
    assert sum(1 for _ in expand(f"web[1-{MAX_NAMES}]")) == MAX_NAMES
    for expression in (f"web[0-{MAX_NAMES}]", f"web,web[1-{MAX_NAMES}]", ",".join(["w"] * (MAX_NAMES + 1))):
        with pytest.raises(TargetError, match=f"{MAX_NAMES:,} names"):
            expand(expression)


def test_the_message_about_a_long_expression_is_short() -> None:
    with pytest.raises(TargetError) as caught:
        expand("web" + "[" * 100_000)
    assert len(caught.value.message) < 300


def test_split_list_leaves_brackets_alone() -> None:
    assert split_list("web[1,3]-[a,b] , @list.txt,-,!db[1,2]") == ["web[1,3]-[a,b]", "@list.txt", "-", "!db[1,2]"]
    assert split_list("@odd].txt,web01") == ["@odd].txt", "web01"]


def test_split_list_refuses_more_items_than_there_may_be_names() -> None:
    with pytest.raises(TargetError, match=f"{MAX_NAMES:,} names"):
        split_list("w" + ",w" * MAX_NAMES)


def test_two_short_names_stay_apart_where_brackets_are_longer() -> None:
    assert fold(["hweb", "h0", "h1"]) == "h0,h1,hweb"
    assert fold(["h00", "h01"]) == "h00,h01"
    assert fold(["hx0", "hx1"]) == "hx[0-1]"
    assert fold(["h0", "h1", "h2"]) == "h[0-2]"
