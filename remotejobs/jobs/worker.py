"""Whoever runs a job: it keeps the lease alive, and does what other processes ask of it through the store.

Knows ports. Must not know engines, hosts or processes: the work itself is behind a protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from remotejobs.errors import JobError, LeaseLostError, RemoteJobsError, StoreError
from remotejobs.ports import Clock, JobStore
from remotejobs.rows import JobRow, Request

_log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 2.0
LOOK_SECONDS = 0.5  # between two looks at the store: what is asked is obeyed within a second
LEAVE_SECONDS = 10.0  # for leaving the shells in order when the process is told to end


class Work(Protocol):
    """A job being run: the engine's side of it."""

    async def run(self) -> None:
        """Run every child to its end.

        Raises:
            LeaseLostError: Another process has taken the job over.
            StoreError: The store failed.
        """
        ...

    def stop(self, child: int | None = None) -> None:
        """Ask every child, or one, to stop."""
        ...

    def disconnect(self, *, keep_queued: bool = False) -> None:
        """Ask every child to leave its shell on its host; what has not begun is ended, or kept for another process."""
        ...

    def throttle(self, limit: int) -> None:
        """Have so many hosts at a time from now on."""
        ...

    def leave(self, error: RemoteJobsError | None = None) -> None:
        """Drop everything where it is and write nothing; run() ends, with `error` if there is one."""
        ...

    def notes(self) -> Sequence[str]:
        """What an admin should know of the run, when it is over."""
        ...


class LeasedJob:
    """A job that this process runs under a lease: the Running port.

    Args:
        store: Where the job is.
        job_id: Which one.
        epoch: Of the lease.
        work: What runs it.
        clock: Time.
        ended: Called when the run is over.
    """

    def __init__(
        self,
        store: JobStore,
        job_id: int,
        epoch: int,
        work: Work,
        clock: Clock,
        *,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._epoch = epoch
        self._work = work
        self._clock = clock
        self._ended = ended
        self._obeyed: set[int] = set()
        self._limit = 0  # as it was last changed
        self._awaited = False
        self._leaving: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the current loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"remotejobs job {self._job_id}")
        self._task.add_done_callback(self._note_end)

    def request(self, request: Request, child: int | None = None) -> None:
        """Ask every child, or one, to stop or to disconnect; returns at once."""
        if request is Request.STOP:
            self._work.stop(child)
        elif child is None:
            self._work.disconnect()

    def depart(self, seconds: float = LEAVE_SECONDS) -> None:
        """The process is to end: leave the shells on their hosts, the queue as it is, and what takes longer at once."""
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._depart(seconds))

    async def finished(self) -> None:
        """Return when every child has ended or was left on its host, and every other shell is closed.

        Raises:
            LeaseLostError: Another process has taken the job over.
            StoreError: The store failed.
        """
        assert self._task is not None
        self._awaited = True
        await asyncio.shield(self._task)

    @property
    def error(self) -> Exception | None:
        """What has ended the run before the job's end."""
        task = self._task
        if task is None or not task.done() or task.cancelled():
            return None
        error = task.exception()
        return error if isinstance(error, Exception) else None

    async def _run(self) -> None:
        with contextlib.suppress(JobError, StoreError):
            self._obey(self._store.job(self._job_id))  # what was asked before anybody ran it
        beside = [asyncio.ensure_future(self._beat()), asyncio.ensure_future(self._listen())]
        try:
            await self._work.run()
            with contextlib.suppress(JobError, StoreError):
                for note in self._work.notes():
                    self._store.note(self._job_id, note)
        finally:
            self._ended()
            if self._leaving:
                beside.append(self._leaving)
            for task in beside:
                task.cancel()
            # a store that fails has said so already; its lease lapses
            with contextlib.suppress(JobError, StoreError):
                await self._store.release(self._job_id, self._epoch)

    async def _beat(self) -> None:
        """Say every two seconds that the owner lives. Finds out, too, that it slept through a takeover."""
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            try:
                await self._store.renew(self._job_id, self._epoch)
            except LeaseLostError as error:
                self._work.leave(error)
                return
            except (JobError, StoreError) as error:
                _log.warning("the lease of job %d could not be renewed: %s", self._job_id, error.message)

    async def _listen(self) -> None:
        """Look at the store when it has changed, but not at each of the job's own records."""
        while True:
            try:
                version = self._store.version(self._job_id)
                self._obey(self._store.job(self._job_id))
                await self._clock.sleep(LOOK_SECONDS)
                await self._store.wait_change(self._job_id, version)
            except (JobError, StoreError) as error:
                # removed, or it cannot be read just now: the heartbeat finds out which
                _log.warning("job %d cannot be read: %s", self._job_id, error.message)
                await self._clock.sleep(HEARTBEAT_SECONDS)

    def _obey(self, row: JobRow) -> None:
        if row.throttle_limit is not None and row.throttle_limit != self._limit:
            self._limit = row.throttle_limit
            self._work.throttle(self._limit)
        if Request.STOP in row.requests:
            self._work.stop()
            return
        if Request.DISCONNECT in row.requests:
            self._work.disconnect()
        for index, child in enumerate(row.children):
            if child.stop_requested and index not in self._obeyed:
                self._obeyed.add(index)
                self._work.stop(index)

    async def _depart(self, seconds: float) -> None:
        self._work.disconnect(keep_queued=True)
        await self._clock.sleep(seconds)
        self._work.leave()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Somebody must hear of an error, and one is enough."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._awaited:
            _log.warning("job %d was not run to its end: %s", self._job_id, error)
