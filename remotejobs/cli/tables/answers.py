"""-Answer and -AnswerCredential: what the prompts of a script are answered with.

Knows how answers are written on a command line. Must not know prompts, or what a verb does with answers, and must stay
cheap to import.
"""

from __future__ import annotations

import re

from remotejobs.cli.parameters import Parameter
from remotejobs.cli.values import ParameterType, cannot_convert
from remotejobs.cli.words import Argument, elements

_QUOTED = r"""'(?:[^']|'')*'(?=\s*[=,]|\s*$)|"(?:[^"]|"")*"(?=\s*[=,]|\s*$)"""
_ANSWER = rf"""\s*(?:(?P<question>{_QUOTED}|[^,=]+?)\s*=)?(?P<answer>{_QUOTED}|[^,]*)"""


def _answers(argument: Argument) -> list[tuple[str, str]]:
    """Questions and answers, with commas between; what has no `=` is a word for choices, under no question."""
    if argument.block is not None or argument.constant is None:
        raise cannot_convert(argument, ANSWERS.name)
    pattern = re.compile(_ANSWER)  # not where the module is read: nearly all commands do without
    found, position = [], -1
    while position < len(argument.raw):
        match = pattern.match(argument.raw, position + 1)
        assert match is not None
        position = match.end()
        question, answer = _text(match["question"] or ""), _text(match["answer"])
        if position < len(argument.raw) and argument.raw[position] != ",":
            raise ValueError(f"'{match[0].strip()}' goes on behind its quote.")
        if not question and not answer.strip():
            raise ValueError("An answer is empty. Just Enter is an answer to a question by its name: Confirm=.")
        found.append((question, answer))
    return found


def _text(word: str) -> str:
    return elements(word)[0].text if word[:1] in ("'", '"') else word


def _credentials(argument: Argument) -> list[tuple[str, str]]:
    """Questions and names of credentials; one by itself answers the question for that very user."""
    return [(question or name.strip(), name.strip()) for question, name in _answers(argument)]


ANSWERS = ParameterType("System.Collections.Hashtable", "question=answer[]", _answers)
_CREDENTIALS = ANSWERS._replace(label="question=name[]", convert=_credentials)

ANSWER_PARAMETERS = (
    Parameter(
        "Answer",
        ANSWERS,
        "Answers to what the script asks its user, with commas between. Yes, a label or its hot key (Y), answers every"
        " choice that has it, as -Confirm asks for; Name=web01 the question Name, of Read-Host Name or of a mandatory"
        " parameter that is missing. A question is what is asked for, its message or caption, in any case, with * and"
        " ? for what varies; Read-Host or ReadKey where the script says nothing. Name=a,Name=b is a the first time,"
        " then b. Quotes inside keep commas. What no answer fits is refused with PowerShell's error, which says how to"
        " answer it.",
    ),
    Parameter(
        "AnswerCredential",
        _CREDENTIALS,
        "Answers to Get-Credential and Read-Host -AsSecureString: Pin=sql gives the question Pin the credential sql, or"
        " its password; CORP\\sql by itself answers the question for that user. Only the question of that very name,"
        " without wildcards. Found as for -ArgumentCredential; never stored; over https or sealed messages only.",
    ),
)
