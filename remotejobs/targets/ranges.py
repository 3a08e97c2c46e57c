"""Ranges: `web[01-20,25]-[a,b]` to names and back. Knows text only; must not know computers, lists or files.

Grammar (ClusterShell's, with letters, and without regard to case when folding):

    expression = item *( "," item )             commas within brackets do not part items
    item       = *( text / "[" part *( "," part ) "]" )
    part       = first "-" last [ "/" step ]    two numbers, or two letters of one case
               / word                           letters, digits, "_" and "."

A first number with a leading zero sets the width: `[08-10]` is 08, 09, 10 and `[98-101]` is 98 to 101. Several brackets
multiply, the last one running fastest. An item that begins with a bracket around something with a colon is meant to be
an IPv6 address and taken as it is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, product
from math import prod
from typing import NamedTuple

from remotejobs.errors import TargetError
from remotejobs.targets.names import INVALID_NAME, name_key, shown

MAX_NAMES = 250_000
"""The most names that one expression, one server list or one job may come to; counted before any is made."""

_MAX_BRACKETS = 18  # in one item: 2 ** 18 is past MAX_NAMES
_STEPPED = 4  # a run with a step is written as one from this many numbers on: shorter, always

_BREAKS = re.compile(r"[\[\],]")
_SEGMENT = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_RANGE = re.compile(r"([0-9]{1,18}|[A-Za-z])-([0-9]{1,18}|[A-Za-z])(?:/([0-9]{1,18}))?")
_WORD = re.compile(r"[\w.]+")
_DIGITS = re.compile(r"([0-9]{1,18})")


class _Run(NamedTuple):
    """Numbers, and how each is written: one part of a bracket, or a text as a run of one."""

    values: range
    text: Callable[[int], str]


_Axis = list[_Run]
_Block = tuple[tuple[int, ...], ...]  # for each axis the numbers that it takes


def split_list(expression: str) -> list[str]:
    """Return the items of a comma list, without the blanks around them; commas within brackets stay.

    Raises:
        TargetError: An item is blank, or there are more than MAX_NAMES.
    """
    if expression.count(",") >= MAX_NAMES:
        raise too_many(shown(expression))
    items, start, depth = [], 0, 0
    for match in _BREAKS.finditer(expression):
        if match[0] == "[":
            depth += 1
        elif match[0] == "]":
            depth -= 1
        elif depth <= 0:
            items.append(expression[start : match.start()].strip())
            start = match.end()
    items.append(expression[start:].strip())
    if "" in items:
        raise TargetError(f"There is a blank name in {shown(expression)}.", error_id=INVALID_NAME)
    return items


def expand(expression: str) -> Iterator[str]:
    """Return the names of an expression, in the order written, duplicates and case kept.

    Raises:
        TargetError: At the call, before any name is made: a bracket that cannot be read, or more than MAX_NAMES names.
    """
    if (name := expression.strip()) and not _BREAKS.search(name):
        return iter((name,))  # nearly every line of a long list: no need to look closer
    items = [_parse(item) for item in split_list(expression)]
    if sum(prod(sum(len(run.values) for run in axis) for axis in axes) for axes in items) > MAX_NAMES:
        raise too_many(shown(expression))
    return chain.from_iterable(map(_names, items))


def too_many(what: str) -> TargetError:
    """Return the error for what comes to more than MAX_NAMES names."""
    return TargetError(f"{what} comes to more than {MAX_NAMES:,} names, the most that are taken at once.")


def fold(names: Iterable[str]) -> str:
    """Return a short expression for `names`, which are computer names; no names give "".

    `expand` gives back the same names, each as often as it was there, sorted by text and then by number. Case does not
    part names: `SRV1` and `srv2` are `SRV[1-2]`, as the first was typed. Digits are folded, letters are not, and IPv6
    addresses stay as they are.
    """
    seen: defaultdict[str, int] = defaultdict(int)
    layers: list[list[str]] = []  # a name that comes three times is in the first three layers
    for name in names:
        key = name_key(name)
        if seen[key] == len(layers):
            layers.append([])
        layers[seen[key]].append(name)
        seen[key] += 1
    return ",".join(_shorter(item) for layer in layers for item in _fold_distinct(layer))


def _shorter(item: str) -> str:
    """Two names with one letter before the number take less room apart than in brackets."""
    if item[1:2] != "[":
        return item
    names = list(islice(expand(item), 3))
    return min(item, ",".join(names), key=len) if len(names) == 2 else item


def _parse(item: str) -> list[_Axis]:
    """Read one item into axes; the texts between brackets are axes of one."""
    if item.count("[") > _MAX_BRACKETS:
        raise _invalid(item, f"{_MAX_BRACKETS} ranges in one name are the most")
    if item.startswith("[") and ":" in item.partition("]")[0]:
        return [_literal(item)]
    axes: list[_Axis] = []
    position = 0
    while match := _SEGMENT.match(item, position):
        axes.append(_literal(match[2]) if match[2] else [_part(text, item) for text in match[1].split(",")])
        position = match.end()
    if position < len(item):
        raise _invalid(item, "brackets come in pairs, and none stands within another")
    if len(axes) == 1 and item.startswith("["):
        raise _invalid(item, "a range needs text around it, as in web[01-20]")
    return axes


def _invalid(item: str, problem: str) -> TargetError:
    return TargetError(f"{shown(item)}: {problem}.", error_id=INVALID_NAME)


def _literal(text: str) -> _Axis:
    return [_Run(range(1), lambda _: text)]


def _part(text: str, item: str) -> _Run:
    """Read one part of a bracket."""
    if _WORD.fullmatch(text):
        return _Run(range(1), lambda _: text)
    match = _RANGE.fullmatch(text)
    if not match:
        raise _invalid(item, f"{shown(text)} is not a range; write 01-20, 0-10/2, a-f or single values")
    first, last, step = match[1], match[2], int(match[3] or 1)
    text_of: Callable[[int], str]
    if first.isdigit() and last.isdigit():
        if len(first) != len(last) and _is_padded(max(first, last, key=len)):
            raise _invalid(item, f"the ends of {text} must have the same number of digits")
        low, high = int(first), int(last)
        text_of = f"{{:0{len(first) if _is_padded(first) else 0}d}}".format
    elif first.isalpha() and last.isalpha() and first.islower() == last.islower():
        low, high, text_of = ord(first), ord(last), chr
    else:
        raise _invalid(item, f"the ends of {text} must be two numbers, or two letters of the same case")
    if step < 1 or low > high:
        raise _invalid(item, f"{text} must run upwards, by a step of 1 or more")
    return _Run(range(low, high + 1, step), text_of)


def _is_padded(digits: str) -> bool:
    return digits[0] == "0" and len(digits) > 1


def _names(axes: Sequence[_Axis]) -> Iterator[str]:
    texts = [[run.text(value) for run in axis for value in run.values] for axis in axes]
    return map("".join, product(*texts))


def _fold_distinct(names: Iterable[str]) -> list[str]:
    """Fold names of which no two are the same computer."""
    patterns: dict[tuple[str, ...], tuple[list[str], list[list[str]]]] = {}
    for name in names:
        pieces = [name] if ":" in name else _DIGITS.split(name)
        texts, digits = pieces[0::2], pieces[1::2]
        key = tuple(map(name_key, texts))
        if key not in patterns:
            patterns[key] = (texts, [])
        patterns[key][1].append(digits)
    return [item for key in sorted(patterns) for item in _fold_pattern(*patterns[key])]


def _fold_pattern(texts: Sequence[str], digits: list[list[str]]) -> list[str]:
    """Fold names that differ in their numbers only; `texts` stand around these."""
    if len(texts) == 1:
        return list(texts)
    grids: defaultdict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
    widths = zip(*map(_widths, zip(*digits, strict=True)), strict=True)
    for point_widths, point in zip(widths, digits, strict=True):
        grids[point_widths].append(tuple(map(int, point)))
    return [item for widths in sorted(grids) for item in _fold_grid(texts, widths, grids[widths])]


def _widths(column: Sequence[str]) -> list[int]:
    """Return the width of each number of one axis, 0 where it is not padded.

    A number without a leading zero goes with the padded ones where that writes it the same: 08 and 10, 99 and 100.
    """
    padded = sorted({len(digits) for digits in column if _is_padded(digits)})
    if not padded:
        return [0] * len(column)
    return [max((width for width in padded if width <= len(digits)), default=0) for digits in column]


def _fold_grid(texts: Sequence[str], widths: Sequence[int], points: list[tuple[int, ...]]) -> list[str]:
    """Fold names with the same texts and widths: a set of points to blocks, each written as one item."""
    varying = [axis for axis, column in enumerate(zip(*points, strict=True)) if len(set(column)) > 1]
    items = [_block_text(texts, widths, block) for block in _merge(points, varying)]
    if len(items) > 1 and len(varying) > 1:
        # Where the grid has holes, the axis that is merged first decides how much is left to write.
        other = [_block_text(texts, widths, block) for block in _merge(points, varying[::-1])]
        items = min(items, other, key=lambda items: len(",".join(items)))
    return items


def _merge(points: Iterable[tuple[int, ...]], order: Sequence[int]) -> list[_Block]:
    """Join blocks that differ in one axis only, axis by axis: linear in the points for each axis."""
    blocks: list[_Block] = [tuple((value,) for value in point) for point in points]
    for axis in order:
        groups: defaultdict[_Block, list[int]] = defaultdict(list)
        for block in blocks:
            groups[block[:axis] + block[axis + 1 :]].extend(block[axis])
        blocks = [(*rest[:axis], tuple(sorted(values)), *rest[axis:]) for rest, values in groups.items()]
    return sorted(blocks)


def _block_text(texts: Sequence[str], widths: Sequence[int], block: _Block) -> str:
    axes = ["", *map(_axis_text, widths, block)]
    return "".join(chain.from_iterable(zip(axes, texts, strict=True)))


def _axis_text(width: int, values: Sequence[int]) -> str:
    """Write sorted values as `7`, or as `[1-5,10-20/2,30]`."""
    texts = [f"{value:0{width}d}" for value in values]
    if len(texts) == 1:
        return texts[0]
    parts, start = [], 0
    while start < len(values):
        end = start + 1
        step = values[end] - values[start] if end < len(values) else 0
        while end < len(values) and values[end] - values[end - 1] == step:
            end += 1
        if step == 1:
            parts.append(f"{texts[start]}-{texts[end - 1]}")
        elif end - start >= _STEPPED:
            parts.append(f"{texts[start]}-{texts[end - 1]}/{step}")
        else:
            end = start + 1
            parts.append(texts[start])
        start = end
    return f"[{','.join(parts)}]"
