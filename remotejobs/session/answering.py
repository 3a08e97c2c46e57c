"""Answers to the calls that a script makes to its user's host, on their way up: secrets filled in, the user told.

Knows Send and the session key of one host. Must not know which answer fits which question. A host that gets an answer
a second time ignores it (recorded), so one may be sent again over a new connection.
"""

from __future__ import annotations

from remotejobs.errors import UnreachableError
from remotejobs.ports import Clock
from remotejobs.session.intake import Intake
from remotejobs.session.link import Link
from remotejobs.session.opening import exchange_keys, send
from remotejobs.session.prepared import PreparedJob
from remotejobs.session.secrets import Secrets
from remotejobs.wsman.clixml.values import secure_strings
from remotejobs.wsman.psrp.prompts import Answers
from remotejobs.wsman.psrp.runspace import Reply, Runspace
from remotejobs.wsman.psrp.sessionkey import KEYS, SessionKey, secret_names
from remotejobs.wsman.shells import PowerShellShell

_MOST_STALE = 3  # keys for processes that had the script before


def answers_of(job: PreparedJob, *, begun: bool) -> Answers | None:
    """The answers for one host; those whose secrets are not here, which only what has begun does without, are left out.

    Args:
        job: The job.
        begun: Another process has begun the script there.
    """
    given = job.spec.command.answers
    if not given:
        return None
    missing = set(job.secrets.missing)
    usable = [one for one in given if missing.isdisjoint(each.name for each in secure_strings(one[1]))]
    return Answers(usable, begun=begun)


async def answer_calls(
    link: Link,
    shell: PowerShellShell,
    runspace: Runspace,
    command_id: str,
    job: PreparedJob,
    intake: Intake,
    clock: Clock,
) -> None:
    """Send what the calls of the pipeline are answered with, then keep what the user is told of it.

    In this order: whoever takes the job over takes a call for answered that comes before a record which is there.

    Args:
        link, shell, runspace, command_id: Whose pipeline it is.
        job: Its secrets are what the names in an answer stand for.
        intake: Where the notes go.
        clock: Time.

    Raises:
        RemoteJobsError: It was not sent, or the host took no part in the exchange of keys.
    """
    notes = []
    for reply in runspace.take_replies():
        payload = reply.payload
        if secret_names(payload):
            limit = job.spec.clocks.open
            due = None if limit is None else clock.monotonic() + limit
            key = await session_key(link, shell, runspace, job.secrets, due, stale=_MOST_STALE)
            payload = job.secrets.fill(payload, runspace.pool_id, key)
        while not await _sent(link, shell, runspace, command_id, reply, payload, clock):
            pass
        if reply.note:
            notes.append(reply.note)
    if notes:
        await intake.append(notes)


async def _sent(
    link: Link,
    shell: PowerShellShell,
    runspace: Runspace,
    command_id: str,
    reply: Reply,
    payload: bytes,
    clock: Clock,
) -> bool:
    """Send one; False where the connection was lost and is there again."""
    try:
        for packet in runspace.replying(reply, payload, shell.payload_size):
            await send(link, shell, command_id, packet, clock, "pr")
    except UnreachableError as error:
        await link.restore(error)
        return False
    return True


async def session_key(
    link: Link, shell: PowerShellShell, runspace: Runspace, secrets: Secrets, due: float | None, *, stale: int = 0
) -> SessionKey:
    """The key of a pool, which its host is asked for once; `due` and `stale` as for exchange_keys.

    Raises:
        RemoteJobsError: The host did not take part.
    """
    key = KEYS.get(runspace.pool_id)
    if key is None:
        pair = await link.within(secrets.key_pair(), "open", due)
        key = await exchange_keys(link, shell, runspace, pair, due, stale)
        link.note("session key exchanged")
    return key
