"""`remotejob __worker`: the process that runs a job after the command that started it has returned. Not for people.

Knows logging and compose. Must not know how it was started or what it is told to do.
"""

from __future__ import annotations

import logging

from remotejobs.cli.binder import Bound
from remotejobs.cli.logfile import RedactingFormatter, open_log


def run(bound: Bound) -> int:  # noqa: ARG001
    """Be a worker until its job has ended."""
    from remotejobs import compose

    return compose.run_worker(_begin_log)


def _begin_log() -> None:
    """What goes wrong to the job's own log, and every step to the file of -LogFile if there is one; never a secret."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(RedactingFormatter())
    logging.getLogger().addHandler(handler)
    open_log(None)
