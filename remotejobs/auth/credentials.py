"""Secrets, and where a password comes from: a file of its owner's, the environment, a terminal.

Knows files, the environment and the terminal. Must not know mechanisms, hosts or jobs, and never shows what it holds.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import NoReturn

from remotejobs.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "REMOTEJOBS_PASSWORD"
_MOST_BYTES = 64 * 1024


class Secret:
    """A password. Shows itself as stars, cannot be copied, pickled or compared; `reveal` is the only way in."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The password in clear. Hold it no longer than the call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # copy, deepcopy and pickle all come through here
        raise TypeError("a Secret is neither copied nor pickled")


@dataclass(frozen=True, slots=True)
class Credential:
    r"""A user name (`user`, `DOMAIN\user` or `user@domain`) and its password, for one or many targets."""

    username: str
    secret: Secret


def find_credential(username: str, password_file: str | None = None) -> Credential:
    """The credential of `username`: from `password_file` where given, else the environment, else a terminal.

    Raises:
        ConfigurationError: The file is refused, or there is no password and no terminal to ask at.
    """
    # the variable goes in any case: what we start later must not inherit it
    from_environment = secret_from_environment()
    if password_file is not None:
        return Credential(username, secret_from_file(password_file))
    return Credential(username, from_environment or secret_from_terminal(username))


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
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # `from None`: the exception carries the bytes
        raise ConfigurationError(f"The password file {path} is not UTF-8 text. Save it as UTF-8.", path=path) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigurationError(f"The password file {path} is empty.", path=path)
    return Secret(text)


def secret_from_environment(environ: MutableMapping[str, str] = os.environ) -> Secret | None:
    """Take REMOTEJOBS_PASSWORD out of the environment; None where it is not set or empty."""
    value = environ.pop(ENVIRONMENT_VARIABLE, "")
    return Secret(value) if value else None


def secret_from_terminal(username: str) -> Secret:
    """Ask for the password at the terminal, without echo.

    Raises:
        ConfigurationError: There is no terminal, or nothing was typed.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise ConfigurationError(
            f"There is no password for {username} and no terminal to ask at. Give -PasswordFile, or set "
            f"{ENVIRONMENT_VARIABLE}."
        )
    from getpass import getpass

    try:
        value = getpass(f"Password for {username}: ")
    except EOFError:
        value = ""
    if not value:
        raise ConfigurationError(f"No password was given for {username}.")
    return Secret(value)
