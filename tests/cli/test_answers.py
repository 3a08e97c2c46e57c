"""-Answer and -AnswerCredential: how answers are written, and how they reach the API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.api.answers import Called
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.cli.answers import answers_of
from remotejobs.cli.binder import bind
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.cli.tables.jobs import RETRY
from remotejobs.errors import BindingError


def bound(*words: str, name: str = "Answer") -> Any:
    return bind(INVOKE, ["web01", "-ScriptBlock", "1", f"-{name}", *words]).values[name]


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["Yes"], [("", "Yes")]),
        (["Yes,", "No"], [("", "Yes"), ("", "No")]),
        (["Name=web01,Reason=patch night"], [("Name", "web01"), ("Reason", "patch night")]),
        (["Y,Name=web01,A"], [("", "Y"), ("Name", "web01"), ("", "A")]),
        (["Enter the name = web 01"], [("Enter the name", " web 01")]),
        (["n=a,n=b"], [("n", "a"), ("n", "b")]),
        (["Confirm="], [("Confirm", "")]),
        (["q=a=b"], [("q", "a=b")]),
        (["'Really, sure?'='a, b',x"], [("Really, sure?", "a, b"), ("", "x")]),
        (['"it\'s = so"=y'], [("it's = so", "y")]),
        (["It's ok=y"], [("It's ok", "y")]),
        (["n='it''s'"], [("n", "it's")]),
        (["*password*=5"], [("*password*", "5")]),
        (["n=$true"], [("n", "$true")]),
    ],
)
def test_answers_are_read(words: list[str], answers: list[tuple[str, str]]) -> None:
    assert bound(*words) == answers


@pytest.mark.parametrize(("word", "part"), [("", "empty"), ("Yes,", "empty"), ("=x,,y", "empty"), ("$null", "convert")])
def test_what_is_no_answer_is_refused(word: str, part: str) -> None:
    with pytest.raises(BindingError, match=part):
        bound(word)


@given(st.text(alphabet="ab =,'\"*?\\\n", max_size=12))
def test_any_words_are_read_or_refused(word: str) -> None:
    try:
        found = bound(word)
    except BindingError:
        return
    assert all(isinstance(part, str) for pair in found for part in pair)
    assert all(question or answer.strip() for question, answer in found)


def test_credentials_go_by_their_question_or_their_own_name() -> None:
    found = bound("Pin=sql,CORP\\ops", name="AnswerCredential")
    assert found == [("Pin", "sql"), ("CORP\\ops", "CORP\\ops")]
    asked: list[tuple[str, bool]] = []

    def find(name: str, *, argument: bool = False) -> Credential:
        asked.append((name, argument))
        return Credential(name, Secret("x"))

    answers = answers_of({"Answer": [("", "Yes")], "AnswerCredential": found}, find)
    assert [(name, value.name if isinstance(value, Called) else value) for name, value in answers] == [
        ("", "Yes"),
        ("Pin", "sql"),
        ("CORP\\ops", "CORP\\ops"),
    ]
    assert asked == [("sql", True), ("CORP\\ops", True)]
    assert answers_of({}, find) == []


def test_retry_takes_them_too() -> None:
    assert bind(RETRY, ["5", "-Answer", "Y"]).values["Answer"] == [("", "Y")]
