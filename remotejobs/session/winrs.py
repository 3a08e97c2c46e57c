"""One attempt at one target: open a cmd shell, run the command line or find it again, receive to its end.

Knows the order of WinRS requests (MS-WSMV 3.1.4), and which of them may be sent a second time. Must not know throttles,
retries of whole attempts, or stores: it tells a ledger and waits for it. Nothing is sent that depends on a promise to
the ledger before the ledger has it.

A host numbers nothing of what a program writes, and a cmd shell cannot be disconnected: who takes a command over from
a process that is gone says that lines may be missing, or be there twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from remotejobs.errors import (
    AccessDeniedError,
    AuthenticationError,
    FaultError,
    LeaseLostError,
    ProtocolError,
    RemoteJobsError,
    StoreError,
    UnreachableError,
)
from remotejobs.model import CmdCommand, Outcome
from remotejobs.ports import ChildLedger, ChildTask, Clock, Control
from remotejobs.rows import Fresh, Phase
from remotejobs.session.attaching import gone, look
from remotejobs.session.exchange import ask
from remotejobs.session.intake import Intake
from remotejobs.session.link import GRACE, Link
from remotejobs.session.opening import command, create
from remotejobs.session.outcomes import (
    NOT_KEPT,
    ended_by,
    left,
    lives_on,
    not_found_again,
    unfed,
)
from remotejobs.session.prepared import PreparedJob
from remotejobs.states import EndReason
from remotejobs.wsman.envelopes import SHELL
from remotejobs.wsman.faults import CONCURRENCY, Means, meaning
from remotejobs.wsman.pipes import Pipes
from remotejobs.wsman.shells import read_created
from remotejobs.wsman.winrs import CMD, CTRL_C, TERMINATE, CmdShell, command_line, read_output

if TYPE_CHECKING:
    from remotejobs.session.feed import Feed

_BATCH: Final = 1000  # records that are committed at a time
_AGAIN: Final = 1.0  # seconds until a host is asked again on which a Receive of a lost connection still waits
_HEEDED: Final = 5.0  # seconds that a program has to end by itself after ^C


class CmdConversation:
    """One attempt; `run` once, then `close`."""

    __slots__ = (
        "_aside",
        "_clock",
        "_command",
        "_command_id",
        "_control",
        "_feeding",
        "_intake",
        "_job",
        "_leaving",
        "_ledger",
        "_link",
        "_outcome",
        "_pipes",
        "_resume",
        "_shell",
        "_shell_may_exist",
        "_start",
        "_target",
        "phase",
    )

    def __init__(self, job: PreparedJob, child: ChildTask, ledger: ChildLedger, control: Control, clock: Clock) -> None:
        start = child.start
        ids, resume = (start, None) if isinstance(start, Fresh) else (start.ids, start)
        assert isinstance(job.spec.command, CmdCommand)
        self._job, self._ledger, self._control, self._clock = job, ledger, control, clock
        self._target, self._start, self._resume, self._command = child.target, ids, resume, job.spec.command
        requests = job.requests(child.target, ids.session_id, CMD)
        self._shell = CmdShell(requests, resume.shell_id if resume else str(ids.shell_id).upper())
        self._command_id = resume.command_id if resume else str(ids.command_id).upper()
        self._pipes = Pipes(self._command.code_page, resume.object_id if resume else 0)
        self._intake = Intake(job.spec, child.target, ledger, clock, resume.seq if resume else 0)
        self._link = Link(job, child.target, control, clock)
        self._aside: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._outcome: Outcome | None = None
        self._leaving = self._shell_may_exist = False
        self.phase = Phase.CONNECT

    async def run(self) -> Outcome:
        """Run the command line to its end, or until its shell is left on the host.

        Raises:
            RemoteJobsError: What ended the attempt; `outcome_of` says how the child ends by it.
        """
        link, control = self._link, self._control
        if self._resume is None and self._job.feed is None and self._command.streamed:
            return Outcome(EndReason.NotStarted, NOT_KEPT)
        try:
            control.on_request(self._requested)
            await link.within(link.transport.open(), "connect")
            link.note("connected")
            await control.enter(Phase.AUTHENTICATE)
            self.phase = Phase.AUTHENTICATE
            if self._resume is None:
                await self._open()
                await self._begin()
            else:
                await self._find()
            control.on_request(self._requested)  # what was asked for meanwhile counts now
            return await self._receive()
        finally:
            control.on_request(None)
            for task in (self._aside, self._feeding):
                if task:
                    task.cancel()

    def outcome_of(self, error: RemoteJobsError) -> Outcome:
        """How the child stands if `error` is the end of the attempt."""
        resume, errors = self._resume, self._intake.errors
        if self._outcome is not None:
            return self._outcome
        if resume is not None and self.phase < Phase.STARTED:
            outcome = not_found_again(error, started=resume.started, seq=resume.seq)
            self._leaving = outcome.reason is EndReason.Disconnected
            return outcome
        if self._control.stop_requested:
            text = "" if self.phase < Phase.STARTING else f"It did not end in order: {error.message}"
            return Outcome(EndReason.Stopped, text, error_count=errors, details={"phase": self.phase.name})
        if self.phase is Phase.STARTED and lives_on(error):
            self._leaving = True
            outcome = left(self._job.spec.session_option.idle_timeout, error.message, error)
        else:
            refused, user = bool(error.details.get("refused")), self._job.user(self._target)
            outcome = ended_by(error, self.phase, refused=refused, user=user, host=self._target.name)
        return replace(outcome, error_count=errors)

    async def close(self) -> None:
        """Delete the shell if there may be one that nobody needs; drop the connection. Bounded; never raises."""
        await self._link.close(self._shell.delete() if self._shell_may_exist and not self._leaving else None)

    def abandon(self) -> None:
        """Drop the connection and leave the shell: it is another process's now."""
        self._leaving = True
        self._link.transport.close()

    # -- opening and starting -----------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._shell_may_exist = True
        try:
            await create(self._link, self._shell, self._control, self._create(), self._create)
        except (AuthenticationError, FaultError, AccessDeniedError):
            self._shell_may_exist = False
            raise
        self.phase = Phase.OPEN

    def _create(self) -> Coroutine[None, None, str]:
        option = self._job.spec.session_option
        request = self._shell.create(
            code_page=self._command.code_page, no_profile=option.no_machine_profile, idle_timeout=option.idle_timeout
        )
        return ask(self._link.transport, request, read_created)

    async def _begin(self) -> None:
        line = command_line(self._command.text)
        await self._ledger.starting()
        if self._control.stop_requested:
            raise UnreachableError("Stopped before the command line was sent.")
        self.phase = Phase.STARTING
        request = self._shell.command(self._command_id, line)
        given = await command(
            self._link, request, self._command_id, lambda: self._shell.command(self._command_id, line)
        )
        if given:
            self._command_id = given
            await self._started()

    async def _started(self) -> None:
        """The host is known to have the command."""
        await self._ledger.started(self._shell.shell_id, self._command_id)
        self.phase = Phase.STARTED
        self._link.note("command %s started", self._command_id)
        if self._job.feed is not None and self._resume is None:
            self._feeding = asyncio.get_running_loop().create_task(self._feed(self._job.feed))

    async def _feed(self, feed: Feed) -> None:
        """Give the program its input while it runs. One that did not get all of it must not look as if it had."""
        from remotejobs.session.feed import give

        job, control = self._job, self._control
        error = await give(feed, job, self._target, control, self._clock, self._shell, self._pipes, self._command_id)
        self._feeding = None
        if error and not control.stop_requested:
            self._outcome = unfed(error, self._intake.errors)
            self._link.give_up()
        control.on_request(self._requested)  # nobody may leave before

    async def _find(self) -> None:
        """Get hold of the command that another run of the job began: Receive is for whoever asks."""
        assert self._resume is not None
        requests = self._job.requests(self._target, self._start.session_id, SHELL)
        try:
            await look(self._link, requests, self._shell.shell_id, "authenticate")
        except (FaultError, AccessDeniedError):
            await self._control.enter(Phase.OPEN)
            raise
        await self._control.enter(Phase.OPEN)
        # The command was given to the host long ago: whatever happens now is no reason to begin anew.
        self.phase = Phase.STARTING
        self._shell_may_exist = True
        await self._ledger.starting()  # is so already: the ledger refuses where another process has the job
        if self._command.streamed or (self._command.input is not None and not self._resume.started):
            error = ProtocolError("The process that gave it its input is gone.")
            self._outcome = unfed(error, self._intake.errors)
            raise error
        if self._resume.started:
            await self._started()

    # -- receiving ----------------------------------------------------------------------------------------------------

    async def _receive(self) -> Outcome:
        """Receive to the end. The beginning of a line is a line too, for nobody will get it again."""
        try:
            return await self._listen()
        except (LeaseLostError, StoreError):
            raise
        except RemoteJobsError:
            await self._take([], last=True)
            raise

    async def _listen(self) -> Outcome:
        link, clock = self._link, self._clock
        silence = self._job.spec.clocks.silence
        due = None if silence is None else clock.monotonic() + silence
        free: float | None = None  # when a Receive of a lost connection has to be over
        while True:
            try:
                output = await link.answer(self._shell.receive(self._command_id), read_output, due)
            except FaultError as fault:
                if fault.code == CONCURRENCY:
                    free = free or clock.monotonic() + self._job.spec.session_option.operation_timeout + GRACE
                    if clock.monotonic() > free:
                        raise
                    await clock.sleep(_AGAIN)
                elif meaning(fault).means is Means.NOTHING_YET:
                    await self._heard()
                    await link.pause()
                else:
                    return await self._ended_by(fault)
                continue
            except UnreachableError as error:
                if self._leaving:
                    await self._take([], last=True)
                    return replace(left(self._job.spec.session_option.idle_timeout), error_count=self._intake.errors)
                await link.restore(error)
                continue
            link.losses, free = 0, None
            await self._heard()
            await self._take(output.pieces, last=output.done)
            if output.done:
                return self._ended(output.exit_code)
            if output.pieces and silence is not None:
                due = clock.monotonic() + silence
            await link.pause(output.pieces[0][1] if output.pieces else b"")

    async def _take(self, pieces: list[tuple[str, bytes]], *, last: bool) -> None:
        """Commit what came; a part at a time, for one answer may hold a million lines."""
        records = self._pipes.feed(pieces, last=last)
        while batch := list(islice(records, _BATCH)):
            await self._intake.append(batch)

    async def _heard(self) -> None:
        """After the first answer of a command of which it was not known whether the host has it."""
        if self.phase is not Phase.STARTED:
            await self._started()
            self._control.on_request(self._requested)

    def _ended(self, exit_code: int | None) -> Outcome:
        """How a child ends whose command is over."""
        details: dict[str, Any] = {"shell": "cmd"} if exit_code is None else {"shell": "cmd", "exit_code": exit_code}
        message = ""
        if self._resume is not None:
            message = (
                "The process that received its output before is gone, and the host does not number lines: after record "
                f"{self._resume.seq} some may be missing, or be there twice."
            )
            details["incomplete"] = True
        reason = EndReason.Stopped if self._control.stop_requested else EndReason.Completed
        return Outcome(reason, message, error_count=self._intake.errors, details=details)

    async def _ended_by(self, fault: FaultError) -> Outcome:
        """After a fault to Receive: a command that was stopped is gone; of any other nobody will hear how it ended.

        Raises:
            FaultError: Always, where it was not stopped.
        """
        if self._control.stop_requested:
            await self._take([], last=True)
            return self._ended(None)
        if meaning(fault).means is Means.GONE:
            started, seq = self.phase is Phase.STARTED, self._intake.seq
            requests = self._job.requests(self._target, self._start.session_id, SHELL)
            outcome = await gone(self._link, requests, self._shell.shell_id, fault, seq=seq, started=started)
            self._outcome = replace(outcome, error_count=self._intake.errors)
        raise fault

    # -- stopping and leaving -----------------------------------------------------------------------------------------

    def _requested(self) -> None:
        """Begin to stop, or to leave the command to its host: drop what has not started, ask what runs."""
        if self._control.stop_requested:
            if self.phase < Phase.STARTING and self._resume is None:
                self._link.transport.close()
            elif self.phase is Phase.STARTED and self._aside is None:
                if self._feeding:
                    self._feeding.cancel()
                self._aside = asyncio.get_running_loop().create_task(self._stop())
        elif self.phase is Phase.STARTED and self._feeding is None:
            self._leaving = True
            self._link.give_up()

    async def _stop(self) -> None:
        """^C past the pending Receive, on a second connection, then the end of the process, then that of the shell."""
        link, clock, limit = self._link, self._clock, self._job.spec.session_option.cancel_timeout
        link.note("stopping")
        due = clock.monotonic() + limit
        for code in (CTRL_C, TERMINATE):
            # Where it does not arrive, the shell's deletion stops it too.
            with contextlib.suppress(RemoteJobsError, TimeoutError):
                await link.aside(self._shell.signal(self._command_id, code), due - clock.monotonic())
            await clock.sleep(min(_HEEDED, max(due - clock.monotonic(), 0.0)))
        link.give_up()
