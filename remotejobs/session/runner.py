"""The HostRunner port served by our own engine: one Conversation per attempt.

Knows conversations. Must not know throttles or stores.
"""

from __future__ import annotations

from remotejobs.errors import RemoteJobsError
from remotejobs.ports import Attempt, ChildLedger, ChildTask, Clock, Control
from remotejobs.session.conversation import Conversation, PreparedJob


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
        """Make one attempt. Never raises a RemoteJobsError: the attempt holds it."""
        conversation = Conversation(self._job, child, ledger, control, self._clock)
        try:
            outcome = await conversation.run()
        except RemoteJobsError as error:
            return Attempt(conversation.phase, conversation.outcome_of(error), error, conversation)
        return Attempt(conversation.phase, outcome, None, conversation)

    async def cleanup(self, attempt: Attempt) -> None:
        """Delete the shell and drop the connection; bounded, never raises."""
        if isinstance(attempt.resources, Conversation):
            await attempt.resources.close()
