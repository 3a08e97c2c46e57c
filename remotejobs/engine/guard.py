"""The lock-out guard: one wrong password must not be tried on a thousand hosts.

Until a credential is first accepted, few authentications with it are in flight; as many refusals with none accepted end
its use. Knows names of credentials and counts. Must not know secrets, hosts or connections.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from remotejobs.errors import AuthenticationError

DEFAULT_FIRST_TRIES = 3


@dataclass(slots=True)
class _Use:
    in_flight: int = 0
    refused: int = 0
    accepted: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class Leaving(Protocol):
    """Who waits at the gate, and may be told to stop meanwhile."""

    @property
    def stop_requested(self) -> bool:
        """It is to wait no longer."""
        ...


class Guard:
    """The gate that every authentication of a job passes.

    Args:
        first_tries: Authentications in flight, and refusals, that a credential may have before its first acceptance.
    """

    def __init__(self, first_tries: int = DEFAULT_FIRST_TRIES) -> None:
        self._limit = first_tries
        self._uses: dict[str, _Use] = {}
        self._open = False

    async def enter(self, credential: str, who: Leaving) -> None:
        """Wait until an authentication with `credential` may begin, or until `who` is to stop.

        Raises:
            AuthenticationError: It has been refused too often; `details["guard"]` is true.
        """
        use = self._uses.setdefault(credential, _Use())
        while not use.accepted and not self._open and use.refused + use.in_flight >= self._limit:
            if who.stop_requested:
                break
            if use.refused >= self._limit:
                raise _shut(use.refused)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            use.waiting.append(turn)
            await turn
        use.in_flight += 1

    def leave(self, credential: str, *, accepted: bool | None) -> None:
        """Say what came of an authentication that entered: True, False, or None for no verdict."""
        use = self._uses[credential]
        use.in_flight -= 1
        if accepted:
            use.accepted = True
        elif accepted is False:
            use.refused += 1
        _wake(use)

    def release(self) -> None:
        """Let everybody who waits through: the job is being stopped, and they will see it."""
        self._open = True
        self.look_again()

    def look_again(self) -> None:
        """Wake everybody who waits: one of them is to stop."""
        for use in self._uses.values():
            _wake(use)


def _wake(use: _Use) -> None:
    waiting, use.waiting = use.waiting, []
    for turn in waiting:
        if not turn.done():
            turn.set_result(None)


def _shut(refused: int) -> AuthenticationError:
    return AuthenticationError(
        f"Not tried: {refused} hosts refused this credential and none accepted it, so its use was ended before the "
        "account is locked out. Check the user name and password, then try again.",
        error_id="CredentialGuard",
        guard=True,
    )
