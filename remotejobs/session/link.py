"""The way to one host: one connection at a time, clocks around each request, a new connection after a loss.

Knows clocks, losses and how often to try again. Must not know what is asked, phases or records.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Coroutine, Iterator
from typing import TypeVar

from remotejobs.errors import FaultError, ProtocolError, RemoteJobsError, TimedOutError, UnreachableError
from remotejobs.model import Target
from remotejobs.ports import Clock, Control, Reply
from remotejobs.session.exchange import AnswerLostError, Reader, ask, read_reply
from remotejobs.session.outcomes import timed_out
from remotejobs.session.prepared import PreparedJob
from remotejobs.wsman.envelopes import Request, read_answer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
GRACE = 30.0  # seconds past OperationTimeout after which an answer counts as lost
_EMPTY_PAUSE = 0.5  # seconds between empty answers of a host that does not hold the request as it should
_AT_ONCE = 1.0  # seconds; an empty answer that took longer was held


class Link:
    """The connection to one host, unopened at first.

    Attributes:
        transport: The connection as it is now; restore() makes another.
        losses: Connections lost since the last answer; who gets one sets it to 0.
    """

    __slots__ = ("_clock", "_control", "_heard", "_job", "_quiet", "_target", "losses", "transport")

    def __init__(self, job: PreparedJob, target: Target, control: Control, clock: Clock) -> None:
        self._job, self._target, self._control, self._clock = job, target, control, clock
        self._heard = 0.0
        self._quiet = self.losses = 0
        self.transport = job.connect(target)

    async def answer(self, request: Request, read: Reader[_T], silence_due: float | None = None) -> _T:
        """Ask, and count an answer as lost that is overdue."""
        asking = ask(self.transport, request, read)
        del request
        timeout = self._job.spec.session_option.operation_timeout
        overdue = self._clock.monotonic() + timeout + GRACE
        try:
            if silence_due is not None and silence_due < overdue:
                return await self.within(asking, "silence", silence_due)
            return await self.within(asking, "answer", overdue)
        except TimedOutError as error:
            if error.details["clock"] != "answer":
                raise
            raise AnswerLostError(f"The host has not answered for {timeout + GRACE:.0f} s.", step="answer") from None

    async def within(self, work: Awaitable[_T], clock: str, due: float | None = None) -> _T:
        """Await `work` until `due` (monotonic), else for the setting of `clock`, and never past the child's end."""
        now = self._clock.monotonic()
        if due is not None:
            left: float | None = due - now
        else:
            left = getattr(self._job.spec.clocks, clock, None)
        ends = self._control.ends
        if ends is not None and (left is None or ends.due - now < left):
            left, clock = ends.due - now, ends.clock
        if left is None:
            return await work
        if left <= 0:  # a host that answers at once would win against a timeout of nothing
            if isinstance(work, Coroutine):
                work.close()
            raise timed_out(clock, self._job.spec.clocks)
        try:
            with self._clock.timeout(left):
                return await work
        except TimeoutError:
            raise timed_out(clock, self._job.spec.clocks) from None

    async def aside(self, request: Request, seconds: float) -> None:
        """Ask something on a second connection, past a pending Receive.

        Raises:
            RemoteJobsError, TimeoutError: It may not have arrived.
        """
        second = self._job.connect(self._target)
        try:
            with self._clock.timeout(seconds):
                async with self._job.spare:
                    await second.open()
                    await ask(second, request, read_answer)
        finally:
            second.close()

    async def restore(self, error: RemoteJobsError) -> None:
        """Connect again after a loss. The host replays what it cannot know that we have.

        Raises:
            AnswerLostError: It cannot be done.
        """
        tries = self._job.spec.session_option.max_connection_retry_count
        self.note("connection lost: %s", error.message)
        for delay in delays(tries - self.losses):
            self.losses += 1
            self.transport.close()
            await self._clock.sleep(delay)
            self.transport = self._job.connect(self._target)
            try:
                await self.within(self.transport.open(), "connect")
            except TimedOutError as late:
                if late.details["clock"] != "connect":
                    raise
                error = late
            except UnreachableError as unreachable:
                error = unreachable
            else:
                return
        raise AnswerLostError(f"The connection was lost and {tries} tries did not bring it back: {error.message}")

    def give_up(self) -> None:
        """End what is pending, for good."""
        self.losses = self._job.spec.session_option.max_connection_retry_count
        self.transport.close()

    async def delete(self, request: Request) -> None:
        """Post Delete, on a new connection where this one is gone.

        Raises:
            RemoteJobsError: It did not arrive.
        """
        self.note("deleting the shell")
        try:
            reply = await self.transport.post(request.data)
            if isinstance(reply, Reply) and reply.status == 200:
                return  # nobody needs to know what it says
            read_reply(reply, request.message_id, read_answer)
        except FaultError:
            return  # gone already
        except (UnreachableError, ProtocolError):
            self.transport.close()
            self.transport = self._job.connect(self._target)
            await self.transport.open()
            await self.transport.post(request.data)

    async def close(self, delete: Request | None) -> None:
        """Delete a shell that nobody needs, and drop the connection; bounded by the cleanup clock, never raises."""
        try:
            with self._clock.timeout(self._job.spec.clocks.cleanup):
                if delete is not None:
                    await self.delete(delete)
        except (RemoteJobsError, TimeoutError):
            pass  # the host deletes it by itself when its IdleTimeout has passed
        finally:
            self.transport.close()

    async def pause(self, data: bytes = b"") -> None:
        """Slow down for a host that answers at once with nothing, as none should and a hostile one would."""
        now = self._clock.monotonic()
        at_once, self._heard = now - self._heard < _AT_ONCE, now
        self._quiet = self._quiet + 1 if at_once and not data else 0
        if self._quiet > 3:
            await self._clock.sleep(_EMPTY_PAUSE)

    def note(self, text: str, *values: object) -> None:
        """Log a step: ids, sizes and states, never bodies."""
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(f"[%s] {text}", self._target.name, *values)


def delays(count: int) -> Iterator[float]:
    """Growing pauses with jitter, seconds: hosts that fell together must not come back together."""
    for n in range(max(count, 0)):
        yield min(0.25 * 2**n, 8.0) * random.uniform(0.5, 1.0)
