"""From the store to ReceivedRecords: pages are read, handed on, and then the cursor moves.

Knows arrivals and cursors. Must not know states, ends or who runs a job. A reader that dies gets its last page again;
one that leaves early loses nothing: the cursor stays before the record that it left at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from remotejobs.jobs.received import Origin, ReceivedRecord
from remotejobs.ports import JobStore
from remotejobs.rows import Arrival

_PAGE = 256
_GROUPED = 1024

Written = Callable[[Callable[[], None]], None]
"""Takes what moves the cursor, and calls it once all that was yielded before is written out, now or later."""


class Reader:
    """Reads all of a job, or some of its children, each record once.

    Args:
        store: Where the records are.
        job_id: The job.
        children: Indexes; None reads all.
        keep: Leave the store's cursor where it is.
        from_start: Also what was received before and is still stored.
        written: Says when the cursor may move behind a page; without it that is when the next page is asked for.
    """

    def __init__(
        self,
        store: JobStore,
        job_id: int,
        children: Sequence[int] | None = None,
        *,
        keep: bool = False,
        from_start: bool = False,
        written: Written | None = None,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._children = children
        self._keep = keep
        self._again = from_start
        self._written = written
        self._done = 0
        self._taken: dict[int, int] = {}  # by child, where hosts were read one after the other
        self._origins: dict[int, Origin] = {}

    def read(self) -> Iterator[ReceivedRecord]:
        """Yield what is there now, in the order in which it came."""
        left = True
        while left and (page := self._page(_PAGE)):
            left, before = len(page) == _PAGE, self._done
            try:
                for arrival in page:
                    if arrival.number > self._taken.get(arrival.child, 0):
                        yield self._received(arrival)
                    self._done = arrival.number
            finally:
                if self._done > before:
                    self._move((self._children, self._done))

    def read_by_host(self) -> Iterator[ReceivedRecord]:
        """Yield what is there now, host by host in the order of the children (Receive-Job without -Wait)."""
        store, job_id = self._store, self._job_id
        page = self._page(_GROUPED)
        if len(page) == _GROUPED:  # there is more than is held in memory: one host at a time
            every = range(len(store.job(job_id).children)) if self._children is None else self._children
            for child in every:
                one = Reader(store, job_id, (child,), keep=self._keep, from_start=self._again, written=self._written)
                try:
                    yield from one.read()
                finally:
                    self._taken[child] = one._done
            return
        done: dict[int, int] = {}
        left = len(page)
        try:
            for arrival in sorted(page, key=lambda arrival: arrival.child):
                yield self._received(arrival)
                done[arrival.child] = arrival.number
                left -= 1
        finally:
            if done and not left:
                self._done = page[-1].number
                self._move((self._children, self._done))
            elif done:
                self._move(*[((child,), number) for child, number in done.items()])

    def _move(self, *behind: tuple[Sequence[int] | None, int]) -> None:
        """Move the cursors of these children, or of all, behind these arrivals once they are written out."""
        if self._keep:
            return
        moves = [partial(self._store.advance, self._job_id, number, which) for which, number in behind]

        def move() -> None:
            for each in moves:
                each()

        if self._written is None:
            move()
        elif self._store.path is None:  # is gone with this process in any case, and hosts wait until it is consumed
            self._written(_nothing)
            move()
        else:
            self._written(move)

    def _page(self, limit: int) -> list[Arrival]:
        return self._store.read(self._job_id, self._done, limit, children=self._children, again=self._again)

    def _received(self, arrival: Arrival) -> ReceivedRecord:
        origin = self._origins.get(arrival.child)
        if origin is None:
            row = self._store.job(self._job_id)
            child = row.children[arrival.child]
            show = not row.spec.hide_computer_name
            origin = Origin(self._job_id, child.id, child.target.name, child.start.shell_id, show)
            self._origins[arrival.child] = origin
        return ReceivedRecord(origin, arrival.record)


def _nothing() -> None: ...
