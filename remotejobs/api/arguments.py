"""What a script is given: secrets are taken out of it, so that a job knows and stores their names only.

Knows what may be given as an argument, a parameter or a variable. Must not know hosts, or how a secret reaches one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.model import ScriptCommand
from remotejobs.wsman.clixml.values import OrderedDictionary, PSObject, SecureString
from remotejobs.wsman.clixml.write import MAX_DEPTH, serialize

_CREDENTIAL = ("System.Management.Automation.PSCredential", "System.Object")


def without_secrets(
    arguments: Sequence[Any], credentials: Sequence[tuple[str, Credential]] = ()
) -> tuple[tuple[Any, ...], dict[str, Credential]]:
    """Put a name in the place of each Secret and Credential, in lists and dictionaries too.

    Args:
        arguments: As given for argument_list.
        credentials: More arguments behind them, each with what the user calls it: who runs the job again finds it by
            that. A Credential among the arguments is called like its user.

    Returns:
        The arguments, where a Secret is a SecureString and a Credential a PSCredential (MS-PSRP 2.2.5.1.24, and as
        PowerShell serializes it), and the secrets by their names, as `ArgumentList[0]` and `ArgumentList[1]=ops`. They
        travel with the other credentials of the job: in memory, and through the pipe to a process of its own.

    Raises:
        UsageError: A SecureString that came from a host, or a Credential without a password.
    """
    taker = _Taker()
    taken = [taker.value(value, f"ArgumentList[{n}]") for n, value in enumerate(arguments)]
    taken += [
        taker.credential(value, f"ArgumentList[{n}]", called)
        for n, (called, value) in enumerate(credentials, len(taken))
    ]
    return tuple(taken), taker.secrets


def with_values(
    command: ScriptCommand,
    arguments: Sequence[Any] = (),
    parameters: Mapping[str, Any] | None = None,
    using: Mapping[str, Any] | None = None,
    credentials: Sequence[tuple[str, Credential]] = (),
) -> tuple[ScriptCommand, dict[str, Credential]]:
    """Give a script its arguments, named parameters and `$using:` variables.

    Args:
        command: The script, or a pipeline that has its values: their secrets are called `Commands[0][Name]`.
        arguments, credentials: As for without_secrets.
        parameters: Values by the names of parameters; their secrets are called `Parameters[Name]`.
        using: Values by the names of variables; their secrets are called `Using[name]`.

    Returns:
        The script with its values, and the secrets by their names.

    Raises:
        UsageError: As without_secrets; or a name that is empty, or is given twice; or a pipeline is given arguments.
    """
    taken, secrets = without_secrets(arguments, credentials)
    taker = _Taker()
    named = [(name.lstrip("-").rstrip(":"), value) for name, value in (parameters or {}).items()]
    variables = [(_variable(name), value) for name, value in (using or {}).items()]
    filled = []
    for what, pairs in (("Parameters", named), ("Using", variables)):
        _distinct(what, [name for name, _ in pairs])
        filled.append(tuple((name, taker.value(value, f"{what}[{_quoted(name)}]")) for name, value in pairs))
    commands = tuple(
        replace(
            one,
            arguments=tuple(
                (name, taker.value(value, f"Commands[{n}][{_quoted(name or str(place))}]"))
                for place, (name, value) in enumerate(one.arguments)
            ),
        )
        for n, one in enumerate(command.commands)
    )
    command = replace(command, arguments=taken, parameters=filled[0], using=filled[1], commands=commands)
    return command, {**secrets, **taker.secrets}


def _variable(name: str) -> str:
    """`x` of `x`, `$x` and `$using:x`, whichever is written."""
    name = name.removeprefix("$")
    return name[6:] if name.lower().startswith("using:") else name


def _distinct(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name:
            raise UsageError(f"{what}: a name is empty.")
        if name.lower() in seen:
            raise UsageError(
                f"{what}: {name} is given twice; PowerShell's names are the same in upper and lower case.",
                error_id="ParameterAlreadyBound",
            )
        seen.add(name.lower())


def _checked(value: Any, place: str) -> Any:
    """Refuse here, where its place is known, what CLIXML cannot carry."""
    if not isinstance(value, str | bytes | float | None):
        try:
            serialize(value)
        except UsageError as error:
            raise UsageError(f"{place}: {error.message}", error_id=error.error_id) from None
    return value


def _quoted(name: str) -> str:
    """A name as it can stand in CLIXML and in a place."""
    from urllib.parse import quote

    return quote(name, safe="", errors="surrogatepass")


class _Taker:
    """One list of arguments: the secrets found so far, and the copies of containers, which may hold each other."""

    def __init__(self) -> None:
        self.secrets: dict[str, Credential] = {}
        self._copies: dict[int, Any] = {}

    def credential(self, value: Credential, place: str, called: str) -> PSObject:
        members = {"UserName": value.username, "Password": self._secret(SecureString.named(place, called), value)}
        return PSObject(_CREDENTIAL, _CREDENTIAL[0], adapted=members)

    def value(self, value: Any, place: str, level: int = 1) -> Any:
        if isinstance(value, Secret):
            return self._secret(SecureString.named(place), Credential("", value))
        if isinstance(value, Credential):
            return self.credential(value, place, value.username)
        if isinstance(value, SecureString):
            raise UsageError(
                f"{place}: a SecureString cannot be an argument, it is encrypted for the host that it came from. Give "
                "a Secret."
            )
        if not isinstance(value, list | tuple | dict):
            return _checked(value, place)
        if level >= MAX_DEPTH:
            raise UsageError(f"{place[:40]}...: it is nested {level} deep; PowerShell reads {MAX_DEPTH - 1} at most.")
        if id(value) in self._copies:
            return self._copies[id(value)]
        if isinstance(value, dict):
            table = self._copies[id(value)] = OrderedDictionary() if isinstance(value, OrderedDictionary) else {}
            for n, (key, item) in enumerate(value.items()):
                table[key] = self.value(item, f"{place}[{n}]", level + 1)
            return table
        items: list[Any] = []
        self._copies[id(value)] = items
        items += [self.value(item, f"{place}[{n}]", level + 1) for n, item in enumerate(value)]
        return items

    def _secret(self, named: SecureString, held: Credential) -> SecureString:
        if not held.secret:
            who = f"the credential {named.credential}" if named.credential else "it"
            raise UsageError(f"{named.place}: {who} has no password that a script could be given.")
        self.secrets[named.name] = held
        return named
