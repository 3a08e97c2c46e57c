"""`remotejob import`: take a job from a file.

Knows bound parameters and the API. Must not know what the file holds.
"""

# ruff: noqa: N999 - named as the verb is
from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from remotejobs.api.files import import_job
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import print_jobs


def run(bound: Bound) -> int:
    """Run the verb.

    Raises:
        RemoteJobsError: The job is here already, or the file cannot be read; nothing was imported.
    """
    return asyncio.run(_import(bound.values))


async def _import(values: Mapping[str, Any]) -> int:
    job = await import_job(values["Path"])
    print_jobs([job], values)
    for note in job.notes:
        print(f"WARNING: {note}", file=sys.stderr)
    return 0
