"""From what -ComputerName was given to targets. Knows the forms of one item; must not know jobs, stores or hosts.

    name, web[01-20]     computer names and ranges (ranges.py); these have no settings of their own
    @file, @file:group   a server list (inventory.py), or what is in one group of it
    -                    a server list on standard input
    @job:42, @job:42/Failed
                         the targets of an earlier job, or those in a state or end reason; somebody else reads these
    !item                without these, wherever it stands: any of the forms above

Commas part items. Order and duplicates are kept, as PowerShell keeps them: a name that comes twice runs twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from remotejobs.errors import TargetError
from remotejobs.model import Target
from remotejobs.targets.inventory import GROUP, parse, read_list
from remotejobs.targets.names import check_name, name_key, shown
from remotejobs.targets.ranges import MAX_NAMES, expand, fold, split_list, too_many

STANDARD_INPUT = "<standard input>"
_JOB = "@job:"

_LONGEST_FOLD = 500  # characters of folded names in a warning


class Resolved(NamedTuple):
    """The targets of one job in the order they were named, and what the user should be told about them."""

    targets: tuple[Target, ...]
    warnings: tuple[str, ...]


def resolve(
    expressions: Sequence[str],
    *,
    read_stdin: Callable[[], str],
    read_job: Callable[[str], Iterable[Target]] | None = None,
) -> Resolved:
    """Return the targets that `expressions` name. Everything is checked before anything is returned.

    Args:
        expressions: Each a comma list of the forms in the module's docstring.
        read_stdin: Called once at most, when an item is `-`: all of standard input.
        read_job: Called with what follows `@job:`. Without it such an item is a server list like any other.

    Raises:
        TargetError: A name, range, list or group is wrong (PowerShell, too, refuses the whole command for one bad
            name, with PSSessionInvalidComputerName), no target is left, or there are more than MAX_NAMES.
    """
    standard_input = cache(lambda: parse(read_stdin(), STANDARD_INPUT))
    targets: list[Target] = []
    excluded: set[str] = set()
    exclusions: list[tuple[str, set[str]]] = []
    for item in (item for expression in expressions for item in split_list(expression)):
        if item.startswith("!"):
            names = {name_key(target.name) for target in _read(item[1:], standard_input, read_job)}
            exclusions.append((item, names))
            excluded |= names
        else:
            targets += _read(item, standard_input, read_job)
        if max(len(targets), len(excluded)) > MAX_NAMES:
            raise too_many("The list of targets")
    named = {name_key(target.name) for target in targets}
    warnings = [
        f"{item} leaves nothing out: no such target is named." for item, names in exclusions if not names & named
    ]
    kept = tuple(target for target in targets if name_key(target.name) not in excluded)
    if not kept:
        raise TargetError("No target is left: every name is left out by !." if targets else "No target is named.")
    return Resolved(kept, (*warnings, *_duplicates(kept)))


def _read(
    item: str, standard_input: Callable[[], list[Target]], read_job: Callable[[str], Iterable[Target]] | None
) -> list[Target]:
    """Return the targets of one item."""
    if item == "-":
        return standard_input()
    if read_job is not None and item.startswith(_JOB):
        return list(read_job(item.removeprefix(_JOB)))
    if item.startswith("@"):
        return _from_list(item[1:])
    return [Target(check_name(name)) for name in expand(item)]


def _from_list(reference: str) -> list[Target]:
    """Read `file` or `file:group`. One letter before the colon is a drive, and a group has no separators or dots."""
    path, _, group = reference.rpartition(":")
    if len(path) < 2 or not GROUP.fullmatch(group):
        path, group = reference, ""
    if not path:
        raise TargetError("@ needs the name of a server list: @servers.txt.")
    targets = read_list(path)
    if not group:
        return targets
    members = [target for target in targets if group.lower() in map(str.lower, target.group)]
    if not members:
        groups = sorted({group for target in targets for group in target.group}, key=str.lower)
        known = f"its groups are {', '.join(groups)}" if groups else "no line of it has group="
        raise TargetError(f"The server list {shown(path)} has nothing in the group {group}: {known}.", file=path)
    return members


def _duplicates(targets: Iterable[Target]) -> list[str]:
    """Return the one warning about names that come more than once, if there are any."""
    mentions: defaultdict[str, list[str]] = defaultdict(list)
    for target in targets:
        mentions[name_key(target.name)].append(target.name)
    twice = [names[0] for names in mentions.values() if len(names) > 1]
    if not twice:
        return []
    folded = fold(twice)
    if len(folded) > _LONGEST_FOLD:
        folded = f"{folded[:_LONGEST_FOLD]}…"
    what = "1 target is" if len(twice) == 1 else f"{len(twice):,} targets are"
    return [f"{what} named more than once and will run as often: {folded}"]
