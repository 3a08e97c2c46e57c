from __future__ import annotations

import string
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.cli.words import Argument, Name, number, read, suggestion
from remotejobs.errors import BindingError


def argument(*argv: str) -> Argument:
    (word,) = read(argv)
    assert isinstance(word, Argument)
    return word


def texts(*argv: str) -> list[str]:
    return [item.text for item in argument(*argv).elements]


@pytest.mark.parametrize(
    "argv",
    [["a,b"], ["a,", "b"], ["a", ",", "b"], ["a", ",b"]],
    ids=" ".join,
)
def test_a_comma_makes_one_list_wherever_the_blanks_are(argv: list[str]) -> None:
    assert texts(*argv) == ["a", "b"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["web[1,3]", ",db[01-02,05]"], ["web[1,3]", "db[01-02,05]"]),
        (["[::1],."], ["[::1]", "."]),
        (["a,,b"], ["a", "", "b"]),
        (["a,"], ["a", ""]),
        (["Hello, world"], ["Hello, world"]),
        (["web01,", "my host"], ["web01", "my host"]),
        (["'a,b',c"], ["a,b", "c"]),
        (["'O''Neil','x'"], ["O'Neil", "x"]),
        (["O'Neil,x"], ["O'Neil", "x"]),
        (['"a ""b""",c'], ['a "b"', "c"]),
        ([""], [""]),
        (['[{"a":1},{"b":2}]'], ['[{"a":1},{"b":2}]']),
    ],
)
def test_what_commas_split(argv: list[str], expected: list[str]) -> None:
    assert texts(*argv) == expected


def test_a_trailing_comma_takes_no_name_and_no_block() -> None:
    first, name, _ = read(["a,", "-Port", "5"])
    assert isinstance(first, Argument)
    assert [item.text for item in first.elements] == ["a", ""]
    assert isinstance(name, Name)
    assert [type(word) for word in read(["a,", "{", "1", "}"])] == [Argument, Argument]


@pytest.mark.parametrize(
    ("word", "name", "kebab", "colon", "value"),
    [
        ("-Port", "Port", False, False, None),
        ("-Port:5", "Port", False, True, "5"),
        ("-Port:", "Port", False, True, None),
        ("-ComputerName:::1", "ComputerName", False, True, "::1"),
        ("-JobName:a b", "JobName", False, True, "a b"),
        ("-Port=5", "Port=5", False, False, None),
        ("–Port", "Port", False, False, None),
        ("-?", "?", False, False, None),
        ("--use-ssl", "use-ssl", True, False, None),
        ("--port=5", "port", True, True, "5"),
        ("--job-name=", "job-name", True, True, ""),
    ],
)
def test_names(word: str, name: str, *, kebab: bool, colon: bool, value: str | None) -> None:
    (read_name,) = read([word])
    assert isinstance(read_name, Name)
    assert read_name[:4] == (name, word, kebab, colon)
    assert (read_name.value and read_name.value.text) == value


@pytest.mark.parametrize("word", ["-", "-5", "-.5", "--AsJob", "-join (1, 2)", "@servers.txt", "/?", "$true"])
def test_what_is_no_name(word: str) -> None:
    assert argument(word).text == word


def test_two_dashes_end_the_names() -> None:
    assert [word.raw for word in read(["-a", "--", "-b", "--", "--c"])] == ["-a", "-b", "--", "--c"]
    assert [type(word) for word in read(["-a", "--", "-b", "--", "--c"])] == [Name, Argument, Argument, Argument]


