"""One target of a job as users see it: PowerShell's PSRemotingChildJob.

Knows its row and its parent. Must not know stores' insides, engines or protocols.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from remotejobs.jobs.presumed import Presumed
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Outcome
from remotejobs.rows import ChildRow
from remotejobs.states import JobState

if TYPE_CHECKING:
    from remotejobs.jobs.job import RemoteJob


class ChildEnd(NamedTuple):
    """A child job has ended."""

    job_id: int
    child_id: int
    computer_name: str
    outcome: Outcome


class JobStateInfo(NamedTuple):
    """A state, and why: empty where there is nothing to say (always so for a parent)."""

    state: JobState
    reason: str = ""


class ChildJob:
    """One target of a job: PowerShell's PSRemotingChildJob. Reads the store; holds nothing itself."""

    ps_job_type_name = ""
    status_message = ""

    def __init__(self, parent: RemoteJob, index: int) -> None:
        self._parent = parent
        self._index = index

    @property
    def index(self) -> int:
        """Its place among the children."""
        return self._index

    @property
    def parent(self) -> RemoteJob:
        """The job that it is a part of."""
        return self._parent

    @property
    def _row(self) -> ChildRow:
        return self._parent.row.children[self._index]

    @property
    def _now(self) -> Presumed:
        row = self._parent.row
        return self._parent.child_now(row, row.children[self._index])

    @property
    def id(self) -> int:
        """Unique in the store, parents included."""
        return self._row.id

    @property
    def name(self) -> str:
        """Always `Job<id>`; only parents are named by users."""
        return f"Job{self._row.id}"

    @property
    def instance_id(self) -> uuid.UUID:
        """Unique everywhere."""
        return self._row.instance_id

    @property
    def runspace_id(self) -> uuid.UUID:
        """Id of its runspace pool and shell."""
        return self._row.start.shell_id

    @property
    def location(self) -> str:
        """The target as it was typed."""
        return self._row.target.name

    @property
    def command(self) -> str:
        """The script."""
        return self._parent.command

    @property
    def state(self) -> JobState:
        """PowerShell's job state; presumed where nobody runs the job any more."""
        return self._now.state

    @property
    def job_state_info(self) -> JobStateInfo:
        """State and reason."""
        why = self.outcome or self.left
        return JobStateInfo(self.state, why.message if why else "")

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""
        return self._now.outcome

    @property
    def left(self) -> Outcome | None:
        """Why its shell was left on its host, or not found there again; None where it was not."""
        return self._row.left

    @property
    def failure(self) -> Outcome | None:
        """How it failed, at every look: Receive-Job's failure record is not consumed. None where it has not."""
        state, outcome = self._now
        return outcome if state is JobState.Failed else None

    @property
    def reason(self) -> str:
        """Why it failed or is Disconnected (JobStateInfo.Reason), empty where there is nothing to say."""
        return self.job_state_info.reason

    @property
    def has_more_data(self) -> bool:
        """True while it has not ended, and after that while something lies unread."""
        parent = self._parent
        return not parent.removed and (not self.state.finished or parent.store.unread(parent.id, self._index))

    @property
    def error_count(self) -> int:
        """Records on the Error stream."""
        return self._row.error_count

    @property
    def ps_begin_time(self) -> datetime | None:
        """When the script began (UTC); None when it never did."""
        return utc(self._row.began)

    @property
    def ps_end_time(self) -> datetime | None:
        """When it ended (UTC)."""
        return utc(self._row.ended)

    def stream(self, *, keep: bool = False, from_start: bool = False) -> AsyncIterator[ReceivedRecord]:
        """Yield its records as they arrive, until it has ended; see RemoteJob.stream."""
        return records_of(self.events(keep=keep, from_start=from_start))

    def events(
        self,
        idle: Callable[[], None] | None = None,
        *,
        keep: bool = False,
        from_start: bool = False,
        force: bool = False,
    ) -> AsyncGenerator[ReceivedRecord | ChildEnd, None]:
        """Yield its records as they arrive, then its end; see RemoteJob.events."""
        return self._parent.events(idle, keep=keep, from_start=from_start, force=force, children=(self._index,))

    def receive(self, *, keep: bool = False, from_start: bool = False) -> list[ReceivedRecord]:
        """Return what has arrived and was not read yet, by this child or by its job; see RemoteJob.receive."""
        return self._parent.receive(keep=keep, from_start=from_start, children=(self._index,))

    async def wait(self, timeout: float | timedelta | None = None, *, force: bool = False) -> bool:
        """Wait until it has ended; see RemoteJob.wait."""
        return await self._parent.wait(timeout, force=force, children=(self._index,))

    async def stop(self) -> None:
        """Stop this target alone and wait until it has ended.

        Raises:
            JobError: Nobody runs the job.
        """
        await self._parent.stop_child(self._index)

    def __repr__(self) -> str:
        return f"<ChildJob {self.id} {self.location} {self.state.name}>"


async def records_of(items: AsyncGenerator[ReceivedRecord | ChildEnd, None]) -> AsyncIterator[ReceivedRecord]:
    """Leave the ends out."""
    async with contextlib.aclosing(items):
        async for item in items:
            if isinstance(item, ReceivedRecord):
                yield item


def utc(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as a time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
