"""The throttle limit: how many hosts at a time. Knows tasks and their order; must not know what they do with a slot."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Slots:
    """The throttle limit: `async with` takes a slot and gives it back, first come, first served."""

    def __init__(self, limit: int) -> None:
        self.free = self._limit = limit
        self._waiting: dict[asyncio.Task[None] | None, asyncio.Future[None]] = {}  # in the order of their coming

    async def __aenter__(self) -> None:
        if self.free <= 0:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[asyncio.current_task()] = turn
            try:
                await turn  # the slot is handed over, `free` does not change
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give()
                raise
        else:
            self.free -= 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give()

    def excuse(self, task: asyncio.Task[None] | None) -> None:
        """Let a task in that waits, past the limit: it will not run anything, only leave."""
        turn = self._waiting.pop(task, None)
        if turn is not None and not turn.done():
            self.free -= 1
            turn.set_result(None)

    def resize(self, limit: int) -> None:
        """Have another limit. Who is in stays in: under a lower one nobody enters until enough have left."""
        more, self._limit = limit - self._limit, limit
        if more < 0:
            self.free += more
        for _ in range(more):
            self._give()

    def _give(self) -> None:
        while self._waiting and self.free >= 0:
            turn = self._waiting.pop(next(iter(self._waiting)))
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1
