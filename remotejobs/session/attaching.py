"""Taking a shell back that another process, or this one before a long silence, has left on its host.

Knows Disconnect, Reconnect, Connect, and what a host answers that still believes in the client before (MS-PSRP
3.1.5.3, MS-WSMV 3.1.4.13 to 3.1.4.15). Must not know records or ledgers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from remotejobs.errors import FaultError, RemoteJobsError, UnreachableError
from remotejobs.model import Outcome
from remotejobs.ports import Clock, Control
from remotejobs.session.exchange import ask
from remotejobs.session.link import Link
from remotejobs.session.outcomes import lost_command, lost_shell
from remotejobs.wsman.discovery import ShellInfo, get_shell, read_shell
from remotejobs.wsman.envelopes import Requests, read_answer
from remotejobs.wsman.faults import HELD, IN_USE, Means, meaning
from remotejobs.wsman.psrp.messages import PROTOCOL_VERSION
from remotejobs.wsman.psrp.runspace import Runspace
from remotejobs.wsman.shells import PowerShellShell, read_connected

# How long a host may go on believing in a client that is dead: recorded are about one minute, and two.
WAIT_SECONDS = 300.0
_PASSING = (Means.BUSY, Means.QUOTA, Means.RETRY_OPEN, Means.NOTHING_YET)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0


async def look(link: Link, requests: Requests, shell_id: str, clock: str) -> ShellInfo | None:
    """Ask whether a shell lives; None where the host does not tell.

    Args:
        link: The connection.
        requests: On the resource `windows/shell`.
        shell_id: Which.
        clock: The clock around it.

    Raises:
        FaultError: It is gone (Means.GONE).
        TransportError, ProtocolError: Not reachable, refused, or it is no WinRM.
    """
    try:
        return await link.within(ask(link.transport, get_shell(requests, shell_id), read_shell), clock)
    except FaultError as fault:
        if meaning(fault).means is Means.GONE:
            raise
    return None


async def gone(link: Link, requests: Requests, shell_id: str, fault: FaultError, *, seq: int, started: bool) -> Outcome:
    """How a child ends whose host has not got its command any more: is the shell gone, or the command only?

    Args:
        link, requests, shell_id: As for look().
        fault: The host's answer to Receive.
        seq: Of the last record that came.
        started: The host is known to have had the command.
    """
    outcome = lost_shell(fault, seq=seq, started=started)
    try:
        if await look(link, requests, shell_id, "authenticate") is not None:
            outcome = lost_command(fault, seq=seq, started=started)
    except RemoteJobsError as error:
        link.note("no word of the shell: %s", error.message)
    return outcome


async def take_back(
    link: Link,
    shell: PowerShellShell,
    runspace: Runspace,
    command_id: str,
    control: Control,
    clock: Clock,
    *,
    connected: bool,
    fence: Callable[[], Awaitable[None]],
) -> None:
    """Make this client the shell's again.

    A shell that its host believes to be connected is disconnected first: that ends a Receive which still waits for a
    client that is dead, and what that client may have been sent without keeping it comes again. Reconnect is for the
    same client (SessionId); where the host has seen another one since, Connect is. A host that still believes in
    another client is asked again for WAIT_SECONDS; a stop ends the wait.

    Args:
        link: The connection.
        shell, runspace, command_id: What is taken back.
        control: Says when it is stopped.
        clock: Time.
        connected: The host has the shell as Connected.
        fence: Raises LeaseLostError where the job is another process's: nothing may be taken from that one.

    Raises:
        FaultError: It is gone, or is not given to us.
        UnreachableError: The host is not reached any more.
        LeaseLostError: As `fence` says.
    """
    await fence()
    if connected:
        try:
            await link.answer(shell.disconnect(idle_timeout=None, buffer_mode="None"), read_answer)
        except UnreachableError as error:
            await link.restore(error)
        except FaultError as fault:
            means = meaning(fault).means
            if means is Means.GONE:
                raise
            if fault.code not in HELD and means is not Means.LEFT:
                return  # a host that does not know Disconnect has not let anybody else in either
    due, pause = clock.monotonic() + WAIT_SECONDS, _FIRST_PAUSE
    while True:
        try:
            try:
                await _reconnect(link, shell, command_id)
            except FaultError as fault:
                if fault.code not in HELD:
                    raise
                await _connect(link, shell, runspace, command_id)
            return
        except UnreachableError as error:
            await link.restore(error)
        except FaultError as fault:
            passing = fault.code in HELD or meaning(fault).means in _PASSING
            if passing and (control.stop_requested or clock.monotonic() >= due):
                # Whatever it was called: it is held, and asking again at once would be more of the same.
                raise FaultError(fault.message, code=IN_USE, error_id="CannotConnectAlreadyConnected") from fault
            if not passing:
                raise
            link.note("not given to us yet (%d): %s", fault.code, fault.message)
            await fence()
            await _sleep(pause, control, clock)
            pause = min(pause * 2, _LONGEST_PAUSE)


async def _reconnect(link: Link, shell: PowerShellShell, command_id: str) -> None:
    await link.answer(shell.reconnect(), read_answer)
    try:
        await link.answer(shell.reconnect(command_id), read_answer)
    except FaultError as fault:
        # PowerShell's client asks for each command too. Where the host needs it not, Receive tells the truth.
        link.note("the command was not reconnected: %s", fault.message)


async def _connect(link: Link, shell: PowerShellShell, runspace: Runspace, command_id: str) -> None:
    payload = runspace.connecting(shell.payload_size)
    runspace.connected(await link.answer(shell.connect(payload, protocol=PROTOCOL_VERSION), read_connected))
    try:
        await link.answer(shell.connect_command(command_id), read_answer)
    except FaultError as fault:
        link.note("the command was not connected: %s", fault.message)


async def _sleep(seconds: float, control: Control, clock: Clock) -> None:
    while seconds > 0 and not control.stop_requested:
        await clock.sleep(min(seconds, 1.0))
        seconds -= 1.0
