"""`remotejob connect`: take jobs up again that are Disconnected, or whose process is gone.

Knows bound parameters and the API. Must not know shells or who runs a job.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from remotejobs.api.jobs import connect_job
from remotejobs.auth.credentials import Credential
from remotejobs.cli.binder import Bound
from remotejobs.cli.jobs import (
    CONCISE,
    FAILED,
    UNFINISHED,
    Job,
    Passwords,
    children_of,
    complain,
    each,
    print_jobs,
)
from remotejobs.errors import ConfigurationError, JobError
from remotejobs.jobs.connecting import CONNECT_SECONDS
from remotejobs.jobs.job import RemoteJob
from remotejobs.states import JobState
from remotejobs.targets.ranges import fold

NOT_REACHED = 3
_SILENT = 2.0  # seconds that may pass before it is said that we wait


def run(bound: Bound) -> int:
    """Run the verb; it returns when the scripts are connected, or another process goes on with it.

    The exit code is 1 where a job was not found or not taken up, 3 where a host was not connected, 6 where one has not
    answered yet.
    """
    return asyncio.run(_connect(bound.values))


async def _connect(values: Mapping[str, Any]) -> int:
    given = values.get("Timeout", CONNECT_SECONDS)
    seconds = None if given < 0 else float(given)
    codes, asked = {0}, Passwords(values)

    async def work(job: Job, credentials: Mapping[str, Credential]) -> None:
        before = getattr(job, "owner", "")
        if isinstance(job, RemoteJob) and (credentials or not job.credential_names):  # who connects is asked for first
            credentials = {**credentials, **_secrets(job, asked)}
        limit = "" if seconds is None else f", for {seconds:g} s at most (-Timeout)"
        line = f"Connecting to the hosts of job {job.id}{limit} ..."
        waits = asyncio.get_running_loop().call_later(_SILENT, _say, line)
        try:
            await connect_job(job, credential=credentials, timeout=seconds)
        except JobError as error:
            if error.error_id != "PSSessionConnectFailed":
                raise
            codes.add(_complain(job, error, values.get("ErrorView", CONCISE)))
        else:
            queued = [child.location for child in children_of(job) if child.state is JobState.Disconnected]
            if queued:
                _say(f"Job {job.id}: {fold(queued)} is connected when others have ended (-ThrottleLimit).")
        finally:
            waits.cancel()
        if before and getattr(job, "owner", "") == before:
            _say(f"Job {job.id} is already run by {before}.")

    done, failed = await each("connect", values, "Connect", work, asked)
    if done:
        print_jobs(done, values)
    return FAILED if failed else NOT_REACHED if NOT_REACHED in codes else max(codes)


def _secrets(job: RemoteJob, asked: Passwords) -> dict[str, Credential]:
    """What scripts are given that have yet to begin. Without it they cannot; what runs is connected all the same."""
    found: dict[str, Credential] = {}
    for name, user in job.secret_names.items():
        try:
            if not user:
                raise ConfigurationError(f"{name} of the script is a secret, and secrets are not stored.")
            found[name] = asked.find(user, argument=True)
        except ConfigurationError as error:
            _say(f"WARNING: {error.message} Hosts of job {job.id} that have not begun end NotStarted.")
    return found


def _complain(job: Job, error: JobError, error_view: str) -> int:
    """Say which hosts were not connected, those with the same reason in one line; the exit code that it makes."""
    names: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in error.details["failed"]:
        names[one["message"], one["error_id"]].append(one["target"])
    for (message, error_id), hosts in names.items():
        complain("connect", JobError(message, error_id=error_id), error_view, fold(hosts))
    waiting = error.details["waiting"]
    if waiting:
        _say(
            f"remotejob connect: [{fold(waiting)}] has not been connected yet: remotejob get {job.id} -IncludeChildJob"
        )
    return NOT_REACHED if names else UNFINISHED


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
