"""The fan-out: targets in list order, so many at a time, each to its end.

Knows slots, stop, disconnect, deadlines, the order of the ledger. Must not know protocols or where the ledger is kept.
A failing host is an Outcome; an exception that leaves a child is our own fault, is caught at one place, and ends one
child. Only the ledger ends all of them: a lost lease at once and without a word, a store that fails in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from remotejobs.engine.descriptors import capacity
from remotejobs.engine.guard import Guard
from remotejobs.engine.policy import RetryPolicy
from remotejobs.engine.slots import Slots
from remotejobs.errors import (
    AuthenticationError,
    JobError,
    LeaseLostError,
    RemoteJobsError,
    StoreError,
    UnreachableError,
)
from remotejobs.model import Outcome
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Clock, Ends, HostRunner, Resume
from remotejobs.rows import Phase
from remotejobs.states import EndReason

_log = logging.getLogger(__name__)
_REFUSALS = (JobError, StoreError)  # of a ledger


class _ChildControl:
    """The Control port for one child."""

    __slots__ = ("_callback", "_credential", "_fanout", "_gate", "child", "ends", "sleep", "task")

    def __init__(self, fanout: Fanout, child: ChildTask, credential: str, ends: Ends | None) -> None:
        self._fanout = fanout
        self._credential = credential
        self._callback: Callable[[], None] | None = None
        self._gate = False
        self.child = child
        self.ends = ends
        self.task = asyncio.current_task()
        self.sleep: asyncio.Future[None] | None = None  # between two tries

    @property
    def stop_requested(self) -> bool:
        return self._fanout.stop_requested or self.child.number in self._fanout.stopped

    @property
    def disconnect_requested(self) -> bool:
        return self._fanout.disconnect_requested

    def on_request(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
        if callback and (self.stop_requested or self.disconnect_requested):
            callback()

    def asked(self) -> None:
        """A stop or a disconnect was asked for."""
        if self.sleep is not None:
            self.sleep.cancel()
        if self._callback:
            self._callback()

    async def enter(self, phase: Phase) -> None:
        if phase is Phase.AUTHENTICATE:
            await self._fanout.guard.enter(self._credential, self)
            self._gate = True
            if self.stop_requested and not isinstance(self.child.start, Resume):
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
        children: In the order of the list. Those to be found again (Resume) may have run already: no end is made up
            for one of them, its host is asked.
        ledger_of: The ledger of a child, by its number.
        runner: Runs one attempt.
        policy: Says what is tried again.
        guard: The lock-out gate.
        clock: Time.
        slots: Hosts at a time.
        total: Seconds for one child, from its first connection; None is off.
        deadline: Seconds for all, from the beginning of this run; None is off.
        credential: Name of the credential of targets that name none.
        connections: What a host holds at a time.
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
        connections: int = 1,
    ) -> None:
        self._left = deque(children)
        self._ledger_of = ledger_of
        self._runner = runner
        self._policy = policy
        self.guard = guard
        self._clock = clock
        self._slots = Slots(slots)
        self._total = total
        self._deadline = deadline
        self._credential = credential
        self._connections = connections
        self._due: float | None = None
        self._group: asyncio.TaskGroup | None = None
        self._vacancy: asyncio.Future[None] | None = None
        self._running: dict[int, _ChildControl] = {}
        self._error: RemoteJobsError | None = None
        self._keep_queued = self._gone = False
        self.stopped: set[int] = set()
        self.stop_requested = self.disconnect_requested = False

    async def run(self) -> None:
        """Run every child to its end. Returns when the last outcome is committed and the last shell closed.

        Raises:
            LeaseLostError: The job is another process's now; nothing more was written or sent.
            StoreError: The store failed: what ran was left on its host, nothing more was begun.
        """
        self._due = None if self._deadline is None else self._clock.monotonic() + self._deadline
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._sweep()
            while self._left:
                if self._slots.free <= 0:
                    self._vacancy = asyncio.get_running_loop().create_future()
                    await self._vacancy
                    continue
                if self._due is not None and self._clock.monotonic() >= self._due:
                    self._sweep()
                    if not self._left:
                        break
                group.create_task(self._child(self._left.popleft()))
                # It takes its slot in its first step. One a turn: those whose answers have come are not kept waiting.
                await asyncio.sleep(0)
        self._group = None
        if self._error is not None:
            raise self._error

    def stop(self, child: int | None = None) -> None:
        """Ask every child, or one, to stop: what has not begun never begins, what runs is told to end."""
        if child is None:
            if self.stop_requested:
                return
            self.stop_requested = True
            self.guard.release()
        else:
            if child in self.stopped:
                return
            self.stopped.add(child)
            self.guard.look_again()
        self._tell(child)

    def disconnect(self, *, keep_queued: bool = False) -> None:
        """Ask every child to leave its shell on its host; what has not begun never begins.

        Args:
            keep_queued: What has not begun gets no end: another process may begin it.
        """
        if not self.disconnect_requested:
            self.disconnect_requested, self._keep_queued = True, keep_queued
            self._tell(None)

    def throttle(self, limit: int) -> None:
        """Have `limit` hosts at a time from now on, or as many as the limit of open files leaves."""
        self._slots.resize(capacity(limit, self._connections).slots)
        self._vacant()

    def notes(self) -> list[str]:
        """What became of credentials that were refused, for a person."""
        return self.guard.notes()

    def leave(self, error: RemoteJobsError | None = None) -> None:
        """Drop everything where it is, write nothing, send nothing: the hosts keep their shells.

        Args:
            error: What run() raises.
        """
        if self._gone:
            return
        self._gone = True
        self._error = error
        self._left.clear()
        own = asyncio.current_task()
        for control in self._running.values():
            if control.task is not None and control.task is not own:
                control.task.cancel()
        self._vacant()

    def _tell(self, number: int | None) -> None:
        self._sweep()
        for control in list(self._running.values()) if number is None else [self._running.get(number)]:
            if control is not None:
                control.asked()
                if self._refusal(control.child):
                    self._slots.excuse(control.task)
        self._vacant()

    def _sweep(self) -> None:
        """End those in the queue that will not be begun."""
        if self._group is None:
            return
        late = self._due is not None and self._clock.monotonic() >= self._due
        if not (late or self.stop_requested or self.disconnect_requested or self.stopped):
            return
        left = deque[ChildTask]()
        for child in self._left:
            refusal = self._refusal(child) or (self._too_late(child) if late else None)
            if refusal:
                self._group.create_task(self._end_unbegun(child, refusal))
            else:
                left.append(child)
        self._left = left

    def _refusal(self, child: ChildTask) -> Outcome | None:
        """What a child ends with instead of being begun, by what was asked so far; None where it may begin."""
        if self.stop_requested or child.number in self.stopped or self._gone:
            if isinstance(child.start, Resume) and not self._gone:
                return None
            words = f"Not begun: {self._error.message}" if self._error else "Stopped before it was begun."
            return Outcome(EndReason.NotStarted, words)
        if self.disconnect_requested:
            if isinstance(child.start, Resume):
                return Outcome(EndReason.Disconnected, "Its shell was left on its host as it was.")
            return Outcome(
                EndReason.NotStarted, "Not begun: the job was disconnected first. `retry` runs it as a new job."
            )
        return None

    def _too_late(self, child: ChildTask) -> Outcome | None:
        if isinstance(child.start, Resume):
            return None
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
        began = self._clock.monotonic()
        control = _ChildControl(self, child, child.target.credential or self._credential, self._ends(began))
        ledger: ChildLedger | None = None
        attempt: Attempt | None = None
        self._running[child.number] = control
        try:
            ledger = self._ledger_of(child.number)
            attempt = await self._attempt(ledger, control)
            again = isinstance(child.start, Resume)
            if self._policy.wants(attempt, again=again) and not (control.stop_requested or self.disconnect_requested):
                attempt = await self._retry(attempt, ledger, control, again=again)
            outcome = attempt.outcome
            if isinstance(attempt.error, _REFUSALS):
                outcome = self._unstored(attempt.error, attempt.phase)
                if attempt.outcome.reason is EndReason.Disconnected:
                    outcome = attempt.outcome
        except _REFUSALS as error:
            outcome = self._unstored(error, Phase.STARTING if attempt is None else attempt.phase)
        except Exception as error:  # noqa: BLE001 - the one place: nothing of one host may reach another
            _log.exception("child %d failed inside remotejobs", child.number)
            outcome = Outcome(
                EndReason.Unknown,
                f"A fault inside remotejobs ended this host ({type(error).__name__}); please report it.",
                details={"internal": True},
            )
        finally:
            del self._running[child.number]
        if ledger is not None:
            await self._end(ledger, replace(outcome, seconds=self._clock.monotonic() - began))
        if attempt is not None and not self._gone:
            await self._runner.cleanup(attempt)

    async def _end_unbegun(self, child: ChildTask, outcome: Outcome) -> None:
        try:
            ledger = self._ledger_of(child.number)
        except _REFUSALS as error:
            self._failed(error)
        else:
            await self._end(ledger, outcome)

    async def _end(self, ledger: ChildLedger, outcome: Outcome) -> None:
        if self._gone or (self._keep_queued and outcome.reason is EndReason.NotStarted):
            return
        try:
            if outcome.reason is EndReason.Disconnected:
                await ledger.disconnected(outcome)
            else:
                await ledger.finish(outcome)
        except _REFUSALS as error:
            self._failed(error)

    def _failed(self, error: RemoteJobsError) -> None:
        """The ledger refuses."""
        if isinstance(error, LeaseLostError):
            self.leave(error)
        elif self._error is None:
            self._error = error
            if isinstance(error, StoreError):
                # A script that ends in the middle is worse than one that waits on its host until there is room again.
                _log.info("the store failed, the scripts are left on their hosts: %s", error.message)
                self.disconnect(keep_queued=True)
            else:
                _log.info("the job is gone, its scripts are being stopped: %s", error.message)
                self.stop()

    def _unstored(self, error: RemoteJobsError, phase: Phase) -> Outcome:
        """The end of a child whose ledger refused; it may be that this cannot be written either."""
        self._failed(error)
        if phase < Phase.STARTING:
            return Outcome(EndReason.NotStarted, f"Not begun: {error.message}")
        return Outcome(
            EndReason.Unknown, f"What it sent could not be stored, so it was stopped in the middle: {error.message}"
        )

    async def _attempt(self, ledger: ChildLedger, control: _ChildControl) -> Attempt:
        try:
            async with self._slots:
                refusal = self._refusal(control.child)
                if refusal is not None:
                    return Attempt(Phase.QUEUED, refusal)
                attempt = await self._runner.run(control.child, ledger, control)
                refused = (
                    isinstance(attempt.error, AuthenticationError)
                    and attempt.phase is Phase.AUTHENTICATE
                    and attempt.error.details.get("refused", True)  # not: a host or a domain that is not set up for it
                )
                control.leave_gate(accepted=False if refused else None)
        finally:
            control.leave_gate(accepted=None)
            self._vacant()
        return attempt

    async def _retry(self, first: Attempt, ledger: ChildLedger, control: _ChildControl, *, again: bool) -> Attempt:
        last = first

        async def run() -> Attempt:
            nonlocal last
            await self._runner.cleanup(last)
            last = await self._attempt(ledger, control)
            return last

        async def pause(seconds: float) -> None:
            """Sleep outside the slot; a stop ends it."""
            control.sleep = asyncio.ensure_future(self._clock.sleep(seconds))
            try:
                await asyncio.wait([control.sleep])
            finally:
                control.sleep.cancel()
                control.sleep = None

        return await self._policy.again(first, run, self._clock, pause, again=again)

    def _ends(self, began: float) -> Ends | None:
        total = None if self._total is None else Ends(began + self._total, "total")
        whole = None if self._due is None else Ends(self._due, "deadline")
        if total and whole:
            return min(total, whole)
        return total or whole
