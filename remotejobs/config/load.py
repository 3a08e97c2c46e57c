r"""The configuration: built-in defaults, under the system's file, under the user's file, under the environment.

Knows files, the environment and what can be set. Must not know what a setting does, command lines or passwords: a file
says where a password comes from, and never holds one.

    /etc/remotejobs/config.toml        the system's; %ProgramData%\remotejobs on Windows,
                                       /Library/Application Support/remotejobs on macOS
    ~/.config/remotejobs/config.toml   the user's, where platformdirs says; REMOTEJOBS_CONFIG names another instead
    REMOTEJOBS_USE_SSL, REMOTEJOBS_RETENTION_DAYS
                                       any key of [defaults] or [retention]

What comes later counts more, key by key; of a credential the whole table. Flags count more than all of it, and are
somebody else's business.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from remotejobs.config.settings import COMMON, CREDENTIAL, PROVIDERS, SETTINGS, Kind, Setting, of_text
from remotejobs.errors import ConfigurationError

VARIABLE: Final = "REMOTEJOBS_CONFIG"
FILE_NAME: Final = "config.toml"
_MOST_BYTES: Final = 1024 * 1024
_TYPES: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}
_SECRET_KEYS: Final = ("password", "secret", "passwd", "pwd", "pass")


class Value(NamedTuple):
    """What a setting is, and who says so: a file, a variable, or nobody (``""``: it is built in)."""

    value: Any
    source: str = ""


class NamedCredential(NamedTuple):
    r"""One ``[credential.NAME]``: a user, and where the password comes from.

    Attributes:
        name: As the file has it; it is found without regard to case.
        username: `user`, `DOMAIN\user` or `user@domain`.
        provider: One of PROVIDERS.
        source: The file.
        options: The provider's own keys.
    """

    name: str
    username: str
    provider: str
    source: str
    options: Mapping[str, Any]


class Configuration(NamedTuple):
    """Everything that is set.

    Attributes:
        values: Every setting by its name (`defaults.use_ssl`).
        credentials: By case-folded name.
        files: Where was looked, and whether there was a file; later ones count more.
    """

    values: Mapping[str, Value]
    credentials: Mapping[str, NamedCredential]
    files: tuple[tuple[Path, bool], ...] = ()

    def given(self, section: str) -> dict[str, Any]:
        """The settings of a section that somebody has set, by key."""
        return {
            setting.key: value.value
            for setting in SETTINGS
            if setting.section == section and (value := self.values[setting.name]).source
        }

    def credential(self, name: str) -> NamedCredential | None:
        """The credential of this name, if there is one."""
        return self.credentials.get(name.casefold())

    def secret_variables(self) -> frozenset[str]:
        """The environment variables that hold passwords by the word of a credential: no child inherits them."""
        return frozenset(str(each.options["variable"]) for each in self.credentials.values() if each.provider == "env")


def load(environment: Mapping[str, str] | None = None, *, system: Path | None = None) -> Configuration:
    """Read the configuration.

    Args:
        environment: This process's, unless given.
        system: The system's file, unless it is where this platform has it.

    Raises:
        ConfigurationError: A file that cannot be read or that others may write, a name that is no setting, a value
            that means nothing: the message says which file and which key.
    """
    environment = os.environ if environment is None else environment
    values = {setting.name: Value(setting.default) for setting in SETTINGS}
    credentials: dict[str, NamedCredential] = {}
    files = []
    for path, must in ((system or system_file(), False), user_file(environment)):
        data = None if path is None else _read(path)
        if data is None and must:
            raise ConfigurationError(f"There is no configuration file {path}, which {VARIABLE} names.", path=str(path))
        if path is not None:
            files.append((path, data is not None))
            _take(_Table(path, ""), _toml(path, data or b""), values, credentials)
    _take_environment(environment, values)
    return Configuration(MappingProxyType(values), MappingProxyType(credentials), tuple(files))


def system_file() -> Path:
    """Where this platform has the file for all of its users."""
    platform: str = sys.platform
    if platform in ("win32", "darwin"):
        import platformdirs

        return Path(platformdirs.site_config_dir("remotejobs", appauthor=False), FILE_NAME)
    return Path("/etc/remotejobs", FILE_NAME)  # platformdirs would say /etc/xdg


def user_file(environment: Mapping[str, str]) -> tuple[Path | None, bool]:
    """The user's own file, and whether it must be there; None where REMOTEJOBS_CONFIG is the null device: none."""
    named = environment.get(VARIABLE, "")
    if named:
        return (None, False) if named == os.devnull else (Path(named).expanduser().absolute(), True)
    import platformdirs

    return Path(platformdirs.user_config_dir("remotejobs", appauthor=False), FILE_NAME), False


