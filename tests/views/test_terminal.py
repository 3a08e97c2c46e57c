from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.views.terminal import (
    cell_width,
    encodable,
    harmless,
    head,
    is_terminal,
    tail,
    terminal_width,
    wants_colour,
)
from tests.views.factory import Terminal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[2J\x1b]0;title\x07", "␛[2J␛]0;title␇"),
        ("good\rbad", "good␍bad"),
        ("a\r\nb", "a\nb"),
        ("\x9b31m", "\ufffd31m"),
        ("\x7f", "␡"),
        ("exe\u202etxt.pdf\u2066", "exe\ufffdtxt.pdf\ufffd"),
        ("half \ud83d", "half \ufffd"),
        ("é 漢 😀", "é 漢 😀"),
    ],
)
def test_harmless(text: str, expected: str) -> None:
    assert harmless(text) == expected


@given(st.text())
def test_nothing_harmful_is_left(text: str) -> None:
    shown = harmless(text)
    shown.encode()
    assert not any((ord(each) < 0x20 and each not in "\t\n") or 0x7F <= ord(each) < 0xA0 for each in shown)


@given(st.text(), st.integers(0, 10))
def test_head_and_tail_fit(text: str, width: int) -> None:
    assert text.startswith(head(text, width))
    assert text.endswith(tail(text, width))
    assert max(cell_width(head(text, width)), cell_width(tail(text, width))) <= width


def test_encodable_keeps_escapes() -> None:
    assert encodable("\x1b[1m \udc00") == "\x1b[1m \ufffd"


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"CLICOLOR_FORCE": "1"}, True),
        (False, {"CLICOLOR_FORCE": "0"}, False),
        (True, {"CLICOLOR": "0"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour(terminal: bool, environment: dict[str, str], expected: bool) -> None:
    assert wants_colour(Terminal() if terminal else io.StringIO(), environment) is expected


def test_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert terminal_width(Terminal()) == 99
    assert terminal_width(io.StringIO()) is None


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)
