"""The HostRunner port served by our own engine: one conversation per attempt.

Knows conversations, one kind for scripts and one for command lines. Must not know throttles or stores.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from remotejobs.errors import LeaseLostError, RemoteJobsError
from remotejobs.model import Outcome
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Clock, Control
from remotejobs.rows import Phase
from remotejobs.session.conversation import Conversation
from remotejobs.session.prepared import PreparedJob
from remotejobs.session.winrs import CmdConversation

_log = logging.getLogger(__name__)


class Talk(Protocol):
    """One attempt at one target; `run` once, then `close`."""

    phase: Phase

    async def run(self) -> Outcome:
        """Run the command to its end, or until its shell is left on the host.

        Raises:
            RemoteJobsError: What ended the attempt; `outcome_of` says how the child ends by it.
        """
        ...

    def outcome_of(self, error: RemoteJobsError) -> Outcome:
        """How the child stands if `error` is the end of the attempt."""
        ...

    async def close(self) -> None:
        """Delete the shell if there may be one that nobody needs; drop the connection. Bounded; never raises."""
        ...

    def abandon(self) -> None:
        """Drop the connection and leave the shell: it is another process's now."""
        ...


Begin = Callable[[PreparedJob, ChildTask, ChildLedger, Control, Clock], Talk]


class Runner:
    """Runs a job's command on one target at a time, over WS-Man.

    Args:
        job: What is the same for every host.
        clock: Time.
        begin: Makes what talks to one target.
    """

    def __init__(self, job: PreparedJob, clock: Clock, begin: Begin) -> None:
        self._job = job
        self._clock = clock
        self._begin = begin

    async def run(self, child: ChildTask, ledger: ChildLedger, control: Control) -> Attempt:
        """Make one attempt; what went wrong at the host is in it.

        Raises:
            LeaseLostError: The child, and its shell, are another process's now.
        """
        conversation = self._begin(self._job, child, ledger, control, self._clock)
        try:
            attempt = Attempt(conversation.phase, await conversation.run(), None, conversation)
        except (LeaseLostError, asyncio.CancelledError):
            conversation.abandon()
            raise
        except RemoteJobsError as error:
            attempt = Attempt(conversation.phase, conversation.outcome_of(error), error, conversation)
        attempt.phase = conversation.phase
        _log.debug("[%s] %s in %s: %s", child.target.name, attempt.outcome.reason, attempt.phase.name, attempt.error)
        return attempt

    async def cleanup(self, attempt: Attempt) -> None:
        """Delete the shell and drop the connection; bounded, never raises."""
        if attempt.resources is not None:
            await attempt.resources.close()


class PsrpRunner(Runner):
    """Runs scripts: PowerShell remoting over WS-Man (MS-PSRP)."""

    def __init__(self, job: PreparedJob, clock: Clock) -> None:
        super().__init__(job, clock, Conversation)


class WinrsRunner(Runner):
    """Runs command lines of cmd (WinRS, MS-WSMV)."""

    def __init__(self, job: PreparedJob, clock: Clock) -> None:
        super().__init__(job, clock, CmdConversation)
