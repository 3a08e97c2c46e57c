"""`$using:` is found where PowerShell's parser finds it, and valued as the real client does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import UsageError
from remotejobs.wsman.psrp.using import expressions, rewritten, values


def texts(script: str) -> list[str]:
    return [script[one.start : one.end] for one in expressions(script)]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("$using:x", ["$using:x"]),
        ("$Using:X; ${using:a b}", ["$Using:X", "${using:a b}"]),
        ("$using:env:PATH", ["$using:env:PATH"]),
        ("$using:a[1]; $using:a[-1].b; $using:h['k''s']", ["$using:a[1]", "$using:a[-1].b", "$using:h['k''s']"]),
        ("$using:a..5", ["$using:a"]),
        ("($using:x).Trim()", ["$using:x"]),
        ("f @using:table", ["@using:table"]),
        ('"$using:s.Length $($using:s.Length) `$using:no ""$using:q"""', ["$using:s", "$using:s.Length", "$using:q"]),
        ('"a $(f \')\' "$using:in") $using:out"; $using:after', ["$using:in", "$using:out", "$using:after"]),
        ("'$using:x' + \"'$using:y'\"", ["$using:y"]),
        ("# $using:x\n<# $using:y #> $using:z # $using:w", ["$using:z"]),
        ("a#b$using:x", ["$using:x"]),
        ("@'\n$using:x '\n'@; @\"\n$using:y.z \"$using:q\n\"@; $using:r", ["$using:y", "$using:q", "$using:r"]),
        ("`$using:x", []),
        ("using: nothing", []),
        ('"open $using:x', ["$using:x"]),
    ],
)
def test_where_they_are(script: str, found: list[str]) -> None:
    assert texts(script) == found


@pytest.mark.parametrize("script", ["$using:x.Trim()", "$using:a[$i]", "$using:a.b[$i]"])
def test_what_cannot_belong_to_one_is_refused_with_the_way_out(script: str) -> None:
    with pytest.raises(UsageError, match=r"\(\$using:\w\)") as refused:
        expressions(script)
    assert refused.value.error_id == "UsingExpressionNotAllowed"


@pytest.mark.parametrize(
    ("text", "value", "key", "seen"),
    [
        ("$using:X", 1, "$using:x", 1),
        ("$using:X[1]", [10, 20], "$using:X[1]", 20),
        ("$using:X[-1]", "abc", "$using:X[-1]", "c"),
        ("$using:X[9]", [1], "$using:X[9]", None),
        ("$using:X.Length", "text", "$using:X.Length", 4),
        ("$using:X.Count", [1, 2], "$using:X.Count", 2),
        ("$using:X.K.l", {"k": {"L": 2}}, "$using:X.K.l", 2),
        ("$using:X['k']", {"k": 2}, "$using:X['k']", 2),
        ("$using:X.none.more", {"k": 2}, "$using:X.none.more", None),
    ],
)
def test_what_they_are(text: str, value: Any, key: str, seen: Any) -> None:
    assert values(text, expressions(text), {"x": value}) == {key: seen}


def test_a_variable_that_is_not_given_is_powershells_error() -> None:
    with pytest.raises(UsageError, match=r"The value of the using variable '\$using:no' cannot be") as refused:
        values("$using:no", expressions("$using:no"), {"x": 1})
    assert refused.value.error_id == "UsingVariableIsUndefined"


def test_a_member_of_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="not known here"):
        values("$using:x.Year", expressions("$using:x.Year"), {"x": 1.5})


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("$using:x + $using:X", "param($__using_0) ${__using_0} + ${__using_0}"),
        ('param($a) "$using:x $a"', 'param($__using_0, $a) "${__using_0} $a"'),
        ("# c\n[CmdletBinding()] param() $using:x", "# c\n[CmdletBinding()] param($__using_0 ) ${__using_0}"),
        ("f @using:x", "param($__using_0) f @__using_0"),
    ],
)
def test_hosts_before_powershell_5_get_parameters_instead(script: str, expected: str) -> None:
    found = expressions(script)
    text, parameters = rewritten(script, found, values(script, found, {"x": 7}))
    assert (text, parameters) == (expected, {"__using_0": 7})


@given(st.text(st.sampled_from("$@using:x{}()[]\"'`#<>. \n1a"), max_size=40))
def test_any_text_is_read_to_its_end(noise: str) -> None:
    try:
        found = expressions("$using:x" + noise)
    except UsageError:
        return
    assert all(one.start < one.end <= 8 + len(noise) for one in found)
    assert [one.start for one in found] == sorted({one.start for one in found})
