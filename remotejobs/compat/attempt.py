"""One attempt at one target through a library that blocks: each of its steps in a thread, all decisions on the loop.

Knows the order of steps, clocks, and what a loss means. Must not know libraries, throttles, retries of whole attempts,
or stores: it tells a ledger and waits for it. A step begins when the promises before it are kept: the script is given
to the host when STARTING is committed, more output is asked for when what came is. A step that nobody waits for any
more is ended by closing its connections from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

from remotejobs.compat.errors import translated
from remotejobs.compat.lines import Lines
from remotejobs.compat.peer import ANSWER_GRACE, EngineJob, Peer, PeerOf
from remotejobs.errors import AuthenticationError, FaultError, RemoteJobsError, TimedOutError, UnreachableError
from remotejobs.model import Outcome
from remotejobs.ports import ChildLedger, ChildTask, Clock, Control
from remotejobs.rows import Fresh, Phase
from remotejobs.states import EndReason
from remotejobs.wsman.faults import CONCURRENCY, Means, meaning

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_MOST_QUIET = 3
_EMPTY_PAUSE = 0.5  # seconds between more empty answers of a host that does not hold the request as it should
_AT_ONCE = 1.0  # seconds; an empty answer that took longer was held
_AGAIN = 1.0  # seconds until a host is asked again on which a Receive of a lost connection still waits


class ThreadedAttempt:
    """One attempt; `run` once, then `close`.

    Args:
        job, peer_of: The engine.
        threads: Where its steps run.
        room: For as many attempts as there are threads: what waits for one is not late.
        child, ledger, control, clock: As of HostRunner.
    """

    def __init__(
        self,
        job: EngineJob,
        peer_of: PeerOf,
        threads: Executor,
        room: asyncio.Semaphore,
        child: ChildTask,
        ledger: ChildLedger,
        control: Control,
        clock: Clock,
    ) -> None:
        self._job, self._peer_of, self._threads, self._room = job, peer_of, threads, room
        self._target, self._start = child.target, child.start
        self._ledger, self._control, self._clock = ledger, control, clock
        self._ids = child.start if isinstance(child.start, Fresh) else child.start.ids
        self._accepted, self._commanded = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._lines = self._new_lines()
        self._intake = job.manners.intake(job.spec, child.target, ledger, clock, 0)
        self._peer: Peer | None = None
        self._command_id = ""
        self._aside: asyncio.Task[None] | None = None
        self._losses = 0
        self._shell_may_exist = False
        self.phase = Phase.CONNECT

    async def run(self) -> Outcome:
        """Run the command to its end.

        Raises:
            RemoteJobsError: What ended the attempt; `outcome_of` says how the child ends by it.
        """
        if not isinstance(self._start, Fresh):
            return self._not_taken_over()
        async with self._room:
            return await self._run()

    async def _run(self) -> Outcome:
        control = self._control
        try:
            control.on_request(self._requested)
            await self._within(self._in_thread(self._lines.connect), "connect")
            await control.enter(Phase.AUTHENTICATE)
            peer = await self._open()
            await self._begin(peer)
            return await self._receive(peer)
        finally:
            control.on_request(None)
            if self._aside:
                self._aside.cancel()

    def outcome_of(self, error: RemoteJobsError) -> Outcome:
        """How the child stands if `error` is the end of the attempt."""
        words, started = self._job.manners.outcomes, self.phase is Phase.STARTED
        if self._stopped:
            before = self.phase < Phase.STARTING
            text = "" if before else f"It did not end in order: {error.message}"
            outcome = Outcome(EndReason.Stopped, text, details={"phase": self.phase.name})
        elif started and isinstance(error, FaultError) and meaning(error).means is Means.GONE:
            outcome = words.lost_shell(error, seq=self._intake.seq)
        else:
            refused, user = bool(error.details.get("refused")), self._job.user(self._target)
            outcome = words.ended_by(error, self.phase, refused=refused, user=user, host=self._target.name)
        return replace(outcome, error_count=self._intake.errors)

    async def close(self) -> None:
        """Delete the shell if there may be one; drop the connections. Bounded by the cleanup clock; never raises."""
        try:
            with self._clock.timeout(self._job.spec.clocks.cleanup):
                if self._shell_may_exist:
                    await self._delete()
        except (RemoteJobsError, TimeoutError):
            pass  # the host deletes it by itself when its IdleTimeout has passed
        finally:
            self._lines.drop()

    def abandon(self) -> None:
        """Drop the connections and leave the shell: it is another process's now."""
        self._lines.drop()

    # -- the steps ----------------------------------------------------------------------------------------------------

    async def _open(self) -> Peer:
        self.phase = Phase.AUTHENTICATE
        self._shell_may_exist = True
        opening = asyncio.ensure_future(self._in_thread(self._opened))
        accepted = asyncio.ensure_future(self._accepted.wait())
        try:
            await self._within(asyncio.wait({opening, accepted}, return_when=asyncio.FIRST_COMPLETED), "authenticate")
            if self._accepted.is_set():
                await self._control.enter(Phase.OPEN)
                self.phase = Phase.OPEN
            peer = await self._within(opening, "open")
        except AuthenticationError:
            self._shell_may_exist = False
            raise
        finally:
            accepted.cancel()
            if not opening.cancel() and not opening.cancelled():
                opening.exception()  # nobody else may have looked at it
        self._note("shell %s", peer.shell_id)
        return peer

    def _opened(self) -> Peer:
        peer = self._peer = self._new_peer(self._lines)
        peer.open()
        return peer

    async def _begin(self, peer: Peer) -> None:
        await self._ledger.starting()
        if self._stopped:
            raise UnreachableError("Stopped before the script was sent.")
        self.phase = Phase.STARTING
        try:
            self._command_id = await self._within(self._in_thread(peer.begin), "command")
        except RemoteJobsError as error:
            unsent = error.details.get("step") in ("name", "tcp", "tls")  # not a byte of it has left
            refused = isinstance(error, FaultError) and meaning(error).means is not Means.NOTHING_YET
            if not peer.commanded and (unsent or refused):
                error.details["refused"] = True
            raise
        await self._ledger.started(peer.shell_id, self._command_id)
        self.phase = Phase.STARTED
        self._commanded.set()
        self._note("command %s started", self._command_id)

    async def _receive(self, peer: Peer) -> Outcome:
        clock, silence = self._clock, self._job.spec.clocks.silence
        due = None if silence is None else clock.monotonic() + silence
        quiet = 0  # empty answers in a row that came at once
        free: float | None = None  # when a Receive of a lost connection has to be over
        while not peer.ended:
            began = clock.monotonic()
            try:
                records = await self._within(self._in_thread(peer.receive), "silence", due)
            except UnreachableError as error:
                await self._restore(peer, error)
                continue
            except FaultError as fault:
                free = free or clock.monotonic() + self._job.spec.session_option.operation_timeout + ANSWER_GRACE
                if fault.code != CONCURRENCY or clock.monotonic() > free:
                    raise
                await clock.sleep(_AGAIN)
                continue
            self._losses, free = 0, None
            if records:
                await self._intake.append(records)
                if silence is not None:
                    due = clock.monotonic() + silence
            quiet = quiet + 1 if records is None and clock.monotonic() - began < _AT_ONCE else 0
            if quiet > _MOST_QUIET:
                await clock.sleep(_EMPTY_PAUSE)
            if peer.asked:
                notes = await self._within(self._in_thread(peer.reply), "reply")
                if notes:
                    await self._intake.append(notes)
        return peer.outcome(self._intake, stopped=self._stopped)

    async def _restore(self, peer: Peer, error: RemoteJobsError) -> None:
        """Connect again after a loss, where the host repeats what it cannot know that we have.

        Raises:
            UnreachableError: It cannot be done.
        """
        tries = self._job.spec.session_option.max_connection_retry_count
        if self._stopped or not peer.replays:
            raise error
        self._note("connection lost: %s", error.message)
        while self._losses < tries:
            pause = min(0.25 * 2**self._losses, 8.0) * random.uniform(0.5, 1.0)
            self._losses += 1
            self._lines.drop()
            await self._clock.sleep(pause)
            self._lines = self._new_lines()
            try:
                await self._within(self._in_thread(self._lines.connect), "connect")
            except (UnreachableError, TimedOutError) as failure:
                if failure.details.get("clock", "connect") != "connect":
                    raise
                error = failure
            else:
                await self._in_thread(functools.partial(peer.move, self._lines))
                return
        raise UnreachableError(f"The connection was lost and {tries} tries did not bring it back: {error.message}")

    async def _delete(self) -> None:
        """Over the connection that is there, else over a new one."""
        shell_id = self._peer.shell_id if self._peer else str(self._ids.shell_id).upper()
        if self._peer is not None and not self._lines.ended.is_set():
            with contextlib.suppress(UnreachableError):
                await self._in_thread(functools.partial(self._peer.delete, shell_id))
                return
        self._lines.drop()
        lines = self._lines = self._new_lines()
        await self._in_thread(lambda: self._new_peer(lines).delete(shell_id))

    # -- stopping -----------------------------------------------------------------------------------------------------

    @property
    def _stopped(self) -> bool:
        """Asked to stop; or to leave the script on its host, which no engine but the native one can."""
        return self._control.stop_requested or self._control.disconnect_requested

    def _requested(self) -> None:
        if self.phase < Phase.STARTING:
            self._lines.close()
        elif self._aside is None:
            self._aside = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        """Tell the command past what waits for its output; when the time for that is over, end the waiting too."""
        self._note("stopping")
        limit, clock = self._job.spec.session_option.cancel_timeout, self._clock
        due = clock.monotonic() + limit
        lines = self._new_lines()
        peer = self._peer
        assert peer is not None
        try:
            # Where it does not arrive, the shell's deletion stops it too.
            with contextlib.suppress(RemoteJobsError, TimeoutError), clock.timeout(limit):
                await self._commanded.wait()
                shell_id, command_id = peer.shell_id, self._command_id
                await self._in_thread(lambda: self._new_peer(lines).stop(shell_id, command_id), lines)
        finally:
            lines.drop()
        await clock.sleep(due - clock.monotonic())
        self._lines.close()

    # -- threads and clocks -------------------------------------------------------------------------------------------

    async def _in_thread(self, step: Callable[[], _T], lines: Lines | None = None) -> _T:
        """Run one step of the library in a thread. Cancelled, it closes the connections under it, which ends it.

        Raises:
            RemoteJobsError: What went wrong, in our words.
        """
        used = lines or self._lines

        def work() -> tuple[_T | None, RemoteJobsError | None]:
            try:
                with used:
                    return step(), None
            except Exception as error:  # noqa: BLE001 - fed with a host's bytes, libraries raise anything
                return None, translated(error, self._job, self._target, used)

        try:
            result, failure = await self._loop.run_in_executor(self._threads, work)
        except asyncio.CancelledError:
            used.close()
            raise
        if failure is not None:
            raise failure.with_traceback(None)  # the frames are the library's, with tokens in them
        return result  # type: ignore[return-value]

    async def _within(self, work: Awaitable[_T], clock: str, due: float | None = None) -> _T:
        """Await `work` until `due` (monotonic), else for the setting of `clock`, and never past the child's end."""
        now, clocks = self._clock.monotonic(), self._job.spec.clocks
        left = due - now if due is not None else getattr(clocks, clock, None)
        ends = self._control.ends
        if ends is not None and (left is None or ends.due - now < left):
            left, clock = ends.due - now, ends.clock
        try:
            with self._clock.timeout(None if left is None else max(left, 0.0)):
                return await work
        except TimeoutError:
            raise self._job.manners.outcomes.timed_out(clock, clocks) from None

    def _new_lines(self) -> Lines:
        spec, job, loop, accepted = self._job.spec, self._job, self._loop, self._accepted

        def let_in() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(accepted.set)

        return Lines(spec.endpoint(self._target), job.tls, job.names, spec.limits, let_in)

    def _new_peer(self, lines: Lines) -> Peer:
        return self._peer_of(self._job, self._target, self._ids, lines)

    def _not_taken_over(self) -> Outcome:
        assert not isinstance(self._start, Fresh)
        return Outcome(
            EndReason.Unknown,
            f"The process that ran the script is gone, and -Engine {self._job.library} cannot find it again."
            " It may have run, in part or to its end, and may still be running; what it wrote after record"
            f" {self._start.seq} is lost. Look at the host before it is run again.",
            error_id="PSSessionStateBroken",
            details={"phase": Phase.STARTED.name, "incomplete": True},
        )

    def _note(self, text: str, *values: object) -> None:
        _log.debug(f"[%s] {text}", self._target.name, *values)
