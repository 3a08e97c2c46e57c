"""`remotejob retry`: run the script of a job again, as a new job, where it did not complete.

Knows bound parameters and the API. Must not know how a job is run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from remotejobs.api.invoke import retry_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.answers import answers_of
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import FAILED, Job, Passwords, each, print_jobs
from remotejobs.errors import ConfigurationError
from remotejobs.jobs.job import RemoteJob


def run(bound: Bound) -> int:
    """Run the verb: prints the new jobs, which run on in processes of their own."""
    return asyncio.run(_retry(bound.values))


async def _retry(values: Mapping[str, Any]) -> int:
    made: list[Job] = []
    asked = Passwords(values)
    answers = answers_of(values, asked.find)

    async def work(job: Job, credentials: Mapping[str, Credential]) -> None:
        try:
            again = await retry_job(
                job, state=values.get("State") or (), answers=answers, credential=credentials, as_job=True
            )
        except ConfigurationError as error:
            if error.error_id != "CredentialMissing" or not isinstance(job, RemoteJob):
                raise
            row = job.row
            names = {child.target.credential or row.spec.credential or "" for child in row.children}
            raise ConfigurationError(error.message, error_id=error.error_id, credentials=sorted(names)) from None
        for note in again.notes:
            print(f"WARNING: {note}", file=sys.stderr)
        made.append(again)

    _, failed = await each("retry", values, "Retry", work, asked)
    if made:
        print_jobs(made, values)
    return FAILED if failed else 0
