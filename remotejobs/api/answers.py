"""What a script's questions are answered with: secrets are taken out, so that a job knows and stores their names only.

Knows what may be given as an answer. Must not know prompts, hosts, or how a secret reaches one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.model import CmdCommand, Command
from remotejobs.wsman.clixml.values import PSObject, SecureString

Given: TypeAlias = str | Mapping[str, Any] | Sequence[str | tuple[str, Any]]
_CREDENTIAL = ("System.Management.Automation.PSCredential", "System.Object")


class Called(NamedTuple):
    """A credential as an answer, and what the user calls it: who runs the job again finds it by that."""

    name: str
    credential: Credential


def with_answers(command: Command, given: Given | None) -> tuple[Command, dict[str, Credential]]:
    """Give a script the answers to what it may ask its user, before those that it has.

    Args:
        command: The script. Its own answers to questions that are answered here go.
        given: As for invoke_command; a Called for a Credential.

    Returns:
        The script, and the secrets by their names, as `Answers[Pin]` and `Answers[Pin]=ops`.

    Raises:
        UsageError: A secret without a question or without a password, or with another answer to its question; a value
            that CLIXML cannot carry, or a SecureString of a host; or a command line for cmd.
    """
    if not given:
        return command, {}
    if isinstance(command, CmdCommand):
        raise UsageError("A command line asks nobody here: give what it reads as input_object.")
    from remotejobs.wsman.clixml.write import serialize
    from remotejobs.wsman.psrp.sessionkey import secret_names

    answers: list[tuple[str, Any]] = []
    secrets: dict[str, Credential] = {}
    closed: set[str] = set()  # questions that a secret answers
    for name, value in _pairs(given):
        again = {known.casefold() for known, _ in answers}
        is_secret = isinstance(value, Secret | Credential | Called)
        if name.casefold() in closed or (is_secret and name.casefold() in again):
            raise UsageError(f"'{name}' has two answers; a secret is the only one to its question.")
        if is_secret:
            closed.add(name.casefold())
            value = _named(name, value, secrets)
        secret_names(serialize(value))
        answers.append((name, value))
    again = {name.casefold() for name, _ in answers if name}
    kept = [(name, value) for name, value in command.answers if name.casefold() not in again]
    return replace(command, answers=(*answers, *kept)), secrets


def _pairs(given: Given) -> Iterator[tuple[str, Any]]:
    """Questions and answers; a word by itself is for choices, and has no question."""
    if isinstance(given, str):
        yield "", given
    elif isinstance(given, Mapping):
        for name, value in given.items():
            yield from ((name, each) for each in (value if isinstance(value, list) else [value]))
    else:
        for one in given:
            yield ("", one) if isinstance(one, str) else one


def _named(name: str, given: Secret | Credential | Called, secrets: dict[str, Credential]) -> SecureString | PSObject:
    """Put a secret aside, and its name in its place."""
    from urllib.parse import quote  # a name is written to CLIXML as it is

    place = f"Answers[{quote(name, safe='', errors='surrogatepass')}]"
    if isinstance(given, Secret):
        secret, credential = SecureString.named(place), Credential("", given)
    else:
        called, credential = given if isinstance(given, Called) else (given.username, given)
        secret = SecureString.named(place, called)
    if not name or "*" in name or not credential.secret:
        named = name and "*" not in name
        why = "there is no password" if named else "it needs the name of its question, without *"
        raise UsageError(f"{place}: a secret cannot be this answer, {why}.")
    secrets[secret.name] = credential
    if isinstance(given, Secret):
        return secret
    return PSObject(_CREDENTIAL, _CREDENTIAL[0], adapted={"UserName": credential.username, "Password": secret})
