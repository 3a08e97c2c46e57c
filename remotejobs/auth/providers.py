"""Which password belongs to a name: the credentials of the configuration, and users that are named directly.

Knows the configuration's credentials, keyrings and the commands of password managers. Must not know mechanisms, hosts
or jobs, and shows nothing of what it finds.

For the NAME of -Credential, or of `credential=` in a server list, in this order:

1. `[credential.NAME]` of the configuration: its provider is asked, and nobody else.
2. NAME is a user: -PasswordFile, the environment variable REMOTEJOBS_PASSWORD, the keyring (service `remotejobs`, where
   the extra is installed), a prompt on the terminal.

For a NAME of -ArgumentCredential it is the same, but -PasswordFile and REMOTEJOBS_PASSWORD are not asked: they are of
who connects to the hosts, and must not become the password of another user. Where both have one name both have one
password.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

from remotejobs.auth.credentials import (
    ENVIRONMENT_VARIABLE,
    Credential,
    Secret,
    secret_from_environment,
    secret_from_file,
    secret_from_terminal,
)
from remotejobs.config.load import Configuration, NamedCredential, nearest
from remotejobs.config.settings import COMMAND_SECONDS, KEYRING_SERVICE
from remotejobs.errors import ConfigurationError

_log = logging.getLogger(__name__)


class Credentials:
    """Finds credentials by name; each password is asked for once.

    Args:
        configuration: Where names are looked up.
        user: What -Credential was given.
        password_file: What -PasswordFile was given: for `user`, and for users that the configuration does not name.
        environ: REMOTEJOBS_PASSWORD is taken out of it at once: what we start must not inherit it.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        user: str | None = None,
        password_file: str | None = None,
        environ: MutableMapping[str, str] | None = None,
    ) -> None:
        self._configuration = configuration
        self._user = user
        self._file = password_file
        self._environ = os.environ if environ is None else environ
        self._from_environment = secret_from_environment(self._environ)
        self._found: dict[str, Credential] = {}

    def check(self, names: Mapping[str, str]) -> None:
        """Refuse names in a server list that mean nothing, before anybody is asked for a password.

        A name means something when the configuration has it, when it is that of -Credential, or when it can only be a
        user's: it has a backslash or an at sign in it.

        Args:
            names: The names, each with a target that has it.

        Raises:
            ConfigurationError: CredentialMissing.
        """
        for name, target in names.items():
            if name == self._user or self._configuration.credential(name) or "\\" in name or "@" in name:
                continue
            known = [each.name for each in self._configuration.credentials.values()]
            hint = nearest(name, known) or f" Add [credential.{name}] to {_user_file(self._configuration)}"
            hint += "" if hint.endswith("?") else ", with its username and provider (remotejob help config)."
            raise ConfigurationError(
                f"[{target}] The server list says credential={name}, and no such credential is configured.{hint}",
                error_id="CredentialMissing",
                target=target,
                credentials=[name],
            )

    def find(self, name: str, *, argument: bool = False) -> Credential:
        """The credential called `name`, or of the user `name`.

        Args:
            name: Who connects, and by what, is to be found first.
            argument: It is not who connects, but an argument of the script.

        Raises:
            ConfigurationError: Its provider does not give it, a file is refused, or there is nobody to ask.
        """
        key = name.casefold()
        if key not in self._found:
            named = self._configuration.credential(name)
            if named is None and argument and key != (self._user or "").casefold():
                self._found[key] = Credential(name, _secret_of_argument(name))
            elif named is None:
                self._found[key] = Credential(name, self._of_user(name))
            elif self._file and name == self._user:
                self._found[key] = Credential(named.username, secret_from_file(self._file))
            else:
                self._found[key] = self._provided(named)
        return self._found[key]

    def _of_user(self, username: str) -> Secret:
        if self._file is not None:
            return secret_from_file(self._file)
        return (
            self._from_environment or _secret_from_keyring(KEYRING_SERVICE, username) or secret_from_terminal(username)
        )

    def _provided(self, named: NamedCredential) -> Credential:
        options = named.options
        if named.provider == "kerberos":
            return Credential(named.username, keytab=options.get("keytab"), ccache=options.get("ccache"))
        match named.provider:
            case "file":
                secret: Secret | None = secret_from_file(options["path"])
                words = ""
            case "env":
                secret = self._variable(options["variable"])
                words = f"the environment variable {options['variable']} is not set"
            case "keyring":
                service = options.get("service", KEYRING_SERVICE)
                secret = _secret_from_keyring(service, named.username, must=_called(named))
                words = f"the keyring has no password for it. Put it there: keyring set {service} '{named.username}'"
            case "command":
                secret = _secret_from_command(named, self._without_secrets())
                words = "its command printed nothing"
            case _:
                secret = secret_from_terminal(named.username, named.name)
                words = ""
        if secret is None:
            raise ConfigurationError(
                f"{_called(named)}: there is no password for {named.username}: {words}.",
                error_id="CredentialMissing",
                credential=named.name,
            )
        return Credential(named.username, secret)

    def _variable(self, variable: str) -> Secret | None:
        """A variable, which stays where it is: another credential may name it. No child gets it."""
        if variable == ENVIRONMENT_VARIABLE:
            return self._from_environment
        value = self._environ.get(variable, "")
        return Secret(value) if value else None

    def _without_secrets(self) -> dict[str, str]:
        hidden = {name.upper() for name in self._configuration.secret_variables()}
        return {name: value for name, value in self._environ.items() if name.upper() not in hidden}


