"""One attempt at one target: connect, open a runspace, start the script or find it again, receive to its end.

Knows the order of WS-Man requests and PSRP messages, and which of them may be sent a second time. Must not know
throttles, retries of whole attempts, or stores: it tells a ledger and waits for it. Nothing is sent that depends on a
promise to the ledger before the ledger has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING

from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    ProtocolError,
    RemoteJobsError,
    UnreachableError,
)
from remotejobs.model import Outcome
from remotejobs.ports import ChildLedger, ChildTask, Clock, Control
from remotejobs.rows import Fresh, Phase
from remotejobs.session.answering import answer_calls, answers_of, session_key
from remotejobs.session.attaching import gone, look, take_back
from remotejobs.session.exchange import ask
from remotejobs.session.intake import Intake
from remotejobs.session.link import Link
from remotejobs.session.opening import command, create, open_pool, send
from remotejobs.session.outcomes import (
    NOT_KEPT,
    ended_as,
    ended_by,
    left,
    lives_on,
    lost_command,
    not_found_again,
    unfed,
)
from remotejobs.session.prepared import PreparedJob
from remotejobs.states import EndReason
from remotejobs.wsman import shells
from remotejobs.wsman.envelopes import LARGE_ENVELOPE_SIZE, SHELL, Request, read_answer
from remotejobs.wsman.faults import CONCURRENCY, HELD, Means, meaning
from remotejobs.wsman.psrp.messages import PROTOCOL_VERSION
from remotejobs.wsman.psrp.runspace import Runspace
from remotejobs.wsman.received import read_received

if TYPE_CHECKING:
    from remotejobs.session.feed import Feed

# A host that disconnects us again and again without an answer in between has to stop somewhere.
_MOST_RETAKES = 5
# Seconds after Disconnect in which the host should have ended the pending Receive.
_LEAVE_GRACE = 5.0


class Conversation:
    """One attempt; `run` once, then `close`."""

    __slots__ = (
        "_aside",
        "_clock",
        "_command_id",
        "_control",
        "_feeding",
        "_idle",
        "_intake",
        "_job",
        "_leaving",
        "_ledger",
        "_link",
        "_name",
        "_option",
        "_outcome",
        "_resume",
        "_retakes",
        "_runspace",
        "_shell",
        "_shell_may_exist",
        "_start",
        "_target",
        "phase",
    )

    def __init__(self, job: PreparedJob, child: ChildTask, ledger: ChildLedger, control: Control, clock: Clock) -> None:
        start = child.start
        ids, resume = (start, None) if isinstance(start, Fresh) else (start.ids, start)
        self._job, self._ledger, self._control, self._clock = job, ledger, control, clock
        self._target, self._start, self._resume = child.target, ids, resume
        self._name = job.spec.shell_name(child.number)
        self._option = option = job.spec.session_option
        requests = job.requests(child.target, ids.session_id, "")
        self._shell = shells.PowerShellShell(requests, resume.shell_id if resume else _upper(ids.shell_id))
        self._command_id = resume.command_id if resume else _upper(ids.command_id)
        self._runspace = Runspace(
            ids.shell_id,
            ids.command_id,
            job.init,
            job.pipeline,
            max_object=option.maximum_received_object_size,
            after=resume.object_id if resume else None,
            answers=answers_of(job, begun=resume is not None),
        )
        self._intake = Intake(job.spec, child.target, ledger, clock, resume.seq if resume else 0)
        self._link = Link(job, child.target, control, clock)
        self._idle = option.idle_timeout
        self._aside: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._outcome: Outcome | None = None
        self._retakes = 0
        self._leaving = self._shell_may_exist = False
        self.phase = Phase.CONNECT

    async def run(self) -> Outcome:
        """Run the script to its end, or until its shell is left on the host.

        Raises:
            RemoteJobsError: What ended the attempt; `outcome_of` says how the child ends by it.
        """
        link, control = self._link, self._control
        if self._resume is None and self._job.secrets.missing:
            return Outcome(EndReason.NotStarted, f"Not begun: {self._job.secrets.words}")
        if self._resume is None and self._job.feed is None and self._job.spec.command.streamed:
            return Outcome(EndReason.NotStarted, NOT_KEPT)
        try:
            control.on_request(self._requested)
            await link.within(link.transport.open(), "connect")
            link.note("connected")
            await control.enter(Phase.AUTHENTICATE)
            if self._resume is None:
                await self._open()
                await self._begin()
            else:
                await self._find()
            if self.phase is Phase.STARTED and self._wants_to_leave and await self._leave():
                return self._left()
            control.on_request(self._requested)  # what was asked for meanwhile counts now
            return await self._receive()
        finally:
            control.on_request(None)
            if self._aside:
                self._aside.cancel()
            if self._feeding:
                self._feeding.cancel()

    def outcome_of(self, error: RemoteJobsError) -> Outcome:
        """How the child stands if `error` is the end of the attempt."""
        resume, stopped = self._resume, self._control.stop_requested
        if self._outcome is not None:
            return self._outcome
        if resume is not None and self.phase < Phase.STARTED:
            if stopped and isinstance(error, FaultError) and error.code in HELD:
                return Outcome(EndReason.Stopped, "Another client holds the shell of the script; it is being deleted.")
            outcome = not_found_again(error, started=resume.started, seq=resume.seq)
            self._leaving = outcome.reason is EndReason.Disconnected
            return outcome
        if stopped:
            before = self.phase < Phase.STARTING
            text = "" if before else f"It did not end in order: {error.message}"
            return Outcome(EndReason.Stopped, text, error_count=self._intake.errors, details={"phase": self.phase.name})
        if resume is not None and error.details.get("silent"):
            outcome = lost_command(error, seq=self._intake.seq, started=True)
        elif self.phase is Phase.STARTED and self._runspace.version != "2.1" and lives_on(error):
            self._leaving = True
            outcome = left(self._idle, error.message, error)
        else:
            refused, user = bool(error.details.get("refused")), self._job.user(self._target)
            outcome = ended_by(error, self.phase, refused=refused, user=user, host=self._target.name)
        return replace(outcome, error_count=self._intake.errors)

    async def close(self) -> None:
        """Delete the shell if there may be one that nobody needs; drop the connection. Bounded; never raises."""
        await self._link.close(self._shell.delete() if self._shell_may_exist and not self._leaving else None)

    def abandon(self) -> None:
        """Drop the connection and leave the shell: it is another process's now."""
        self._leaving = True
        self._link.transport.close()

    # -- opening ------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self.phase = Phase.AUTHENTICATE
        link, shell, runspace = self._link, self._shell, self._runspace
        first, *more = runspace.opening(shell.payload_size)
        creating = self._create(first)
        del first
        self._shell_may_exist = True
        try:
            await create(
                link, shell, self._control, creating, lambda: self._create(runspace.opening(shell.payload_size)[0])
            )
        except (AuthenticationError, FaultError, AccessDeniedError):
            self._shell_may_exist = False
            raise
        self.phase = Phase.OPEN
        limit = self._job.spec.clocks.open
        due = None if limit is None else self._clock.monotonic() + limit
        await open_pool(link, shell, runspace, more, due)
        link.note("runspace opened, protocol %s", runspace.version)
        if runspace.version != "2.1":
            shell.resize(LARGE_ENVELOPE_SIZE)
        if self._job.older and runspace.version < "2.3":  # PowerShell 5 brought both 2.3 and the other form
            runspace.pipeline = self._job.older
        secrets = self._job.secrets
        if secrets.names or runspace.key_requests:
            key = await session_key(link, shell, runspace, secrets, due)
            runspace.pipeline = secrets.fill(runspace.pipeline, runspace.pool_id, key)

    def _create(self, packet: bytes) -> Coroutine[None, None, str]:
        option = self._option
        request = self._shell.create(
            packet,
            protocol=PROTOCOL_VERSION,
            no_profile=option.no_machine_profile,
            idle_timeout=option.idle_timeout,
            buffer_mode=option.output_buffering_mode,
            name=self._name,
        )
        return ask(self._link.transport, request, shells.read_created)

    # -- starting -----------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        link, shell, runspace = self._link, self._shell, self._runspace
        inputs = self._job.input
        first, *more = runspace.starting(shell.payload_size, inputs)
        await self._ledger.starting()
        if self._control.stop_requested:
            raise UnreachableError("Stopped before the script was sent.")
        self.phase = Phase.STARTING
        starting = command(
            link,
            shell.command(self._command_id, first),
            self._command_id,
            None if more else lambda: shell.command(self._command_id, runspace.starting(shell.payload_size)[0]),
        )
        del first
        given = await starting
        self._command_id = given or self._command_id
        try:
            for packet in more:
                await send(link, shell, self._command_id, packet, self._clock)
        except FaultError as fault:
            if inputs is None or meaning(fault).means is not Means.GONE:
                raise
            link.note("the script has ended without all of its input")
        if given:
            await self._started()

    async def _started(self) -> None:
        """The host is known to have the command."""
        await self._ledger.started(self._shell.shell_id, self._command_id)
        self.phase = Phase.STARTED
        self._link.note("command %s started", self._command_id)
        if self._job.feed is not None and self._resume is None:
            self._feeding = asyncio.get_running_loop().create_task(self._feed(self._job.feed))

    async def _feed(self, feed: Feed) -> None:
        """Give the script its input while it runs. One that did not get all of it must not look as if it had."""
        from remotejobs.session.feed import give

        job, control = self._job, self._control
        error = await give(feed, job, self._target, control, self._clock, self._shell, self._runspace, self._command_id)
        self._feeding = None
        if error and not control.stop_requested:
            self._outcome = unfed(error, self._intake.errors)
            self._link.give_up()
        control.on_request(self._requested)  # nobody may leave before

    # -- finding again ------------------------------------------------------------------------------------------------

    async def _find(self) -> None:
        """Get hold of the command that another run of the job began."""
        assert self._resume is not None
        self.phase = Phase.AUTHENTICATE
        link, shell = self._link, self._shell
        requests = self._job.requests(self._target, self._start.session_id, SHELL)
        try:
            found = await look(link, requests, shell.shell_id, "authenticate")
        except (FaultError, AccessDeniedError):
            await self._control.enter(Phase.OPEN)
            raise
        await self._control.enter(Phase.OPEN)
        # The script was given to the host long ago: whatever happens now is no reason to begin anew.
        self.phase = Phase.STARTING
        self._shell_may_exist = True
        if found is not None:
            self._idle = found.idle_timeout or self._idle
            link.note("shell %s is there, %s", shell.shell_id, found.state)
        command = self._job.spec.command
        if command.streamed or (command.input is not None and not self._resume.started):
            await self._ledger.starting()
            error = ProtocolError("The process that gave it its input is gone.")
            self._outcome = unfed(error, self._intake.errors)
            raise error
        shell.resize(LARGE_ENVELOPE_SIZE)  # only hosts that know it let a shell outlive its client
        self._runspace.resume()
        await self._take_back(connected=found is None or not found.disconnected)
        if self._resume.started:
            await self._started()

    async def _take_back(self, *, connected: bool) -> None:
        self._retakes += 1
        await take_back(
            self._link,
            self._shell,
            self._runspace,
            self._command_id,
            self._control,
            self._clock,
            connected=connected,
            fence=self._ledger.starting,  # is so already: the ledger refuses where another process has the job
        )

    # -- receiving ----------------------------------------------------------------------------------------------------

    async def _receive(self) -> Outcome:
        link, shell, runspace, clock = self._link, self._shell, self._runspace, self._clock
        silence = self._job.spec.clocks.silence
        due = None if silence is None else clock.monotonic() + silence
        while not runspace.ended:
            try:
                received = await link.answer(shell.receive(self._command_id), read_received, due)
            except FaultError as fault:
                if meaning(fault).means is not Means.NOTHING_YET:
                    if self._leaving and meaning(fault).means is not Means.GONE:
                        return self._left()
                    await self._interrupted(fault)
                else:
                    self._retakes = 0
                    if self.phase is not Phase.STARTED:
                        await self._heard()
                await link.pause()
                continue
            except UnreachableError as error:
                if self._leaving:
                    return self._left()
                await link.restore(error)
                continue
            link.losses = self._retakes = 0
            if self.phase is not Phase.STARTED:
                await self._heard()
            records = runspace.feed_pipeline(received.data)
            if records:
                link.note("%d records", len(records))
                await self._intake.append(records)
                if silence is not None:
                    due = clock.monotonic() + silence
            if runspace.replies:
                await answer_calls(link, shell, runspace, self._command_id, self._job, self._intake, clock)
            if received.done:
                break
            await link.pause(received.data)
        intake = self._intake
        if runspace.failure:
            intake.look(runspace.failure)
        stopped = self._control.stop_requested
        return ended_as(runspace, intake.errors, stopped=stopped, second_hop=intake.second_hop)

    async def _heard(self) -> None:
        """The first answer of a command of which it was not known whether the host has it."""
        await self._started()
        self._control.on_request(self._requested)

    async def _interrupted(self, fault: FaultError) -> None:
        """Go on after a fault to Receive, where the shell can be had again; raise it where it cannot."""
        means = meaning(fault).means
        if means is Means.GONE:
            await self._explain(fault)
        if self._retakes >= _MOST_RETAKES:
            raise fault
        if means is Means.LEFT:
            self._link.note("the host has disconnected the shell")
            await self._take_back(connected=False)
        elif fault.code == CONCURRENCY:
            self._link.note("a Receive of a connection that was lost still waits")
            await self._take_back(connected=True)
        else:
            raise fault

    async def _explain(self, fault: FaultError) -> None:
        """Raise `fault`, and say how the child ends by it: is it the shell that is gone, or the command only?"""
        requests = self._job.requests(self._target, self._start.session_id, SHELL)
        started, seq = self.phase is Phase.STARTED, self._intake.seq
        outcome = await gone(self._link, requests, self._shell.shell_id, fault, seq=seq, started=started)
        if not self._control.stop_requested:
            self._outcome = replace(outcome, error_count=self._intake.errors)
        raise fault

    # -- leaving ------------------------------------------------------------------------------------------------------

    @property
    def _wants_to_leave(self) -> bool:
        control = self._control
        wanted = control.disconnect_requested or (self._resume is None and self._job.spec.in_disconnected_session)
        return wanted and not control.stop_requested and self._feeding is None

    async def _leave(self) -> bool:
        """Disconnect while no Receive waits. False where the host does not do it."""
        self._leaving = True
        try:
            await self._link.answer(self._disconnect(), read_answer)
        except FaultError as fault:
            self._leaving = meaning(fault).means is Means.LEFT
            self._link.note("Disconnect was refused: %s", fault.message)
        except UnreachableError as error:
            # As good: the service itself disconnects a shell whose client is silent.
            self._link.note("no answer to Disconnect: %s", error.message)
        return self._leaving

    def _disconnect(self) -> Request:
        option = self._option
        return self._shell.disconnect(idle_timeout=option.idle_timeout, buffer_mode=option.output_buffering_mode)

    def _left(self) -> Outcome:
        return replace(left(self._idle), error_count=self._intake.errors)

    async def _leave_aside(self) -> None:
        """Disconnect past the pending Receive, on a second connection; the host ends the Receive with a fault."""
        self._link.note("disconnecting")
        try:
            await self._link.aside(self._disconnect(), self._option.cancel_timeout)
        except FaultError as fault:
            if meaning(fault).means is not Means.LEFT:
                self._leaving = False
                self._link.note("Disconnect was refused: %s", fault.message)
                return
        except (RemoteJobsError, TimeoutError) as error:
            self._link.note("no answer to Disconnect: %s", error)
        await self._clock.sleep(_LEAVE_GRACE)
        self._link.give_up()

    # -- stopping -----------------------------------------------------------------------------------------------------

    def _requested(self) -> None:
        """Begin to stop or to disconnect: drop what has not started, ask what runs."""
        if self._control.stop_requested:
            if self.phase < Phase.STARTING and self._resume is None:
                self._link.transport.close()
            elif self.phase is Phase.STARTED and (self._aside is None or self._leaving):
                self._leaving = False  # a stop outranks a disconnect
                if self._feeding:
                    self._feeding.cancel()
                self._go_aside(self._signal_stop())
        elif self.phase is Phase.STARTED and self._aside is None and self._feeding is None:
            self._leaving = True
            self._go_aside(self._leave_aside())

    def _go_aside(self, work: Coroutine[None, None, None]) -> None:
        if self._aside:
            self._aside.cancel()
        self._aside = asyncio.get_running_loop().create_task(work)

    async def _signal_stop(self) -> None:
        """Signal past the pending Receive on a second connection; when the time for it is over, end the Receive too."""
        self._link.note("stopping")
        limit = self._option.cancel_timeout
        due = self._clock.monotonic() + limit
        # Where it does not arrive, the end of the time, or the shell's deletion, stops it too.
        with contextlib.suppress(RemoteJobsError, TimeoutError):
            await self._link.aside(self._shell.signal(self._command_id, shells.STOP), limit)
        await self._clock.sleep(due - self._clock.monotonic())
        self._link.give_up()


def _upper(identifier: uuid.UUID) -> str:
    return str(identifier).upper()
