"""`remotejob export`: write a job to a file for another computer.

Knows bound parameters and the API. Must not know what the file holds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from remotejobs.api.files import export_job
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, print_jobs, select
from remotejobs.errors import UsageError


def run(bound: Bound) -> int:
    """Run the verb; 1 where the job was not found.

    Raises:
        UsageError: Several jobs were named.
        RemoteJobsError: It cannot be exported, or the file cannot be written.
    """
    return asyncio.run(_export(bound.values))


async def _export(values: Mapping[str, Any]) -> int:
    jobs, failed = await select("export", values, children=False)
    if failed:
        return FAILED
    if len(jobs) != 1:
        raise UsageError(
            f"A file holds one job, and {len(jobs)} are named: {', '.join(str(job.id) for job in jobs)}. Export them"
            " one by one."
        )
    job = await export_job(jobs[0], values["Path"], force=bool(values.get("Force")))
    print_jobs([job], values)
    if not job.state.finished:
        print(
            f"Job {job.id} is still here, too. A shell on a host has one client: connect the job here or where the file"
            " is imported, not in both places.",
            file=sys.stderr,
        )
    return 0
