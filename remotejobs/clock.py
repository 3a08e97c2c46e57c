"""Time: the real clock, and one that tests turn by hand. Knows asyncio; no module above it reads time another way."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol


class SystemClock:
    """The computer's clock behind the Clock port, for one event loop.

    Nearly no timeout ever fires, and thousands begin each second. So those that end within the same quarter of a second
    share one timer of the loop, and a timeout comes late by up to that (a sixtieth of a second where it is under five).
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
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

    def timeout(self, seconds: float | None) -> AbstractContextManager[Any]:
        """Cancel the body after `seconds`, then raise TimeoutError; None never does."""
        return _Timeout(self, seconds)

    def begin(self, timeout: _Timeout, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """A timeout begins."""
        parts = 4 if seconds >= 5 else 64
        when = timeout.when = (int((loop.time() + seconds) * parts) + 1) / parts
        together = self._due.get(when)
        if together is None:
            together = self._due[when] = set()
            loop.call_at(when, self._fire, when)
        together.add(timeout)

    def end(self, timeout: _Timeout) -> None:
        """Its body is over."""
        together = self._due.get(timeout.when)
        if together is not None:
            together.discard(timeout)

    def _fire(self, when: float) -> None:
        for timeout in self._due.pop(when):
            timeout.fire()


class _Clock(Protocol):
    loop: asyncio.AbstractEventLoop | None

    def begin(self, timeout: _Timeout, seconds: float, loop: asyncio.AbstractEventLoop) -> None: ...

    def end(self, timeout: _Timeout) -> None: ...


class _Timeout:
    """The lean half of asyncio.timeout: it begins, it may fire, it ends."""

    __slots__ = ("_cancelling", "_clock", "_fired", "_live", "_seconds", "_task", "when")

    def __init__(self, clock: _Clock, seconds: float | None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._fired = self._live = False
        self.when: Any = None  # the clock's own note

    def __enter__(self) -> None:
        if self._seconds is not None:
            loop = self._clock.loop
            if loop is None:
                loop = self._clock.loop = asyncio.get_running_loop()
            task = asyncio.current_task(loop)
            assert task is not None
            self._task = task
            self._cancelling = task.cancelling()
            self._live = True
            self._clock.begin(self, self._seconds, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._live:
            return
        self._live = False
        self._clock.end(self)
        if self._fired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def fire(self) -> None:
        """Cancel the body, if it is not over."""
        if self._live:
            self._fired = True
            self._task.cancel()


class ManualClock:
    """A clock that stands still until `advance`: a test of a 30 s timeout takes milliseconds.

    Sockets and tasks run as ever; only what waits for time waits for the test.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self.loop: asyncio.AbstractEventLoop | None = None
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

    def timeout(self, seconds: float | None) -> AbstractContextManager[Any]:
        """Cancel the body when the test has advanced the clock by `seconds`, then raise TimeoutError."""
        return _Timeout(self, seconds)

    def begin(self, timeout: _Timeout, seconds: float, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ARG002
        """A timeout begins."""
        timer = timeout.when = self._timer(seconds)
        timer.add_done_callback(lambda timer: None if timer.cancelled() else timeout.fire())

    def end(self, timeout: _Timeout) -> None:
        """Its body is over."""
        timeout.when.cancel()

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
