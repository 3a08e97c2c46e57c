"""Which failures are tried again, and when: arithmetic on phase and fault. The waiting is tenacity's.

Knows errors, fault codes and numbers. Must not know hosts, slots or connections.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from remotejobs.errors import FaultError, RemoteJobsError, UnreachableError
from remotejobs.ports import Attempt, Clock
from remotejobs.rows import Phase
from remotejobs.states import EndReason
from remotejobs.wsman.faults import Means, meaning

_LATER_STATUSES = frozenset({400, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
_QUOTA_WAIT, _QUOTA_LONGEST = 1.0, 20.0


class RetryPolicy:
    """Decides on attempts that ended before STARTING; nothing after it is ever tried again, only looked for again.

    Args:
        tries: More tries after the first (MaxConnectionRetryCount).
        quota_seconds: How long a host may answer with quota faults: they say "wait", not "no". None is for ever.
    """

    def __init__(self, tries: int, quota_seconds: float | None) -> None:
        self._tries = tries
        self._quota_seconds = quota_seconds

    def wants(self, attempt: Attempt, *, again: bool = False) -> bool:
        """True when the attempt's error may go away by itself.

        Args:
            attempt: What it came to.
            again: It looked for a command that an earlier run began, so it sent none; where its outcome is
                Disconnected it may look once more.
        """
        if attempt.error is None:
            return False
        harmless = attempt.phase < Phase.STARTING or (again and attempt.outcome.reason is EndReason.Disconnected)
        return harmless and _passing(attempt.error)

    async def again(
        self,
        first: Attempt,
        run: Callable[[], Awaitable[Attempt]],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        *,
        again: bool = False,
    ) -> Attempt:
        """Try again after `first`, with growing pauses and jitter; return the last attempt.

        Args:
            first: What the first try came to; `wants(first)` holds.
            run: Makes one more attempt.
            clock: Measures how long quota faults have lasted.
            sleep: Waits between tries.
            again: As in `wants`.
        """
        # Most jobs never fail: they need not pay for the import.
        from tenacity import AsyncRetrying, RetryCallState, retry_if_result, wait_random_exponential

        began = clock.monotonic()
        last = first
        quotas = 0
        brief = wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)
        patient = wait_random_exponential(multiplier=_QUOTA_WAIT, max=_QUOTA_LONGEST)

        def pause(state: RetryCallState) -> float:
            return patient(state) if _is_quota(last) else brief(state)

        def give_up(state: RetryCallState) -> bool:
            if _is_quota(last):
                return self._quota_seconds is not None and clock.monotonic() - began >= self._quota_seconds
            return state.attempt_number - quotas > self._tries

        async def attempt() -> Attempt:
            nonlocal last, quotas
            if last is first and not first_given:
                first_given.append(True)
                return first
            last = await run()
            quotas += _is_quota(last)
            return last

        first_given: list[bool] = []
        retrying = AsyncRetrying(
            sleep=sleep,
            wait=pause,
            stop=give_up,
            retry=retry_if_result(lambda attempt: self.wants(attempt, again=again)),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else last,
        )
        result: Attempt = await retrying(attempt)
        return result


def _passing(error: RemoteJobsError) -> bool:
    if isinstance(error, FaultError):
        return meaning(error).means in (Means.RETRY_OPEN, Means.QUOTA, Means.BUSY)
    if isinstance(error, UnreachableError):
        if "status" in error.details:
            return error.details["status"] in _LATER_STATUSES
        return error.details.get("step") not in ("name", "tls") or bool(error.details.get("temporary"))
    return False


def _is_quota(attempt: Attempt) -> bool:
    return isinstance(attempt.error, FaultError) and meaning(attempt.error).means is Means.QUOTA
