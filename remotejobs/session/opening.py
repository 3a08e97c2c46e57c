"""The requests that open a shell, and a runspace pool in it, and give it a command: which may be sent a second time.

Knows Create, Receive of the pool, Command and Send. Must not know ledgers or outcomes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from remotejobs.errors import AccessDeniedError, FaultError, ProtocolError, TimedOutError, UnreachableError
from remotejobs.ports import Clock, Control
from remotejobs.rows import Phase
from remotejobs.session.exchange import AnswerLostError, ask
from remotejobs.session.link import Link, delays
from remotejobs.wsman.envelopes import Request, read_answer
from remotejobs.wsman.faults import SHELL_EXISTS, Means, meaning
from remotejobs.wsman.psrp.runspace import PoolState, Runspace
from remotejobs.wsman.psrp.sessionkey import KeyPair, SessionKey
from remotejobs.wsman.received import read_received
from remotejobs.wsman.shells import PowerShellShell, Shell, read_command


async def create(
    link: Link, shell: Shell, control: Control, creating: Awaitable[str], again: Callable[[], Awaitable[str]]
) -> None:
    """See Create through, past the gate that stands behind authentication, and take the id that the host gives.

    Args:
        link: The connection, to be authenticated.
        shell: The shell.
        control: Is told when the host has accepted the credential.
        creating: Asks Create.
        again: Asks it once more.

    Raises:
        AuthenticationError, AccessDeniedError, FaultError: There is no shell.
        RemoteJobsError: There may be one.
    """
    try:
        given = await link.within(creating, "authenticate")
    except (FaultError, AccessDeniedError) as error:
        await control.enter(Phase.OPEN)
        if not isinstance(error, FaultError) or error.code != SHELL_EXISTS:
            raise
        # Nobody else has this id: a run that was killed before it sent the command has left it there, idle.
        link.note("the shell is there already")
        await link.within(link.delete(shell.delete()), "open")
        given = await link.within(again(), "open")
    await control.enter(Phase.OPEN)
    shell.created(given)
    link.note("shell %s", shell.shell_id)


async def open_pool(
    link: Link, shell: PowerShellShell, runspace: Runspace, packets: Iterable[bytes], due: float | None
) -> None:
    """Send the rest of what opens the pool, and receive until it is open.

    Args:
        link: The connection.
        shell: As Create has answered it.
        runspace: To be opened.
        packets: What did not fit Create.
        due: Until when, monotonic.

    Raises:
        RemoteJobsError: It was not opened.
    """
    for packet in packets:
        await link.within(ask(link.transport, shell.send(packet, None), read_answer), "open", due)
    while runspace.pool_state != PoolState.Opened:
        done = await _receive(link, shell, runspace, due)
        for reply in runspace.take_replies():
            for packet in runspace.replying(reply, reply.payload, shell.payload_size):
                await link.within(ask(link.transport, shell.send(packet, None, "pr"), read_answer), "open", due)
        if runspace.closed or done:
            raise _closed("The host could not open a runspace", runspace)


async def exchange_keys(
    link: Link, shell: PowerShellShell, runspace: Runspace, pair: KeyPair, due: float | None, stale: int = 0
) -> SessionKey:
    """Tell an open pool our public key, and receive its session key.

    Args:
        link: The connection.
        shell, runspace: Open.
        pair: Our keys.
        due: Until when, monotonic.
        stale: Keys that may come first: the host's answers to clients before us, which nobody has received.

    Raises:
        RemoteJobsError: The host did not take part.
    """
    try:
        for packet in runspace.exchanging(pair.public, shell.payload_size):
            await link.within(ask(link.transport, shell.send(packet, None), read_answer), "open", due)
        while True:
            while runspace.encrypted_key is None:
                done = await _receive(link, shell, runspace, due)
                if runspace.closed or (done and runspace.encrypted_key is None):
                    raise _closed("The host closed the runspace in the exchange of keys", runspace)
            try:
                return pair.session_key(runspace.encrypted_key)
            except ProtocolError:
                if not stale:
                    raise
            runspace.encrypted_key, stale = None, stale - 1
    except TimedOutError as error:
        if error.details["clock"] != "open":
            raise
        words = "The host did not answer the exchange of keys, which secret arguments need, in time."
        raise TimedOutError(words, **error.details) from None


async def _receive(link: Link, shell: PowerShellShell, runspace: Runspace, due: float | None) -> bool:
    """Ask the pool for news once; True where the host says that there will be no more."""
    try:
        received = await link.within(ask(link.transport, shell.receive(None), read_received), "open", due)
    except FaultError as fault:
        if meaning(fault).means is not Means.NOTHING_YET:
            raise
        await link.pause()
        return False
    runspace.feed_pool(received.data)
    await link.pause(received.data)
    return received.done


def _closed(words: str, runspace: Runspace) -> ProtocolError:
    return ProtocolError(words + (f": {runspace.pool_reason}" if runspace.pool_reason else " and did not say why."))


async def command(link: Link, request: Request, command_id: str, again: Callable[[], Request] | None) -> str | None:
    """Post Command.

    Args:
        link: The connection.
        request: Command, with all that the host needs to begin, or the first part of it.
        command_id: The id to ask for.
        again: The same, where not a byte has left; None where it is a first part: what follows needs the host's answer.

    Returns:
        The id that the host gives it, `command_id` unless it says another; None where the answer was lost and Receive
        will tell whether the host has it.

    Raises:
        RemoteJobsError: With `details["refused"]` where the host did not take it.
    """
    asking = link.answer(request, read_command)
    del request
    try:
        return await asking or command_id
    except AnswerLostError as error:
        if again is None:
            raise
        await link.restore(error)
        return None
    except UnreachableError as error:
        if "status" in error.details or again is None:
            raise
        # Not a byte has left, so this is the first time that it is sent, not the second.
        await link.restore(error)
        return await link.answer(again(), read_command) or command_id
    except FaultError as fault:
        if meaning(fault).means is Means.NOTHING_YET:
            return None
        fault.details["refused"] = True
        raise


async def send(link: Link, shell: Shell, command_id: str, packet: bytes, clock: Clock, stream: str = "stdin") -> None:
    """Send bytes to a command; a host that still works on the Send before is asked again."""
    for delay in (*delays(3), None):
        try:
            await link.answer(shell.send(packet, command_id, stream), read_answer)
        except FaultError as fault:
            means = meaning(fault).means
            if means is Means.NOTHING_YET:
                return  # it has come, and is being worked on: what is sent next finds the host busy until it is done
            if means is not Means.BUSY or delay is None:
                raise
            await clock.sleep(delay)
        else:
            return
