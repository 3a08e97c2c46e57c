"""The fan-out: targets in list order, so many at a time, each to its end.

Knows slots, stop, deadlines, the order of the ledger. Must not know protocols or where the ledger is kept. A failing
host is an Outcome; an exception that leaves a child is our own fault, is caught at one place, and ends one child.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

from remotejobs.engine.guard import Guard
from remotejobs.engine.policy import RetryPolicy
from remotejobs.errors import AuthenticationError, LeaseLostError, UnreachableError
from remotejobs.model import Outcome
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Clock, Ends, HostRunner, Phase
from remotejobs.states import EndReason

_log = logging.getLogger(__name__)


class Slots:
    """The throttle limit: `async with` takes a slot and gives it back, first come, first served."""

    def __init__(self, limit: int) -> None:
        self.free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self.free <= 0:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn  # the slot is handed over, `free` does not change
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give()
                raise
        else:
            self.free -= 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give()

    def _give(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


class _ChildControl:
    """The Control port for one child."""

    __slots__ = ("_callback", "_credential", "_fanout", "_gate", "ends")

    def __init__(self, fanout: Fanout, credential: str, ends: Ends | None) -> None:
        self._fanout = fanout
        self._credential = credential
        self._callback: Callable[[], None] | None = None
        self._gate = False
        self.ends = ends

    @property
    def stop_requested(self) -> bool:
        return self._fanout.stop_requested

    def on_stop(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
        if callback is None:
            self._fanout.controls.discard(self)
        else:
            self._fanout.controls.add(self)
            if self._fanout.stop_requested:
                callback()

    def stopped(self) -> None:
        """The job is being stopped."""
        if self._callback:
            self._callback()

    async def enter(self, phase: Phase) -> None:
        if phase is Phase.AUTHENTICATE:
            await self._fanout.guard.enter(self._credential)
            self._gate = True
            if self._fanout.stop_requested:
                raise UnreachableError("Stopped before it was begun.")
        elif phase is Phase.OPEN:
            self.leave_gate(accepted=True)

    def leave_gate(self, *, accepted: bool | None) -> None:
        """Tell the guard what came of the authentication, once."""
        if self._gate:
            self._gate = False
            self._fanout.guard.leave(self._credential, accepted=accepted)


class Fanout:
    """One job's run over all of its targets.

    Args:
        children: In the order of the list.
        ledger_of: The ledger of a child, by its number.
        runner: Runs one attempt.
        policy: Says what is tried again.
        guard: The lock-out gate.
        clock: Time.
        slots: Hosts at a time.
        total: Seconds for one child, from its first connection; None is off.
        deadline: Seconds for the whole job; None is off.
        credential: Name of the credential of targets that name none.
    """

    def __init__(
        self,
        children: Sequence[ChildTask],
        ledger_of: Callable[[int], ChildLedger],
        runner: HostRunner,
        *,
        policy: RetryPolicy,
        guard: Guard,
        clock: Clock,
        slots: int,
        total: float | None = None,
        deadline: float | None = None,
        credential: str = "",
    ) -> None:
        self._children = children
        self._ledger_of = ledger_of
        self._runner = runner
        self._policy = policy
        self.guard = guard
        self._clock = clock
        self._slots = Slots(slots)
        self._total = total
        self._deadline = deadline
        self._credential = credential
        self._due: float | None = None
        self._vacancy: asyncio.Future[None] | None = None
        self._sleeping: set[asyncio.Future[None]] = set()
        self.controls: set[_ChildControl] = set()
        self.stop_requested = False

    async def run(self) -> None:
        """Run every child to its end. Returns when the last outcome is committed and the last shell closed."""
        self._due = None if self._deadline is None else self._clock.monotonic() + self._deadline
        left = deque(self._children)
        async with asyncio.TaskGroup() as group:
            while left and not self.stop_requested:
                if self._slots.free <= 0:
                    self._vacancy = asyncio.get_running_loop().create_future()
                    await self._vacancy
                    continue
                if self._due is not None and self._clock.monotonic() >= self._due:
                    break
                group.create_task(self._child(left.popleft()))
                # It takes its slot in its first step. One a turn: those whose answers have come are not kept waiting.
                await asyncio.sleep(0)
            for child in left:
                await self._ledger_of(child.number).finish(self._never_begun())

    def stop(self) -> None:
        """Ask every child to stop: what has not begun never begins, what runs is told to end."""
        if self.stop_requested:
            return
        self.stop_requested = True
        for sleep in self._sleeping:
            sleep.cancel()
        self.guard.release()
        for control in list(self.controls):
            control.stopped()
        self._vacant()

    def _never_begun(self) -> Outcome:
        if self.stop_requested:
            return Outcome(EndReason.NotStarted, "Stopped before it was begun.")
        return Outcome(
            EndReason.TimedOutDeadline,
            f"Not begun: the job's deadline of {self._deadline:g} s had passed.",
            error_id="PSSessionStateBroken",
            details={"clock": "deadline", "seconds": self._deadline},
        )

    def _vacant(self) -> None:
        if self._vacancy and not self._vacancy.done():
            self._vacancy.set_result(None)

    async def _child(self, child: ChildTask) -> None:
        ledger = self._ledger_of(child.number)
        began = self._clock.monotonic()
        control = _ChildControl(self, child.target.credential or self._credential, self._ends(began))
        attempt: Attempt | None = None
        try:
            attempt = await self._attempt(child, ledger, control)
            if self._policy.wants(attempt) and not self.stop_requested:
                attempt = await self._retry(attempt, child, ledger, control)
            outcome = attempt.outcome
        except LeaseLostError:
            return  # the job is another process's now, and so is the outcome
        except Exception as error:  # noqa: BLE001 - the one place: nothing of one host may reach another
            _log.exception("child %d failed inside remotejobs", child.number)
            outcome = Outcome(
                EndReason.Unknown,
                f"A fault inside remotejobs ended this host ({type(error).__name__}); please report it.",
                details={"internal": True},
            )
        await ledger.finish(replace(outcome, seconds=self._clock.monotonic() - began))
        if attempt is not None:
            await self._runner.cleanup(attempt)

    async def _attempt(self, child: ChildTask, ledger: ChildLedger, control: _ChildControl) -> Attempt:
        try:
            async with self._slots:
                if self.stop_requested:
                    return Attempt(Phase.QUEUED, self._never_begun())
                attempt = await self._runner.run(child, ledger, control)
                refused = isinstance(attempt.error, AuthenticationError) and attempt.phase is Phase.AUTHENTICATE
                control.leave_gate(accepted=False if refused else None)
        finally:
            control.leave_gate(accepted=None)
            self._vacant()
        return attempt

    async def _retry(self, first: Attempt, child: ChildTask, ledger: ChildLedger, control: _ChildControl) -> Attempt:
        last = first

        async def run() -> Attempt:
            nonlocal last
            await self._runner.cleanup(last)
            last = await self._attempt(child, ledger, control)
            return last

        return await self._policy.again(first, run, self._clock, self._pause)

    async def _pause(self, seconds: float) -> None:
        """Sleep outside the slot; a stop ends it."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        self._sleeping.add(sleep)
        try:
            await asyncio.wait([sleep])
        finally:
            self._sleeping.discard(sleep)
            sleep.cancel()

    def _ends(self, began: float) -> Ends | None:
        total = None if self._total is None else Ends(began + self._total, "total")
        whole = None if self._due is None else Ends(self._due, "deadline")
        if total and whole:
            return min(total, whole)
        return total or whole
