"""A job and its children as users see them: PowerShell's Job objects, read from the store.

Knows rows, states and cursors. Must not know engines or protocols: what runs a job is behind the Running port.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from remotejobs.clock import SystemClock
from remotejobs.errors import JobError
from remotejobs.jobs.received import Origin, ReceivedRecord
from remotejobs.model import Outcome, seconds_of
from remotejobs.ports import Arrival, ChildRow, Clock, JobStore, Running
from remotejobs.states import JobState, parent_state

_PAGE = 256


class ChildEnd(NamedTuple):
    """A child job has ended."""

    job_id: int
    child_id: int
    computer_name: str
    outcome: Outcome


class ChildJob:
    """One target of a job: PowerShell's PSRemotingChildJob. Reads the store; holds nothing itself."""

    ps_job_type_name = ""

    def __init__(self, store: JobStore, job_id: int, index: int) -> None:
        self._store = store
        self._job_id = job_id
        self._index = index

    @property
    def _row(self) -> ChildRow:
        return self._store.job(self._job_id).children[self._index]

    @property
    def id(self) -> int:
        """Unique in the store, parents included."""
        return self._row.id

    @property
    def name(self) -> str:
        """Always `Job<id>`; only parents are named by users."""
        return f"Job{self._row.id}"

    @property
    def instance_id(self) -> uuid.UUID:
        """Unique everywhere."""
        return self._row.instance_id

    @property
    def location(self) -> str:
        """The target as it was typed."""
        return self._row.target.name

    @property
    def command(self) -> str:
        """The script."""
        return self._store.job(self._job_id).spec.command.text

    @property
    def state(self) -> JobState:
        """PowerShell's job state."""
        return self._row.state

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""
        return self._row.outcome

    @property
    def reason(self) -> str:
        """Why it failed (JobStateInfo.Reason), empty where there is nothing to say."""
        return self._row.outcome.message if self._row.outcome else ""

    @property
    def has_more_data(self) -> bool:
        """True while it has not ended, and after that while something lies unread."""
        return not self.state.finished or self._store.unread(self._job_id, self._index)

    @property
    def error_count(self) -> int:
        """Records on the Error stream."""
        return self._row.error_count

    @property
    def ps_begin_time(self) -> datetime | None:
        """When the script began (UTC); None when it never did."""
        return _time(self._row.began)

    @property
    def ps_end_time(self) -> datetime | None:
        """When it ended (UTC)."""
        return _time(self._row.ended)

    def __repr__(self) -> str:
        return f"<ChildJob {self.id} {self.location} {self.state.name}>"


