"""What this process has just committed of a job, for its own reader, who then need not read it back from the file.

Knows arrivals. Must not know SQLite. It holds a few megabytes at most: a reader that falls behind reads the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from remotejobs.model import Record
from remotejobs.rows import Arrival

_MOST_BYTES: Final = 4 << 20


class Appended(NamedTuple):
    """Records of one child that were committed together; the first has this arrival number."""

    number: int
    child: int
    records: Sequence[Record]


class Tail:
    """The last records of a job.

    Args:
        after: The arrival number that its reader has come to; there was nothing after it.
    """

    __slots__ = ("_arrivals", "_bytes", "_next")

    def __init__(self, after: int) -> None:
        self._next = after + 1
        self._arrivals: deque[Arrival] = deque()
        self._bytes = 0

    def add(self, appended: Sequence[Appended]) -> bool:
        """Take what was committed; False where something is missing before it, or too much is held."""
        for number, child, records in appended:
            if number != self._next:
                return False
            self._arrivals.extend([Arrival(at, child, record) for at, record in enumerate(records, number)])
            self._next += len(records)
            self._bytes += sum([len(record.raw) for record in records])
        return self._bytes <= _MOST_BYTES

    def read(self, after: int, limit: int) -> list[Arrival]:
        """The records that follow on `after`, and let go of those before; nothing where they are not here."""
        arrivals = self._arrivals
        while arrivals and arrivals[0].number <= after:
            self._bytes -= len(arrivals.popleft().record.raw)
        return list(islice(arrivals, limit)) if arrivals and arrivals[0].number == after + 1 else []
