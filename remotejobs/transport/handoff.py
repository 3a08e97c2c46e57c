"""A result handed to the one task that waits for it, at once.

Knows how asyncio's tasks wait. Must not know what is handed over. With asyncio.Future a task goes on in the next turn
of the loop: when the answers of hundreds of hosts come together, all are read before the first next request leaves.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Handoff(Generic[T]):
    """Set once, awaited once. Future-like, as asyncio.isfuture() defines it; not safe for threads, as nothing here is.

    `set` notes the result; the task goes on when `wake` is called, from within that call where no task is running.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "_result", "_resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = False
        self._cancelled = False
        self._result: T | None = None
        self._resume: Callable[[Handoff[T]], object] | None = None
        self._context: contextvars.Context | None = None

    def set(self, result: T) -> None:
        """Note the result; the first one counts."""
        if self._result is None and not self._cancelled:
            self._result = result

    def wake(self) -> None:
        """Let the one who waits go on. Does nothing before there is a result, nor a second time."""
        resume, context = self._resume, self._context
        if resume is None or self._result is None:
            return
        if asyncio.current_task(self._loop) is not None:
            self._wake_later()
            return
        self._resume = self._context = None
        if context is None:
            resume(self)
        else:
            context.run(resume, self)

    def _wake_later(self) -> None:
        resume, context, self._resume, self._context = self._resume, self._context, None, None
        if resume is not None:
            self._loop.call_soon(resume, self, context=context)

    # what asyncio.Task and `await` call

    def __await__(self) -> Generator[Handoff[T], None, T]:
        if self._result is None:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def add_done_callback(
        self, resume: Callable[[Handoff[T]], object], *, context: contextvars.Context | None = None
    ) -> None:
        """Called by the task that begins to wait."""
        self._resume, self._context = resume, context

    def cancel(self, msg: Any = None) -> bool:  # noqa: ARG002 - the task keeps its message itself
        """Called by the task that is cancelled: by another one, so it goes on later."""
        if self.done():
            return False
        self._cancelled = True
        self._wake_later()
        return True

    def done(self) -> bool:
        """True when there is a result, or the one who waits was cancelled."""
        return self._cancelled or self._result is not None

    def result(self) -> T:
        """The result.

        Raises:
            CancelledError: The one who waits was cancelled.
        """
        if self._cancelled or self._result is None:
            raise asyncio.CancelledError
        return self._result

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task."""
        return self._loop
