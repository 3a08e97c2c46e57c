"""What a store knows of jobs and their children: rows that are read, leases, requests, arrivals.

Knows model and states. Must not know how any of it is kept, or who asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from remotejobs.model import JobSpec, Outcome, Record, Target
from remotejobs.states import JobState


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


class Lease(NamedTuple):
    """Who runs a job: the process that may write to it.

    Attributes:
        owner: For people: host name and process id.
        epoch: Rises with each taking; a process that slept through one has the lower number.
        seen: When the owner last wrote or said that it lives, seconds since the epoch.
    """

    owner: str
    epoch: int
    seen: float


# A lease that was not renewed for so many seconds has lapsed; its owner renews it much more often.
LEASE_SECONDS = 10.0
# So long the refusals of an account are remembered. Windows proposes 30 minutes for "Reset account lockout counter
# after" (the lockOutObservationWindow of a domain) where a lock-out threshold is set; shorter ones are common.
REFUSAL_SECONDS = 1800.0


class Request(StrEnum):
    """What another process asks of the one that runs a job."""

    STOP = "stop"
    DISCONNECT = "disconnect"


@dataclass(slots=True)
class ChildRow:
    """One child job as the store has it.

    Attributes:
        id: Unique in the store, from the same sequence as the parents'.
        instance_id: Known to nobody else.
        target: As named.
        start: Ids chosen at submit; `start.shell_id` is the RunspaceId too.
        state: PowerShell's.
        phase: QUEUED, STARTING, STARTED or ENDED: how far the ledger has it.
        outcome: Set at the end.
        left: Why its shell was left on its host, or not found again there; None while it is not, or is looked for.
        began, ended: Seconds since the epoch; `began` stays None for a child that never ran.
        seen: When the host last gave a sign of life, seconds since the epoch; None before the first.
        error_count: Records on the Error stream so far.
        shell_id, command_id: As the host answered, empty until it has.
        seq, object_id: Of the last record, as in Resume.
        stop_requested: This child alone was stopped.
        told: Its end was received by somebody.
    """

    id: int
    instance_id: uuid.UUID
    target: Target
    start: Fresh
    state: JobState = JobState.NotStarted
    phase: Phase = Phase.QUEUED
    outcome: Outcome | None = None
    left: Outcome | None = None
    began: float | None = None
    ended: float | None = None
    seen: float | None = None
    error_count: int = 0
    shell_id: str = ""
    command_id: str = ""
    seq: int = 0
    object_id: int = 0
    stop_requested: bool = False
    told: bool = False


@dataclass(slots=True)
class JobRow:
    """One parent job as the store has it.

    Attributes:
        location: The children's target names joined by commas.
        children: In the order of the target list; their indexes are what the other methods of the store take. A store
            may read them when they are first looked at.
        counts: How many children are in each state.
        ends: Indexes of the children that have ended, in the order in which they did.
        notes: What an admin should know of this run: a limit that holds it back.
        lease: Who runs it; None where nobody does.
        requests: What was asked of whoever runs it.
        throttle_limit: Hosts at a time, where that was set after the submit; None is as the specification says.
    """

    id: int
    name: str
    instance_id: uuid.UUID
    spec: JobSpec
    location: str
    children: Sequence[ChildRow]
    began: float
    counts: dict[JobState, int]
    ended: float | None = None
    last_change: JobState | None = None
    ends: Sequence[int] = ()
    notes: tuple[str, ...] = ()
    lease: Lease | None = None
    requests: frozenset[Request] = frozenset()
    throttle_limit: int | None = None

    @property
    def throttled(self) -> int:
        """Hosts at a time."""
        return self.throttle_limit or self.spec.slots

    @property
    def stop_requested(self) -> bool:
        """The parent itself was stopped."""
        return Request.STOP in self.requests


class Arrival(NamedTuple):
    """A record in the order in which it came, over all children of a job. `child` is an index into the children."""

    number: int
    child: int
    record: Record
