"""Loaded by every Python process of a kill run (PYTHONPATH): lets it die where the run says, and shortens leases.

REMOTEJOBS_KILL is `WHO time SECONDS` or `WHO STEP before|after COUNT`; WHO is `worker` or `cli`, STEP a method of the
ledger. Death is SIGKILL: nothing of the process has a last word.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any


def _die() -> None:
    with open(os.environ["REMOTEJOBS_KILLED"], "ab", buffering=0) as file:
        file.write(b"x")
    os.kill(os.getpid(), signal.SIGKILL)


def _at_step(step: str, when: str, count: int) -> None:
    from remotejobs.store.sqlite import SqliteLedger

    original = getattr(SqliteLedger, step)
    calls = 0

    async def method(self: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls == count
        if mine and when == "before":
            _die()
        result = await original(self, *args)
        if mine:
            _die()
        return result

    setattr(SqliteLedger, step, method)


def _install() -> None:
    words = os.environ.get("REMOTEJOBS_KILL", "").split()
    argv = sys.orig_argv
    if "-m" not in argv or "remotejobs" not in argv:
        return
    lease = os.environ.get("REMOTEJOBS_LEASE")
    if lease:
        from remotejobs import rows

        rows.LEASE_SECONDS = float(lease)
    if not words or words[0] != ("worker" if "__worker" in argv else "cli"):
        return
    if words[1] == "time":
        timer = threading.Timer(float(words[2]), _die)
        timer.daemon = True
        timer.start()
    else:
        _at_step(words[1], words[2], int(words[3]))


_install()
