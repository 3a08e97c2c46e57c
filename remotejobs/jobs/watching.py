"""Several jobs watched at once, and the events that Receive-Job -WriteEvents writes.

Knows jobs and asynchronous iterators. Must not know stores.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, TypeVar

from remotejobs.jobs.child import ChildEnd, ChildJob
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.states import JobState

_T = TypeVar("_T")


class JobStateEvent(NamedTuple):
    """A job, or a child job, has come to a state that Wait-Job waits for (PowerShell's JobStateEventArgs).

    `previous_state` is None for a child that never ran.
    """

    job_id: int
    id: int
    name: str
    location: str
    state: JobState
    previous_state: JobState | None


async def with_events(
    job: RemoteJob,
    children: Sequence[int] | None,
    items: AsyncGenerator[ReceivedRecord | ChildEnd, None],
    *,
    events: bool,
) -> AsyncGenerator[ReceivedRecord | ChildEnd | JobStateEvent, None]:
    """Yield `items`; with `events` also an event for each job that gets there meanwhile, its parent last."""
    watched: dict[int, tuple[ChildJob, JobState]] = {}
    was = job.state
    if events:
        chosen = job.child_jobs if children is None else [job.child_jobs[index] for index in children]
        watched = {child.id: (child, child.state) for child in chosen if not child.state.persistent}
    async with contextlib.aclosing(items):
        async for item in items:
            yield item
            if isinstance(item, ChildEnd) and item.child_id in watched:
                yield _event(job, *watched.pop(item.child_id))
    for child, before in watched.values():
        if child.state.persistent:
            yield _event(job, child, before)
    if events and children is None and not was.persistent and job.state.persistent:
        yield _event(job, job, was)


def _event(parent: RemoteJob, job: RemoteJob | ChildJob, before: JobState) -> JobStateEvent:
    if isinstance(job, ChildJob):
        # what was seen before may be older than what came between
        previous = None if job.ps_begin_time is None else JobState.Running
    else:
        previous = before
    return JobStateEvent(parent.id, job.id, job.name, job.location, job.state, previous)


async def merged(streams: Sequence[AsyncGenerator[_T, None]]) -> AsyncGenerator[_T, None]:
    """Yield from all streams as things come. A stream goes on when its last item has been taken, not before."""
    if len(streams) == 1:
        async with contextlib.aclosing(streams[0]) as only:
            async for item in only:
                yield item
        return
    waiting: dict[asyncio.Future[_T], AsyncGenerator[_T, None]] = {}
    try:
        for stream in streams:
            waiting[asyncio.ensure_future(anext(stream))] = stream
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for future in [future for future in waiting if future in done]:
                stream = waiting.pop(future)
                try:
                    item = future.result()
                except StopAsyncIteration:
                    continue
                yield item
                waiting[asyncio.ensure_future(anext(stream))] = stream
    finally:
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for stream in streams:
            await stream.aclose()
