"""PowerShell's job cmdlets over a store: get, receive, wait, stop, remove, disconnect and connect.

Knows jobs, the rules by which they are looked up, and PowerShell's errors. Must not know hosts, engines or the
screen. What was not found, and what one of several jobs refuses, is an error that does not keep the others from being
handled: the first is raised at the end, or all are added to a list where one is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from remotejobs.errors import JobError, RemoteJobsError, UsageError
from remotejobs.jobs import lookup
from remotejobs.jobs.connecting import CONNECT_SECONDS
from remotejobs.jobs.job import ChildEnd, ChildJob, Credentials, RemoteJob, TakeOver, cannot_remove, not_finished
from remotejobs.jobs.lookup import Found
from remotejobs.jobs.reading import Written
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent, merged, with_events
from remotejobs.model import seconds_of
from remotejobs.ports import Clock, JobStore
from remotejobs.states import JobState

Job = RemoteJob | ChildJob
JobName = int | str | uuid.UUID | RemoteJob | ChildJob
Errors = list[RemoteJobsError]


class _Chosen(NamedTuple):
    """A job, and PowerShell's name of the parameter that named it."""

    job: Job
    by: str


class JobManager:
    """All that is done with jobs of one store.

    Args:
        store: Where they are.
        clock: Time; the store's unless given.
        take_over: See RemoteJob.
    """

    def __init__(self, store: JobStore, clock: Clock | None = None, take_over: TakeOver | None = None) -> None:
        self._store = store
        self._clock = clock or store.clock
        self._take_over = take_over

    def get(
        self,
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
    ) -> list[Job]:
        """Get-Job. Always by rising id; an id that is asked for twice comes twice."""
        if sum(given is not None for given in (id, name, instance_id, state, command)) > 1:
            raise UsageError("Give one of id, name, instance_id, state and command.", error_id="AmbiguousParameterSet")
        failed: Errors = []
        if state is not None:
            found = lookup.by_state(self._store, lookup.state_named(state), self._clock.time())
        elif command is not None:
            found = list(lookup.by_command(self._store, [command] if isinstance(command, str) else command))
        elif id is None and name is None and instance_id is None:
            found = [Found(row.id) for row in self._store.jobs()]
        else:
            found = []
            asked: list[JobName] = [*_listed(id), *_listed(name), *map(_uuid, _listed(instance_id))]
            for item in asked:
                found += self._found(item, failed)
        jobs = self._objects(found)
        if child_job_state is not None or include_child_job:
            wanted = None if child_job_state is None else lookup.state_named(child_job_state)
            jobs += [
                child
                for job in jobs
                if isinstance(job, RemoteJob)
                for child in job.child_jobs
                if wanted is None or child.state is wanted
            ]
        if has_more_data is not None:
            jobs = [job for job in jobs if job.has_more_data is has_more_data]
        if before is not None:
            jobs = [job for job in jobs if _ended(job) < before.timestamp()]
        if after is not None:
            jobs = [job for job in jobs if math.inf > _ended(job) > after.timestamp()]
        if newest is not None:
            jobs = sorted(jobs, key=lambda job: (_ended(job) == math.inf, -_ended(job), -job.id))[: max(newest, 0)]
        _report(failed, errors)
        return sorted(jobs, key=lambda job: job.id)

    def select(self, jobs: JobName | Sequence[JobName], errors: Errors | None = None) -> list[Job]:
        """The jobs that are meant: ids, names with wildcards, instance ids or the jobs themselves; repeats stay."""
        failed: Errors = []
        chosen = [each.job for each in self._select(jobs, failed)]
        _report(failed, errors)
        return chosen

    async def receive(
        self,
        jobs: JobName | Sequence[JobName],
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
    ) -> AsyncGenerator[ReceivedRecord | ChildEnd | JobStateEvent, None]:
        """Receive-Job: what lies unread, host by host, then how hosts ended; with `wait` also all that still comes."""
        _check_receive(keep, wait, force, write_events)
        failed: Errors = []
        places = None if location is None else {name.casefold() for name in _listed(location)}
        sources: list[tuple[RemoteJob, tuple[int, ...] | None]] = []
        for job, _ in self._select(jobs, failed):
            if isinstance(job, ChildJob):
                if places is None:
                    sources.append((job.parent, (job.index,)))
            elif places is not None:
                there = [i for i, child in enumerate(job.row.children) if child.target.name.casefold() in places]
                if there:
                    sources.append((job, tuple(there)))
            elif not no_recurse:
                sources.append((job, None))
        # an end counts once the records that came before it have been read
        ended = [len(job.row.ends) for job, _ in sources]
        readers = [
            job.reader(idle, keep=keep, from_start=from_start, children=children, written=written)
            for job, children in sources
        ]
        if not (wait and from_start):
            for (job, _), reader in zip(sources, readers, strict=True):
                for record in job.read(reader=reader):
                    yield record
        if not wait:
            for (job, children), count in zip(sources, ended, strict=True):
                for end in job.ends(keep=keep, from_start=from_start, children=children, count=count):
                    yield end
        else:
            streams = [
                with_events(
                    job,
                    children,
                    job.events(idle, from_start=from_start, force=force, children=children, reader=reader),
                    events=write_events,
                )
                for (job, children), reader in zip(sources, readers, strict=True)
            ]
            async with contextlib.aclosing(merged(streams)) as items:
                async for item in items:
                    yield item
        _report(failed, errors)

    async def wait(
        self,
        jobs: JobName | Sequence[JobName],
        *,
        any: bool = False,  # noqa: A002
        timeout: float | timedelta | None = None,
        force: bool = False,
        errors: Errors | None = None,
    ) -> list[Job]:
        """Wait-Job: the jobs in the order given once all have ended, with `any` the first that has; nothing in time."""
        failed: Errors = []
        chosen = list({(type(job), job.id): job for job, _ in self._select(jobs, failed)}.values())
        seconds = seconds_of(timeout)
        if seconds is not None and seconds < 0:
            seconds = None  # PowerShell's -1
        ended: list[Job] = []
        if chosen and seconds != 0:
            try:
                with self._clock.timeout(seconds):
                    ended = await (_first(chosen, force) if any else _all(chosen, force))
            except TimeoutError:
                ended = []
        _report(failed, errors)
        return ended

    async def stop(
        self,
        jobs: JobName | Sequence[JobName],
        credentials: Credentials | None = None,
        errors: Errors | None = None,
    ) -> list[Job]:
        """Stop-Job; returns every job that was named, those that had ended too."""

        async def stop(job: Job) -> None:
            await (job.stop(credentials) if isinstance(job, RemoteJob) else job.stop())

        return await self._each(jobs, stop, errors)

    async def disconnect(self, jobs: JobName | Sequence[JobName], errors: Errors | None = None) -> list[Job]:
        """Leave the shells of whole jobs on their hosts, Disconnected."""

        async def disconnect(job: Job) -> None:
            await _whole(job).disconnect()

        return await self._each(jobs, disconnect, errors)

    async def set(
        self, jobs: JobName | Sequence[JobName], *, throttle_limit: int, errors: Errors | None = None
    ) -> list[Job]:
        """Change what runs already: whoever runs it obeys within a second, whoever takes it up begins so."""
        if throttle_limit < 1:
            raise UsageError(
                f"A throttle limit of {throttle_limit} lets no host begin: give 1 or more, or disconnect the job.",
                error_id="ParameterArgumentValidationError",
            )

        async def throttle(job: Job) -> None:
            whole = _whole(job)
            if whole.state.finished:
                raise JobError(
                    f"Job {job.id} is {whole.state.name}: none of its hosts is still to begin. Receive it: "
                    f"remotejob receive {job.id}",
                    error_id="InvalidJobState",
                    state=whole.state.name,
                )
            whole.store.throttle(whole.id, throttle_limit)

        return await self._each(jobs, throttle, errors)

    async def connect(
        self,
        jobs: JobName | Sequence[JobName],
        credentials: Credentials | None = None,
        timeout: float | timedelta | None = CONNECT_SECONDS,
        errors: Errors | None = None,
    ) -> list[Job]:
        """Connect to jobs that are Disconnected, or that nobody runs any more."""

        async def connect(job: Job) -> None:
            await _whole(job).connect(credentials, timeout)

        return await self._each(jobs, connect, errors)

    async def remove(
        self,
        jobs: JobName | Sequence[JobName],
        *,
        force: bool = False,
        credentials: Credentials | None = None,
        errors: Errors | None = None,
    ) -> list[str]:
        """Remove-Job. Returns the names of targets that did not answer to the stop: scripts may still run there."""
        failed: Errors = []
        left: list[str] = []
        for job, by in self._select(jobs, failed, children_by_name=False):
            try:
                if not isinstance(job, RemoteJob):
                    raise cannot_remove()
                if not force and not job.removed and not job.state.finished:
                    raise not_finished(job, by)
                left += await job.remove(force=force, credentials=credentials)
            except RemoteJobsError as error:
                failed.append(error)
        _report(failed, errors)
        return left

    async def _each(
        self, jobs: JobName | Sequence[JobName], work: Callable[[Job], Awaitable[None]], errors: Errors | None
    ) -> list[Job]:
        """Do it with all at once: each waits for its own hosts."""
        failed: Errors = []
        chosen = [job for job, _ in self._select(jobs, failed)]
        done = await asyncio.gather(*map(work, chosen), return_exceptions=True)
        for result in done:
            if isinstance(result, RemoteJobsError):
                failed.append(result)
            elif result is not None:
                raise result
        _report(failed, errors)
        return chosen

    def _select(
        self, jobs: JobName | Sequence[JobName], failed: Errors, *, children_by_name: bool = True
    ) -> list[_Chosen]:
        items: Sequence[JobName] = [jobs] if isinstance(jobs, JobName) else jobs
        chosen = []
        for item in items:
            if isinstance(item, RemoteJob | ChildJob):
                job = item if isinstance(item, RemoteJob) else item.parent
                job.take_over = job.take_over or self._take_over  # one that this process began has none of its own
                chosen.append(_Chosen(item, "Job"))
                continue
            by = "SessionId" if isinstance(item, int) else "Name" if isinstance(item, str) else "InstanceId"
            found = self._found(item, failed, children=children_by_name or by != "Name")
            chosen += [_Chosen(job, by) for job in self._objects(found)]
        return chosen

    def _found(self, item: JobName, failed: Errors, *, children: bool = True) -> list[Found]:
        try:
            if isinstance(item, int):
                return lookup.by_id(self._store, item, children=children)
            if isinstance(item, str):
                return lookup.by_name(self._store, item, children=children)
            assert isinstance(item, uuid.UUID)
            return lookup.by_instance_id(self._store, item, children=children)
        except JobError as error:
            failed.append(error)
            return []

    def _objects(self, found: Sequence[Found]) -> list[Job]:
        parents: dict[int, RemoteJob] = {}
        jobs: list[Job] = []
        for job_id, child in found:
            if job_id not in parents:
                parents[job_id] = RemoteJob(self._store, job_id, clock=self._clock, take_over=self._take_over)
            parent = parents[job_id]
            jobs.append(parent if child is None else parent.child_jobs[child])
        return jobs


