"""The Protocols that the middle of the package depends on; compose.py chooses what stands behind them.

Knows model, states and errors. Must not know any implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from remotejobs.errors import RemoteJobsError
from remotejobs.model import JobSpec, Outcome, Record, Target
from remotejobs.rows import Arrival, Fresh, JobRow, Phase, Request


class Clock(Protocol):
    """Time as an argument: monotonic for durations, seconds since the epoch for records."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def timeout(self, seconds: float | None) -> AbstractContextManager[Any]:
        """Cancel the body after `seconds` and raise TimeoutError; None never does."""
        ...


class Reply(NamedTuple):
    """A complete answer. `body` is clear (unsealed) bytes; `challenges` the values of WWW-Authenticate."""

    status: int
    body: bytes
    content_type: str = ""
    challenges: tuple[str, ...] = ()


class NotSent(NamedTuple):
    """No byte of the request left this computer: it may be sent again."""

    error: RemoteJobsError


class Lost(NamedTuple):
    """The request may have arrived, its answer did not: only what may be repeated may be sent again."""

    error: RemoteJobsError


class Sealer(Protocol):
    """Encrypts and decrypts messages with the keys of one security context (MS-WSMV 2.2.9.1)."""

    protocol: str
    """The MIME type of sealed parts, as `application/HTTP-SPNEGO-session-encrypted`."""
    largest: int
    """Bytes of a message that are sealed as one part; longer ones are cut (CredSSP: 16 KiB). 0 is no limit."""

    def wrap(self, message: bytes) -> tuple[bytes, bytes, int]:
        """Encrypt: header (signature or trailer), ciphertext, bytes of padding that it has beyond the message."""
        ...

    def unwrap(self, header: bytes, ciphertext: bytes) -> bytes:
        """Decrypt.

        Raises:
            AuthenticationError: Not sealed with these keys, or out of order.
        """
        ...


class AuthContext(Protocol):
    """One use of one credential on one connection; never outlives it.

    `steps` is a generator: it yields the value of the Authorization header for the next request and is sent the values
    of WWW-Authenticate of each answer until the host accepts. It returns when it has nothing more to say; an answer
    401 after that is a refusal, and final; an empty value is no header. `every_request` is True where the same header
    goes on each request (Basic, certificate) and there is no handshake; `anew` where `steps` begins again for each
    request (Digest). `waits` is True while the next step may wait for a server of its own (a KDC): it
    then runs in a thread.
    """

    mechanism: str
    every_request: bool
    anew: bool
    waits: bool

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]: ...

    def sealer(self) -> Sealer | None:
        """What seals messages once `steps` has ended; None where the mechanism cannot."""
        ...


class Transport(Protocol):
    """One authenticated connection to one endpoint: one request at a time."""

    async def open(self) -> None:
        """Look the name up and connect, TLS included.

        Raises:
            UnreachableError: With `details["step"]` one of name, tcp, tls.
        """
        ...

    async def post(self, body: bytes) -> Reply | NotSent | Lost:
        """Send one request, wait for its whole answer. Cancelling it drops the connection.

        Raises:
            RemoteJobsError: What the authentication context raised when it gave up.
        """
        ...

    def close(self) -> None:
        """Drop the connection: a pending open() raises, further posts are NotSent. Never blocks, may be repeated."""
        ...


class Resume(NamedTuple):
    """Find again a command that another run of the job began, or may have begun.

    Attributes:
        ids: Chosen when the job was submitted. `ids.session_id` is what "the same client" means to the host.
        shell_id, command_id: As the host answered where it had, else ours.
        started: The host is known to have the command (STARTED was committed); else only STARTING was.
        seq: Of the last record that was committed, 0 for none.
        object_id: The highest object id of the pipeline's records that were committed: what comes again is dropped.
    """

    ids: Fresh
    shell_id: str
    command_id: str
    started: bool
    seq: int
    object_id: int


