"""What a job says of itself: the properties of PowerShell's Job objects, from its row in the store.

Knows rows and states. Must not know engines, protocols, or how a job is asked for something: that is RemoteJob's.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from remotejobs.jobs import presumed
from remotejobs.jobs.child import ChildEnd, JobStateInfo, utc
from remotejobs.model import IMPLICIT_MECHANISMS
from remotejobs.ports import Clock, JobStore, Running
from remotejobs.rows import ChildRow, JobRow, Phase
from remotejobs.states import JobState, parent_state


class JobProperties:
    """A job as the store has it.

    Args:
        store: Where it is kept.
        job_id: Its id.
        running: What runs it, where that is this process.
        clock: Time; the store's unless given.
    """

    ps_job_type_name = "RemoteJob"
    status_message = ""

    def __init__(
        self,
        store: JobStore,
        job_id: int,
        running: Running | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.id = job_id
        self.removed: bool = False
        self._running = running
        self._clock: Clock = clock or store.clock
        self._last = store.job(job_id)

    @property
    def row(self) -> JobRow:
        """The job as the store has it; the last that it had where it was removed through this object."""
        if not self.removed:
            self._last = self.store.job(self.id)
        return self._last

    def child_now(self, row: JobRow, child: ChildRow) -> presumed.Presumed:
        """State and end of a child: what this process runs is never presumed."""
        if self._running is not None:
            return presumed.Presumed(child.state, child.outcome)
        return presumed.child_now(row, child, self._clock.time())

    @property
    def name(self) -> str:
        """As given, else `Job<id>`; not unique."""
        return self.row.name

    @property
    def throttle_limit(self) -> int:
        """Hosts at a time, as it is now."""
        return self.row.throttled

    @property
    def instance_id(self) -> uuid.UUID:
        """Unique everywhere."""
        return self.row.instance_id

    @property
    def location(self) -> str:
        """The children's locations joined by commas, duplicates kept."""
        return self.row.location

    @property
    def command(self) -> str:
        """The script."""
        return self.row.spec.command.text

    @property
    def state(self) -> JobState:
        """Derived from the children's states; presumed where nobody runs the job any more."""
        return self._state(self.row)

    @property
    def job_state_info(self) -> JobStateInfo:
        """The state; a parent has no reason, its children have."""
        return JobStateInfo(self.state)

    @property
    def has_more_data(self) -> bool:
        """True until the job has ended and everything was read."""
        return not self.removed and (not self.state.finished or self.store.unread(self.id))

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds this run back or should be known of it, one sentence each."""
        return self.row.notes

    @property
    def retry_of(self) -> int | None:
        """Id of the job whose targets this one tries again."""
        return self.row.spec.retry_of

    @property
    def owner(self) -> str:
        """The process that runs it, for a person; empty where none does."""
        lease = self.row.lease
        return lease.owner if lease is not None and self._owned() else ""

    @property
    def outcomes(self) -> list[ChildEnd]:
        """The ends so far, in the order of the target list."""
        row = self.row
        return [end for child in row.children if (end := self._end(row, child))]

    @property
    def credential_names(self) -> list[str]:
        """Names of the credentials that its unfinished targets need; `""` is the one for those that name none.

        Where none is named and the mechanism can do with the current user's tickets, none is needed.
        """
        row, spec = self.row, self.row.spec
        needed = dict[str, None]()
        for target in (child.target for child in row.children if not child.state.finished):
            name = target.credential or spec.credential or ""
            if name or (target.authentication or spec.authentication) not in IMPLICIT_MECHANISMS:
                needed[name] = None
        return list(needed)

    @property
    def secret_names(self) -> dict[str, str]:
        """The secrets that the script needs on some target, each with what its credential is called.

        Arguments are needed where it has yet to begin, answers where it has not ended.
        That is `""` for a Secret, which is of no credential. Empty where somebody who has them runs the job.
        """
        row = self.row
        left = {child.phase for child in row.children if child.outcome is None}
        if self._owned() or not left:
            return {}
        from remotejobs.wsman.clixml.values import secure_strings

        command = row.spec.command
        given = command.values if Phase.QUEUED in left else [value for _, value in command.answers]
        found = secure_strings([*given])
        return {each.name: each.credential for each in sorted(found, key=lambda each: each.name)}

    @property
    def ps_begin_time(self) -> datetime | None:
        """When the job was made (UTC)."""
        return utc(self.row.began)

    @property
    def ps_end_time(self) -> datetime | None:
        """When its last child ended (UTC)."""
        return utc(self.row.ended)

    def _state(self, row: JobRow) -> JobState:
        if self._running is not None:
            return parent_state(row.counts, stop_requested=row.stop_requested, last_change=row.last_change)
        return presumed.state_now(row, self._clock.time())

    def _owned(self) -> bool:
        return presumed.owned(self.row, self._clock.time())

    def _settled(self, row: JobRow, force: bool, children: Sequence[int] | None) -> bool:
        """True when waiting is over: all ended, or left on their hosts with nobody about to change that."""
        if children is None:
            state = self._state(row)
            finished, persistent = state.finished, state.persistent
        else:
            states = [self.child_now(row, row.children[index]).state for index in children]
            finished, persistent = all(s.finished for s in states), all(s.persistent for s in states)
        if finished or force or not persistent:
            return finished
        # A job with a lease is being connected, or its lease is about to be given back
        return self._running is not None or not presumed.owned(row, self._clock.time())

    def _end(self, row: JobRow, child: ChildRow) -> ChildEnd | None:
        outcome = self.child_now(row, child).outcome
        return None if outcome is None else ChildEnd(self.id, child.id, child.target.name, outcome)

    def _stored_end(self, child: ChildRow) -> ChildEnd:
        assert child.outcome is not None
        return ChildEnd(self.id, child.id, child.target.name, child.outcome)

    def _presumed_ends(self, row: JobRow, children: Sequence[int] | None) -> list[ChildEnd]:
        """Ends that are only presumed: said at every look, until somebody has connected and knows."""
        if self._running is not None or not presumed.abandoned(row, self._clock.time()):
            return []
        chosen = range(len(row.children)) if children is None else children
        ends = (self._end(row, row.children[i]) for i in chosen if row.children[i].outcome is None)
        return [end for end in ends if end]

    def __repr__(self) -> str:
        targets = sum(self.row.counts.values())
        return f"<{type(self).__name__} {self.id} {self.name!r} {self.state.name} {targets} targets>"
