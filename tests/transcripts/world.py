"""The hosts that transcripts speak of, on real sockets, under a clock that only scripts turn.

`downN` refuses connections, `deniedN` the user, `garbageN` speaks no HTTP, `slowN` is late, `dieN` dies after three
seconds; every other host is a good one. Hosts that race
each other come in the order in which the recorded output names them.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from remotejobs.clock import ManualClock
from remotejobs.jobs.job import RemoteJob
from remotejobs.model import SessionOption, Target
from remotejobs.ports import JobStore
from remotejobs.sim.dialect.errors import Refusal
from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Command, Invocation, Runspace, Streams
from remotejobs.sim.shells import HostInfo, HostSettings
from remotejobs.states import JobState
from remotejobs.store.memory import MemoryStore
from remotejobs.store.sqlite import SqliteStore
from tests.e2e.hosts import started

_T = TypeVar("_T")
_STEP = 0.1  # seconds by which time goes on
_BEGINS, _APART, _LATE = 0.25, 0.1, 4.0  # seconds until a script begins: the first host, each behind it, a slow one
_LONGEST = 600.0
_LIVES = 3.0  # seconds until a host dies that does
_FAULTS = {"down": "refuse", "denied": "wrong-password", "garbage": "garbage"}
_HERE = "function Invoke-Command($block) { & $block }"  # without a host
_WRITES = ("output", "error", "text", "information", "progress")


class World:
    """Hosts, jobs and time of one transcript.

    Args:
        shown: What was recorded: the hosts' names in it say who was first.
        path: A file for the jobs; None keeps them in memory.
    """

    def __init__(self, shown: str, path: Path | None = None) -> None:
        self.clock = ManualClock()
        self.store: JobStore = MemoryStore(self.clock) if path is None else SqliteStore(path, self.clock)
        self.jobs: list[RemoteJob] = []
        self.runs: list[_Run] = []
        self._shown = "\n".join(line for line in shown.splitlines() if not line.startswith("ssh: "))
        self._targets: dict[str, Target] = {}
        self.hosts: dict[str, SimulatedHost] = {}
        self.dead: set[str] = set()  # what their jobs learn of it is a matter of tries, and of time
        self._order: list[str] = []
        self.refused: Refusal | None = None  # what the dialect of the hosts does not know
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for job in self.jobs:
            if not job.removed and not job.state.finished:
                job.request_stop()
            if not job.removed:
                await self.until(job.wait(force=True))
        await self._stack.aclose()
        await _turns()
        self.store.close()

    async def targets(self, names: Iterable[str]) -> list[Target]:
        """Hosts with these names, started where they are new."""
        names = list(names)
        self._order = self.raced(dict.fromkeys([*self._order, *names]))
        for name in names:
            if name not in self._targets:
                kind = name.rstrip("0123456789")
                hosts = await self._stack.enter_async_context(
                    started(
                        {name: _FAULTS.get(kind, "")},
                        settings=HostSettings(allow_unencrypted=True, max_shells=100),
                        interpreter=_Scripts(self, name),
                    )
                )
                self.hosts |= hosts
                self._targets[name] = Target(name, address="127.0.0.1", port=hosts[name].http_port)
        return [self._targets[name] for name in names]

    def option(self, names: Iterable[str]) -> SessionOption:
        """How hosts are reached: what cannot be at once never will; a host that dies is looked for once more."""
        tries = sum(name.startswith("die") for name in names)
        return SessionOption(allow_unencrypted=True, max_connection_retry_count=min(tries, 1))

    def raced(self, names: Iterable[str]) -> list[str]:
        """Names in the order in which the recorded hosts came; who is not named comes last, and a dead one after it."""

        def key(name: str) -> tuple[int, bool]:
            found = re.search(rf"\b{re.escape(name)}\b", self._shown)
            return (found.start() if found else len(self._shown), name.startswith("down"))

        return sorted(names, key=key)

    def late(self, name: str) -> float:
        """Seconds until a script begins there."""
        rank = self._order.index(name) if name in self._order else 0
        return _BEGINS + _APART * rank + (_LATE if name.startswith("slow") else 0)

    async def passes(self, seconds: float) -> None:
        """Let time go by; what happens meanwhile has happened."""
        await self._settle()
        for _ in range(round(seconds / _STEP)):
            await self._turn()

    async def until(self, work: Awaitable[_T]) -> _T:
        """Let time go by until this is done."""
        task = asyncio.ensure_future(work)
        began = self.clock.time()
        while True:
            await self._settle(task)
            if not task.done():
                await asyncio.wait([task], timeout=0.002)
            if task.done():
                return task.result()
            if self.clock.time() > began + _LONGEST:
                task.cancel()
                raise AssertionError("this never ends")
            await self._turn(task)

    async def _turn(self, task: asyncio.Future[Any] | None = None) -> None:
        self.clock.advance(_STEP)
        await _turns()
        await self._settle(task)

    async def _settle(self, task: asyncio.Future[Any] | None = None) -> None:
        """Return when nothing goes on that is not a matter of time, or `task` is done."""
        for _ in range(5000):
            if task is not None and task.done():
                return
            if self._at_rest():
                await (asyncio.sleep(0.002) if self.dead else _turns())
                if self._at_rest():
                    return
            await asyncio.sleep(0.001)
        raise AssertionError(f"the hosts do not come to rest: {self.runs}")

    def _at_rest(self) -> bool:
        """Every script sleeps or is over, the jobs know it, and have what it wrote; who can begin has begun."""
        alive = [run for run in self.runs if not run.over]
        running, received = Counter[str](), Counter[str]()
        stores = {id(job.store): job.store for job in self.jobs}
        for row in (row for store in stores.values() for row in store.jobs()):
            states = Counter(child.state for child in row.children)
            if states[JobState.NotStarted] and states[JobState.Running] < row.throttled:
                return False
            for child in row.children:
                begun = not child.state.finished and child.state is not JobState.NotStarted
                if begun and child.target.name not in self.dead:
                    running[child.target.name] += 1
                    received[child.target.name] += child.seq
        written = Counter[str]()
        for run in alive:
            written[run.host] += run.written
        return (
            all(run.asleep for run in alive)
            and running == Counter(run.host for run in alive)
            and all(received[host] >= count for host, count in written.items())
        )


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class _Scripts:
    """The interpreter of one host: the dialect, on the clock of the world."""

    def __init__(self, world: World, host: str) -> None:
        self._world, self._host = world, host

    def open(self, host: HostInfo) -> _Run:
        return _Run(self._world, self._host, host)


class _Run:
    """One runspace. A script begins when its host's turn has come; it is of a Linux host: HOSTNAME is its name."""

    def __init__(self, world: World, host: str, info: HostInfo) -> None:
        self._world, self.host = world, host
        self._runspace: Runspace = Dialect(self._sleep).open(info)
        self.over = self.asleep = False
        self.written = 0

    def __repr__(self) -> str:
        return f"{self.host} {'over' if self.over else 'asleep' if self.asleep else 'awake'}"

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        self._world.runs.append(self)
        death = asyncio.ensure_future(self._dies()) if self.host.startswith("die") else None
        try:
            await self._sleep(self._world.late(self.host))
            await self._runspace.run(Invocation(((Command(f"$env:HOSTNAME = '{self.host}'; {_HERE}"),),)), streams)
            await self._runspace.run(invocation, _Counted(streams, self))
        except Refusal as refused:
            self._world.refused = refused
            raise
        finally:
            self.over = True
            if death is not None:
                death.cancel()

    async def _dies(self) -> None:
        await self._world.clock.sleep(_LIVES)
        self._world.dead.add(self.host)
        asyncio.get_running_loop().call_soon(self._world.hosts[self.host].reboot, 0)

    async def _sleep(self, seconds: float) -> None:
        self.asleep = True
        try:
            await self._world.clock.sleep(seconds)
        finally:
            self.asleep = False


class _Counted:
    """Streams that count what is written."""

    def __init__(self, streams: Streams, run: _Run) -> None:
        self._streams, self._run = streams, run

    def __getattr__(self, name: str) -> Any:
        if name in _WRITES:
            self._run.written += 1
        return getattr(self._streams, name)
