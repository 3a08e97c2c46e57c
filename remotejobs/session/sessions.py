"""The PowerShell shells on one host: listing them with their commands, deleting one.

Knows Enumerate, Pull, Delete and who an owner is. Must not know jobs, nor how a list is shown.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, TypeVar

from remotejobs.errors import FaultError, LimitError, TimedOutError
from remotejobs.model import Target
from remotejobs.ports import Clock, Transport
from remotejobs.session.exchange import ask
from remotejobs.session.outcomes import timed_out
from remotejobs.session.prepared import PreparedJob
from remotejobs.wsman.discovery import (
    COMMANDS,
    MAX_ITEMS,
    CommandInfo,
    ShellInfo,
    command_of,
    enumerate_all,
    pull,
    read_page,
    shell_of,
)
from remotejobs.wsman.envelopes import POWERSHELL, SHELL, Element, Requests, read_answer
from remotejobs.wsman.faults import Means, meaning
from remotejobs.wsman.shells import PowerShellShell

Admit = Callable[[Target], AbstractAsyncContextManager[None]]
_T = TypeVar("_T")
_MOST_PAGES = 500


class HostSession(NamedTuple):
    """One PowerShell shell of a host, and what runs in it; `commands` is empty where the host does not say."""

    shell: ShellInfo
    commands: tuple[CommandInfo, ...]

    @property
    def configuration(self) -> str:
        """The session configuration that it was made in."""
        return self.shell.resource_uri.rpartition("/")[2]


class HostSessions:
    """The shells of hosts; each call uses a connection of its own.

    Args:
        job: Endpoints, time-outs and connections; its command is not looked at. The connect clock counts for finding
            and connecting, the total clock for what is then asked.
        clock: Time.
        admit: What every authentication passes; an error leaves through it.
        slots: Hosts at a time.
    """

    def __init__(self, job: PreparedJob, clock: Clock, admit: Admit, slots: int) -> None:
        self._job = job
        self._clock = clock
        self._admit = admit
        self._slots = asyncio.Semaphore(slots)
        self._session_id = uuid.uuid4()

    async def find(self, target: Target, *, user: str = "") -> list[HostSession]:
        r"""List the PowerShell shells of a host, with their commands.

        Args:
            target: The host.
            user: Only those that this user owns: administrators see everybody's. `HOST\user` and `user@domain` mean
                the same user as `user`.

        Raises:
            TransportError: Not reachable, or refused.
            ProtocolError: An answer that cannot be read, or lists more than any host has.
        """

        async def listing(transport: Transport) -> list[HostSession]:
            found = [shell_of(element) for element in await self._enumerate(transport, target, SHELL)]
            ours = [shell for shell in found if shell and _is_powershell(shell) and _is_owned(shell, user)]
            return [HostSession(shell, await self._commands(transport, target, shell)) for shell in ours]

        return await self._connected(target, listing)

    async def delete(self, target: Target, shell_id: str) -> bool:
        """Delete a PowerShell shell with all that runs in it; False where it is gone already.

        Raises:
            TransportError: Not reachable, or refused.
            FaultError: The host does not do it.
        """

        async def deleting(transport: Transport) -> bool:
            found = [shell_of(element) for element in await self._enumerate(transport, target, SHELL)]
            shell = next((s for s in found if s and s.shell_id == shell_id.upper() and _is_powershell(s)), None)
            if shell is None:
                return False
            # Under the resource that it was made as, whatever configuration the job itself names.
            request = PowerShellShell(self._requests(target, shell.resource_uri), shell.shell_id).delete()
            try:
                await ask(transport, request, read_answer)
            except FaultError as fault:
                if meaning(fault).means is not Means.GONE:
                    raise
                return False
            return True

        return await self._connected(target, deleting)

    async def _commands(self, transport: Transport, target: Target, shell: ShellInfo) -> tuple[CommandInfo, ...]:
        try:
            elements = await self._enumerate(transport, target, COMMANDS, shell.shell_id)
        except FaultError:
            return ()  # it has gone meanwhile, or is somebody else's
        return tuple(found for found in map(command_of, elements) if found)

    async def _enumerate(
        self, transport: Transport, target: Target, resource: str, shell_id: str = ""
    ) -> list[Element]:
        requests = self._requests(target, resource)
        page = await ask(transport, enumerate_all(requests, shell_id), read_page)
        items = page.items
        for _ in range(_MOST_PAGES):
            if not page.context:
                return items
            page = await ask(transport, pull(requests, page.context), read_page)
            items += page.items
            if len(items) > MAX_ITEMS:
                break
        raise LimitError("The host's list of shells does not end.")

    def _requests(self, target: Target, resource: str) -> Requests:
        return self._job.requests(target, self._session_id, resource)

    async def _connected(self, target: Target, work: Callable[[Transport], Awaitable[_T]]) -> _T:
        async with self._slots:
            return await self._asked(target, work)

    async def _asked(self, target: Target, work: Callable[[Transport], Awaitable[_T]]) -> _T:
        transport, clocks = self._job.connect(target), self._job.spec.clocks
        try:
            try:
                with self._clock.timeout(clocks.connect):
                    await transport.open()
            except TimeoutError:
                raise timed_out("connect", clocks) from None
            async with self._admit(target):
                try:
                    with self._clock.timeout(clocks.total):
                        return await work(transport)
                except TimeoutError:
                    raise TimedOutError(
                        f"The host did not answer within {clocks.total:g} s (-Timeout).",
                        clock="total",
                        seconds=clocks.total,
                    ) from None
        finally:
            transport.close()


def _is_powershell(shell: ShellInfo) -> bool:
    return shell.resource_uri.lower().startswith(f"{POWERSHELL}/".lower())


def _is_owned(shell: ShellInfo, user: str) -> bool:
    return not user or _account(shell.owner) == _account(user)


def _account(name: str) -> str:
    return name.rpartition("\\")[2].partition("@")[0].lower()
