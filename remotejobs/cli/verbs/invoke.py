"""`remotejob invoke`: the part that must be quick, so that -AsJob returns within half a second.

Knows bound parameters and that a worker can be begun early. Must not know how a job is run: `cli.invocation` does that,
and is read while the worker starts.
"""

from __future__ import annotations

import os

from remotejobs.cli.binder import Bound


def run(bound: Bound) -> int:
    """Run the verb; returns the exit code of design section 6."""
    values = bound.values
    starting = None
    if values.get("AsJob") or values.get("JobName"):
        from remotejobs import detach

        if values.get("LogFile"):
            os.environ["REMOTEJOBS_LOG"] = values["LogFile"]  # the worker writes it
        starting = detach.begin()
    try:
        from remotejobs.cli.invocation import invoke

        return invoke(values, starting)
    finally:
        if starting is not None:
            starting.dismiss()