class ChildLedger(Protocol):
    """The book of one child. What returns has been committed (an acknowledgement means a commit).

    Each method raises LeaseLostError where another process has taken the job over: nothing was written.
    """

    async def starting(self) -> None:
        """Commit STARTING, before Command is sent. One that is known to be STARTED stays so: nothing else changes.

        Raises:
            LeaseLostError: Another worker has taken the job over: do not send.
        """
        ...

    async def started(self, shell_id: str, command_id: str) -> None:
        """Commit that the host has the command, under the ids that it answered with; the child is Running."""
        ...

    async def append(self, records: Sequence[Record]) -> None:
        """Commit records; one that is there already (same object_id) is not written twice. Waits at a cap."""
        ...

    async def disconnected(self, why: Outcome | None = None) -> None:
        """Commit that the shell was left on its host, Disconnected: not an end. started() makes it Running again.

        Args:
            why: With the reason Disconnected and words for a person; None while its host is still to be asked.
        """
        ...

    async def finish(self, outcome: Outcome) -> None:
        """Commit the end. The first one counts."""
        ...


class Ends(NamedTuple):
    """When a child must be over: monotonic seconds, and the name of the clock that says so (total, deadline)."""

    due: float
    clock: str


class Control(Protocol):
    """What goes down to a running child: stop, its last moment, and the gate before authentication."""

    ends: Ends | None

    @property
    def stop_requested(self) -> bool: ...

    @property
    def disconnect_requested(self) -> bool:
        """Leave the shell on its host. A stop outranks it."""
        ...

    def on_request(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when a stop or a disconnect is asked for; at once when it has been. None takes it back."""
        ...

    async def enter(self, phase: Phase) -> None:
        """Say that the runner begins `phase`. Waits at the lock-out gate before AUTHENTICATE; OPEN says accepted.

        Raises:
            AuthenticationError: The gate is shut for this credential: end as NotStarted(guard).
        """
        ...


@dataclass(slots=True)
class Attempt:
    """What one run() came to. With an `error` before STARTING the engine's policy may run the child again.

    Attributes:
        phase: How far it came.
        outcome: How the child ends if nothing more is tried.
        error: What went wrong, None where nothing did.
        resources: The runner's own; given back to cleanup().
    """

    phase: Phase
    outcome: Outcome
    error: RemoteJobsError | None = None
    resources: Any = None


class ChildTask(NamedTuple):
    """What a HostRunner needs to know of one child."""

    number: int
    target: Target
    start: Fresh | Resume


class HostRunner(Protocol):
    """Runs one command on one target."""

    async def run(self, child: ChildTask, ledger: ChildLedger, control: Control) -> Attempt: ...

    async def cleanup(self, attempt: Attempt) -> None:
        """Delete the shell, drop the connection: bounded, outside the slot, never raises."""
        ...


class Refusals(Protocol):
    """Remembers for REFUSAL_SECONDS, for all jobs that share it, how often an account was refused.

    An account is a user name in one case. Nothing that comes from a password is known here. The methods are short, and
    are called on the event loop. Each may raise StoreError.
    """

    def refusals(self, account: str) -> int:
        """How often it was refused of late, since it was last accepted."""
        ...

    def refused(self, account: str) -> None:
        """It was refused once more."""
        ...

    def accepted(self, account: str) -> None:
        """It was accepted: what was before is forgotten."""
        ...


class JobStore(Refusals, Protocol):
    """Keeps jobs and what their hosts sent. One process writes to a job, the one with its lease; any number read it.

    The methods that are not async are short, and are called on the event loop. All that reads raises JobError
    (JobWithSpecifiedSessionNotFound) where there is no job with this id.

    A disconnect that was asked for is over with the run that it was asked of: whoever gives the lease back, or takes
    over one that has lapsed, clears it. A stop stays.
    """

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def path(self) -> Path | None:
        """The file, in the folder where the processes that run its jobs live; None in memory."""
        ...

    async def submit(self, spec: JobSpec, notes: Sequence[str] = ()) -> JobRow:
        """Store a job with all of its children, ids included, before anything is sent. Nobody has its lease yet."""
        ...

    async def adopt(self, row: JobRow, unread: Sequence[int | None], pages: Iterable[Sequence[Arrival]]) -> JobRow:
        """Store a job that another store had, under new ids; its instance ids stay. All of it, or nothing.

        Args:
            row: As it was; its ids, its name, its counts of children and its lease are not looked at.
            unread: For each child the arrival number of its first record that nobody has received; None: all were.
            pages: Its records, arrival numbers rising. They may be taken in another thread; what that raises comes out.

        Raises:
            JobError: The job is here already (JobAlreadyImported), or a record of a child comes twice.
        """
        ...

    async def lease(self, job_id: int, owner: str) -> int:
        """Take the job over, to run it; returns the epoch.

        Raises:
            JobError: Somebody has it, and was seen less than LEASE_SECONDS ago; `details["owner"]` says who.
        """
        ...

    async def renew(self, job_id: int, epoch: int) -> None:
        """Say that the owner lives.

        Raises:
            LeaseLostError: Somebody else has taken it over.
        """
        ...

    async def release(self, job_id: int, epoch: int) -> None:
        """Give the lease back: nothing of the job runs any more. Does nothing where it was lost."""
        ...

    def ledger(self, job_id: int, child: int, epoch: int) -> ChildLedger: ...

    def jobs(self) -> list[JobRow]:
        """Return every job, by rising id."""
        ...

    def job(self, job_id: int) -> JobRow:
        """Return a job."""
        ...

    def read(
        self, job_id: int, after: int, limit: int, *, children: Collection[int] | None = None, again: bool = False
    ) -> list[Arrival]:
        """Return the next records after arrival number `after`, at most `limit`.

        Args:
            job_id: The job.
            after: 0 for the first.
            limit: Records at most; fewer come only where there are no more.
            children: Of these children only.
            again: Also what has been consumed before.
        """
        ...

    def advance(self, job_id: int, number: int, children: Collection[int] | None = None) -> None:
        """Say that all up to arrival `number` has been consumed, of these children or of all."""
        ...

    def tell(self, job_id: int, children: Collection[int]) -> None:
        """Say that the ends of these children have been received."""
        ...

    def unread(self, job_id: int, child: int | None = None) -> bool:
        """True while something lies unread, of one child or of any."""
        ...

    def held(self, job_id: int) -> bool:
        """True while a host is kept waiting because too much lies unread."""
        ...

    def request(self, job_id: int, request: Request, child: int | None = None) -> None:
        """Ask something of whoever runs the job. Of one child only a stop can be asked."""
        ...

    def throttle(self, job_id: int, limit: int) -> None:
        """Set how many hosts at a time whoever runs the job may have, at least 1."""
        ...

    def note(self, job_id: int, text: str) -> None:
        """Add a note to a job, where it has not got it yet."""
        ...

    def remove(self, job_id: int) -> None:
        """Remove a job, its children and its records; what wrote to it loses its lease."""
        ...

    def version(self, job_id: int) -> int:
        """A number that changes with everything that happens to the job."""
        ...

    async def wait_change(self, job_id: int, version: int) -> None:
        """Return when `version(job_id)` is no longer `version`, or may no longer be."""
        ...

    def close(self) -> None:
        """Let go of files and threads; may be repeated."""
        ...


class Running(Protocol):
    """A job that this process runs."""

    def request(self, request: Request, child: int | None = None) -> None:
        """Ask every child, or one, to stop or to disconnect; returns at once."""
        ...

    async def finished(self) -> None:
        """Return when every child has ended or was left on its host, and every other shell is closed.

        Raises:
            RemoteJobsError: `error`.
        """
        ...

    @property
    def error(self) -> Exception | None:
        """What has ended the run before the job's end: the store failed, or another process has the job."""
        ...
