"""What users of the library call, async first; `remotejobs.sync` has the same names without await.

Knows PowerShell's parameters and turns them into a JobSpec. Must not know how a job is run: compose does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import TargetError, UsageError
from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob, TakeOver
from remotejobs.jobs.manager import Errors, JobManager, JobName
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.retry import retry, targets_of_job
from remotejobs.jobs.scripts import read_script as read_script
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.model import (
    DEFAULT_CONFIGURATION,
    DEFAULT_THROTTLE_LIMIT,
    Clocks,
    JobSpec,
    Limits,
    ScriptCommand,
    SessionOption,
    Target,
    seconds_of,
)
from remotejobs.ports import JobStore
from remotejobs.states import JobState
from remotejobs.targets.resolve import Resolved, resolve
from remotejobs.targets.uris import targets_of as targets_of

Seconds = float | timedelta | None
Credentials = Credential | tuple[str, str] | Mapping[str, Credential] | None
_stores: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Path, JobStore]] = WeakKeyDictionary()


async def invoke_command(
    computer_name: str | Sequence[str | Target] | None = None,
    script_block: str | None = None,
    *,
    file_path: str | Path | None = None,
    connection_uri: str | Sequence[str] | None = None,
    argument_list: Sequence[Any] = (),
    credential: Credentials = None,
    authentication: str = "Default",
    use_ssl: bool = False,
    port: int | None = None,
    application_name: str = "wsman",
    configuration_name: str = DEFAULT_CONFIGURATION,
    throttle_limit: int = DEFAULT_THROTTLE_LIMIT,
    session_option: SessionOption | None = None,
    job_name: str = "",
    hide_computer_name: bool = False,
    connect_timeout: Seconds = 30.0,
    auth_timeout: Seconds = 30.0,
    silence_timeout: Seconds = None,
    timeout: Seconds = None,
    deadline: Seconds = None,
    limits: Limits | None = None,
    as_job: bool = False,
    in_disconnected_session: bool = False,
    store: JobStore | None = None,
) -> RemoteJob:
    """Run a script block on many hosts (Invoke-Command). Returns at once; the job runs on the current event loop.

    With as_job a process of its own runs it, which goes on when this one ends; `get_job` finds it from anywhere.

    Args:
        computer_name: Names, ranges (`web[01-20]`), lists (`@file`), exclusions (`!name`), or Targets. A name that
            comes twice runs twice. None is `localhost`, an empty list an error.
        script_block: The script's text, without the braces.
        file_path: A local .ps1 file to run instead.
        connection_uri: Endpoints by URI instead of computer_name.
        argument_list: Positional arguments: None, bool, int, float, str, bytes, Decimal, datetime, timedelta, UUID,
            lists and dictionaries of them.
        credential: One for all targets; or by name, `""` for targets that name none.
        authentication: Mechanism: Basic for now.
        use_ssl, port, application_name, configuration_name: How targets are reached that do not say otherwise.
        throttle_limit: Hosts at a time; below 1 means 32.
        session_option: See SessionOption.
        job_name: A name instead of `Job<id>`.
        hide_computer_name: Display only.
        connect_timeout, auth_timeout: Seconds or timedelta for each host; None is off.
        silence_timeout: The longest time without a record from a host that runs the script; None is off.
        timeout: For one host, from its first connection; None is off.
        deadline: For the whole job; None is off.
        limits: What a host may send.
        as_job: Hand it to a process of its own.
        in_disconnected_session: Leave each shell Disconnected on its host once the script runs there.
        store: Where it is kept. None is memory; with as_job the store of the state directory.

    Returns:
        The job. Read it with `async for record in job.stream()`, or `await job.wait()`.

    Raises:
        UsageError: What was asked for cannot be done as written; nothing was connected.
        JobError: With as_job: no process came up to run it, nothing was begun.
    """
    if computer_name is not None and connection_uri is not None:
        raise UsageError("Give computer_name or connection_uri, not both.", error_id="AmbiguousParameterSet")
    if (script_block is None) == (file_path is None):
        raise UsageError("Give one of script_block and file_path.", error_id="AmbiguousParameterSet")
    text = script_block if script_block is not None else read_script(Path(file_path or ""))
    if connection_uri is not None:
        resolved = Resolved(targets_of(connection_uri), ())
    else:
        resolved = _resolved("localhost" if computer_name is None else computer_name, store)
    spec = JobSpec(
        command=ScriptCommand(text, tuple(argument_list)),
        targets=resolved.targets,
        name=job_name,
        throttle_limit=throttle_limit,
        authentication=authentication,
        port=port,
        use_ssl=use_ssl,
        application_name=application_name,
        configuration_name=configuration_name,
        hide_computer_name=hide_computer_name,
        session_option=session_option or SessionOption(),
        clocks=Clocks(
            connect=seconds_of(connect_timeout),
            authenticate=seconds_of(auth_timeout),
            silence=seconds_of(silence_timeout),
            total=seconds_of(timeout),
            deadline=seconds_of(deadline),
        ),
        limits=limits or Limits(),
        in_disconnected_session=in_disconnected_session,
    )
    return await start(spec, _credentials(credential), notes=resolved.warnings, as_job=as_job, store=store)


async def start(
    spec: JobSpec,
    credentials: Mapping[str, Credential],
    *,
    notes: Sequence[str] = (),
    as_job: bool = False,
    store: JobStore | None = None,
) -> RemoteJob:
    """Run a job from a ready JobSpec; what the CLI calls.

    Args:
        spec: What to do.
        credentials: By name; `""` is the one for targets that name none.
        notes: What an admin should know of it.
        as_job: Hand it to a process of its own.
        store: Where it is kept. None is memory; with as_job the store of the state directory.

    Raises:
        UsageError: It cannot be done as written; nothing was connected.
        JobError: With as_job: no process came up to run it.
    """
    from remotejobs import compose

    if not as_job:
        return await compose.start(spec, credentials, notes=notes, store=store)
    store = _store(store)
    home = _home(store)
    row = await compose.submit(spec, credentials, notes=notes, store=store)
    await compose.start_worker(row.id, credentials, mode="run", home=home, store=store)
    return RemoteJob(store, row.id, take_over=_taking_over(store))


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
    return _manager(store).get(
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
        errors: Takes what was not found; without it the first of these is raised at the end.
        store: Where to look; the state directory's unless given.

    Raises:
        JobError: A job was not found.
        UsageError: Switches that exclude each other.
    """
    items = _manager(store).receive(
        job,
        keep=keep,
        wait=wait,
        force=force,
        location=location,
        no_recurse=no_recurse,
        from_start=from_start,
        write_events=write_events,
        idle=idle,
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
    return await _manager(store).wait(job, any=any, timeout=timeout, force=force, errors=errors)


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
    return await _manager(store).stop(job, _credentials(credential), errors)


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
    return await _manager(store).remove(job, force=force, credentials=_credentials(credential), errors=errors)


async def disconnect_job(
    job: JobName | Sequence[JobName], *, errors: Errors | None = None, store: JobStore | None = None
) -> list[RemoteJob | ChildJob]:
    """Leave the shells of jobs on their hosts, where the scripts go on (Disconnect-PSSession), and return the jobs.

    Raises:
        JobError: A job was not found or has ended.
    """
    return await _manager(store).disconnect(job, errors)


async def connect_job(
    job: JobName | Sequence[JobName],
    *,
    credential: Credentials = None,
    errors: Errors | None = None,
    store: JobStore | None = None,
) -> list[RemoteJob | ChildJob]:
    """Find the shells of jobs again that are Disconnected, or that nobody runs any more, and return the jobs.

    A process of its own then receives what the hosts send, as with invoke_command(as_job=True).

    Raises:
        JobError: A job was not found or has ended.
        ConfigurationError: CredentialMissing.
    """
    return await _manager(store).connect(job, _credentials(credential), errors)


async def retry_job(
    job: JobName,
    *,
    state: str | Sequence[str] = (),
    reason: str | Sequence[str] = (),
    credential: Credentials = None,
    as_job: bool = False,
    store: JobStore | None = None,
) -> RemoteJob:
    """Run a job's command again on its targets in some states or end reasons, as a new job linked to it.

    Args:
        job: The job.
        state: States of its children, as `Failed`.
        reason: End reasons, as `Unreachable` or `TimedOut`. Without either: all that failed or was stopped.
        credential: As for invoke_command.
        as_job: Hand it to a process of its own.
        store: Where the job is, and the new one will be; the state directory's unless given.

    Raises:
        JobError: The job was not found, or no target is in these states.
    """
    store = _store(store)
    found = _manager(store).select(job)
    if len(found) != 1 or not isinstance(found[0], RemoteJob):
        raise UsageError(f"Name one job to retry; {job!r} is not one.", error_id="AmbiguousParameterSet")
    again = retry(found[0], _words(state), _words(reason))
    return await start(again.spec, _credentials(credential), notes=again.notes, as_job=as_job, store=store)


def job_targets(expression: str, store: JobStore | None = None) -> tuple[Target, ...]:
    """Read what follows `@job:` in a target list: `42`, `42/Failed`, `Nightly/Unreachable`.

    Raises:
        JobError: There is no such job.
        UsageError: A word that is neither a job state nor an end reason.
    """
    return targets_of_job(expression, _store(store))


def _resolved(names: str | Sequence[str | Target], store: JobStore | None) -> Resolved:
    if isinstance(names, str):
        names = [names]
    ready = [name for name in names if isinstance(name, Target)]
    if len(ready) == len(names) and ready:
        return Resolved(tuple(ready), ())
    if ready:
        raise TargetError("Give names or Targets, not both in one list.")
    words = [name for name in names if isinstance(name, str)]
    return resolve(words, read_stdin=_no_stdin, read_job=lambda expression: job_targets(expression, store))


def _no_stdin() -> str:
    raise TargetError("`-` (standard input) is for the command line; give the names.")


def _credentials(given: Credentials) -> Mapping[str, Credential]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return given
    if isinstance(given, tuple):
        given = Credential(given[0], Secret(given[1]))
    return {"": given}


def _words(given: str | Sequence[str]) -> Sequence[str]:
    return given.split(",") if isinstance(given, str) and given else given or ()


def _manager(store: JobStore | None) -> JobManager:
    store = _store(store)
    return JobManager(store, take_over=_taking_over(store))


def _store(store: JobStore | None) -> JobStore:
    """The store of the state directory, unless one is given. It is opened once for each event loop."""
    if store is not None:
        return store
    from remotejobs.store.home import open_store, state_directory

    home = state_directory()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return open_store()
    if loop not in _stores or _stores[loop][0] != home:
        _stores[loop] = home, open_store()
    return _stores[loop][1]


def _home(store: JobStore) -> Path:
    """The folder that a worker is given: it opens the store there."""
    path = getattr(store, "path", None)
    if not isinstance(path, Path):
        raise UsageError("A job in memory cannot be handed to another process: leave out store, or give one on disk.")
    return path.parent


def _taking_over(store: JobStore) -> TakeOver:
    async def take_over(job_id: int, mode: str, credentials: Mapping[str, Credential]) -> None:
        from remotejobs import compose

        await compose.start_worker(job_id, credentials, mode=mode, home=_home(store), store=store)

    return take_over


def session_option(**settings: Any) -> SessionOption:
    """Make a SessionOption (New-PSSessionOption); times in seconds.

    Raises:
        UsageError: A name that it does not have.
    """
    known = {field.name for field in dataclasses.fields(SessionOption)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UsageError(f"SessionOption has no {unknown[0]!r}; it has {', '.join(sorted(known))}.")
    return SessionOption(**settings)
