"""Server lists: text to targets. Knows the lines and keys of a list; must not know the command line or any host.

One line names one target, or several by a range, then what is special about them:

    name [key=value ...]        # from a "#" at the start or after a blank on, a line is a comment

Keys, case does not matter: address, port, ssl (true, false), application, configuration, authentication (PowerShell's
names), credential (a name, never the secret), group (one name, or several with commas). Blank lines are skipped. A
file is UTF-8, or UTF-16 with a byte order mark as Windows PowerShell writes it; lines end as they like.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Callable
from typing import Any

from remotejobs.errors import TargetError
from remotejobs.model import MECHANISMS, Target
from remotejobs.targets.names import check_name, shown
from remotejobs.targets.ranges import MAX_NAMES, expand, too_many

MAX_BYTES = 64 * 1024 * 1024
"""The longest server list that is read."""

GROUP = re.compile(r"[A-Za-z0-9_-]+")
"""What a group is called; needed by those who split `file:group`."""

_MAX_MISTAKES = 10  # told at once
_COMMENT = re.compile(r"(?:^|\s)#.*")
_MECHANISMS = {name.lower(): name for name in MECHANISMS}


def read_list(path: str) -> list[Target]:
    """Read the server list in the file `path` (`~` is the home folder).

    Raises:
        TargetError: The file cannot be read, is longer than MAX_BYTES, or `parse` refuses its text.
    """
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TargetError(f"The server list {shown(path)} cannot be read: {reason}.", file=path) from error
    if len(data) > MAX_BYTES:
        raise TargetError(f"The server list {shown(path)} is longer than {MAX_BYTES >> 20} MiB.", file=path)
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TargetError(f"{path}:{line}: this is not {encoding.upper()} text.", file=path, line=line) from error
    return parse(text, path)


def parse(text: str, source: str) -> list[Target]:
    """Return the targets of a server list, in its order, duplicates kept.

    Args:
        text: The whole list.
        source: What to call it in messages: its file name.

    Raises:
        TargetError: Some lines are wrong: the message names them, ten at most; `details` hold `file` and the first
            `line`.
    """
    targets: list[Target] = []
    mistakes: list[tuple[int, TargetError]] = []
    for number, line in enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=None), 1):
        words = _COMMENT.sub("", line, count=1).split()
        if not words:
            continue
        try:
            targets += _targets(words)
        except TargetError as error:
            mistakes.append((number, error))
        if len(mistakes) == _MAX_MISTAKES:
            break
        if len(targets) > MAX_NAMES:
            raise too_many(f"The server list {shown(source)}")
    if mistakes:
        raise TargetError(
            "\n".join(f"{source}:{number}: {error.message}" for number, error in mistakes),
            error_id=next((error.error_id for _, error in mistakes if error.error_id), ""),
            file=source,
            line=mistakes[0][0],
        )
    return targets


def _targets(words: list[str]) -> list[Target]:
    """Read one line."""
    names = [check_name(name) for name in expand(words[0])]
    settings: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        key = key.lower()
        if not equals:  # what it says is not repeated: it may be a password
            raise TargetError(f"settings are written key=value, without blanks, with one of {', '.join(_KEYS)}.")
        if key not in _KEYS:
            raise TargetError(f"{shown(key)} is not a setting; there are {', '.join(_KEYS)}.")
        if key in settings:
            raise TargetError(f"{key} is given twice.")
        if not value:
            raise TargetError(f"{key} has no value.")
        settings[key] = _KEYS[key](value)
    if "address" in settings and len(names) > 1:
        raise TargetError(f"address belongs to one name, and {shown(words[0])} is {len(names):,}.")
    return [Target(name, **settings) for name in names]


def _port(value: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise TargetError(f"port is a number from 1 to 65535, not {shown(value)}.")
    return int(value)


def _ssl(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise TargetError(f"ssl is true or false, not {shown(value)}.")
    return value.lower() == "true"


def _authentication(value: str) -> str:
    if value.lower() not in _MECHANISMS:
        raise TargetError(f"authentication is one of {', '.join(_MECHANISMS.values())}, not {shown(value)}.")
    return _MECHANISMS[value.lower()]


def _groups(value: str) -> tuple[str, ...]:
    groups = tuple(value.split(","))
    for group in groups:
        if not GROUP.fullmatch(group):
            raise TargetError(f"a group has letters, digits, - and _ in its name, not {shown(group)}.")
    return groups


_KEYS: dict[str, Callable[[str], Any]] = {
    "address": check_name,
    "port": _port,
    "ssl": _ssl,
    "application": str,
    "configuration": str,
    "authentication": _authentication,
    "credential": str,
    "group": _groups,
}
