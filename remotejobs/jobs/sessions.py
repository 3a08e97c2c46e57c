"""The PowerShell sessions of hosts as users see them, and which of them belong to jobs of this store.

Knows rows of the store. Must not know how a host is asked, nor how a list is shown.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from remotejobs.jobs import presumed
from remotejobs.ports import JobStore
from remotejobs.states import JobState

_CLOCKS_DIFFER = 3600.0  # seconds; also what a clock may have been set by since


class Owner(NamedTuple):
    """The child job that a session belongs to, as the store had it when it was looked up."""

    job_id: int
    location: str
    state: JobState

    def __str__(self) -> str:
        return f"{self.job_id}/{self.location}"


class Command(NamedTuple):
    """What runs in a session. PowerShell's own clients leave the line empty: the script is inside PSRP."""

    command_id: str
    line: str
    state: str


@dataclass(frozen=True, slots=True)
class PSSession:
    r"""One PowerShell session (shell) on a host. What the host does not say is empty or None.

    Attributes:
        computer_name: The host as it was named.
        instance_id: The shell's id, lower case: RunspaceId of the records that come from it.
        name: What its client called it.
        state: `Connected` or `Disconnected`, as the host has it.
        configuration_name: The session configuration that it was made in.
        owner: `HOST\user` or `user`.
        job: The child job of this store that it belongs to; None where it is somebody else's.
        commands: What runs in it.
        client: Address of the computer that made it.
        process_id: On the host.
        idle_timeout: Seconds that the host keeps it without a client.
        inactivity, run_time: Seconds since a client last asked for it, since it was made.
        buffer_mode: `Block` or `Drop`: what happens to output while it is Disconnected.
        delete: Deletes it with all that runs in it; False where it has gone already. remove_session() calls it.
    """

    computer_name: str
    instance_id: str
    name: str
    state: str
    configuration_name: str
    owner: str
    job: Owner | None
    commands: tuple[Command, ...]
    client: str
    process_id: str
    idle_timeout: float | None
    inactivity: float | None
    run_time: float | None
    buffer_mode: str
    delete: Callable[[], Awaitable[bool]] = field(repr=False, compare=False)

    @property
    def availability(self) -> str:
        """PowerShell's word: `None` is free to be connected to, `Busy` has a client."""
        return "None" if self.state.lower() == "disconnected" else "Busy"


def owners(store: JobStore, sessions: Iterable[PSSession], now: float) -> dict[str, Owner]:
    """Find the child jobs that sessions belong to, by instance id.

    Args:
        store: Where to look.
        sessions: As their hosts have just listed them.
        now: Seconds since the epoch.
    """
    ages = {session.instance_id: session.run_time for session in sessions}
    wanted, found = set(ages), dict[str, Owner]()
    # A job that ended before the oldest of them was made has none of them: most of a large store need not be read.
    since = now - max((math.inf if age is None else age for age in ages.values()), default=0) - _CLOCKS_DIFFER
    for row in reversed(store.jobs()):
        if not wanted:
            break
        if row.ended is not None and row.ended < since:
            continue
        for child in row.children:
            # 2008 R2 gives a shell another id than the one that it was asked for
            shell_id = (child.shell_id or str(child.start.shell_id)).lower()
            if shell_id in wanted:
                wanted.remove(shell_id)
                found[shell_id] = Owner(row.id, child.target.name, presumed.child_now(row, child, now).state)
    return found
