"""Secrets, credentials, and three places where a password comes from: a file of its owner's, a variable, a terminal.

Knows files, the environment and the terminal. Must not know the configuration, mechanisms, hosts or jobs, and never
shows what it holds. Which place is asked for which user is the business of providers.py.
"""

from __future__ import annotations

import os
import stat
import sys
import weakref
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, NoReturn

from remotejobs.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "REMOTEJOBS_PASSWORD"
_MOST_BYTES = 64 * 1024


class Secret:
    """A password. Shows itself as stars, cannot be copied, pickled or compared; `reveal` is the only way in.

    While it lives, `auth.redaction` takes it out of everything that is written.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        # a new list each time: another thread may be reading the old one
        _living[:] = [*(each for each in _living if each() is not None), weakref.ref(self)]

    def reveal(self) -> str:
        """The password in clear. Hold it no longer than the call that needs it.

        Raises:
            ConfigurationError: There is none: the credential is one of Kerberos tickets.
        """
        return self._value

    def __bool__(self) -> bool:
        """Whether there is a password."""
        return True

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # copy, deepcopy and pickle all come through here
        raise TypeError("a Secret is neither copied nor pickled")


class _NoSecret(Secret):
    """In the place of a password, where a credential has none: who asks for one is told so."""

    __slots__ = ()

    def __init__(self) -> None:
        pass

    def reveal(self) -> NoReturn:
        raise ConfigurationError(
            "This credential has Kerberos tickets or keys and no password: it is for -Authentication Kerberos, "
            "Negotiate or Default.",
            error_id="CredentialMissing",
        )

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NO_SECRET"


NO_SECRET = _NoSecret()
"""What a credential without a password has; false, where every other Secret is true."""

_living: list[weakref.ref[Secret]] = []


def living_secrets() -> list[Secret]:
    """Every password that this process holds now."""
    return [secret for reference in list(_living) if (secret := reference()) is not None]


@dataclass(frozen=True, slots=True)
class Credential:
    r"""A user (`user`, `DOMAIN\user` or `user@domain`) and what proves it, for one or many targets.

    Attributes:
        username: The user; with `keytab` or `ccache` the Kerberos principal.
        secret: The password; NO_SECRET with `keytab` or `ccache`.
        keytab: A file with the principal's keys: a ticket is fetched with them.
        ccache: A credential cache with a ticket that somebody has fetched (a file, or TYPE:NAME).
    """

    username: str
    secret: Secret = NO_SECRET
    keytab: str | None = None
    ccache: str | None = None


def packed(credential: Credential) -> dict[str, str | None]:
    """A credential in clear, as it goes through the pipe to a worker, and nowhere else."""
    password = credential.secret.reveal() if credential.secret else None
    names = {"keytab": credential.keytab, "ccache": credential.ccache}
    return {"user": credential.username, "password": password, **names}


def unpacked(order: Mapping[str, Any]) -> Credential:
    """What `packed` has made."""
    password = order.get("password")
    secret = NO_SECRET if password is None else Secret(password)
    return Credential(str(order["user"]), secret, order.get("keytab"), order.get("ccache"))


def secret_from_file(path: str) -> Secret:
    """Read a password file: UTF-8, one line end at its end is not part of the password.

    On POSIX the file must be readable by its owner only; what is checked is the file that was opened. On Windows the
    folder's access control list is the administrator's business.

    Raises:
        ConfigurationError: It cannot be read, others may read it, or it holds no password.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if sys.platform != "win32" and stat.S_IMODE(mode) & 0o077:
                raise ConfigurationError(
                    f"The password file {path} can be read or changed by others (mode {stat.S_IMODE(mode):04o}) and is "
                    f"not used. Make it yours alone with: chmod 600 {path}",
                    path=path,
                )
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"The password file {path} cannot be read: {error.strerror or error}.", path=path
        ) from None
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(f"The password file {path} is too large to hold a password.", path=path)
    text = _text(data)
    if text is None:
        raise ConfigurationError(f"The password file {path} is not UTF-8 text. Save it as UTF-8.", path=path)
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigurationError(f"The password file {path} is empty.", path=path)
    return Secret(text)


def _text(data: bytes) -> str | None:
    """Decode, and let nothing be raised from the error, which carries the bytes."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def secret_from_environment(
    environ: MutableMapping[str, str] = os.environ, variable: str = ENVIRONMENT_VARIABLE
) -> Secret | None:
    """Take a variable, REMOTEJOBS_PASSWORD, out of the environment; None where it is not set or empty."""
    value = environ.pop(variable, "")
    return Secret(value) if value else None


def secret_from_terminal(username: str, name: str = "", *, otherwise: str = "") -> Secret:
    """Ask for the password at the terminal, without echo.

    Args:
        username: Whose.
        name: What the configuration calls the credential, if it does.
        otherwise: What to do where nobody can be asked, as a sentence.

    Raises:
        ConfigurationError: There is no terminal, or nothing was typed.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise ConfigurationError(
            f"There is no password for {username} and no terminal to ask at. "
            f"{otherwise or f'Give -PasswordFile, or set {ENVIRONMENT_VARIABLE}.'}"
        )
    from getpass import getpass

    try:
        value = getpass(f"Password for {username}{name and f' ({name})'}: ")
    except EOFError:
        value = ""
    if not value:
        raise ConfigurationError(f"No password was given for {username}.")
    return Secret(value)
