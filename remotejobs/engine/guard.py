"""The lock-out guard: one wrong password must not be tried on a thousand hosts, nor by job after job.

Until a credential is first accepted, few authentications with it are in flight; as many refusals with none accepted end
its use. Refusals of its account in the jobs before leave it fewer, but always one, for the password may have been put
right. Knows names of credentials and of accounts, and counts. Must not know secrets, hosts, connections or stores.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from remotejobs.errors import AuthenticationError, StoreError
from remotejobs.ports import Refusals
from remotejobs.rows import REFUSAL_SECONDS

DEFAULT_FIRST_TRIES = 3
_WHILE = f"{REFUSAL_SECONDS / 60:.0f} minutes"


@dataclass(slots=True)
class _Use:
    """What became of one credential: `remembered` are refusals before this job, `barred` hosts that were not asked."""

    account: str
    remembered: int = 0
    limit: int = 0
    in_flight: int = 0
    tried: int = 0
    refused: int = 0
    accepted: int = 0
    barred: int = 0
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
        memory: Remembers refusals between jobs; None remembers nothing. It is asked once for each credential, and told
            of refusals until the first acceptance, and of that. One that fails is as good as none.
        account: The user name of a credential, by its name; empty for the current user, who is not remembered.
        first_tries: Authentications in flight, and refusals, that a credential may have before its first acceptance.
    """

    def __init__(
        self,
        memory: Refusals | None = None,
        account: Callable[[str], str] = lambda name: name,
        *,
        first_tries: int = DEFAULT_FIRST_TRIES,
    ) -> None:
        self._memory = memory
        self._account = account
        self._first_tries = first_tries
        self._uses: dict[str, _Use] = {}
        self._open = False

    async def enter(self, credential: str, who: Leaving) -> None:
        """Wait until an authentication with `credential` may begin, or until `who` is to stop.

        Raises:
            AuthenticationError: It has been refused too often; `details["guard"]` is true.
        """
        use = self._uses.get(credential) or self._begun(credential)
        while not use.accepted and not self._open and use.refused + use.in_flight >= use.limit:
            if who.stop_requested:
                break
            if use.refused >= use.limit:
                use.barred += 1
                raise _shut(use)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            use.waiting.append(turn)
            await turn
        use.in_flight += 1
        use.tried += 1

    def leave(self, credential: str, *, accepted: bool | None) -> None:
        """Say what came of an authentication that entered: True, False, or None for no verdict."""
        use = self._uses[credential]
        use.in_flight -= 1
        if accepted:
            use.accepted += 1
            if use.accepted == 1 and (use.remembered or use.refused):
                self._remember(use, accepted=True)
        elif accepted is False:
            use.refused += 1
            if not use.accepted:  # after that it is a matter of that host
                self._remember(use, accepted=False)
        _wake(use)

    def release(self) -> None:
        """Let everybody who waits through: the job is being stopped, and they will see it."""
        self._open = True
        self.look_again()

    def look_again(self) -> None:
        """Wake everybody who waits: one of them is to stop."""
        for use in self._uses.values():
            _wake(use)

    def notes(self) -> list[str]:
        """What became of each credential that was refused, one line each."""
        return [_told(name, use, self._remembered(use)) for name, use in self._uses.items() if use.refused]

    def _begun(self, credential: str) -> _Use:
        use = self._uses[credential] = _Use(self._account(credential))
        use.remembered = self._remembered(use)
        use.limit = max(1, self._first_tries - use.remembered)
        return use

    def _remembered(self, use: _Use) -> int:
        count = 0
        if self._memory is not None and use.account:
            with contextlib.suppress(StoreError):
                count = self._memory.refusals(_key(use))
        return count

    def _remember(self, use: _Use, *, accepted: bool) -> None:
        if self._memory is not None and use.account:
            with contextlib.suppress(StoreError):
                (self._memory.accepted if accepted else self._memory.refused)(_key(use))


def _key(use: _Use) -> str:
    """Windows and most others take a user name in any case. Half a surrogate pair, from an odd command line, goes."""
    return use.account.casefold().encode("utf-8", "replace").decode()


def _wake(use: _Use) -> None:
    waiting, use.waiting = use.waiting, []
    for turn in waiting:
        if not turn.done():
            turn.set_result(None)


def _shut(use: _Use) -> AuthenticationError:
    hosts = "1 host" if use.refused == 1 else f"{use.refused} hosts"
    before = f", after {_refusals(use.remembered)} of its account in the {_WHILE} before" if use.remembered else ""
    return AuthenticationError(
        f"Not tried: {hosts} refused this credential and none accepted it{before}, so its use was ended before the "
        "account is locked out. Check the user name and password, then try again.",
        error_id="CredentialGuard",
        guard=True,
    )


def _told(name: str, use: _Use, recent: int) -> str:
    who = f"Credential {name or use.account}" if name or use.account else "The current user"
    if use.account not in ("", name) and name:
        who += f" ({use.account})"
    said = f"{who}: {use.tried:,} logon{'' if use.tried == 1 else 's'} tried, {use.refused:,} refused, "
    said += f"{use.accepted:,} accepted" if use.accepted else "none accepted"
    if use.barred:
        said += "; 1 host was not asked" if use.barred == 1 else f"; {use.barred:,} hosts were not asked"
    if use.accepted:
        return f"{said}."
    if recent > use.refused:
        return f"{said}. {_refusals(recent)} in the last {_WHILE}: look whether the account is locked, then try again."
    return f"{said}. Look whether the account is locked before the next try."


def _refusals(count: int) -> str:
    return "1 refusal" if count == 1 else f"{count:,} refusals"
