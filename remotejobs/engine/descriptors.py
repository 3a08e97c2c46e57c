"""How many connections this process may hold. Knows RLIMIT_NOFILE where there is one; must not know hosts."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

_RESERVE = 64


class Capacity(NamedTuple):
    """What the limit of open files leaves.

    Attributes:
        slots: Hosts at a time, at most.
        spare: Second connections at a time (stop past a pending Receive), on top.
        limit: The limit itself, None where there is none.
    """

    slots: int
    spare: int
    limit: int | None


def capacity(wanted: int) -> Capacity:
    """Raise the soft limit as far as `wanted` hosts need and the hard limit allows, and share out what there is.

    A host that ends keeps its connection until its shell is deleted, outside its slot: hence the margin.
    """
    if sys.platform == "win32":
        return Capacity(wanted, max(64, wanted // 10), None)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * 5 // 4 + _RESERVE + _in_use()
    if soft != resource.RLIM_INFINITY and soft < needed:
        goal = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
            soft = goal
        except (ValueError, OSError):
            pass  # macOS refuses what its kernel does not have: the old limit then counts
    if soft == resource.RLIM_INFINITY:
        return Capacity(wanted, max(64, wanted // 10), None)
    free = max(soft - _RESERVE - _in_use(), 5)
    return Capacity(min(wanted, free * 4 // 5), max(free // 10, 1), soft)


def _in_use() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return 16
