"""A job as users see it: PowerShell's Job object, read from the store.

Knows rows, states and requests. Must not know engines or protocols: what runs a job in this process is behind the
Running port, what runs it elsewhere is asked through the store, and a job that nobody runs any more is taken over by
a callable that the API gives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from remotejobs.errors import ConfigurationError, JobError
from remotejobs.jobs.child import ChildEnd, ChildJob, JobStateInfo, records_of
from remotejobs.jobs.connecting import CONNECT_SECONDS, begun, not_connected, standing
from remotejobs.jobs.properties import JobProperties
from remotejobs.jobs.reading import Reader, Written
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import CmdCommand, seconds_of
from remotejobs.ports import Clock, JobStore, Running
from remotejobs.rows import Request
from remotejobs.states import JobState

__all__ = ["ChildEnd", "ChildJob", "JobStateInfo", "RemoteJob", "TakeOver"]

# A worker that dies, or whose store fails, changes nothing there: who waits looks at it every so many seconds.
_LOOK_AGAIN = 2.5

Credentials = Mapping[str, Any]
TakeOver = Callable[[int, str, Credentials], Awaitable[None]]
"""take_over(job_id, mode, credentials): returns when another process has the job's lease; mode is connect or stop."""


class RemoteJob(JobProperties):
    """A parent job: PowerShell's PSRemotingJob with type RemoteJob.

    Reading moves a cursor that the store keeps, for all processes. With the memory store what was read is gone; a job
    that nobody reads is held back when too much lies unread.

    Args:
        store: Where it is kept.
        job_id: Its id.
        running: What runs it, where that is this process.
        clock: Time; the store's unless given.
        take_over: What a job needs that nobody runs any more, before it can be stopped or connected.
    """

    def __init__(
        self,
        store: JobStore,
        job_id: int,
        running: Running | None = None,
        clock: Clock | None = None,
        *,
        take_over: TakeOver | None = None,
    ) -> None:
        super().__init__(store, job_id, running, clock)
        self.take_over = take_over
        self._reader = Reader(store, job_id)
        self._child_jobs: list[ChildJob] | None = None

    @property
    def child_jobs(self) -> list[ChildJob]:
        """One for each target, in the order in which they were named."""
        if self._child_jobs is None:
            self._child_jobs = [ChildJob(self, index) for index in range(len(self.row.children))]
        return self._child_jobs

    def stream(self, *, keep: bool = False, from_start: bool = False) -> AsyncIterator[ReceivedRecord]:
        """Yield records as they arrive until the job has ended and all was read. Moves the cursor.

        Args:
            keep: Leave the cursor where it is.
            from_start: Also what was received before and is still stored.
        """
        return records_of(self.events(keep=keep, from_start=from_start))

    async def events(
        self,
        idle: Callable[[], None] | None = None,
        *,
        keep: bool = False,
        from_start: bool = False,
        force: bool = False,
        children: Sequence[int] | None = None,
        reader: Reader | None = None,
    ) -> AsyncGenerator[ReceivedRecord | ChildEnd, None]:
        """Yield records as they arrive, and each child's end after its last record, once.

        Args:
            idle: Called before the cursor moves and when all that is there has been yielded: print it now.
            keep: Leave the cursor, and what was told of ends, where they are.
            from_start: Also what was received before and is still stored.
            force: Go on while the job is Disconnected.
            children: Indexes of the children to read; None reads all.
            reader: Reads on where `read` ended, in its own way.
        """
        if self.removed:
            return
        store, passed = self.store, 0
        if reader is None:
            reader = self.reader(idle, keep=keep, from_start=from_start, children=children)
        while True:
            version, row = store.version(self.id), store.job(self.id)
            ended, settled = len(row.ends), self._settled(row, force, children)
            for record in reader.read():
                yield record
            told: list[int] = []
            try:
                for index in row.ends[passed:ended]:
                    if (children is None or index in children) and (from_start or not row.children[index].told):
                        yield self._stored_end(row.children[index])
                        told.append(index)
            finally:
                if told and not keep:
                    if idle:
                        idle()
                    store.tell(self.id, told)
            passed = ended
            if settled:
                for end in self._presumed_ends(row, children):
                    yield end
                return
            if idle:
                idle()
            await self._changed(version)

    def receive(
        self, *, keep: bool = False, from_start: bool = False, children: Sequence[int] | None = None
    ) -> list[ReceivedRecord]:
        """Return what has arrived and was not read yet, host by host, without waiting (Receive-Job).

        Args:
            keep: Leave the cursor where it is.
            from_start: Also what was received before and is still stored.
            children: Indexes of the children to read; None reads all.
        """
        return list(self.read(keep=keep, from_start=from_start, children=children))

    def read(
        self,
        *,
        keep: bool = False,
        from_start: bool = False,
        children: Sequence[int] | None = None,
        reader: Reader | None = None,
    ) -> Iterator[ReceivedRecord]:
        """Yield what `receive` returns, item by item: the cursor stays before the one that was not taken."""
        if self.removed:
            return iter(())
        return (reader or self.reader(keep=keep, from_start=from_start, children=children)).read_by_host()

    def reader(
        self,
        idle: Callable[[], None] | None = None,
        *,
        keep: bool = False,
        from_start: bool = False,
        children: Sequence[int] | None = None,
        written: Written | None = None,
    ) -> Reader:
        """What reads the job's records for several calls of one purpose."""

        def flushed(move: Callable[[], None]) -> None:
            if idle:
                idle()
            move()

        if not (keep or from_start or children is not None or idle or written):
            return self._reader
        written = written or (flushed if idle else None)
        return Reader(self.store, self.id, children, keep=keep, from_start=from_start, written=written)

    def ends(
        self,
        *,
        keep: bool = False,
        from_start: bool = False,
        children: Sequence[int] | None = None,
        count: int | None = None,
    ) -> Iterator[ChildEnd]:
        """Yield the ends that were not told yet, in the order of the target list, without waiting.

        Args:
            keep: Leave them untold.
            from_start: Also those that were told.
            children: Indexes of the children to look at; None looks at all.
            count: Look at the first so many ends only, in the order in which they came.
        """
        if self.removed:
            return
        row, told = self.row, list[int]()
        try:
            for index in sorted(row.ends[:count]):
                child = row.children[index]
                if (children is None or index in children) and (from_start or not child.told):
                    yield self._stored_end(child)
                    told.append(index)
            yield from self._presumed_ends(row, children)
        finally:
            if told and not keep:
                self.store.tell(self.id, told)

    async def wait(
        self,
        timeout: float | timedelta | None = None,
        *,
        force: bool = False,
        children: Sequence[int] | None = None,
    ) -> bool:
        """Wait until the job has ended or is Disconnected (Wait-Job).

        Args:
            timeout: Seconds or timedelta; None waits as long as it takes.
            force: Wait on while it is Disconnected.
            children: Indexes of the children to wait for; None waits for all.

        Returns:
            True when it ended, False when the time was over first.

        Raises:
            JobError: It cannot end: too much output lies unread. Read it with `stream` or `receive`.
        """
        if self.removed:
            return True
        try:
            with self._clock.timeout(seconds_of(timeout)):
                while True:
                    version = self.store.version(self.id)
                    if self._settled(self.row, force, children):
                        break
                    self._refuse_blocked()
                    await self._changed(version)
                if self._running and children is None:
                    await self._running.finished()
        except TimeoutError:
            return False
        return True

    async def stop(self, credentials: Credentials | None = None) -> None:
        """Stop every child and wait until all have ended (Stop-Job). A job that has ended is left as it is.

        Args:
            credentials: By name; needed where nobody runs the job any more, so that it has to be taken over first.

        Raises:
            JobError: StopJobError: a host did not answer, its script may still run.
            ConfigurationError: CredentialMissing: it has to be taken over, and a credential is missing.
        """
        await self._let_go()
        if self._running is not None:
            if not self.state.finished:
                self.request_stop()
                await self.wait()
            return
        if self.removed or self._state(self.row).finished:
            return
        if self._owned():
            self.store.request(self.id, Request.STOP)
            await self._while_owned()
        if self._state(self.row).finished:
            return
        await self._taken_over("stop", credentials)
        await self._while_owned()
        left = [child.location for child in self.child_jobs if not child.state.finished]
        if left:
            raise JobError(
                f"Job {self.id} could not be stopped on {', '.join(left[:10])}{' ...' if len(left) > 10 else ''}: no "
                f"answer. The script may still run there. Try again when the hosts answer: remotejob stop {self.id}",
                error_id="StopJobError",
                targets=left,
            )

    async def stop_child(self, index: int) -> None:
        """Stop one child and wait until it has ended; what ChildJob.stop calls."""
        await self._let_go()
        if self.removed or self.row.children[index].state.finished:
            return
        if self._running is None and not self._owned():
            name = self.row.children[index].target.name
            raise JobError(
                f"[{name}] Nobody runs job {self.id}, so this target alone cannot be stopped. Connect to the job first "
                f"(remotejob connect {self.id}), or stop all of it (remotejob stop {self.id}).",
                error_id="StopJobError",
            )
        self.store.request(self.id, Request.STOP, index)
        if self._running is not None:
            self._running.request(Request.STOP, index)
        await self.wait(children=(index,))

    def request_stop(self) -> None:
        """Ask every child to stop, without waiting. Safe in a signal handler of the loop; repeats do nothing.

        Raises:
            JobError: Nobody runs the job.
        """
        self._request(Request.STOP, "StopJobError")

    async def disconnect(self) -> None:
        """Leave every shell on its host, and wait until that is done. A Disconnected job is left as it is.

        Raises:
            JobError: It has ended, or runs a command line of cmd, or with another engine than the native one.
        """
        await self._let_go()
        state = self._state(self.row)
        if state is JobState.Disconnected and not self._owned():
            return
        if state.finished:
            raise JobError(
                f"Job {self.id} is {state.name}: there is nothing to disconnect. Receive it: "
                f"remotejob receive {self.id}",
                error_id="CannotDisconnectSessionWhenNotOpened",
                state=state.name,
            )
        spec, cmd = self.row.spec, isinstance(self.row.spec.command, CmdCommand)
        if cmd or spec.engine != "native":
            what = "A cmd shell" if cmd else f"What runs with -Engine {spec.engine}"
            words = f"{what} cannot be left on its host: stop the job, or let the process here receive it."
            raise JobError(words, error_id="PSSessionDisconnectFailed")
        self._request(Request.DISCONNECT, "PSSessionDisconnectFailed")
        await self.wait()

    async def connect(
        self, credentials: Credentials | None = None, timeout: float | timedelta | None = CONNECT_SECONDS
    ) -> None:
        """Find the shells of a Disconnected or abandoned job again; another process then receives what they send.

        Returns when every script that runs is connected, or waits only for a free slot. A job that another process
        runs is left as it is; one that another process fails to connect is taken from it when it gives up.

        Args:
            credentials: By name, as `credential_names` lists them.
            timeout: How long to wait for the hosts; the process goes on after that. None waits as long as it takes.

        Raises:
            JobError: PSJobConnectFailed: it has ended. PSSessionConnectFailed: some were not connected;
                `details["failed"]` says which and why, `details["waiting"]` who has not answered.
            ConfigurationError: CredentialMissing.
        """
        await self._let_go()
        row = self.row
        state = self._state(row)
        if not row.counts or all(child.state.finished for child in row.children):
            raise JobError(
                f"Job {self.id} is {state.name}: there is nothing to connect to. Receive it (remotejob receive "
                f"{self.id}) or run it again where it failed (remotejob retry {self.id}).",
                error_id="PSJobConnectFailed",
                state=state.name,
            )
        if self._running is not None:
            return
        seconds, children = seconds_of(timeout), begun(row)
        due = None if seconds is None else self._clock.monotonic() + seconds
        in_time = not self._owned() or await self._connected(children, due)
        if not self._owned():
            children = begun(self.row)
            if not children and self._state(self.row).finished:
                return
            await self._taken_over("connect", credentials)
            in_time = await self._connected(children, due)
        row = self.row
        owner = self.owner
        now = standing(row, children, owned=bool(owner))
        error = not_connected(row, now, late=None if in_time else seconds, owner=owner)
        if error is not None:
            raise error

    async def _connected(self, children: Sequence[int], due: float | None) -> bool:
        """Wait until somebody has connected these, or gave up; False where the time was over first."""
        try:
            with self._clock.timeout(None if due is None else max(due - self._clock.monotonic(), 0.0)):
                while True:
                    version = self.store.version(self.id)
                    if standing(self.row, children, owned=self._owned()).over:
                        return True
                    await self._changed(version)
        except TimeoutError:
            return False

    async def remove(self, *, force: bool = False, credentials: Credentials | None = None) -> tuple[str, ...]:
        """Remove the job, its children and all that was received (Remove-Job).

        Args:
            force: Stop it first where it has not ended.
            credentials: As for `stop`.

        Returns:
            Names of targets that did not answer to the stop: their scripts may still run.

        Raises:
            JobError: It has not ended, or was removed before.
        """
        if self.removed:
            raise cannot_remove()
        left: tuple[str, ...] = ()
        if not self._state(self.row).finished:
            if not force:
                raise not_finished(self)
            try:
                await self.stop(credentials)
            except JobError as error:
                # PowerShell removes it too; the shells end with their idle timeout
                if "targets" not in error.details:
                    raise
                left = tuple(error.details["targets"])
        elif self._running is not None:
            await self._running.finished()
        self._last = self.store.job(self.id)
        list(self._last.children)  # a removed job's object stays readable
        self.removed = True
        self.store.remove(self.id)
        return left

    async def _let_go(self) -> None:
        """What this process ran and left on its hosts is from then on like any other process's job."""
        if self._running is not None and not self.removed and self._state(self.row) is JobState.Disconnected:
            await self._running.finished()
            self._running = None

    async def _changed(self, version: int) -> None:
        if self._running is not None and self._running.error is not None:
            raise self._running.error  # nothing will change any more
        try:
            with self._clock.timeout(_LOOK_AGAIN):
                await self.store.wait_change(self.id, version)
        except TimeoutError:
            pass

    async def _while_owned(self) -> None:
        """Wait until the job has ended, or nobody runs it."""
        while True:
            version = self.store.version(self.id)
            if self._state(self.row).finished or not self._owned():
                return
            await self._changed(version)

    def _request(self, request: Request, error_id: str) -> None:
        if self._running is None and not self._owned():
            raise JobError(
                f"Nobody runs job {self.id}: the process that did is gone. Take it over: remotejob connect {self.id}",
                error_id=error_id,
            )
        self.store.request(self.id, request)
        if self._running is not None:
            self._running.request(request)

    async def _taken_over(self, mode: str, credentials: Credentials | None) -> None:
        if self.take_over is None:
            raise JobError(
                f"Nobody runs job {self.id}, and it cannot be taken over from here.",
                error_id="StopJobError" if mode == "stop" else "PSJobConnectFailed",
            )
        given = credentials or {}
        usual = self.row.spec.credential if "" in given else None
        missing = [name for name in self.credential_names if name not in given and name != usual]
        if missing:
            who = ", ".join(f"the credential {name!r}" if name else "a credential" for name in missing)
            raise ConfigurationError(
                f"Nobody runs job {self.id}: to {mode} it, it is taken over first, and that needs {who}. On the "
                "command line: -Credential USER, with -PasswordFile FILE, REMOTEJOBS_PASSWORD or a terminal to ask on.",
                error_id="CredentialMissing",
                job=self.id,
                credentials=missing,
            )
        await self.take_over(self.id, mode, given)

    def _refuse_blocked(self) -> None:
        if self.store.held(self.id):
            raise JobError(
                f"Job {self.id} waits for its output to be read: receive it, then wait again.",
                error_id="BlockedJobsDeadlockWithWaitJob",
            )


def not_finished(job: RemoteJob, by: str = "Job") -> JobError:
    """Remove-Job's refusal; `by` is PowerShell's name of the parameter that named the job."""
    named = {"Name": f" and the name {job.name}", "InstanceId": f" and the instance identifier {job.instance_id}"}
    comma = "" if by == "InstanceId" else ","
    return JobError(
        f"The command cannot remove the job with the job ID {job.id}{named.get(by, '')} because the job is not "
        f"finished. To remove the job, first stop the job{comma} or use the Force parameter. (Parameter '{by}')",
        error_id="JobObjectNotFinishedCannotBeRemoved",
        job=job.id,
        state=job.state.name,
    )


def cannot_remove() -> JobError:
    """Remove-Job's refusal of a child, or of what is removed already."""
    return JobError(
        "The command cannot remove the job because it does not exist or because it is a child job. Child jobs can be "
        "removed only by removing the parent job.",
        error_id="CannotRemoveJob",
    )
