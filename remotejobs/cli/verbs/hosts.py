"""`remotejob hosts`: expand, count or fold host names, as a tool for pipes.

Knows bound parameters and targets. Must not know jobs or the network.
"""

from __future__ import annotations

import sys

from remotejobs.cli.binder import Bound
from remotejobs.targets.ranges import fold
from remotejobs.targets.resolve import resolve


def run(bound: Bound) -> int:
    """Print the names, their number, or one expression for them.

    Raises:
        TargetError: A name, range or server list that cannot be read.
    """
    resolved = resolve(bound.values["ComputerName"], read_stdin=sys.stdin.read)
    for warning in resolved.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    names = (target.name for target in resolved.targets)
    if bound.values.get("Count"):
        print(len(resolved.targets))
    elif bound.values.get("Fold"):
        print(fold(names))
    else:
        print(*names, sep=bound.values.get("Separator", "\n"))
    return 0
