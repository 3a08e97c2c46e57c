"""Jobs of an engine whose hosts, ledgers and clock are a test's own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from remotejobs.clock import ManualClock
from remotejobs.engine.fanout import Fanout
from remotejobs.engine.guard import Guard
from remotejobs.engine.policy import RetryPolicy
from remotejobs.errors import AuthenticationError, FaultError, UnreachableError
from remotejobs.model import Outcome, Record, Target
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Control, Resume
from remotejobs.rows import Fresh, Phase
from remotejobs.states import EndReason

DONE = Outcome(EndReason.Completed)


Behaviour = Callable[["Host", Control], Awaitable[Attempt]]


LEFT = Outcome(EndReason.Disconnected, "left on its host")


class Ledger:
    """Notes ends; `refusing` holds by number what it raises instead."""

    def __init__(self, ends: dict[int, Outcome], number: int, refusing: dict[int, Exception] | None = None) -> None:
        self._ends, self._number, self._refusing = ends, number, refusing or {}

    async def starting(self) -> None: ...

    async def started(self, shell_id: str, command_id: str) -> None: ...

    async def append(self, records: Sequence[Record]) -> None: ...

    async def disconnected(self, why: Outcome | None = None) -> None:
        await self.finish(LEFT)

    async def finish(self, outcome: Outcome) -> None:
        if self._number in self._refusing:
            raise self._refusing[self._number]
        assert self._number not in self._ends
        self._ends[self._number] = outcome


@dataclass
class Host:
    name: str
    number: int
    tries: int = 0


@dataclass
class Runner:
    """A HostRunner whose hosts do as a test says."""

    behave: Behaviour
    began: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    active: int = 0
    most: int = 0
    hosts: dict[int, Host] = field(default_factory=dict)

    async def run(self, child: ChildTask, ledger: ChildLedger, control: Control) -> Attempt:
        host = self.hosts.setdefault(child.number, Host(child.target.name, child.number))
        host.tries += 1
        self.began.append(host.name)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            attempt = await self.behave(host, control)
        finally:
            self.active -= 1
        attempt.resources = host
        return attempt

    async def cleanup(self, attempt: Attempt) -> None:
        self.cleaned.append(attempt.resources.name if attempt.resources else "")


class Job:
    def __init__(
        self, behave: Behaviour, count: int = 6, slots: int = 2, resumed: Sequence[int] = (), **settings: float | None
    ) -> None:
        self.refusing: dict[int, Exception] = {}
        self.clock = ManualClock()
        self.ends: dict[int, Outcome] = {}
        self.runner = Runner(behave)
        fresh = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        again = Resume(fresh, "SHELL", "COMMAND", started=True, seq=0, object_id=0)
        self.fanout = Fanout(
            [ChildTask(n, Target(f"h{n}"), again if n in resumed else fresh) for n in range(count)],
            lambda number: Ledger(self.ends, number, self.refusing),
            self.runner,
            policy=RetryPolicy(3, 60),
            guard=Guard(),
            clock=self.clock,
            slots=slots,
            total=settings.get("total"),
            deadline=settings.get("deadline"),
        )

    def reasons(self) -> list[EndReason]:
        return [self.ends[n].reason for n in sorted(self.ends)]


def ok(phase: Phase = Phase.ENDED) -> Attempt:
    return Attempt(phase, DONE)


def failed(error: UnreachableError | FaultError | AuthenticationError, phase: Phase = Phase.CONNECT) -> Attempt:
    reason = EndReason.AuthenticationFailed if isinstance(error, AuthenticationError) else EndReason.Unreachable
    return Attempt(phase, Outcome(reason, error.message), error)


def until_asked(phase: Phase = Phase.STARTED) -> Behaviour:
    """Hosts that run until they are asked to stop or to disconnect."""

    async def behave(host: Host, control: Control) -> Attempt:
        asked = asyncio.Event()
        control.on_request(asked.set)
        await asked.wait()
        control.on_request(None)
        return Attempt(phase, Outcome(EndReason.Stopped) if control.stop_requested else LEFT)

    return behave


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)
