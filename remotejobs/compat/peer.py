"""What an attempt and the libraries have between them: a library's way to one host, and what every engine does alike.

Knows ports and values. Must not know any library, nor the engine whose manners these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from remotejobs.auth.credentials import Credential
from remotejobs.compat.lines import Lines
from remotejobs.errors import RemoteJobsError, TimedOutError
from remotejobs.model import Clocks, JobSpec, Outcome, Target
from remotejobs.ports import ChildLedger, Clock, Reply
from remotejobs.rows import Fresh, Phase
from remotejobs.transport.names import Names
from remotejobs.transport.tls import ClientContext
from remotejobs.wsman.envelopes import Element
from remotejobs.wsman.psrp.runspace import RecordData, Runspace

ANSWER_GRACE: Final = 30
"""Seconds past OperationTimeout after which an answer counts as lost."""


class Outcomes(Protocol):
    """From an error to how a child ends, as session.outcomes has it."""

    def ended_by(
        self, error: RemoteJobsError, phase: Phase, *, refused: bool = ..., user: str = ..., host: str = ...
    ) -> Outcome:
        """How a child ends by an error."""
        ...

    def ended_as(self, runspace: Runspace, errors: int, *, stopped: bool, second_hop: bool = ...) -> Outcome:
        """How a child ends whose pipeline is over."""
        ...

    def lost_shell(self, error: RemoteJobsError, *, seq: int, started: bool = ...) -> Outcome:
        """How a child ends whose shell is not on its host any more."""
        ...

    def timed_out(self, clock: str, clocks: Clocks) -> TimedOutError:
        """The error for a clock that ran out."""
        ...


class Intake(Protocol):
    """Numbers records, counts them, holds them against the limits and commits them, as session.intake does."""

    errors: int
    second_hop: bool
    seq: int

    async def append(self, records: list[RecordData]) -> None:
        """Commit a batch."""
        ...

    def look(self, error: bytes) -> None:
        """Look at an error of the script."""
        ...


class Manners(NamedTuple):
    """What every engine does alike; whoever wires an engine gives it.

    Attributes:
        outcomes: See Outcomes.
        intake: Makes an Intake.
        read_reply: Raises what an answer that is not 200 means.
    """

    outcomes: Outcomes
    intake: Callable[[JobSpec, Target, ChildLedger, Clock, int], Intake]
    read_reply: Callable[[Reply, str, Callable[[bytes, str], Element]], Element]


class EngineJob(NamedTuple):
    """What is the same on every host of a job.

    Attributes:
        spec: What was asked for.
        library: The name of the engine.
        mechanism, credential: Of a target, as transport.connector has found them fit.
        tls: The context for https.
        names: Look-ups.
        manners: See Manners.
    """

    spec: JobSpec
    library: str
    mechanism: Callable[[Target], str]
    credential: Callable[[Target], Credential | None]
    tls: ClientContext | None
    names: Names
    manners: Manners

    def user(self, target: Target) -> str:
        """The user name that a target is given; empty where it is the current user's."""
        found = self.credential(target)
        return found.username if found else ""


class Peer(Protocol):
    """A library's way to one host. The methods block, and are called in threads, one at a time.

    They raise what the library raises; an attempt makes errors of ours of it.

    Attributes:
        shell_id: The shell's, once it is open.
        replays: A host repeats on a new connection what it cannot know that we have.
    """

    shell_id: str
    replays: bool

    @property
    def commanded(self) -> bool:
        """The host has taken the command."""
        ...

    @property
    def ended(self) -> bool:
        """Nothing more will come of the command."""
        ...

    @property
    def asked(self) -> bool:
        """Something that came wants an answer."""
        ...

    def open(self) -> None:
        """Create the shell, to where it takes a command."""
        ...

    def begin(self) -> str:
        """Give it the script, once; return the id of the command."""
        ...

    def receive(self) -> list[RecordData] | None:
        """Wait for output: the records that it completes; None where the host has nothing yet."""
        ...

    def reply(self) -> list[RecordData]:
        """Answer what came with the output and wants an answer; return what a user is told of it."""
        ...

    def outcome(self, intake: Intake, *, stopped: bool) -> Outcome:
        """How the command has ended."""
        ...

    def move(self, lines: Lines) -> None:
        """Go on over other connections."""
        ...

    def stop(self, shell_id: str, command_id: str) -> None:
        """Tell a command to stop."""
        ...

    def delete(self, shell_id: str) -> None:
        """Delete a shell."""
        ...


PeerOf = Callable[[EngineJob, Target, Fresh, Lines], Peer]
