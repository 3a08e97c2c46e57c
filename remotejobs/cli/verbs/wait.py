"""`remotejob wait`: wait until jobs have ended, then list them.

Knows bound parameters and the API. Must not know who runs a job.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import wait_job
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, UNFINISHED, exit_code_of, print_jobs, select
from remotejobs.states import JobState


def run(bound: Bound) -> int:
    """Run the verb; the exit code is that of the jobs' ends, 6 at the time-out with nothing on stdout."""
    return asyncio.run(_wait(bound.values))


async def _wait(values: Mapping[str, Any]) -> int:
    jobs, failed = await select("wait", values)
    if not jobs:
        return FAILED if failed else 0
    seconds = values.get("Timeout", -1)
    numbers = ",".join(str(job.id) for job in jobs)
    try:
        ended = await wait_job(
            jobs,
            any=bool(values.get("Any")),
            timeout=None if seconds < 0 else float(seconds),
            force=bool(values.get("Force")),
        )
    except asyncio.CancelledError:
        print(f"Not waiting any more; what runs goes on: remotejob wait {numbers}", file=sys.stderr)
        raise
    if not ended:
        print(f"Not ended after {seconds} s: remotejob get {numbers} shows how far it is.", file=sys.stderr)
        return UNFINISHED
    print_jobs(ended, values)
    left = [job for job in ended if job.state is JobState.Disconnected]
    if left:
        numbers = ",".join(str(job.id) for job in left)
        print(
            f"WARNING: Disconnected, not ended: remotejob connect {numbers} takes the output up again, and -Force waits"
            " for the end.",
            file=sys.stderr,
        )
    return FAILED if failed else exit_code_of(ended)