@pytest.mark.parametrize(
    ("argv", "block"),
    [
        (["{", "Get-Service", "WinRM", "}"], " Get-Service WinRM "),
        (["{ Get-Service WinRM }"], " Get-Service WinRM "),
        (["{Get-Service", "WinRM}"], "Get-Service WinRM"),
        (["{", "1..3", "|", "%", "{", "$_", "}", "}"], " 1..3 | % { $_ } "),
        (["{ '}' }"], " '}' "),
        (['{ "}`"}" }'], ' "}`"}" '),
        (["{ # } \n 1 }"], " # } \n 1 "),
        (["{ <# } #> 1 }"], " <# } #> 1 "),
        (["{ `} }"], " `} "),
        (["{", "it's", "}", "don't"], " it's "),
        (["{}"], ""),
    ],
)
def test_script_blocks(argv: list[str], block: str) -> None:
    word = read(argv)[0]
    assert isinstance(word, Argument)
    assert word.block == block
    assert word.raw == f"{{{block}}}"


def test_a_block_after_a_colon() -> None:
    (name,) = read(["-ScriptBlock:{", "1", "}"])
    assert isinstance(name, Name)
    assert name.value is not None
    assert name.value.block == " 1 "


@pytest.mark.parametrize("word", ["{0} of {1}", "{1}{2}", "{ 1 } | sort"])
def test_braces_that_are_no_block_are_text(word: str) -> None:
    assert argument(word).block is None
    assert argument(word).text == word


@pytest.mark.parametrize("argv", [["{"], ["{", "1"], ["{ 1"], ["{", "{", "}"]])
def test_a_missing_brace(argv: list[str]) -> None:
    with pytest.raises(BindingError) as caught:
        read(argv)
    assert caught.value.error_id == "MissingEndCurlyBrace"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("007", 7),
        ("0x10", 16),
        ("-0x10", -16),
        ("0x80070005", 0x80070005 - (1 << 32)),
        ("0xFFFFFFFFFFFFFFFF", -1),
        ("0xFFFFFFFFu", 0xFFFFFFFF),
        ("0b101", 5),
        ("1kb", 1024),
        ("2GB", 2 << 30),
        ("1.5mb", 1.5 * (1 << 20)),
        ("5.7", 5.7),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.5d", Decimal("1.5")),
        ("12l", 12),
        ("3uy", 3),
        ("9223372036854775807", (1 << 63) - 1),
        ("9223372036854775808", Decimal(1 << 63)),
        ("18446744073709551615ul", (1 << 64) - 1),
        ("1dkb", Decimal(1024)),
        ("79228162514264337593543950335", Decimal(79228162514264337593543950335)),
        ("99999999999999999999n", 99999999999999999999),
    ],
)
def test_number_literals(text: str, value: Any) -> None:
    result = number(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("text", ["", "abc", "1x", "0x", "1e", "1.2.3", "1,2", "1e999", "9" * 401, "--1", "١"])
def test_what_is_no_number(text: str) -> None:
    assert number(text) is None


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_whole_numbers_come_back(value: int) -> None:
    assert number(str(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_real_numbers_come_back(value: float) -> None:
    assert number(repr(value)) == value


@pytest.mark.parametrize(
    ("word", "value"),
    [("5", 5), ("'5'", "5"), ("$true", True), ("$NULL", None), ("web01", "web01"), ("5 6", "5 6"), ("", "")],
)
def test_constants(word: str, value: Any) -> None:
    assert argument(word).constant == value
    assert type(argument(word).constant) is type(value)


_PLAIN = st.text(string.ascii_letters + string.digits + "./\\:@_!*$", min_size=1)


@given(st.lists(_PLAIN))
def test_plain_words_come_back(argv: list[str]) -> None:
    assert [word.raw for word in read(argv)] == argv


@given(st.lists(st.text(st.sampled_from("aB1-,:={}[]'\"` #\n$"), max_size=8), max_size=8))
def test_any_words_are_read_or_refused(argv: list[str]) -> None:
    try:
        words = read(argv)
    except BindingError as error:
        assert error.error_id == "MissingEndCurlyBrace"
    else:
        assert sum(len(word.raw.replace(" ", "")) for word in words) <= sum(map(len, argv))


def test_suggestion() -> None:
    assert suggestion("Prot", ["Port", "UseSSL"], "-") == " Did you mean -Port?"
    assert suggestion("Prot", ["UseSSL"]) == ""
