"""Jobs that are there: Get-Job, Receive-Job, Wait-Job, Stop-Job, Remove-Job, and their connections.

Knows PowerShell's parameters. Must not know how a job is found, read or ended: jobs/ does that.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from remotejobs.api.common import Credentials, Seconds, credentials_of, manager_of
from remotejobs.jobs.connecting import CONNECT_SECONDS
from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
from remotejobs.jobs.manager import Errors, JobName
from remotejobs.jobs.reading import Written
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.ports import JobStore
from remotejobs.states import JobState


async def get_job(
    id: int | Sequence[int] | None = None,  # noqa: A002
    *,
    name: str | Sequence[str] | None = None,
    instance_id: uuid.UUID | str | Sequence[uuid.UUID | str] | None = None,
    state: JobState | str | None = None,
    command: str | Sequence[str] | None = None,
    include_child_job: bool = False,
    child_job_state: JobState | str | None = None,
    has_more_data: bool | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
    newest: int | None = None,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[RemoteJob | ChildJob]:
    """Return jobs by rising id (Get-Job): all, or those that one of the selectors finds.

    Args:
        id: Ids of jobs or child jobs.
        name: Names of jobs or child jobs, with wildcards.
        instance_id: Instance ids of jobs or child jobs.
        state: Jobs in this state.
        command: Jobs with this script, with wildcards.
        include_child_job: Also the children of what was found.
        child_job_state: Also those children that are in this state.
        has_more_data: Of all these only those that have, or have not.
        before, after: Only what ended before, after that time.
        newest: Only the so many that ended last.
        errors: Takes what was not found; without it the first of these is raised.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found; `error_id` is PowerShell's.
    """
    return manager_of(store).get(
        id,
        name=name,
        instance_id=instance_id,
        state=state,
        command=command,
        include_child_job=include_child_job,
        child_job_state=child_job_state,
        has_more_data=has_more_data,
        before=before,
        after=after,
        newest=newest,
        errors=errors,
    )


async def receive_job(
    job: JobName | Sequence[JobName],
    *,
    keep: bool = False,
    wait: bool = False,
    force: bool = False,
    location: str | Sequence[str] | None = None,
    no_recurse: bool = False,
    from_start: bool = False,
    write_events: bool = False,
    idle: Callable[[], None] | None = None,
    written: Written | None = None,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> AsyncIterator[ReceivedRecord | ChildEnd | JobStateEvent]:
    """Yield what jobs received and nobody read yet, host by host, then how hosts ended, once (Receive-Job).

    Args:
        job: Ids, names with wildcards, instance ids, or jobs.
        keep: Leave all of it for the next time.
        wait: Go on as more comes, until the jobs have ended or are Disconnected.
        force: With wait: go on while they are Disconnected.
        location: Of these targets only.
        no_recurse: Nothing of children: of a remote job nothing at all.
        from_start: Again what was received before and is still stored.
        write_events: With wait: also a JobStateEvent for each job and child job that ends.
        idle: Called when what came so far has been yielded and, always, before the cursor moves: print it now.
        written: Called with what moves the cursor, for who holds records back: call it when they are written out.
        errors: Takes what was not found; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found.
        UsageError: Switches that exclude each other.
    """
    items = manager_of(store).receive(
        job,
        keep=keep,
        wait=wait,
        force=force,
        location=location,
        no_recurse=no_recurse,
        from_start=from_start,
        write_events=write_events,
        idle=idle,
        written=written,
        errors=errors,
    )
    async with contextlib.aclosing(items):
        async for item in items:
            yield item


async def wait_job(
    job: JobName | Sequence[JobName],
    *,
    any: bool = False,  # noqa: A002
    timeout: Seconds = None,
    force: bool = False,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[RemoteJob | ChildJob]:
    """Wait until jobs have ended or are Disconnected, and return them in the order given (Wait-Job).

    Args:
        job: Ids, names with wildcards, instance ids, or jobs; repeats count once.
        any: Return the first that has, alone.
        timeout: For all together; when it is over nothing is returned. None waits as long as it takes.
        force: Wait on while they are Disconnected.
        errors: Takes what was not found; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found, or cannot end before its output is read.
    """
    return await manager_of(store).wait(job, any=any, timeout=timeout, force=force, errors=errors)


async def stop_job(
    job: JobName | Sequence[JobName],
    *,
    credential: Credentials = None,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[RemoteJob | ChildJob]:
    """Stop jobs or single targets, wait until they have ended, and return them (Stop-Job).

    Args:
        job: Ids, names with wildcards, instance ids, or jobs.
        credential: As for invoke_command; needed where nobody runs a job any more.
        errors: Takes what went wrong with one job; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found, or a host did not answer.
        ConfigurationError: CredentialMissing; `details["credentials"]` has the names.
    """
    return await manager_of(store).stop(job, credentials_of(credential), errors)


async def remove_job(
    job: JobName | Sequence[JobName],
    *,
    force: bool = False,
    credential: Credentials = None,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[str]:
    """Remove jobs with all that they received (Remove-Job).

    Args:
        job: Ids, names with wildcards, instance ids, or jobs; children go with their parents only.
        force: Stop those that have not ended.
        credential: As for stop_job.
        errors: Takes what went wrong with one job; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Returns:
        Names of targets that did not answer to the stop: their scripts may still run.

    Raises:
        JobError: A job was not found, has not ended, or is a child.
    """
    return await manager_of(store).remove(job, force=force, credentials=credentials_of(credential), errors=errors)


async def disconnect_job(
    job: JobName | Sequence[JobName], *, errors: Errors | None = None, store: JobStore | None = None
) -> list[RemoteJob | ChildJob]:
    """Leave the shells of jobs on their hosts, where the scripts go on (Disconnect-PSSession), and return the jobs.

    Raises:
        JobError: A job was not found or has ended.
    """
    return await manager_of(store).disconnect(job, errors)


async def set_job(
    job: JobName | Sequence[JobName],
    *,
    throttle_limit: int,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[RemoteJob | ChildJob]:
    """Change jobs that have not ended, and return them; whoever runs one obeys within a second.

    Args:
        job: Ids, names with wildcards, instance ids, or jobs.
        throttle_limit: Hosts at a time. What runs goes on: under a lower limit nobody begins until enough have ended.
        errors: Takes what went wrong with one job; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found, has ended, or is a child.
        UsageError: A limit below 1.
    """
    return await manager_of(store).set(job, throttle_limit=throttle_limit, errors=errors)


async def connect_job(
    job: JobName | Sequence[JobName],
    *,
    credential: Credentials = None,
    timeout: Seconds = CONNECT_SECONDS,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[RemoteJob | ChildJob]:
    """Find the shells of jobs again that are Disconnected, or that nobody runs any more (Connect-PSSession).

    Returns the jobs when their scripts are connected. A process of its own then receives what the hosts send, as with
    invoke_command(as_job=True). A job that another process runs is left as it is.

    Args:
        job: Ids, names with wildcards, instance ids, or jobs.
        credential: As for stop_job.
        timeout: How long to wait for the hosts; the process goes on after that. None waits as long as it takes.
        errors: Takes what went wrong with one job; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found or has ended; or PSSessionConnectFailed: hosts were not connected, which
            `details["failed"]` lists with the reasons, or have not answered in time (`details["waiting"]`).
        ConfigurationError: CredentialMissing.
    """
    return await manager_of(store).connect(job, credentials_of(credential), timeout, errors)