async def _all(jobs: Sequence[Job], force: bool) -> list[Job]:
    tasks = [asyncio.ensure_future(job.wait(force=force)) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return list(jobs)


async def _first(jobs: Sequence[Job], force: bool) -> list[Job]:
    tasks = [asyncio.ensure_future(job.wait(force=force)) for job in jobs]
    try:
        waiting = set(tasks)
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for job, task in zip(jobs, tasks, strict=True):
                if task.done() and task.exception() is None:
                    return [job]
        # one job that waits for its reader does not keep the others from ending; here all do
        await tasks[0]
        return []
    finally:
        for task in tasks:
            task.cancel()


def _ended(job: Job) -> float:
    """When it ended; never, where it has not."""
    return job.ps_end_time.timestamp() if job.ps_end_time else math.inf


def _whole(job: Job) -> RemoteJob:
    if isinstance(job, RemoteJob):
        return job
    raise JobError(
        f"[{job.location}] This is done to a whole job, not to a single target: name its job, {job.parent.id}.",
        error_id="InvalidJobState",
        job=job.id,
    )


def _check_receive(keep: bool, wait: bool, force: bool, write_events: bool) -> None:
    """Refuse what Receive-Job refuses."""
    if keep and wait:
        raise UsageError(
            "The Wait and Keep parameters cannot be used together in the same command: leave one of them out.",
            error_id="ParameterBindingFailed",
        )
    if not wait:
        if write_events:
            raise UsageError(
                "The WriteEvents parameter cannot be used without the Wait parameter.", error_id="InvalidOperation"
            )
        if force:
            raise UsageError(
                "The -Force parameter cannot be used without the -Wait parameter.", error_id="InvalidOperation"
            )


def _report(failed: Errors, errors: Errors | None) -> None:
    if errors is not None:
        errors += failed
    elif failed:
        raise failed[0]


def _listed(value: Any) -> Sequence[Any]:
    """One, several or none as a sequence."""
    return () if value is None else value if isinstance(value, list | tuple) else (value,)


def _uuid(value: uuid.UUID | str) -> uuid.UUID:
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
    except ValueError:
        raise UsageError(
            f"{value!r} is not an instance id: it is written as 00000000-0000-0000-0000-000000000000.",
            error_id="CannotConvertArgumentNoMessage",
        ) from None