def unknown_variables(environment: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """The variables that look like settings of ours and are none.

    Args:
        environment: The variables.
        known: Those that are not settings but mean something to this program.
    """
    names = {setting.variable for setting in SETTINGS} | {VARIABLE, *known}
    return sorted(name for name in environment if name.startswith("REMOTEJOBS_") and name not in names)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean X?`, or an empty text."""
    import difflib  # only a mistake pays for it

    names = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return f" Did you mean {names[close[0]]}?" if close else ""


def _read(path: Path) -> bytes | None:
    """The file's bytes; None where there is none. What is checked is the file that was opened."""
    try:
        with path.open("rb") as file:
            if sys.platform != "win32":
                _refuse_others(path, os.fstat(file.fileno()))
            data = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be read: {error.strerror or error}.", path=str(path)
        ) from None
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(
            f"The configuration file {path} is longer than {_MOST_BYTES >> 20} MiB.", path=str(path)
        )
    return data


if sys.platform != "win32":

    def _refuse_others(path: Path, status: os.stat_result) -> None:
        """Who may write the file says which programs we run: that is its owner, who is this user or root."""
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o022:
            raise ConfigurationError(
                f"The configuration file {path} can be written by others (mode {mode:04o}) and is not used. Make it "
                f"yours alone to write: chmod go-w {path}",
                path=str(path),
            )
        if status.st_uid not in (0, os.geteuid()):
            raise ConfigurationError(
                f"The configuration file {path} belongs to another user (id {status.st_uid}) and is not used. Its "
                "owner must be you, or root.",
                path=str(path),
            )


def _toml(path: Path, data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    import tomllib

    reason = "it is not UTF-8 text"
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
    except UnicodeDecodeError:  # it carries the bytes: nothing is raised from it
        pass
    raise ConfigurationError(f"{path}: this is not TOML: {reason}.", path=str(path))


class _Table(NamedTuple):
    """Where in a file we are, for messages and for names of files in it."""

    path: Path
    name: str

    def where(self, key: str) -> str:
        return f"{self.path}: [{self.name}] {key}" if self.name else f"{self.path}: {key}"

    def error(self, key: str, words: str) -> ConfigurationError:
        name = f"{self.name}.{key}" if self.name else key
        return ConfigurationError(f"{self.where(key)} {words}", path=str(self.path), key=name)

    def table(self, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(key, f"is {_type(value)}. It is a section: write [{self.name and f'{self.name}.'}{key}].")
        return value

    def known(self, key: str, known: Iterable[str], what: str) -> None:
        if key not in known:
            hint = nearest(key, known) or f" There are {', '.join(known)}."
            raise self.error(key, f"is not a {what}.{hint}")

    def value(self, key: str, kind: Kind, value: Any, *, secret: bool = False) -> Any:
        """Read one value; of what stands in a credential no message shows more than the type."""
        try:
            return kind.read(value, self.path.parent)
        except ValueError:
            pass
        shown = _type(value) if secret or isinstance(value, dict | list) else repr(value)
        raise self.error(key, f"is {shown}. Give {kind.label}.")


def _take(
    root: _Table, document: Mapping[str, Any], values: dict[str, Value], credentials: dict[str, NamedCredential]
) -> None:
    """Lay what a file says over what was said before."""
    sections: dict[str, dict[str, Setting]] = {}
    for setting in SETTINGS:
        sections.setdefault(setting.section, {})[setting.key] = setting
    for section, given in document.items():
        root.known(section, (CREDENTIAL, *sections), "section")
        table = _Table(root.path, section)
        if section == CREDENTIAL:
            here: dict[str, NamedCredential] = {}
            for name, keys in root.table(section, given).items():
                if here.setdefault(name.casefold(), found := _credential(table, name, keys)) is not found:
                    raise table.error(name, "is there twice: names of credentials differ by more than case.")
            credentials.update(here)
            continue
        for key, value in root.table(section, given).items():
            table.known(key, sections[section], "setting")
            setting = sections[section][key]
            values[setting.name] = Value(table.value(key, setting.kind, value), str(root.path))


def _credential(section: _Table, name: str, given: Any) -> NamedCredential:
    table = _Table(section.path, f"{section.name}.{name}")
    given = section.table(name, given)
    for key in given:
        if key.lower() in _SECRET_KEYS:
            raise table.error(
                key, f"is refused: a password does not belong in this file. Name a provider: {', '.join(PROVIDERS)}."
            )
    for key in COMMON:
        if key not in given:
            raise table.error(key, f"is missing. Give {COMMON[key].kind.label}.")
    username, provider = (table.value(key, COMMON[key].kind, given[key], secret=True) for key in COMMON)
    own = PROVIDERS[provider]
    options = {}
    for key, value in given.items():
        if key in COMMON:
            continue
        others = [each for each, keys in PROVIDERS.items() if key in keys]
        if key not in own and others:
            raise table.error(key, f"is a key of the provider {' or '.join(others)}, and this one's is {provider}.")
        table.known(key, (*COMMON, *own), "key of a credential")
        options[key] = table.value(key, own[key].kind, value, secret=True)
    for key, what in own.items():
        if what.required and key not in options:
            raise table.error(key, f"is missing: the provider {provider} needs it. Give {what.kind.label}.")
    return NamedCredential(name, username, provider, str(table.path), options)


def _take_environment(environment: Mapping[str, str], values: dict[str, Value]) -> None:
    here = Path.cwd()
    for setting in SETTINGS:
        text = environment.get(setting.variable, "").strip()
        if not text:
            continue
        try:
            value = setting.kind.read(of_text(setting.kind, text), here)
        except ValueError:
            raise ConfigurationError(
                f"{setting.variable} is {text!r}. Give {setting.kind.label}.", key=setting.name
            ) from None
        values[setting.name] = Value(value, setting.variable)


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "a date or a time")
