"""How many connections this process may hold. Knows RLIMIT_NOFILE where there is one; must not know hosts."""

from __future__ import annotations

import contextlib
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


def capacity(wanted: int, connections: int = 1) -> Capacity:
    """Raise the soft limit as far as `wanted` hosts need and the hard limit allows, and share out what there is.

    A host that ends keeps its connection until its shell is deleted, outside its slot: hence the margin.

    Args:
        wanted: Hosts at a time.
        connections: What each holds: 2 where input is streamed beside what is received.
    """
    in_use = _in_use() + _RESERVE
    limit = _raise_limit(wanted * connections * 5 // 4 + in_use)
    if limit is None:
        return Capacity(wanted, max(64, wanted // 10), None)
    free = max(limit - in_use, 5)
    return Capacity(min(wanted, max(free * 4 // 5 // connections, 1)), max(free // 10, 1), limit)


def _raise_limit(needed: int) -> int | None:
    """Raise RLIMIT_NOFILE to `needed` as far as it goes; return what it is then, None where there is none."""
    limit: int | None = None
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            limit = soft
            goal = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            if soft < goal:
                # macOS refuses what its kernel does not have: the old limit then counts
                with contextlib.suppress(ValueError, OSError):
                    resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
                    limit = goal
    return limit


def _in_use() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return 16
