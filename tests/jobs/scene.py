"""Jobs in a memory store under a clock that stands still, written to as a worker would."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from remotejobs.clock import ManualClock
from remotejobs.jobs.child import ChildEnd
from remotejobs.jobs.connecting import begun
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.manager import JobManager
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, SessionOption, Stream, Target
from remotejobs.rows import Request
from remotejobs.states import EndReason
from remotejobs.store.memory import MemoryStore

GIVEN = {"": object()}


class Scene:
    """A store, its manager, and whoever runs the jobs."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.manager = JobManager(self.store, take_over=self.take_over)
        self.taken: list[tuple[int, str, list[str]]] = []
        self.answers = True  # the hosts do, once a job was taken over
        self._epochs: dict[int, int] = {}
        self._seq = 0

    async def job(
        self,
        *names: str,
        name: str = "",
        script: str = "1",
        idle: float | None = None,
        throttle_limit: int = 32,
        mechanism: str = "Basic",
    ) -> RemoteJob:
        """Submit a job and take its lease."""
        spec = JobSpec(
            ScriptCommand(script),
            tuple(Target(each) for each in names or ("web01",)),
            name=name,
            throttle_limit=throttle_limit,
            authentication=mechanism,
            session_option=SessionOption(idle_timeout=idle),
        )
        row = await self.store.submit(spec)
        self._epochs[row.id] = await self.store.lease(row.id, "a worker")
        return self.seen(row.id)

    def seen(self, job_id: int) -> RemoteJob:
        """The job as another process sees it."""
        (job,) = self.manager.get(job_id)
        assert isinstance(job, RemoteJob)
        return job

    async def write(self, job: RemoteJob, index: int, *texts: str) -> None:
        """The host writes strings; its script has begun."""
        ledger = self.store.ledger(job.id, index, self._epochs[job.id])
        if not self.store.job(job.id).children[index].shell_id:
            await ledger.starting()
            await ledger.started("SHELL", "COMMAND")
        records = []
        for text in texts:
            self._seq += 1
            raw = f"<S>{text}</S>".encode()
            records.append(Record(self._seq, Stream.Output, raw, self._seq, self.clock.time()))
        await ledger.append(records)

    async def end(self, job: RemoteJob, index: int, reason: EndReason = EndReason.Completed, words: str = "") -> None:
        """A child ends."""
        await self.store.ledger(job.id, index, self._epochs[job.id]).finish(Outcome(reason, words))

    async def leave(self, job: RemoteJob, index: int, words: str = "Left.") -> None:
        """A child's shell is left on its host, or not found again there."""
        why = Outcome(EndReason.Disconnected, words, "WhyNot")
        await self.store.ledger(job.id, index, self._epochs[job.id]).disconnected(why)

    async def found(self, job: RemoteJob, index: int) -> None:
        """A child's shell is connected again."""
        await self.store.ledger(job.id, index, self._epochs[job.id]).started("SHELL", "COMMAND")

    async def done(self, job: RemoteJob) -> None:
        """Nobody runs it any more, in order."""
        await self.store.release(job.id, self._epochs[job.id])

    async def take_over(self, job_id: int, mode: str, credentials: Mapping[str, Any]) -> None:
        """What a worker that takes over does at once: all of it in `stop` mode."""
        self.taken.append((job_id, mode, sorted(credentials)))
        self._epochs[job_id] = epoch = await self.store.lease(job_id, "another worker")
        job = self.seen(job_id)
        if mode == "connect":
            for index in begun(job.row):
                await self.store.ledger(job_id, index, epoch).disconnected()
        if mode == "stop":
            for index, child in enumerate(job.row.children):
                if child.outcome is None and self.answers:
                    await self.store.ledger(job_id, index, epoch).finish(Outcome(EndReason.Stopped))
            await self.store.release(job_id, epoch)

    async def obey(self, job: RemoteJob) -> None:
        """What the worker does once it sees what was asked."""
        row = self.store.job(job.id)
        for index, child in enumerate(row.children):
            if child.outcome is None and (row.stop_requested or child.stop_requested):
                await self.end(job, index, EndReason.Stopped)
            elif child.outcome is None and Request.DISCONNECT in row.requests:
                await self.leave(job, index)
        if all(child.state.persistent for child in row.children):
            await self.done(job)


class Runs:
    """The Running port."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, int | None]] = []
        self.error: Exception | None = None

    def request(self, request: Request, child: int | None = None) -> None:
        self.asked.append((request, child))

    async def finished(self) -> None: ...


def texts(items: list[Any]) -> list[str]:
    """What was received: `host:text` for records, `host=reason` for ends."""
    found = []
    for item in items:
        if isinstance(item, ReceivedRecord):
            found.append(f"{item.computer_name}:{item.value}")
        elif isinstance(item, ChildEnd):
            found.append(f"{item.computer_name}={item.outcome.reason.value}")
        else:
            found.append(f"{item.name}>{item.state.name}")
    return found


async def received(scene: Scene, job: Any, **options: Any) -> list[str]:
    """Receive-Job."""
    return texts([item async for item in scene.manager.receive(job, **options)])


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a test."""
    asyncio.run(asyncio.wait_for(body, 30))


async def turns(count: int = 10) -> None:
    """Let other tasks go on."""
    for _ in range(count):
        await asyncio.sleep(0)
