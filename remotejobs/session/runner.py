"""The HostRunner port served by our own engine: one Conversation per attempt.

Knows conversations. Must not know throttles or stores.
"""

from __future__ import annotations

import asyncio
import logging

from remotejobs.errors import LeaseLostError, RemoteJobsError
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Clock, Control
from remotejobs.session.conversation import Conversation
from remotejobs.session.prepared import PreparedJob

_log = logging.getLogger(__name__)


class PsrpRunner:
    """Runs a job's script on one target at a time, over WS-Man.

    Args:
        job: What is the same for every host.
        clock: Time.
    """

    def __init__(self, job: PreparedJob, clock: Clock) -> None:
        self._job = job
        self._clock = clock

    async def run(self, child: ChildTask, ledger: ChildLedger, control: Control) -> Attempt:
        """Make one attempt; what went wrong at the host is in it.

        Raises:
            LeaseLostError: The child, and its shell, are another process's now.
        """
        conversation = Conversation(self._job, child, ledger, control, self._clock)
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
        if isinstance(attempt.resources, Conversation):
            await attempt.resources.close()
