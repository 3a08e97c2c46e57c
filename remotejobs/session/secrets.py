"""The secrets of a job, in arguments and answers: which there are, where they may go, the key pair that protects them.

Knows names of secrets and what reveals them. Must not know credentials, stores or connections.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remotejobs.errors import ConfigurationError
from remotejobs.model import JobSpec
from remotejobs.wsman.clixml.values import SecureString, secure_strings
from remotejobs.wsman.psrp.sessionkey import KEYS, KeyPair, SessionKey, filled, secret_names

# Mechanisms that have no key to seal messages with.
_NEVER_SEAL = ("basic", "digest", "certificate")


class Secrets:
    """The secrets of one job, and its one RSA key pair, which is made when the first host needs it.

    Args:
        pipeline: The payload of CREATE_PIPELINE, with their names.
        held: What reveals each, by name; more than are needed do no harm.
        answers: Those of the job, with the names of theirs.

    Attributes:
        names: The names, in the order of the arguments and answers.
        missing: Those that nobody has given: what has not begun cannot be begun.
    """

    def __init__(
        self,
        pipeline: bytes,
        held: Mapping[str, Callable[[], str]],
        answers: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.names = (*secret_names(pipeline), *(each.name for each in secure_strings([value for _, value in answers])))
        self.missing = tuple(dict.fromkeys(name for name in self.names if name not in held))
        self._held = {name: held[name] for name in self.names if name in held}
        self._keys: list[SessionKey] = []  # KEYS forgets what nobody holds
        self._pair: asyncio.Task[KeyPair] | None = None

    def require(self) -> None:
        """Refuse to run a job whose secrets are not there.

        Raises:
            ConfigurationError: SecretArgumentMissing; `details["secrets"]` has the names, each with what its
                credential is called, or "".
        """
        if self.missing:
            raise ConfigurationError(
                f"{self.words} No host was asked to run it. Give all arguments again: argument_list, parameters, "
                "using, pipeline, answers of retry_job or invoke_command.",
                error_id="SecretArgumentMissing",
                secrets={name: SecureString(name).credential for name in self.missing},
            )

    @property
    def words(self) -> str:
        """What is missing, and why."""
        one = len(self.missing) == 1
        return (
            f"The script takes {', '.join(map(_said, self.missing))}, which {'is a secret' if one else 'are secrets'}; "
            f"secrets are not stored, and {'it was' if one else 'they were'} not given."
        )

    async def key_pair(self) -> KeyPair:
        """Our key pair. Making one takes a while, so a thread does it."""
        if self._pair is None:
            self._pair = asyncio.get_running_loop().create_task(asyncio.to_thread(KeyPair.generate))
        return await asyncio.shield(self._pair)  # one host that gives up must not take it from the others

    def fill(self, pipeline: bytes, pool: uuid.UUID, key: SessionKey) -> bytes:
        """A payload for the one host whose key this is; readers of its output may use the key."""
        if KEYS.get(pool) is not key:
            self._keys.append(key)
            KEYS[pool] = key
        return filled(pipeline, self._held, key)


def _said(name: str) -> str:
    secret = SecureString(name)
    return f"the password of {secret.credential} ({secret.place})" if secret.credential else secret.place


def refuse_clear_secrets(spec: JobSpec) -> None:
    """Refuse, before anything is sent, to send a secret argument where nothing but the session key protects it.

    Whoever can change what is sent over clear http can put a key of his own in place of the host's.

    Raises:
        ConfigurationError: A target is reached over http, and its messages are not certain to be sealed.
    """
    for target in spec.targets:
        mechanism = target.authentication or spec.authentication
        endpoint = spec.endpoint(target)
        if not endpoint.ssl and (spec.session_option.allow_unencrypted or mechanism.lower() in _NEVER_SEAL):
            raise ConfigurationError(
                f"[{target.name}] An argument or answer is a secret, and over {endpoint.url} nothing protects it. "
                "Nothing was sent. Use https (-UseSSL, use_ssl), or Negotiate, Kerberos or CredSSP without "
                "AllowUnencrypted, which seal messages over http.",
                error_id="SecretOverClearText",
            )
