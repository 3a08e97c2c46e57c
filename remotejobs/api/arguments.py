"""Secrets among the arguments of a script: taken out of the list, so that a job knows and stores their names only.

Knows what may be given as an argument. Must not know hosts, or how a secret reaches one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.wsman.clixml.values import OrderedDictionary, PSObject, SecureString

_CREDENTIAL = ("System.Management.Automation.PSCredential", "System.Object")


def without_secrets(arguments: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Credential]]:
    """Put a name in the place of each Secret and Credential, in lists and dictionaries too.

    Args:
        arguments: As given for argument_list.

    Returns:
        The arguments, where a Secret is a SecureString and a Credential a PSCredential (MS-PSRP 2.2.5.1.24, and as
        PowerShell serializes it), and the secrets by their names, as `ArgumentList[0]`. They travel with the other
        credentials of the job: in memory, and through the pipe to a process of its own.

    Raises:
        UsageError: A SecureString that came from a host, or a Credential without a password.
    """
    taker = _Taker()
    return tuple(taker.value(value, f"ArgumentList[{n}]") for n, value in enumerate(arguments)), taker.secrets


class _Taker:
    """One list of arguments: the secrets found so far, and the copies of containers, which may hold each other."""

    def __init__(self) -> None:
        self.secrets: dict[str, Credential] = {}
        self._copies: dict[int, Any] = {}

    def value(self, value: Any, name: str) -> Any:
        if isinstance(value, Secret):
            return self._secret(name, Credential("", value))
        if isinstance(value, Credential):
            members = {"UserName": value.username, "Password": self._secret(name, value)}
            return PSObject(_CREDENTIAL, _CREDENTIAL[0], adapted=members)
        if isinstance(value, SecureString):
            raise UsageError(
                f"{name}: a SecureString cannot be an argument, it is encrypted for the host that it came from. Give a "
                "Secret."
            )
        if not isinstance(value, list | tuple | dict):
            return value
        if id(value) in self._copies:
            return self._copies[id(value)]
        if isinstance(value, dict):
            table = self._copies[id(value)] = OrderedDictionary() if isinstance(value, OrderedDictionary) else {}
            for n, (key, item) in enumerate(value.items()):
                table[key] = self.value(item, f"{name}[{n}]")
            return table
        items: list[Any] = []
        self._copies[id(value)] = items
        items += [self.value(item, f"{name}[{n}]") for n, item in enumerate(value)]
        return items

    def _secret(self, name: str, held: Credential) -> SecureString:
        if not held.secret:
            raise UsageError(f"{name}: the credential of {held.username} has no password that a script could be given.")
        self.secrets[name] = held
        return SecureString(name)
