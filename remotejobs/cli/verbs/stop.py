"""`remotejob stop`: stop jobs, or single hosts of them, and wait until they have stopped.

Knows bound parameters and the API. Must not know who runs a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import stop_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, each, print_jobs


def run(bound: Bound) -> int:
    """Run the verb; 0 when every job has ended, 1 where one was not found or could not be stopped."""
    return asyncio.run(_stop(bound.values))


async def _stop(values: Mapping[str, Any]) -> int:
    async def work(job: Job, credentials: Mapping[str, Credential]) -> None:
        await stop_job(job, credential=credentials)

    done, failed = await each("stop", values, "Stop", work)
    if values.get("PassThru"):
        print_jobs(done, values)
    return FAILED if failed else 0
