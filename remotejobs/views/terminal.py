"""What a stream can take: is it a terminal, how wide, in colour, and which characters are safe on it.

Knows terminals and Unicode. Must not know records.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import TextIO

_SURROGATES = re.compile("[\ud800-\udfff]")
# C0 but tab and newline, DEL, C1, the marks that turn the direction of text, and the two Unicode line ends.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PICTURES = 0x2400  # Unicode's pictures of the control characters, in their order
_DELETE, _DELETE_PICTURE = 0x7F, "\u2421"
_REPLACEMENT = "\ufffd"


def is_terminal(stream: TextIO) -> bool:
    """Tell whether somebody looks at `stream`; a closed one is no terminal."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns that may be written to, None where `stream` is no terminal and nothing may be cut.

    COLUMNS counts before the terminal's own answer, 80 where there is none. One column stays free, as in PowerShell:
    some terminals break the line when the last one is written.
    """
    import shutil  # a sixth of the start of a short command, with the archives that it can make

    return max(shutil.get_terminal_size().columns - 1, 20) if is_terminal(stream) else None


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Decide on colour: NO_COLOR, then CLICOLOR_FORCE, then a terminal that is not dumb and CLICOLOR is not 0."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return is_terminal(stream) and environment.get("TERM") != "dumb" and environment.get("CLICOLOR") != "0"


def harmless(text: str) -> str:
    """Return `text` with what could act on a terminal made visible; tab and newline stay.

    What a host sends is shown, never obeyed: no escape sequence, no carriage return over what stands there, no text
    that reads in another order than it is.
    """
    return encodable(_UNSAFE.sub(_visible, text.replace("\r\n", "\n")))


def encodable(text: str) -> str:
    """Return `text` with lone surrogates, which no encoding can write, replaced."""
    return text if text.isascii() else _SURROGATES.sub(_REPLACEMENT, text)


def one_line(text: str) -> str:
    """Return `text` on one line, its line ends as blanks."""
    return " ".join(text.split())


def cell_width(text: str) -> int:
    """Count the columns that `text` takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def head(text: str, width: int) -> str:
    """Return the longest start of `text` that fits in `width` columns."""
    if text.isascii():
        return text[:width]
    used = 0
    for index, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:index]
    return text


def tail(text: str, width: int) -> str:
    """Return the longest end of `text` that fits in `width` columns."""
    return head(text[::-1], width)[::-1]


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == _DELETE:
        return _DELETE_PICTURE
    return chr(_PICTURES + code) if code < 0x20 else _REPLACEMENT
