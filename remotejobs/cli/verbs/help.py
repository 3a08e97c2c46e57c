"""`remotejob help [VERB]`. Knows the tables; must not know what any verb does."""

from __future__ import annotations

from remotejobs.cli.binder import Bound
from remotejobs.cli.commands import COMMANDS, find_command
from remotejobs.cli.help import overview, verb_help


def run(bound: Bound) -> int:
    """Print the overview, or everything about one verb."""
    name = bound.values.get("Name")
    print(verb_help(find_command(name)) if name else overview(COMMANDS))
    return 0