class RemoteJob:
    """A parent job: PowerShell's PSRemotingJob with type RemoteJob.

    Reading moves a cursor. With the memory store what was read is gone; a job that nobody reads is held back when too
    much lies unread.
    """

    ps_job_type_name = "RemoteJob"
    status_message = ""

    def __init__(
        self, store: JobStore, job_id: int, running: Running | None = None, clock: Clock | None = None
    ) -> None:
        self._store = store
        self._running = running
        self._clock = clock or SystemClock()
        self._cursor = 0
        self._told = 0
        self._origins: dict[int, Origin] = {}
        self.id = job_id
        row = store.job(job_id)
        self.child_jobs = [ChildJob(store, job_id, index) for index in range(len(row.children))]

    @property
    def name(self) -> str:
        """As given, else `Job<id>`; not unique."""
        return self._store.job(self.id).name

    @property
    def instance_id(self) -> uuid.UUID:
        """Unique everywhere."""
        return self._store.job(self.id).instance_id

    @property
    def location(self) -> str:
        """The children's locations joined by commas, duplicates kept."""
        return ",".join(child.target.name for child in self._store.job(self.id).children)

    @property
    def command(self) -> str:
        """The script."""
        return self._store.job(self.id).spec.command.text

    @property
    def state(self) -> JobState:
        """Derived from the children's states."""
        row = self._store.job(self.id)
        return parent_state(row.counts, stop_requested=row.stop_requested, last_change=row.last_change)

    @property
    def has_more_data(self) -> bool:
        """True until the job has ended and everything was read."""
        return not self.state.finished or self._store.unread(self.id)

    @property
    def notes(self) -> list[str]:
        """What holds this run back or should be known of it, one sentence each."""
        return self._store.job(self.id).notes

    @property
    def outcomes(self) -> list[ChildEnd]:
        """The ends so far, in the order of the target list."""
        row = self._store.job(self.id)
        return [_end(self.id, child) for child in row.children if child.outcome is not None]

    @property
    def ps_begin_time(self) -> datetime | None:
        """When the job was made (UTC)."""
        return _time(self._store.job(self.id).began)

    @property
    def ps_end_time(self) -> datetime | None:
        """When its last child ended (UTC)."""
        return _time(self._store.job(self.id).ended)

    async def stream(self) -> AsyncIterator[ReceivedRecord]:
        """Yield records as they arrive until the job has ended and all was read. Moves the cursor item by item."""
        async for item in self.events():
            if isinstance(item, ReceivedRecord):
                yield item

    async def events(self, idle: Callable[[], None] | None = None) -> AsyncIterator[ReceivedRecord | ChildEnd]:
        """Yield records as they arrive, and each child's end after its last record.

        Args:
            idle: Called when all that is there has been yielded, before waiting for more.
        """
        store, row = self._store, self._store.job(self.id)
        while True:
            version, ended = store.version(self.id), len(row.ends)
            done = self.state.persistent
            while page := store.read(self.id, self._cursor, _PAGE):
                for arrival in page:
                    yield self._received(arrival)
                    self._cursor = arrival.number
                store.advance(self.id, self._cursor)
            for index in row.ends[self._told : ended]:
                yield _end(self.id, row.children[index])
                self._told += 1
            if done:
                return
            if idle:
                idle()
            await store.wait_change(self.id, version)

    def receive(self, *, keep: bool = False) -> list[ReceivedRecord]:
        """Return what has arrived and was not read yet, without waiting (Receive-Job).

        Args:
            keep: Leave the cursor where it is.
        """
        after, received = self._cursor, []
        while page := self._store.read(self.id, after, _PAGE):
            received += [self._received(arrival) for arrival in page]
            after = page[-1].number
        if not keep and received:
            self._cursor = after
            self._store.advance(self.id, after)
        return received

    async def wait(self, timeout: float | timedelta | None = None) -> bool:
        """Wait until the job has ended (Wait-Job).

        Args:
            timeout: Seconds or timedelta; None waits as long as it takes.

        Returns:
            True when it ended, False when the time was over first.

        Raises:
            JobError: It cannot end: too much output lies unread. Read it with `stream` or `receive`.
        """
        try:
            with self._clock.timeout(seconds_of(timeout)):
                while not self.state.persistent:
                    version = self._store.version(self.id)
                    if self._store.held(self.id):
                        raise JobError(
                            f"Job {self.id} waits for its output to be read: receive it, then wait again.",
                            error_id="BlockedJobsDeadlockWithWaitJob",
                        )
                    await self._store.wait_change(self.id, version)
                if self._running:
                    await self._running.finished()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop every child and wait until all have ended (Stop-Job). A job that has ended is left as it is."""
        if self.state.finished:
            return
        self.request_stop()
        await self.wait()

    def request_stop(self) -> None:
        """Ask every child to stop, without waiting. Safe in a signal handler of the loop; repeats do nothing."""
        if self._running is None:
            raise JobError(f"Job {self.id} is not run by this process.", error_id="StopJobError")
        self._store.stop_requested(self.id)
        self._running.stop()

    def _received(self, arrival: Arrival) -> ReceivedRecord:
        origin = self._origins.get(arrival.child)
        if origin is None:
            row = self._store.job(self.id)
            child = row.children[arrival.child]
            origin = Origin(self.id, child.id, child.target.name, child.start.shell_id, not row.spec.hide_computer_name)
            self._origins[arrival.child] = origin
        return ReceivedRecord(origin, arrival.record)

    def __repr__(self) -> str:
        return f"<RemoteJob {self.id} {self.name!r} {self.state.name} {len(self.child_jobs)} targets>"


def _end(job_id: int, child: ChildRow) -> ChildEnd:
    assert child.outcome is not None
    return ChildEnd(job_id, child.id, child.target.name, child.outcome)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
