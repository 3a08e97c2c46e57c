"""`remotejob remove`: remove jobs and what is stored of them.

Knows bound parameters and the API. Must not know stores.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import remove_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, each
from remotejobs.targets.ranges import fold


def run(bound: Bound) -> int:
    """Run the verb; 1 where a job was not found or could not be removed. The others of the call are removed."""
    return asyncio.run(_remove(bound.values))


async def _remove(values: Mapping[str, Any]) -> int:
    async def work(job: Job, credentials: Mapping[str, Credential]) -> None:
        left = await remove_job(job, force=bool(values.get("Force")), credential=credentials)
        if left:
            print(
                f"WARNING: Job {job.id} is removed, but these did not answer to the stop, and its script may still run"
                f" there: {fold(left)}",
                file=sys.stderr,
            )

    _, failed = await each("remove", values, "Remove", work)
    return FAILED if failed else 0
