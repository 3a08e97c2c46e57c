"""`remotejob set`: change jobs that run.

Knows bound parameters and the API. Must not know who runs a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import set_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, each, print_jobs


def run(bound: Bound) -> int:
    """Run the verb; 1 where a job was not found or could not be changed."""
    return asyncio.run(_set(bound.values))


async def _set(values: Mapping[str, Any]) -> int:
    async def work(job: Job, _credentials: Mapping[str, Credential]) -> None:
        await set_job(job, throttle_limit=values["ThrottleLimit"])

    done, failed = await each("set", values, "Set", work)
    if done:
        print_jobs(done, values)
    return FAILED if failed else 0
