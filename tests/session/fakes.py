"""The ports around a conversation, kept in lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from remotejobs.model import Outcome, Record
from remotejobs.ports import Ends
from remotejobs.rows import Phase


class ListLedger:
    """A ChildLedger that remembers."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.calls: list[str] = []

    async def starting(self) -> None:
        self.calls.append("starting")

    async def started(self, shell_id: str, command_id: str) -> None:
        assert shell_id
        assert command_id
        self.calls.append("started")

    async def append(self, records: Sequence[Record]) -> None:
        self.calls.append("append")
        self.records += records

    async def disconnected(self, why: Outcome | None = None) -> None:
        self.calls.append("disconnected")

    async def finish(self, outcome: Outcome) -> None:
        raise AssertionError("the engine finishes, not the runner")


class FreeControl:
    """A Control without a gate; `stop` is asked for by the test."""

    def __init__(self, ends: Ends | None = None) -> None:
        self.ends = ends
        self.stop_requested = self.disconnect_requested = False
        self.entered: list[Phase] = []
        self._callback: Callable[[], None] | None = None

    def on_request(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
        if callback and (self.stop_requested or self.disconnect_requested):
            callback()

    async def enter(self, phase: Phase) -> None:
        self.entered.append(phase)

    def stop(self) -> None:
        self.stop_requested = True
        if self._callback:
            self._callback()

    def disconnect(self) -> None:
        self.disconnect_requested = True
        if self._callback:
            self._callback()
