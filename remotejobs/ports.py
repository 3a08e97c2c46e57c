"""The Protocols that the middle of the package depends on; compose.py chooses what stands behind them.

Knows model, states and errors. Must not know any implementation.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from remotejobs.errors import RemoteJobsError
from remotejobs.model import Outcome, Record, Target
from remotejobs.states import JobState


class Clock(Protocol):
    """Time as an argument: monotonic for durations, seconds since the epoch for records."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """Cancel the body after `seconds` and raise TimeoutError; None never does."""
        ...


class Reply(NamedTuple):
    """A complete answer. `body` is clear (unsealed) bytes; `challenges` the values of WWW-Authenticate."""

    status: int
    body: bytes
    content_type: str = ""
    challenges: tuple[str, ...] = ()
    server: str = ""


class NotSent(NamedTuple):
    """No byte of the request left this computer: it may be sent again."""

    error: RemoteJobsError


class Lost(NamedTuple):
    """The request may have arrived, its answer did not: only what may be repeated may be sent again."""

    error: RemoteJobsError


class AuthContext(Protocol):
    """One use of one credential on one connection; never outlives it.

    `steps` is a generator: it yields the value of the Authorization header for the next request and is sent the values
    of WWW-Authenticate of each answer until the host accepts. It returns when it has nothing more to say; an answer
    401 after that is a refusal, and final. `every_request` is True where the header goes on each request (Basic,
    certificate) and there is no handshake.
    """

    mechanism: str
    every_request: bool

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]: ...


class Transport(Protocol):
    """One authenticated connection to one endpoint: one request at a time."""

    async def open(self) -> None:
        """Look the name up and connect, TLS included.

        Raises:
            UnreachableError: With `details["step"]` one of name, tcp, tls.
        """
        ...

    async def post(self, body: bytes) -> Reply | NotSent | Lost:
        """Send one request, wait for its whole answer. Cancelling it drops the connection."""
        ...

    def close(self) -> None:
        """Drop the connection; further posts are NotSent. Never blocks, may be repeated."""
        ...


class Phase(IntEnum):
    """How far one attempt at one host has come. From STARTING on the command may have run."""

    QUEUED = 0
    CONNECT = 1
    AUTHENTICATE = 2
    OPEN = 3
    STARTING = 4
    STARTED = 5
    ENDED = 6


class Fresh(NamedTuple):
    """Begin a child with ids chosen, and stored, when the job was submitted."""

    shell_id: uuid.UUID
    command_id: uuid.UUID
    session_id: uuid.UUID


class ChildLedger(Protocol):
    """The book of one child. What returns has been committed (an acknowledgement means a commit)."""

    async def starting(self) -> None:
        """Commit STARTING, before Command is sent.

        Raises:
            LeaseLostError: Another worker has taken the job over: do not send.
        """
        ...

    async def started(self, shell_id: str, command_id: str) -> None:
        """Commit that the host has the command, under the ids that it answered with."""
        ...

    async def append(self, records: Sequence[Record]) -> None:
        """Commit records; one that is there already (same object_id) is not written twice. Waits at a cap."""
        ...

    async def state(self, state: JobState) -> None:
        """Commit a change that is not an end: Running, Blocked, Stopping."""
        ...


class Control(Protocol):
    """What goes down to a running child: stop, and the gate before authentication."""

    @property
    def stop_requested(self) -> bool: ...

    async def wait_stop(self) -> None:
        """Return when a stop has been asked for."""
        ...

    async def enter(self, phase: Phase) -> None:
        """Say that the runner is about to begin `phase`; may wait (the lock-out gate before AUTHENTICATE).

        Raises:
            AuthenticationError: The gate is shut for this credential: end as NotStarted(guard).
        """
        ...


@dataclass(slots=True)
class Attempt:
    """What one run() came to: an outcome, or an error that the engine's policy may try again before STARTING."""

    phase: Phase
    outcome: Outcome | None = None
    error: RemoteJobsError | None = None
    resources: Any = None


class ChildTask(NamedTuple):
    """What a HostRunner needs to know of one child."""

    number: int
    target: Target
    start: Fresh


class HostRunner(Protocol):
    """Runs one command on one target."""

    async def run(self, child: ChildTask, ledger: ChildLedger, control: Control) -> Attempt: ...

    async def cleanup(self, attempt: Attempt) -> None:
        """Delete the shell, drop the connection: bounded, outside the slot, never raises."""
        ...
