"""Every verb, and how one is found by what the user typed.

Each verb's table is in `remotejobs.cli.tables`; its work is `run(bound: Bound) -> int` in `remotejobs.cli.verbs.NAME`.

Knows the verbs by name. Must not know how words are bound or what a verb does, and must stay cheap to import: each
start of the CLI reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from remotejobs.cli.parameters import Command
from remotejobs.cli.tables.config import CONFIG
from remotejobs.cli.tables.files import EXPORT, IMPORT
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.cli.tables.jobs import CONNECT, DISCONNECT, GET, RECEIVE, REMOVE, RETRY, SET, STOP, WAIT
from remotejobs.cli.tables.local import HELP, HOSTS, SIMULATE, WORKER
from remotejobs.cli.tables.sessions import SESSIONS
from remotejobs.cli.tables.test import IDENTIFY, TEST
from remotejobs.cli.words import suggestion
from remotejobs.errors import UsageError

COMMANDS = (
    INVOKE,
    GET,
    RECEIVE,
    WAIT,
    STOP,
    SET,
    REMOVE,
    DISCONNECT,
    CONNECT,
    RETRY,
    EXPORT,
    IMPORT,
    SESSIONS,
    TEST,
    IDENTIFY,
    HOSTS,
    CONFIG,
    SIMULATE,
    HELP,
)


def find_command(word: str) -> Command:
    """Return the verb called `word`: its name, PowerShell's cmdlet name, an alias, or a unique beginning of one.

    Raises:
        UsageError: No verb has that name, or several begin so.
    """
    if word == WORKER.name:
        return WORKER
    wanted = word.casefold()
    found = [each for each in COMMANDS if wanted in _folded(each.names)] or [
        each for each in COMMANDS if wanted and any(name.startswith(wanted) for name in _folded(each.names))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        reason = f"'{word}' may be {' or '.join(each.name for each in found)}: write more of it."
    else:
        verbs = ", ".join(each.name for each in COMMANDS)
        hint = suggestion(word, (name for each in COMMANDS for name in each.names)) or f" The verbs are {verbs}."
        reason = f"There is no verb '{word}'.{hint}"
    raise UsageError(reason, error_id="CommandNotFoundException")


def _folded(names: Iterable[str]) -> list[str]:
    return [name.casefold() for name in names]
