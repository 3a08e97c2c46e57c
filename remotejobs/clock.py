"""Time: the real clock, and one that tests turn by hand. Knows asyncio; no module above it reads time another way."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any


class SystemClock:
    """The computer's clock behind the Clock port, for one event loop.

    Nearly no timeout ever fires, and thousands begin each second. So those that end within the same short span share
    one timer of the loop: a timeout comes late by up to a twentieth of its length, a quarter of a second at most.
    """

    def __init__(self) -> None:
        self._due: dict[float, set[_Timeout]] = {}

    def monotonic(self) -> float:
        """Seconds that only rise, for durations."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch, UTC, for records."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """Cancel the body after `seconds`, then raise TimeoutError; None never does."""
        return _Timeout(self, seconds)

    def _enter(self, timeout: _Timeout, loop: asyncio.AbstractEventLoop, seconds: float) -> set[_Timeout]:
        # A power of two, so that spans of different length share their ends.
        span = 2.0 ** math.floor(math.log2(min(max(seconds / 20, 0.001), 0.25)))
        when = (math.floor((loop.time() + seconds) / span) + 1) * span
        together = self._due.get(when)
        if together is None:
            together = self._due[when] = set()
            loop.call_at(when, self._fire, when)
        together.add(timeout)
        return together

    def _fire(self, when: float) -> None:
        for timeout in self._due.pop(when):
            timeout.fire()


class _Timeout:
    """The lean half of asyncio.timeout: it begins, it may fire, it ends."""

    __slots__ = ("_cancelling", "_clock", "_fired", "_seconds", "_task", "_together")

    def __init__(self, clock: SystemClock, seconds: float | None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._together: set[_Timeout] | None = None
        self._fired = False

    async def __aenter__(self) -> None:
        if self._seconds is not None:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
            assert task is not None
            self._task = task
            self._cancelling = task.cancelling()
            self._together = self._clock._enter(self, loop, self._seconds)  # noqa: SLF001 - its other half

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._together is None:
            return
        self._together.discard(self)
        if self._fired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def fire(self) -> None:
        """Cancel the body."""
        self._fired = True
        self._task.cancel()


class ManualClock:
    """A clock that stands still until `advance`: a test of a 30 s timeout takes milliseconds.

    Sockets and tasks run as ever; only what waits for time waits for the test.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._timers: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return self._now

    def time(self) -> float:
        """The same seconds, as if they were since the epoch."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has advanced the clock far enough."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._timer(seconds)

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[None]:
        """Cancel the body when the test has advanced the clock by `seconds`, then raise TimeoutError."""
        if seconds is None:
            yield
            return
        async with asyncio.timeout(None) as scope:
            timer = self._timer(seconds)
            timer.add_done_callback(lambda t: None if t.cancelled() else scope.reschedule(0))
            try:
                yield
            finally:
                timer.cancel()

    async def until_waiting(self, seconds: float) -> None:
        """Return when something waits for at least `seconds` from now."""
        while not any(due >= self._now + seconds and not t.done() for due, t in self._timers):
            self._changed.clear()
            await self._changed.wait()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass: everything due by then wakes."""
        self._now += seconds
        for due, timer in self._timers:
            if due <= self._now and not timer.done():
                timer.set_result(None)
        self._timers = [(due, timer) for due, timer in self._timers if not timer.done()]

    def _timer(self, seconds: float) -> asyncio.Future[None]:
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timers.append((self._now + seconds, timer))
        self._changed.set()
        return timer
