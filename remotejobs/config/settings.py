"""What can be set, of what kind each setting is, and what it is where nobody has set it.

Knows names, kinds and the built-in defaults of the model. Must not know files, the environment or who asks.

The settings of `[defaults]` are called like the flags of `remotejob invoke` and the keys of its -SessionOption, in
snake case.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from remotejobs.model import MECHANISMS, Clocks, JobSpec, ScriptCommand, SessionOption

DEFAULTS: Final = "defaults"
CREDENTIAL: Final = "credential"
RETENTION: Final = "retention"
OFF: Final = "off"
KEYRING_SERVICE: Final = "remotejobs"
COMMAND_SECONDS: Final = 30.0
_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS: Final = {"": 0, "KB": 10, "MB": 20, "GB": 30, "TB": 40, "PB": 50}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)?", re.ASCII | re.IGNORECASE)
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGTP]B)?", re.ASCII | re.IGNORECASE)
_LONGEST: Final = 1e9  # seconds; past 30 years it is a mistake
_CCACHE: Final = re.compile(r"[A-Z_]{2,}:.*", re.DOTALL)  # FILE:, DIR:, KCM:, KEYRING:; one letter is a drive


class Kind(NamedTuple):
    """What a value must be.

    Attributes:
        label: What to give, for messages.
        read: From a TOML value and the folder of its file to what it means; ValueError where it means nothing.
        text: In the environment the text is the value; else it is a number or true or false where it looks so.
    """

    label: str
    read: Callable[[Any, Path], Any]
    text: bool = False


class Setting(NamedTuple):
    """One setting of `[defaults]` or `[retention]`."""

    section: str
    key: str
    kind: Kind
    default: Any = None

    @property
    def name(self) -> str:
        """The section and the key, with a point between them."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """What it is called in the environment."""
        section = "" if self.section == DEFAULTS else f"{self.section}_"
        return f"REMOTEJOBS_{section}{self.key}".upper()


class Key(NamedTuple):
    """One key of a credential."""

    kind: Kind
    required: bool = False


def _text(value: Any, _folder: Path) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return value


def _path(value: Any, folder: Path) -> str:
    return str(folder / os.path.expanduser(_text(value, folder)))


def _ccache(value: Any, folder: Path) -> str:
    return value if isinstance(value, str) and _CCACHE.fullmatch(value) else _path(value, folder)


def _words(value: Any, folder: Path) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(word, str) and "\0" not in word for word in value)
    ):
        raise ValueError
    return (_text(os.path.expanduser(value[0]), folder), *value[1:])


def _flag(value: Any, _folder: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(minimum: int, maximum: int = 2**31 - 1) -> Kind:
    def read(value: Any, _folder: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise ValueError
        return value

    return Kind(f"a whole number from {minimum} to {maximum}", read)


def _seconds(value: Any, _folder: Path) -> float:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        value = float(found[1]) * _SECONDS[(found[2] or "").lower()]
    if not _is_number(value) or not 0 < value < _LONGEST:
        raise ValueError
    return float(value)


def _clock(value: Any, folder: Path) -> float | None:
    off = value.lower() == OFF if isinstance(value, str) else _is_number(value) and value == 0
    return None if off else _seconds(value, folder)


def _idle(value: Any, folder: Path) -> float:
    seconds = _seconds(value, folder)
    if seconds < 60:
        raise ValueError
    return seconds


def _days(value: Any, _folder: Path) -> float | None:
    if isinstance(value, str):
        if value.lower() == OFF:
            return None
        value = float(value)
    if not _is_number(value) or not 1 <= value < 1e6:
        raise ValueError
    return float(value)


def _size(value: Any, _folder: Path) -> int | None:
    if isinstance(value, str) and value.lower() == OFF:
        return None
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
    size = int(float(found[1]) * (1 << _UNITS[(found[2] or "").upper()])) if found else 0
    if not size:
        raise ValueError
    return size


def _one_of(*names: str) -> Kind:
    known = {name.lower(): name for name in names}

    def read(value: Any, _folder: Path) -> str:
        if not isinstance(value, str) or value.lower() not in known:
            raise ValueError
        return known[value.lower()]

    return Kind(f"one of {', '.join(names)}", read, text=True)


TEXT = Kind("a text", _text, text=True)
PATH = Kind("the name of a file", _path, text=True)
CCACHE = Kind("the name of a credential cache, as FILE:/tmp/krb5cc_ops", _ccache, text=True)
WORDS = Kind('the program and its arguments as a list of texts, ["pass", "show", "ops"]', _words)
FLAG = Kind("true or false", _flag)
WHOLE = _whole(0)
SECONDS = Kind("seconds, or a text with a unit: 30, 0.5, '2m'", _seconds)
CLOCK = Kind("seconds, a text with a unit, or 'off': 30, '2m'", _clock)

_SPEC = JobSpec(ScriptCommand(""), ())
_CLOCKS = Clocks()
_OPTION = SessionOption()
# By the type of the field in SessionOption; what is special about some of them comes after.
_BY_TYPE = {"float": SECONDS, "float | None": SECONDS, "int": WHOLE, "int | None": WHOLE, "bool": FLAG}
_SPECIAL = {
    **dict.fromkeys(("ca_file", "ca_path", "certificate_file", "certificate_key_file"), PATH),
    "idle_timeout": Kind("seconds, at least 60, or a text with a unit", _idle),
    "output_buffering_mode": _one_of("None", "Drop", "Block"),
}

OPTIONS: Final = tuple(field.name for field in dataclasses.fields(SessionOption))
SETTINGS: Final = (
    Setting(DEFAULTS, "authentication", _one_of(*MECHANISMS), _SPEC.authentication),
    Setting(DEFAULTS, "credential", TEXT),
    Setting(DEFAULTS, "use_ssl", FLAG, _SPEC.use_ssl),
    Setting(DEFAULTS, "port", _whole(1, 65535)),
    Setting(DEFAULTS, "application_name", TEXT, _SPEC.application_name),
    Setting(DEFAULTS, "configuration_name", TEXT, _SPEC.configuration_name),
    Setting(DEFAULTS, "throttle_limit", _whole(1), _SPEC.throttle_limit),
    Setting(DEFAULTS, "connect_timeout", CLOCK, _CLOCKS.connect),
    Setting(DEFAULTS, "auth_timeout", CLOCK, _CLOCKS.authenticate),
    Setting(DEFAULTS, "silence_timeout", CLOCK, _CLOCKS.silence),
    Setting(DEFAULTS, "timeout", CLOCK, _CLOCKS.total),
    Setting(DEFAULTS, "fail_on_error", FLAG, False),
    *(
        Setting(
            DEFAULTS,
            field.name,
            _SPECIAL.get(field.name, _BY_TYPE.get(str(field.type), TEXT)),
            getattr(_OPTION, field.name),
        )
        for field in dataclasses.fields(SessionOption)
    ),
    Setting(
        RETENTION,
        "days",
        Kind(f"the days that a job is kept after its end, 1 or more, or {OFF!r} to keep all", _days),
        90.0,
    ),
    Setting(
        RETENTION,
        "size",
        Kind(f"the bytes that the jobs may take, as 500MB or 2GB, or {OFF!r} for no limit", _size, text=True),
    ),
)

PROVIDERS: Final[Mapping[str, Mapping[str, Key]]] = {
    "prompt": {},
    "keyring": {"service": Key(TEXT)},
    "env": {"variable": Key(TEXT, required=True)},
    "file": {"path": Key(PATH, required=True)},
    "command": {"command": Key(WORDS, required=True), "timeout": Key(SECONDS)},
    "kerberos": {"keytab": Key(PATH), "ccache": Key(CCACHE)},
}
COMMON: Final[Mapping[str, Key]] = {
    "username": Key(TEXT, required=True),
    "provider": Key(_one_of(*PROVIDERS), required=True),
}


def of_text(kind: Kind, text: str) -> Any:
    """What the text of an environment variable would be in TOML."""
    if kind.text:
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            value = number(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return text