def _secret_of_argument(username: str) -> Secret:
    return _secret_from_keyring(KEYRING_SERVICE, username) or secret_from_terminal(
        username,
        "argument",
        otherwise=f"-PasswordFile and {ENVIRONMENT_VARIABLE} are for the user of -Credential only: put it into the "
        f"keyring (keyring set {KEYRING_SERVICE} '{username}'), or name a [credential.NAME] of the configuration.",
    )


def _user_file(configuration: Configuration) -> str | Path:
    return configuration.files[-1][0] if configuration.files else "the configuration"


def _called(named: NamedCredential) -> str:
    return f"[credential.{named.name}] of {named.source}"


def _secret_from_keyring(service: str, username: str, must: str = "") -> Secret | None:
    """Ask this user's keyring.

    Args:
        service: Under which the password is kept.
        username: Whose it is.
        must: Which credential relies on the keyring; without one a keyring that cannot be used is passed over.

    Raises:
        ConfigurationError: With `must`: there is no keyring, or it is locked.
    """
    try:
        import keyring
        import keyring.errors
    except ImportError:
        if not must:
            return None
        raise ConfigurationError(
            f"{must} wants the keyring, and the package keyring is not installed: pip install 'remotejobs[keyring]'.",
        ) from None
    reason = ""
    try:
        value = keyring.get_password(service, username)
    except Exception as error:  # noqa: BLE001 - a backend may raise whatever its platform does
        value, reason = None, f"{type(error).__name__}: {error}"
    if reason and must:
        raise ConfigurationError(f"{must}: the keyring cannot be asked ({' '.join(reason.split())}).")
    if reason:
        _log.debug("the keyring was passed over: %s", reason)
    return Secret(value) if value else None


def _secret_from_command(named: NamedCredential, environment: Mapping[str, str]) -> Secret | None:
    """Run the command of a password manager; the first line that it prints is the password.

    It is run without a shell and without standard input; what it says on standard error goes to the terminal.

    Raises:
        ConfigurationError: It cannot be run, fails, or does not end in its time.
    """
    command = named.options["command"]
    seconds = named.options.get("timeout", COMMAND_SECONDS)
    output = b""
    try:
        done = subprocess.run(  # noqa: S603 - the command is the configuration's, a list without a shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=seconds,
            env=dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:  # it carries the output: nothing is raised from it
        reason = f"did not end within {seconds:g} seconds (timeout)"
    except OSError as error:
        reason = f"cannot be run: {error.strerror or error}"
    else:
        output = done.stdout
        reason = f"ended with exit code {done.returncode}" if done.returncode else ""
    if reason:
        raise ConfigurationError(f"{_called(named)}: its command, {command[0]}, {reason}.", credential=named.name)
    try:
        line = output.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8-sig")
    except UnicodeDecodeError:  # it carries the output
        reason = "printed what is not UTF-8 text"
    if reason:
        raise ConfigurationError(f"{_called(named)}: its command, {command[0]}, {reason}.", credential=named.name)
    return Secret(line) if line else None


def names_of(names: Iterable[tuple[str | None, str]]) -> dict[str, str]:
    """Each name once, with the first target that has it."""
    found: dict[str, str] = {}
    for name, target in names:
        if name:
            found.setdefault(name, target)
    return found
