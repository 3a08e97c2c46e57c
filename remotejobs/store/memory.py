"""The JobStore and ChildLedger ports in memory: for the library, and for jobs that nobody needs after the process.

Knows rows and queues. Must not know hosts, engines or readers. Consumed records are dropped; a writer waits while too
much lies unread. Everything happens on one event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import uuid
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from remotejobs.errors import JobError, LeaseLostError
from remotejobs.model import JobSpec, Outcome, Record, Stream
from remotejobs.ports import Clock
from remotejobs.rows import LEASE_SECONDS, REFUSAL_SECONDS, Arrival, ChildRow, Fresh, JobRow, Lease, Phase, Request
from remotejobs.states import JobState, parent_state, transition
from remotejobs.store.adopt import comes_twice, counts_of, there_already

DEFAULT_UNREAD_BYTES = 256 * 1024 * 1024


class _Job:
    __slots__ = ("arrivals", "bytes", "changed", "ends", "last", "row", "taken", "version", "writers")

    def __init__(self, row: JobRow) -> None:
        self.row = row
        self.ends: list[int] = []
        row.ends = self.ends
        self.taken: dict[int, int] = {}  # by child, where one child alone was read
        self.arrivals: deque[Arrival] = deque()
        self.last = 0
        self.bytes = 0
        self.version = 0
        self.changed: list[asyncio.Future[None]] = []
        self.writers: list[asyncio.Future[None]] = []

    def touch(self) -> None:
        self.version += 1
        if self.changed:
            _wake(self.changed)


def _four_ids(times: int) -> Iterator[tuple[uuid.UUID, ...]]:
    """So many times four random ids; the system is asked for the bytes once."""
    data = os.urandom(64 * times)
    for at in range(0, len(data), 64):
        yield tuple(uuid.UUID(bytes=data[n : n + 16], version=4) for n in range(at, at + 64, 16))


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(None)
    waiting.clear()


class MemoryStore:
    """Jobs in memory.

    Args:
        clock: Time.
        unread_bytes: Bytes of records of one job that may lie unread before its writers wait.
    """

    path = None

    def __init__(self, clock: Clock, *, unread_bytes: int = DEFAULT_UNREAD_BYTES) -> None:
        self.clock = clock
        self._ids = itertools.count(1)
        self._epochs = 0
        self._jobs: dict[int, _Job] = {}
        self._refusals: list[tuple[str, float]] = []
        self.unread_bytes = unread_bytes

    async def submit(self, spec: JobSpec, notes: Sequence[str] = ()) -> JobRow:
        """Store a job; parent and children take their ids from one sequence, the parent first (PowerShell's rule)."""
        job_id = next(self._ids)
        children = [
            ChildRow(id=next(self._ids), instance_id=instance, target=target, start=Fresh(*start))
            for target, (instance, *start) in zip(spec.targets, _four_ids(len(spec.targets)), strict=True)
        ]
        row = JobRow(
            id=job_id,
            name=spec.name or f"Job{job_id}",
            instance_id=uuid.uuid4(),
            spec=spec,
            location=",".join(target.name for target in spec.targets),
            children=children,
            began=self.clock.time(),
            counts={JobState.NotStarted: len(children)},
            notes=tuple(notes),
        )
        self._jobs[job_id] = _Job(row)
        return row

    async def adopt(self, row: JobRow, unread: Sequence[int | None], pages: Iterable[Sequence[Arrival]]) -> JobRow:
        """Store a job that another store had, without what was received of it."""
        for other in self._jobs.values():
            if other.row.instance_id == row.instance_id:
                raise there_already(other.row.id, other.row.name)
        job_id = next(self._ids)
        children = [replace(child, id=next(self._ids)) for child in row.children]
        name = row.spec.name or f"Job{job_id}"
        job = _Job(replace(row, id=job_id, name=name, children=children, counts=counts_of(children), lease=None))
        job.ends.extend(row.ends)
        seen: set[tuple[int, int]] = set()
        for page in pages:
            for arrival in page:
                _, index, record = arrival
                if (index, record.object_id) in seen:
                    raise comes_twice(arrival, children[index].target.name)
                seen.add((index, record.object_id))
                first = unread[index]
                if first is not None and arrival.number >= first:
                    job.last += 1
                    job.arrivals.append(Arrival(job.last, index, record))
                    job.bytes += len(record.raw)
        self._jobs[job_id] = job
        return job.row

    async def lease(self, job_id: int, owner: str) -> int:
        """Take the job over."""
        row = self._of(job_id).row
        if row.lease is not None and row.lease.seen + LEASE_SECONDS > self.clock.time():
            raise JobError(f"Job {job_id} is run by {row.lease.owner}.", owner=row.lease.owner)
        if row.lease is not None:
            row.requests -= {Request.DISCONNECT}  # was asked of a run that is no more
        self._epochs += 1
        row.lease = Lease(owner, self._epochs, self.clock.time())
        return self._epochs

    async def renew(self, job_id: int, epoch: int) -> None:
        """Say that the owner lives."""
        row = self._of(job_id, epoch).row
        assert row.lease is not None
        row.lease = row.lease._replace(seen=self.clock.time())

    async def release(self, job_id: int, epoch: int) -> None:
        """Give the lease back."""
        job = self._jobs.get(job_id)
        if job is not None and job.row.lease is not None and job.row.lease.epoch == epoch:
            job.row.lease = None
            job.row.requests -= {Request.DISCONNECT}  # it is over with this run
            job.touch()

    def ledger(self, job_id: int, child: int, epoch: int) -> MemoryLedger:
        """The ledger of one child; `child` is its index."""
        return MemoryLedger(self, self._of(job_id), child, epoch)

    def jobs(self) -> list[JobRow]:
        """Return every job."""
        return [job.row for job in self._jobs.values()]

    def job(self, job_id: int) -> JobRow:
        """Return a job's row.

        Raises:
            JobError: There is none.
        """
        return self._of(job_id).row

    def read(
        self,
        job_id: int,
        after: int,
        limit: int,
        *,
        children: Collection[int] | None = None,
        again: bool = False,  # noqa: ARG002
    ) -> list[Arrival]:
        """Return records after arrival number `after`, at most `limit`. What was consumed is gone, `again` or not."""
        job = self._of(job_id)
        arrivals = job.arrivals
        if not arrivals:
            return []
        if children is None and not job.taken:
            skip = max(after - arrivals[0].number + 1, 0)
            return list(itertools.islice(arrivals, skip, skip + limit))
        wanted = (
            arrival
            for arrival in arrivals
            if arrival.number > max(after, job.taken.get(arrival.child, 0))
            and (children is None or arrival.child in children)
        )
        return list(itertools.islice(wanted, limit))

    def advance(self, job_id: int, number: int, children: Collection[int] | None = None) -> None:
        """Drop what was consumed, up to arrival `number`."""
        job = self._of(job_id)
        arrivals = job.arrivals
        for child in children or ():
            job.taken[child] = max(number, job.taken.get(child, 0))
        while arrivals and (
            arrivals[0].number <= number
            if children is None
            else arrivals[0].number <= job.taken.get(arrivals[0].child, 0)
        ):
            job.bytes -= len(arrivals.popleft().record.raw)
        if job.writers and job.bytes < self.unread_bytes:
            _wake(job.writers)

    def tell(self, job_id: int, children: Collection[int]) -> None:
        """Say that the ends of these children have been received."""
        row = self._of(job_id).row
        for child in children:
            row.children[child].told = True

    def unread(self, job_id: int, child: int | None = None) -> bool:
        """True while something lies unread, of one child or of any."""
        return bool(self.read(job_id, 0, 1, children=None if child is None else (child,)))

    def held(self, job_id: int) -> bool:
        """True while a host is kept waiting because too much lies unread."""
        return bool(self._of(job_id).writers)

    def request(self, job_id: int, request: Request, child: int | None = None) -> None:
        """Note what is asked."""
        job = self._of(job_id)
        if child is not None:
            job.row.children[child].stop_requested = True
        else:
            job.row.requests |= {request}
            _wake(job.writers)
        job.touch()

    def throttle(self, job_id: int, limit: int) -> None:
        """Set the limit."""
        job = self._of(job_id)
        job.row.throttle_limit = limit
        job.touch()

    def note(self, job_id: int, text: str) -> None:
        """Add a note."""
        job = self._of(job_id)
        job.row.notes = tuple(dict.fromkeys((*job.row.notes, text)))
        job.touch()

    def refusals(self, account: str) -> int:
        """How often the account was refused of late."""
        now = self.clock.time()
        self._refusals = [each for each in self._refusals if abs(now - each[1]) < REFUSAL_SECONDS]
        return sum(name == account for name, _ in self._refusals)

    def refused(self, account: str) -> None:
        """The account was refused once more."""
        self._refusals.append((account, self.clock.time()))

    def accepted(self, account: str) -> None:
        """Forget its refusals."""
        self._refusals = [each for each in self._refusals if each[0] != account]

    def remove(self, job_id: int) -> None:
        """Remove a job."""
        job = self._of(job_id)
        del self._jobs[job_id]
        job.row.lease = None
        _wake(job.writers)
        job.touch()

    def close(self) -> None:
        """Nothing is held."""

    def version(self, job_id: int) -> int:
        """A number that changes with everything that happens to the job."""
        return self._of(job_id).version

    async def wait_change(self, job_id: int, version: int) -> None:
        """Return when the job's version is no longer `version`."""
        job = self._of(job_id)
        while job.version == version:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            job.changed.append(waiter)
            await waiter

    def _of(self, job_id: int, epoch: int | None = None) -> _Job:
        job = self._jobs.get(job_id)
        if epoch is not None and (job is None or job.row.lease is None or job.row.lease.epoch != epoch):
            raise LeaseLostError(f"Job {job_id} is no longer run by this process.")
        if job is None:
            raise JobError(
                f"The command cannot find a job with the job ID {job_id}.", error_id="JobWithSpecifiedSessionNotFound"
            )
        return job


class MemoryLedger:
    """The ChildLedger of one child in memory: a commit is an append."""

    __slots__ = ("_child", "_epoch", "_job", "_store")

    def __init__(self, store: MemoryStore, job: _Job, child: int, epoch: int) -> None:
        self._store = store
        self._job = job
        self._child = child
        self._epoch = epoch

    async def starting(self) -> None:
        """Note that the host may have the command from now on."""
        row = self._row
        row.phase = max(row.phase, Phase.STARTING)

    async def started(self, shell_id: str, command_id: str) -> None:
        """Note the host's own ids, and that the pipeline runs."""
        row = self._row
        row.shell_id, row.command_id = shell_id, command_id
        row.phase, row.left = Phase.STARTED, None
        row.seen = self._store.clock.time()
        if row.began is None:
            row.began = row.seen
        self._move(JobState.Running)

    async def append(self, records: Sequence[Record]) -> None:
        """Append records; waits while too much of the job lies unread."""
        row, job, child, last, size = self._row, self._job, self._child, self._job.last, 0
        arrive = job.arrivals.append
        for record in records:
            last += 1
            arrive(Arrival(last, child, record))
            size += len(record.raw)
            if record.stream is Stream.Error:
                row.error_count += 1
        if records:
            row.seq, row.seen = records[-1].seq, records[-1].time
            row.object_id = max(row.object_id, max(record.object_id for record in records))
        job.last = last
        job.bytes += size
        job.touch()
        # A job that is being stopped need not be read first: its hosts end, and what they still say is bounded.
        while job.bytes >= self._store.unread_bytes and not job.row.stop_requested:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            job.writers.append(turn)
            job.touch()  # readers see that it is held
            await turn

    async def disconnected(self, why: Outcome | None = None) -> None:
        """Note that the shell was left on its host."""
        row = self._row
        self._move(JobState.Disconnected)
        row.left, row.seen = why, self._store.clock.time()
        self._job.touch()

    async def finish(self, outcome: Outcome) -> None:
        """Note the end; the first one counts."""
        row = self._row
        if row.outcome is not None:
            return
        row.outcome, row.left = outcome, None
        row.phase = Phase.ENDED
        row.ended = self._store.clock.time()
        self._job.ends.append(self._child)
        self._move(outcome.state)

    @property
    def _row(self) -> ChildRow:
        lease = self._job.row.lease
        if lease is None or lease.epoch != self._epoch:
            raise LeaseLostError(f"Job {self._job.row.id} is no longer run by this process.")
        return self._job.row.children[self._child]

    def _move(self, state: JobState) -> None:
        row, job = self._job.row.children[self._child], self._job.row
        if row.state is state:
            return  # said again, after a takeover
        new = transition(row.state, state)
        job.counts[row.state] -= 1
        job.counts[new] = job.counts.get(new, 0) + 1
        row.state = job.last_change = new
        if new.finished and parent_state(job.counts, stop_requested=job.stop_requested).finished:
            job.ended = self._store.clock.time()
        self._job.touch()
