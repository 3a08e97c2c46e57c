"""Changes to bytes that keep enough of their shape to get past the first check of a reader.

Knows the look of XML, base64, lengths and fragments. Must not know targets.
"""

from __future__ import annotations

import base64
import binascii
import random
import re
from collections.abc import Sequence
from typing import Final

LARGEST: Final = 64 * 1024
_USUAL: Final = 6 * 1024

_ELEMENT = re.compile(rb"<([A-Za-z][\w:.-]*)((?:\s[^<>]*?)?)(?:/>|>(?:[^<>]*</\1>)?)", re.DOTALL)
_TAG = re.compile(rb"</?[A-Za-z][^<>]*>")
_TEXT = re.compile(rb">([^<>]+)<")
_ATTRIBUTE = re.compile(rb"""([\w:]+)=("[^"]*"|'[^']*')""")
_NUMBER = re.compile(rb"-?\d+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
_LINE = re.compile(rb"[^\n]*\n?")
_FRAGMENT = 21

_NUMBERS: Final = [
    *(b"0", b"-0", b"-1", b"1", b"2", b"3", b"5", b"00", b"127", b"128", b"-128", b"-129", b"255", b"256", b"999"),
    *(b"32767", b"32768", b"65535", b"65536", b"2147483647", b"2147483648", b"-2147483648", b"-2147483649"),
    *(b"4294967295", b"4294967296", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809"),
    *(b"18446744073709551616", b"1e400", b"1E-400", b"NaN", b"INF", b"-INF", b"0x10", b"1_0", b"+1", b"9" * 5000),
    *(b" 1 ", b"1.5", b".", b"-", b"", "١".encode(), "²".encode(), b"0.1e", b"7.9228162514264337593543950336E+28"),
]
_BROKEN: Final = [
    *(b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xef\xbf\xbe", b"\xef\xbb\xbf"),
    *(b"\0", b"\r", b"\r\n", b"\n", b"\t", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8", b"\x1b[0m", b"\xff\xfe", b"]]>"),
    *(b"&#xD800;", b"&#0;", b"&#x110000;", b"&#xFFFE;", b"&#99999999;", b"&e;", b"&amp;", b"&lt;", b"&", b"&#"),
    *(b"_xD83D_", b"_xDE00_", b"_xD83D__xDE00_", b"_x0000_", b"_x005F_", b"_x000A_", b"_X0041_", b"_x004", b"_xFFFF_"),
    *(b"<!-- -->", b"<![CDATA[<S>x</S>]]>", b"<?pi x?>", b"<!DOCTYPE a>", b'<!DOCTYPE a [<!ENTITY e "eeee">]>'),
    *(
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        b'<?xml version="1.0" encoding="utf-16"?>',
        b'<?xml version="1.1"?>',
    ),
    *(b'"', b"'", b"\\", b"=", b",", b";", b":", b"%", b"{}", b"[]", b"null", b"true", b"\\ud800", b"\\u0000"),
]


def mutate(rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Some entry of the corpus, changed a few times."""
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 5))):
        change = rng.choice(_CHANGES)
        if change is _spliced:
            data = _spliced(rng, data, rng.choice(corpus))
        elif change is _word and words:
            at, end = _range(rng, data, 8)
            data = data[: at if rng.random() < 0.5 else end] + rng.choice(words) + data[end:]
        else:
            data = change(rng, data, b"")
    return data[: _USUAL if rng.random() < 0.98 else LARGEST]


def _range(rng: random.Random, data: bytes, longest: int) -> tuple[int, int]:
    at = rng.randint(0, len(data))
    return at, min(len(data), at + rng.randint(0, longest))


def _pick(rng: random.Random, pattern: re.Pattern[bytes], data: bytes) -> re.Match[bytes] | None:
    """A match at a random place: not all are looked for."""
    at = rng.randint(0, len(data))
    return pattern.search(data, at) or pattern.search(data)


def _bit(rng: random.Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _byte(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 1, 2, 4))) + data[at + rng.randint(0, 1) :]


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, end = _range(rng, data, rng.choice((4, 40, 400)))
    return data[:at] + data[end:]


def _end(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _again(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, end = _range(rng, data, rng.choice((4, 40, 400)))
    return data[:end] + data[at:end] * rng.choice((1, 1, 2, 10, 300)) + data[end:]


def _spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, end = _range(rng, data, 400)
    start, stop = _range(rng, other, 400)
    return data[:at] + other[start:stop] + data[rng.choice((at, end)) :]


def _word(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, end = _range(rng, data, 4)
    return data[: rng.choice((at, end))] + rng.choice(_BROKEN) + data[end:]


def _number(rng: random.Random, data: bytes, other: bytes) -> bytes:
    found = _pick(rng, _NUMBER, data)
    return data[: found.start()] + rng.choice(_NUMBERS) + data[found.end() :] if found else data


def _integer(rng: random.Random, data: bytes, other: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    at = rng.randint(0, max(0, len(data) - size))
    whole = 1 << 8 * size
    value = rng.choice((0, 1, 2, whole - 1, whole // 2, whole // 2 - 1, len(data), rng.randrange(256))) % whole
    return data[:at] + value.to_bytes(size, rng.choice(("big", "little"))) + data[at + size :]


def _element(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Repeat, drop, nest or move one element."""
    found = _pick(rng, _ELEMENT, data)
    if found is None:
        return data
    before, whole, after = data[: found.start()], found[0], data[found.end() :]
    kind = rng.randrange(6)
    if kind == 0:
        return before + whole * rng.choice((2, 3, 20, 500)) + after
    if kind == 1:
        return before + after
    if kind == 2:
        depth = rng.choice((1, 2, 49, 300, 2000))
        return before + b"<%b%b>" % (found[1], found[2]) * depth + whole + b"</%b>" % found[1] * depth + after
    if kind == 3:
        place = _pick(rng, _TAG, data)
        at = place.start() if place else 0
        return data[:at] + whole + data[at:]
    if kind == 4:
        another = _pick(rng, _ELEMENT, data)
        return before + another[0] + after if another else data
    return before + b"<%b%b>" % (found[1], found[2]) + whole + b"</%b>" % found[1] + after


def _tag(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Rename an element, or give it another attribute, or many."""
    found = _pick(rng, _ELEMENT, data)
    if found is None:
        return data
    name, whole = found[1], found[0]
    kind = rng.randrange(4)
    if kind == 0:
        another = _pick(rng, _ELEMENT, data)
        changed = whole.replace(name, another[1] if another else b"S")
    elif kind == 1:
        changed = whole.replace(name, name[:3] + b"x" * rng.choice((1, 300, 20_000)))
    elif kind == 2:
        extra = b"".join(b' a%d="%d"' % (n, n) for n in range(rng.choice((1, 3, 400))))
        changed = whole.replace(name, name + extra, 1)
    else:
        attribute = _pick(rng, _ATTRIBUTE, data)
        changed = whole.replace(name, name + b" " + attribute[0], 1) if attribute else whole
    return data[: found.start()] + changed + data[found.end() :]


def _text(rng: random.Random, data: bytes, other: bytes) -> bytes:
    found = _pick(rng, _TEXT if rng.random() < 0.7 else _ATTRIBUTE, data)
    if found is None:
        return data
    start, end = found.span(1) if found.re is _TEXT else (found.start(2) + 1, found.end(2) - 1)
    another = _pick(rng, _TEXT, data)
    new = rng.choice((rng.choice(_NUMBERS), rng.choice(_BROKEN), another[1] if another else b"", b"A" * 5000, b""))
    return data[:start] + new + data[end:]


def _inside(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Damage base64, or what it holds."""
    found = _pick(rng, _BASE64, data)
    if found is None:
        return data
    written = found[0]
    try:
        inner = base64.b64decode(written + b"=" * (-len(written) % 4))
    except binascii.Error:
        inner = b""
    if rng.random() < 0.2:
        at = rng.randrange(len(written))
        new = written[:at] + rng.choice((b"=", b" ", b"-", b"\n", b"", b"\xff")) + written[at + 1 :]
    else:
        change = rng.choice((_bit, _byte, _cut, _again, _integer, _fragments))
        new = base64.b64encode(change(rng, inner, b""))
    return data[: found.start()] + new + data[found.end() :]


def _fragments(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Take the bytes for fragments and change, repeat, drop, nest or swap one of them."""
    places: list[tuple[int, int]] = []
    at = 0
    while at + _FRAGMENT <= len(data) and len(places) < 200:
        end = at + _FRAGMENT + int.from_bytes(data[at + 17 : at + 21], "big")
        places.append((at, end))
        at = end
    if not places:
        return data
    start, end = rng.choice(places)
    head, body = bytearray(data[start : start + _FRAGMENT].ljust(_FRAGMENT, b"\0")), data[start + _FRAGMENT : end]
    kind = rng.randrange(6)
    if kind == 0:
        field, size = rng.choice(((0, 8), (8, 8), (16, 1), (17, 4)))
        value = rng.choice((0, 1, 2, 3, len(body), (1 << 8 * size) - 1, 1 << 8 * size - 1))
        head[field : field + size] = (value % (1 << 8 * size)).to_bytes(size, "big")
    elif kind == 1:
        return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]
    elif kind == 2:
        return data[:start] + data[end:]
    elif kind == 3:  # in two
        half = len(body) // 2
        first = bytes(head[:16]) + bytes([head[16] & 1]) + half.to_bytes(4, "big") + body[:half]
        number = (int.from_bytes(head[8:16], "big") + 1) % (1 << 64)
        rest = (
            bytes(head[:8]) + number.to_bytes(8, "big") + bytes([head[16] & 2]) + (len(body) - half).to_bytes(4, "big")
        )
        return data[:start] + first + rest + body[half:] + data[end:]
    elif kind == 4:  # one inside of itself
        body = data[start:end]
        head[17:21] = len(body).to_bytes(4, "big")
    else:
        other_start, other_end = rng.choice(places)
        return data[:start] + data[other_start:other_end] + data[end:]
    return data[:start] + bytes(head) + body + data[end:]


def _lines(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Repeat, drop or move a line."""
    found = _pick(rng, _LINE, data)
    if found is None:
        return data
    rest = data[: found.start()] + data[found.end() :]
    place = _pick(rng, _LINE, rest)
    at = place.end() if place else 0
    return rng.choice((rest, rest[:at] + found[0] + rest[at:], rest[:at] + found[0] * rng.choice((2, 120)) + rest[at:]))


_CHANGES = [
    *(_bit, _byte, _cut, _end, _again, _spliced, _spliced, _word, _word, _number, _number, _integer),
    *(_element, _element, _element, _tag, _tag, _text, _text, _inside, _inside, _fragments, _lines),
]
