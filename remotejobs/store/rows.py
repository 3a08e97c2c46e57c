"""Jobs and children as this process last read them: rows that fill themselves when looked at, and follow the file.

Knows tables and the rows of ports. Must not know writers or event loops. A row is one object as long as its job is
there: what was handed out before shows what is read later.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, overload

from remotejobs.rows import ChildRow, Fresh, JobRow, Lease, Phase, Request
from remotejobs.store.book import ID_BYTES, STATES, decode_counts, no_job
from remotejobs.store.encoding import decode_outcome, decode_spec
from remotejobs.store.schema import SHIFT

JOB_COLUMNS: Final = (
    "id, version, marks, cursors, cursor, last_number, children, told, name, location, instance_id, began, ended, "
    "counts, last_change, notes, requests, throttle_limit, lease_owner, lease_epoch, lease_seen"
)
VERSION, MARKS, CURSORS, CURSOR, LAST_NUMBER, CHILDREN, TOLD, _FIRST_FILLED = range(1, 9)
_PHASES: Final = tuple(Phase)
_LOW: Final = (1 << SHIFT) - 1
_FILLED: Final = frozenset(
    {
        "name", "location", "instance_id", "began", "ended", "counts", "last_change", "notes", "requests", "lease",
        "throttle_limit",
    }
)  # fmt: skip

Query = Callable[[str, tuple[Any, ...]], list[Any]]


class StoredJob(JobRow):
    """A JobRow that decodes what is asked of it, when it is asked."""

    __slots__ = ("query", "raw")

    def __init__(self, query: Query, raw: tuple[Any, ...]) -> None:
        self.query = query
        self.raw = raw
        self.id = raw[0]

    def update(self, raw: tuple[Any, ...]) -> None:
        """The file has something newer."""
        self.raw = raw
        self._fill()

    def __getattr__(self, name: str) -> Any:
        # Only for a slot that is still empty.
        if name in _FILLED:
            self._fill()
        elif name == "spec":
            self.spec = decode_spec(self.plan("spec"))
        elif name in ("children", "ends"):
            self.children = Children(self)
            self.ends = Ends(self.children)
        else:
            raise AttributeError(name)
        return getattr(self, name)

    def plan(self, column: str) -> Any:
        """What was submitted.

        Raises:
            JobError: The job was removed since this row was read.
        """
        found = self.query(f"SELECT {column} FROM plan WHERE job = ?", (self.id,))  # noqa: S608 - a name of ours
        if not found:
            raise no_job(self.id)
        return found[0][0]

    def _fill(self) -> None:
        shown = self.raw[_FIRST_FILLED:]
        self.name, self.location, instance_id, self.began, self.ended, counts, last, notes = shown[:8]
        requests, self.throttle_limit, owner, epoch, seen = shown[8:]
        self.instance_id = uuid.UUID(bytes=instance_id, version=4)
        self.counts = decode_counts(counts)
        self.last_change = None if last is None else STATES[last]
        self.notes = tuple(json.loads(notes))
        self.requests = frozenset(map(Request, requests.split())) if requests else frozenset()
        self.lease = None if owner is None else Lease(owner, epoch, seen)

    def __repr__(self) -> str:
        return f"<StoredJob {self.id} {self.name!r}>"


class Children(Sequence[ChildRow]):
    """The children of a job, read when one is first looked at; after that only what changed is read."""

    def __init__(self, job: StoredJob) -> None:
        self._job = job
        self._rows: list[ChildRow] | None = None
        self._version = self._marks = -1
        self._told = 0  # ends, in their order
        self.ends: list[int] = []

    def __len__(self) -> int:
        return int(self._job.raw[CHILDREN])

    @overload
    def __getitem__(self, index: int) -> ChildRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[ChildRow]: ...

    def __getitem__(self, index: int | slice) -> ChildRow | list[ChildRow]:
        return self.rows()[index]

    def __iter__(self) -> Iterator[ChildRow]:
        return iter(self.rows())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def rows(self) -> list[ChildRow]:
        """The rows, as new as the job's own."""
        job = self._job
        rows = self._rows
        if rows is None:
            rows = self._rows = self._made()
        base = job.id << SHIFT
        if self._version < job.raw[VERSION]:
            found = job.query(
                "SELECT * FROM progress WHERE id BETWEEN ? AND ? AND changed > ?",
                (base, base | _LOW, self._version),
            )
            self._version = job.raw[VERSION]
            self._apply(rows, found)
        if self._marks != job.raw[MARKS]:
            found = job.query(
                "SELECT id, told, stop_requested FROM mark WHERE id BETWEEN ? AND ? AND changed > ?",
                (base, base | _LOW, self._marks),
            )
            self._marks = job.raw[MARKS]
            for key, told, stop in found:
                row = rows[key & _LOW]
                row.told, row.stop_requested = row.told or bool(told), bool(stop)
        if self._told < job.raw[TOLD]:
            for child in self.ends[self._told : job.raw[TOLD]]:
                rows[child].told = True
            self._told = job.raw[TOLD]
        return rows

    def push(self, found: list[tuple[Any, ...]]) -> None:
        """What this process has just committed, all with one version: need not be read, if nothing else came before."""
        changed = found[0][13]
        if self._rows is not None and self._version == changed - 1:
            self._apply(self._rows, found)
            self._version = changed

    def told(self, children: Sequence[int]) -> int:
        """The ends of these children were received in this process: shown at once, whenever it is committed.

        Returns:
            How many ends have been received from the first on, where these are the next; 0 where they are others.
        """
        rows = self.rows()
        for child in children:
            rows[child].told = True
        following = self._told + len(children)
        if self.ends[self._told : following] != children:
            return 0
        self._told = following
        return following

    def _apply(self, rows: list[ChildRow], found: list[tuple[Any, ...]]) -> None:
        ended: list[tuple[int, int]] = []
        for row in found:
            child = row[0] & _LOW
            if row[12] is not None and rows[child].outcome is None:
                ended.append((row[12], child))
            _apply(rows[child], row)
        self.ends.extend(child for _, child in sorted(ended))

    def _made(self) -> list[ChildRow]:
        """All of them as they were submitted."""
        job = self._job
        ids, rows = job.plan("ids"), []
        for index, target in enumerate(job.spec.targets):
            at = index * ID_BYTES
            instance, *start = [uuid.UUID(bytes=ids[n : n + 16], version=4) for n in range(at, at + ID_BYTES, 16)]
            rows.append(ChildRow(job.id + 1 + index, instance, target, Fresh(*start)))
        return rows


class Ends(Sequence[int]):
    """Which children have ended, in order; read when it is looked at."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def __len__(self) -> int:
        self._children.rows()
        return len(self._children.ends)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: int | slice) -> int | list[int]:
        self._children.rows()
        return self._children.ends[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def _apply(child: ChildRow, row: tuple[Any, ...]) -> None:
    (_, state, phase, child.began, child.ended, child.seen, child.seq, child.object_id, child.error_count) = row[:9]
    child.state, child.phase = STATES[state], _PHASES[phase]
    child.shell_id, child.command_id = row[9], row[10]
    if child.outcome is None:
        told = None if row[14] is None else decode_outcome(row[14], row[15])
        child.outcome, child.left = (None, told) if row[12] is None else (told, None)
