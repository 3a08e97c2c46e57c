"""The requests that open a runspace pool, exchange keys and give it a script: which of them may be sent a second time.

Knows Receive of the pool, Command and Send. Must not know phases, ledgers or outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable

from remotejobs.errors import FaultError, ProtocolError, TimedOutError, UnreachableError
from remotejobs.ports import Clock
from remotejobs.session.exchange import AnswerLostError, ask
from remotejobs.session.link import Link, delays
from remotejobs.wsman.envelopes import read_answer
from remotejobs.wsman.faults import Means, meaning
from remotejobs.wsman.psrp.runspace import PoolState, Runspace
from remotejobs.wsman.psrp.sessionkey import KeyPair, SessionKey
from remotejobs.wsman.received import read_received
from remotejobs.wsman.shells import PowerShellShell, read_command


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
            await link.within(ask(link.transport, shell.send(reply, None, "pr"), read_answer), "open", due)
        if runspace.closed or done:
            raise _closed("The host could not open a runspace", runspace)


async def exchange_keys(
    link: Link, shell: PowerShellShell, runspace: Runspace, pair: KeyPair, due: float | None
) -> SessionKey:
    """Tell an open pool our public key, and receive its session key.

    Args:
        link: The connection.
        shell, runspace: Open.
        pair: Our keys.
        due: Until when, monotonic.

    Raises:
        RemoteJobsError: The host did not take part.
    """
    try:
        for packet in runspace.exchanging(pair.public, shell.payload_size):
            await link.within(ask(link.transport, shell.send(packet, None), read_answer), "open", due)
        while runspace.encrypted_key is None:
            done = await _receive(link, shell, runspace, due)
            if runspace.closed or (done and runspace.encrypted_key is None):
                raise _closed("The host closed the runspace in the exchange of keys", runspace)
    except TimedOutError as error:
        if error.details["clock"] != "open":
            raise
        words = "The host did not answer the exchange of keys, which secret arguments need, in time."
        raise TimedOutError(words, **error.details) from None
    return pair.session_key(runspace.encrypted_key)


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


async def command(
    link: Link, shell: PowerShellShell, runspace: Runspace, command_id: str, packet: bytes, *, alone: bool
) -> str | None:
    """Post Command.

    Args:
        link: The connection.
        shell: The shell.
        runspace: Says it again where not a byte has left.
        command_id: The id to ask for.
        packet: The first bytes of CREATE_PIPELINE.
        alone: They are all of it.

    Returns:
        The id that the host gives it, `command_id` unless it says another; None where the answer was lost and Receive
        will tell whether the host has it.

    Raises:
        RemoteJobsError: With `details["refused"]` where the host did not take it.
    """
    asking = link.answer(shell.command(command_id, packet), read_command)
    del packet
    try:
        return await asking or command_id
    except AnswerLostError as error:
        if not alone:
            raise  # its other packets cannot follow: the id of the command is not known for certain
        await link.restore(error)
        return None
    except UnreachableError as error:
        if "status" in error.details or not alone:
            raise
        # Not a byte has left, so this is the first time that it is sent, not the second.
        await link.restore(error)
        (packet,) = runspace.starting(shell.payload_size)
        return await link.answer(shell.command(command_id, packet), read_command) or command_id
    except FaultError as fault:
        if meaning(fault).means is Means.NOTHING_YET:
            return None
        fault.details["refused"] = True
        raise


async def send(
    link: Link, shell: PowerShellShell, command_id: str, packet: bytes, clock: Clock, stream: str = "stdin"
) -> None:
    """Send bytes to a pipeline; a host that still works on the Send before is asked again."""
    for delay in (*delays(3), None):
        try:
            await link.answer(shell.send(packet, command_id, stream), read_answer)
        except FaultError as fault:
            if meaning(fault).means is not Means.BUSY or delay is None:
                raise
            await clock.sleep(delay)
        else:
            return
