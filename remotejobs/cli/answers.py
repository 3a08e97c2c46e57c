"""The answers to the prompts of a script, from the command line to the API.

Knows bound parameters. Must not know prompts, or where a password comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from remotejobs.api.answers import Called
from remotejobs.auth.credentials import Credential


def answers_of(values: Mapping[str, Any], find: Callable[..., Credential]) -> list[tuple[str, Any]]:
    """What -Answer and -AnswerCredential were given.

    Args:
        values: Bound parameters.
        find: Credentials.find, which finds each credential.

    Raises:
        ConfigurationError: A password is not to be had.
    """
    secrets = [(q, Called(name, find(name, argument=True))) for q, name in values.get("AnswerCredential") or ()]
    return [*(values.get("Answer") or ()), *secrets]
