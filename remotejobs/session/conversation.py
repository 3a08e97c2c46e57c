"""One attempt at one target: connect, open a runspace, start the script, receive to its end.

Knows the order of WS-Man requests and PSRP messages, and which of them may be sent a second time. Must not know
throttles, retries of whole attempts, or stores: it tells a ledger and waits for it. Nothing is sent that depends on a
promise to the ledger before the ledger has it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Iterator
from typing import TypeVar

from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    LimitError,
    ProtocolError,
    RemoteJobsError,
    TimedOutError,
    UnreachableError,
)
from remotejobs.model import Outcome, Record, Stream
from remotejobs.ports import ChildLedger, ChildTask, Clock, Control, Phase, Reply
from remotejobs.session.exchange import AnswerLostError, Reader, ask, read_reply
from remotejobs.session.outcomes import ended_by, failure_of, timed_out
from remotejobs.session.prepared import PreparedJob
from remotejobs.states import EndReason
from remotejobs.wsman import shells
from remotejobs.wsman.envelopes import LARGE_ENVELOPE_SIZE, Request, read_answer
from remotejobs.wsman.faults import Means, meaning
from remotejobs.wsman.psrp.messages import PROTOCOL_VERSION
from remotejobs.wsman.psrp.runspace import PipelineState, PoolState, RecordData, Runspace
from remotejobs.wsman.received import read_received

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_GRACE = 30.0  # seconds past OperationTimeout after which an answer counts as lost
_EMPTY_PAUSE = 0.5  # seconds between empty answers of a host that does not hold the request as it should
_AT_ONCE = 1.0  # seconds; an empty answer that took longer was held


class Conversation:
    """One attempt; `run` once, then `close`."""

    __slots__ = (
        "_bytes",
        "_clock",
        "_command_id",
        "_control",
        "_errors",
        "_heard",
        "_job",
        "_ledger",
        "_losses",
        "_option",
        "_quiet",
        "_refused",
        "_runspace",
        "_seq",
        "_shell",
        "_shell_may_exist",
        "_stopper",
        "_target",
        "_transport",
        "phase",
    )

    def __init__(self, job: PreparedJob, child: ChildTask, ledger: ChildLedger, control: Control, clock: Clock) -> None:
        self._job, self._ledger, self._control, self._clock = job, ledger, control, clock
        self._target = child.target
        self._option = option = job.spec.session_option
        requests = job.requests(child.target, child.start.session_id)
        self._shell = shells.PowerShellShell(requests, _upper(child.start.shell_id))
        self._runspace = Runspace(
            child.start.shell_id,
            child.start.command_id,
            job.init,
            job.pipeline,
            max_object=option.maximum_received_object_size,
        )
        self._command_id = _upper(child.start.command_id)
        self._transport = job.connect(child.target)
        self._stopper: asyncio.Task[None] | None = None
        self._seq = self._errors = self._bytes = self._losses = self._quiet = 0
        self._heard = 0.0
        self._refused = self._shell_may_exist = False
        self.phase = Phase.CONNECT

    async def run(self) -> Outcome:
        """Run the script to its end.

        Raises:
            RemoteJobsError: What ended the attempt; `outcome_of` says how the child ends by it.
        """
        try:
            self._control.on_stop(self._stop)
            await self._within(self._transport.open(), "connect")
            self._note("connected")
            await self._control.enter(Phase.AUTHENTICATE)
            await self._open()
            await self._start()
            return await self._receive()
        finally:
            self._control.on_stop(None)
            if self._stopper:
                self._stopper.cancel()

    def outcome_of(self, error: RemoteJobsError) -> Outcome:
        """How the child ends if `error` is the end of it."""
        if self._control.stop_requested:
            before = self.phase < Phase.STARTING
            text = "" if before else f"It did not end in order: {error.message}"
            return Outcome(EndReason.Stopped, text, error_count=self._errors, details={"phase": self.phase.name})
        outcome = ended_by(error, self.phase, refused=self._refused)
        return Outcome(
            outcome.reason,
            outcome.message,
            error_id=outcome.error_id,
            error_count=self._errors,
            details=outcome.details,
        )

    async def close(self) -> None:
        """Delete the shell if there may be one, drop the connection. Bounded by the cleanup clock; never raises."""
        try:
            with self._clock.timeout(self._job.spec.clocks.cleanup):
                if self._shell_may_exist:
                    await self._delete()
        except (RemoteJobsError, TimeoutError):
            pass  # the host deletes it by itself when its IdleTimeout has passed
        finally:
            self._transport.close()

    # -- opening ------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self.phase = Phase.AUTHENTICATE
        shell, runspace = self._shell, self._runspace
        first, *more = runspace.opening(shell.payload_size)
        creating = ask(
            self._transport,
            shell.create(
                first,
                protocol=PROTOCOL_VERSION,
                no_profile=self._option.no_machine_profile,
                idle_timeout=self._option.idle_timeout,
            ),
            read_answer,
        )
        del first
        self._shell_may_exist = True
        try:
            answer = await self._within(creating, "authenticate")
        except AuthenticationError:
            self._shell_may_exist = False
            raise
        except (FaultError, AccessDeniedError):
            self._shell_may_exist = False
            await self._control.enter(Phase.OPEN)
            raise
        self.phase = Phase.OPEN
        await self._control.enter(Phase.OPEN)
        shell.created(answer)
        self._note("shell %s", shell.shell_id)
        limit = self._job.spec.clocks.open
        due = None if limit is None else self._clock.monotonic() + limit
        for packet in more:
            await self._within(ask(self._transport, shell.send(packet, None), read_answer), "open", due)
        while runspace.pool_state != PoolState.Opened:
            await self._poll_pool(due)
        self._note("runspace opened, protocol %s", runspace.version)
        if runspace.version != "2.1":
            shell.resize(LARGE_ENVELOPE_SIZE)

    async def _poll_pool(self, due: float | None) -> None:
        shell, runspace = self._shell, self._runspace
        try:
            received = await self._within(ask(self._transport, shell.receive(None), read_received), "open", due)
        except FaultError as fault:
            if meaning(fault).means is not Means.NOTHING_YET:
                raise
            await self._pause()
            return
        runspace.feed_pool(received.data)
        await self._pause(received.data)
        for reply in _taken(runspace.replies):
            await self._within(ask(self._transport, shell.send(reply, None, "pr"), read_answer), "open", due)
        if runspace.closed or received.done:
            raise ProtocolError(
                "The host could not open a runspace"
                + (f": {runspace.pool_reason}" if runspace.pool_reason else " and did not say why.")
            )

    # -- starting -----------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        shell = self._shell
        first, *more = self._runspace.starting(shell.payload_size)
        await self._ledger.starting()
        if self._control.stop_requested:
            raise UnreachableError("Stopped before the script was sent.")
        self.phase = Phase.STARTING
        starting = self._command(first, alone=not more)
        del first
        self._command_id = await starting or self._command_id
        for packet in more:
            await self._send(packet)
        self.phase = Phase.STARTED
        await self._ledger.started(shell.shell_id, self._command_id)
        self._note("command %s started", self._command_id)
        self._control.on_stop(self._stop)  # one that came meanwhile counts now

    async def _command(self, packet: bytes, *, alone: bool) -> str:
        """Post Command; the id in its answer, empty where that was lost and Receive will tell whether the host has it.

        Args:
            packet: The first bytes of CREATE_PIPELINE.
            alone: They are all of it.
        """
        asking = self._answer(self._shell.command(self._command_id, packet), shells.read_command)
        del packet
        try:
            return await asking
        except AnswerLostError as error:
            if not alone:
                raise  # its other packets cannot follow: the id of the command is not known for certain
            await self._reconnect(error)
        except UnreachableError as error:
            if "status" in error.details or not alone:
                raise
            # Not a byte has left, so this is the first time that it is sent, not the second.
            await self._reconnect(error)
            (packet,) = self._runspace.starting(self._shell.payload_size)
            return await self._answer(self._shell.command(self._command_id, packet), shells.read_command)
        except FaultError as fault:
            if meaning(fault).means is not Means.NOTHING_YET:
                self._refused = True
                raise
        return ""

    async def _send(self, packet: bytes, stream: str = "stdin") -> None:
        for delay in (*_delays(3), None):
            try:
                await self._answer(self._shell.send(packet, self._command_id, stream), read_answer)
            except FaultError as fault:
                if meaning(fault).means is not Means.BUSY or delay is None:
                    raise
                await self._clock.sleep(delay)
            else:
                return

    # -- receiving ----------------------------------------------------------------------------------------------------

    async def _receive(self) -> Outcome:
        shell, runspace, clock = self._shell, self._runspace, self._clock
        silence = self._job.spec.clocks.silence
        due = None if silence is None else clock.monotonic() + silence
        while not runspace.ended:
            try:
                received = await self._answer(shell.receive(self._command_id), read_received, due)
            except FaultError as fault:
                if meaning(fault).means is not Means.NOTHING_YET:
                    raise
                await self._pause()
                continue
            except UnreachableError as error:
                await self._reconnect(error)
                continue
            self._losses = 0
            records = runspace.feed_pipeline(received.data)
            if records:
                self._note("%d records", len(records))
                await self._append(records)
                if silence is not None:
                    due = clock.monotonic() + silence
            for reply in _taken(runspace.replies):
                await self._send(reply, "pr")
            if received.done:
                break
            await self._pause(received.data)
        return self._ended()

    async def _append(self, records: list[RecordData]) -> None:
        now, seq, errors, size = self._clock.time(), self._seq, 0, 0
        batch: list[Record] = []
        for stream, object_id, raw in records:
            seq += 1
            size += len(raw)
            if stream is Stream.Error:
                errors += 1
            batch.append(Record(seq, stream, raw, object_id, now))
        self._seq, self._bytes = seq, self._bytes + size
        self._errors += errors
        await self._ledger.append(batch)
        most = self._option.maximum_received_data_size_per_command
        if most is not None and self._bytes > most:
            raise LimitError(
                f"The script wrote more than {most:,} bytes (MaximumReceivedDataSizePerCommand); the rest is lost.",
                error_id="ReceivedDataSizeExceededMaximum",
            )
        count = self._job.spec.limits.records
        if count is not None and seq > count:
            raise LimitError(
                f"The script wrote more than {count:,} records; the rest was not read.", error_id="RecordLimitExceeded"
            )

    def _ended(self) -> Outcome:
        runspace = self._runspace
        details = {} if runspace.exit_code is None else {"exit_code": runspace.exit_code}
        state = runspace.pipeline_state
        if state is PipelineState.Completed:
            return Outcome(EndReason.Completed, error_count=self._errors, details=details)
        if state is PipelineState.Failed:
            message, error_id = failure_of(runspace.failure)
            return Outcome(
                EndReason.CommandFailed,
                message,
                error_id=error_id,
                error_count=self._errors,
                failure=runspace.failure,
                details=details,
            )
        if state is PipelineState.Stopped or self._control.stop_requested:
            return Outcome(EndReason.Stopped, error_count=self._errors, details=details)
        cut = " in the middle of a record" if runspace.cut_short else ""
        raise ProtocolError(f"The host ended the command{cut} without saying how it ended.")

    # -- stopping -----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Begin to stop: drop what has not started, ask what runs to end."""
        if self.phase < Phase.STARTING:
            self._transport.close()
        elif self.phase is Phase.STARTED and self._stopper is None:
            self._stopper = asyncio.get_running_loop().create_task(self._signal_stop())

    async def _signal_stop(self) -> None:
        """Signal past the pending Receive on a second connection; when the time for it is over, end the Receive too."""
        self._note("stopping")
        limit = self._option.cancel_timeout
        due = self._clock.monotonic() + limit
        second = self._job.connect(self._target)
        try:
            with self._clock.timeout(limit):
                async with self._job.spare:
                    await second.open()
                    await ask(second, self._shell.signal(self._command_id, shells.STOP), read_answer)
        except (RemoteJobsError, TimeoutError):
            pass  # the end of the time, or the shell's deletion, stops it too
        finally:
            second.close()
        await self._clock.sleep(due - self._clock.monotonic())
        self._losses = self._option.max_connection_retry_count
        self._transport.close()

    # -- connections --------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, read: Reader[_T], silence_due: float | None = None) -> _T:
        """Ask, and count an answer as lost that is overdue."""
        asking = ask(self._transport, request, read)
        del request
        overdue = self._clock.monotonic() + self._option.operation_timeout + _GRACE
        try:
            if silence_due is not None and silence_due < overdue:
                return await self._within(asking, "silence", silence_due)
            return await self._within(asking, "answer", overdue)
        except TimedOutError as error:
            if error.details["clock"] != "answer":
                raise
            raise AnswerLostError(
                f"The host has not answered for {self._option.operation_timeout + _GRACE:.0f} s.", step="answer"
            ) from None

    async def _reconnect(self, error: RemoteJobsError) -> None:
        """Connect again after a loss. The host replays what it cannot know that we have.

        Raises:
            AnswerLostError: It cannot be done.
        """
        tries = self._option.max_connection_retry_count
        self._note("connection lost: %s", error.message)
        for delay in _delays(tries - self._losses):
            self._losses += 1
            self._transport.close()
            await self._clock.sleep(delay)
            self._transport = self._job.connect(self._target)
            try:
                await self._within(self._transport.open(), "connect")
            except TimedOutError as late:
                if late.details["clock"] != "connect":
                    raise
                error = late
            except UnreachableError as unreachable:
                error = unreachable
            else:
                return
        raise AnswerLostError(f"The connection was lost and {tries} tries did not bring it back: {error.message}")

    async def _delete(self) -> None:
        self._note("deleting the shell")
        request = self._shell.delete()
        try:
            reply = await self._transport.post(request.data)
            if isinstance(reply, Reply) and reply.status == 200:
                return  # nobody needs to know what it says
            read_reply(reply, request.message_id, read_answer)
        except FaultError:
            return  # gone already
        except (UnreachableError, ProtocolError):
            self._transport.close()
            self._transport = self._job.connect(self._target)
            await self._transport.open()
            await self._transport.post(request.data)

    async def _within(self, work: Awaitable[_T], clock: str, due: float | None = None) -> _T:
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
        try:
            with self._clock.timeout(max(left, 0.0)):
                return await work
        except TimeoutError:
            raise timed_out(clock, self._job.spec.clocks) from None

    def _note(self, text: str, *values: object) -> None:
        """Log a step: ids, sizes and states, never bodies."""
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(f"[%s] {text}", self._target.name, *values)

    async def _pause(self, data: bytes = b"") -> None:
        """Slow down for a host that answers at once with nothing, as none should and a hostile one would."""
        now = self._clock.monotonic()
        at_once, self._heard = now - self._heard < _AT_ONCE, now
        self._quiet = self._quiet + 1 if at_once and not data else 0
        if self._quiet > 3:
            await self._clock.sleep(_EMPTY_PAUSE)


def _delays(count: int) -> Iterator[float]:
    """Growing pauses with jitter, seconds: hosts that fell together must not come back together."""
    for n in range(max(count, 0)):
        yield min(0.25 * 2**n, 8.0) * random.uniform(0.5, 1.0)


def _taken(items: list[bytes]) -> list[bytes]:
    taken = items[:]
    items.clear()
    return taken


def _upper(identifier: uuid.UUID) -> str:
    return str(identifier).upper()
