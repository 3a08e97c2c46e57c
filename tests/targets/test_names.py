"""Computer names, from the table names.toml, and the limits that would not fit a table."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from remotejobs.errors import TargetError
from remotejobs.targets.names import check_name, name_key, shown

CASES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", CASES["valid"])
def test_a_valid_name_stays_as_typed(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(("typed", "name"), CASES["becomes"].items())
def test_the_dot_and_ipv6_become_what_powershell_shows(typed: str, name: str) -> None:
    assert check_name(typed) == name


@pytest.mark.parametrize("name", CASES["invalid"])
def test_an_invalid_name_is_refused_with_the_error_id_of_powershell(name: str) -> None:
    with pytest.raises(TargetError) as caught:
        check_name(name)
    assert caught.value.error_id == "PSSessionInvalidComputerName"
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("", "blank"),
        ("http://web01:5985/wsman", "URL"),
        ("web01:5985", "-Port"),
        ("[::1]:5985", "-Port"),
        ("web*", "wildcards"),
        ("fe80::1::2", "IPv6"),
        ("_web", "DNS name"),
    ],
)
def test_the_message_says_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(TargetError, match=hint):
        check_name(name)


@pytest.mark.parametrize("letter", ["a", "é", "例"])
def test_a_label_has_63_octets_at_most(letter: str) -> None:
    # As .NET counts: an international label gives four to "xn--", a letter above U+00FF is two.
    most = {"a": 63, "é": 59, "例": 29}[letter]
    assert check_name(f"web.{letter * most}.example")
    with pytest.raises(TargetError):
        check_name(f"web.{letter * (most + 1)}.example")


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(TargetError) as caught:
        check_name("a" * 100_000)
    assert len(caught.value.message) < 200


def test_names_are_compared_without_regard_to_case() -> None:
    assert name_key("Web01") == name_key("WEB01") != name_key("web02")
    assert name_key("ΟΔΟΣ") == name_key("οδοσ")


def test_shown_marks_what_it_cuts() -> None:
    assert shown("abc") == "'abc'"
    assert shown("abcdef", 3) == "'abc'…"
