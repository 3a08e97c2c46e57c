"""`remotejob connect`: take jobs up again that are Disconnected, or whose process is gone.

Knows bound parameters and the API. Must not know shells or who runs a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import connect_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, each, print_jobs


def run(bound: Bound) -> int:
    """Run the verb; it returns when another process has the job. 1 where a job was not found or not taken up."""
    return asyncio.run(_connect(bound.values))


async def _connect(values: Mapping[str, Any]) -> int:
    async def work(job: Job, credentials: Mapping[str, Credential]) -> None:
        await connect_job(job, credential=credentials)

    done, failed = await each("connect", values, "Connect", work)
    if done:
        print_jobs(done, values)
    return FAILED if failed else 0
