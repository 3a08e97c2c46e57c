"""`remotejob disconnect`: leave running jobs to their hosts.

Knows bound parameters and the API. Must not know shells or who runs a job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import disconnect_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, each, print_jobs


def run(bound: Bound) -> int:
    """Run the verb; 1 where a job was not found or could not be disconnected."""
    return asyncio.run(_disconnect(bound.values))


async def _disconnect(values: Mapping[str, Any]) -> int:
    async def work(job: Job, _credentials: Mapping[str, Credential]) -> None:
        await disconnect_job(job)

    done, failed = await each("disconnect", values, "Disconnect", work)
    if done:
        print_jobs(done, values)
    return FAILED if failed else 0
