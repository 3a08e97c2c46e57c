"""One job in one file, to be carried to another computer: written line by line, read and doubted line by line.

Knows the format and the rows of ports. Must not know stores, hosts, or where the file lies. Reading it is `imported`'s.

The file is gzip, for CLIXML shrinks to a tenth and the checksum tells damage; inside are lines of JSON in ASCII:

1. `{"remotejobs":"job","version":1,...}`: where, when and by what it was written; the specification without its
   targets; instance id, times, notes; the number of `children`.
2. for each child an object: target, ids, state, phase, times, counts, outcome. What has its default is left out.
   `order` is its place among the ends, `unread` the number of its first record that nobody has received (absent where
   all were).
3. for each record an array `[number, child, seq, stream, object id, time, CLIXML]`, numbers rising: the order in which
   they arrived. Bytes that are no UTF-8 are half surrogates (Python's surrogateescape).
4. `{"records":N}`, and nothing after it: a file without it was cut off.

There is no secret in it: a credential is a name. A change that an older reader would get wrong raises the version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from remotejobs.errors import ConfigurationError
from remotejobs.model import Outcome
from remotejobs.rows import Arrival, ChildRow, JobRow
from remotejobs.store.encoding import encode_outcome, encode_spec, encode_target

VERSION: Final = 1
MAX_CHILDREN: Final = 250_000
MAX_OBJECT: Final = 16 * 1024 * 1024  # characters of the first line, and of a child's
MAX_RECORD: Final = 256 * 1024 * 1024
_dump = json.JSONEncoder(separators=(",", ":")).encode


def header_lines(row: JobRow, unread: Sequence[int | None], *, by: str, computer: str, now: float) -> Iterator[str]:
    """Yield the first line and the children's.

    Raises:
        ConfigurationError: Something of the job is larger than the format allows.
    """
    if len(row.children) > MAX_CHILDREN:
        raise ConfigurationError(f"Job {row.id} has more than the {MAX_CHILDREN:,} hosts that a file may hold.")
    head = {
        "remotejobs": "job",
        "version": VERSION,
        "by": by,
        "computer": computer,
        "exported": now,
        "instance_id": str(row.instance_id),
        "began": row.began,
        "ended": row.ended,
        "last_change": None if row.last_change is None else row.last_change.name,
        "stop_requested": row.stop_requested,
        "notes": list(row.notes),
        "spec": json.loads(
            encode_spec(replace(row.spec, targets=(), throttle_limit=row.throttle_limit or row.spec.throttle_limit))
        ),
        "children": len(row.children),
    }
    yield _line(head, f"The script and the options of job {row.id}")
    order = {index: place for place, index in enumerate(row.ends, 1)}
    for index, (child, first) in enumerate(zip(row.children, unread, strict=True)):
        yield _line(_child_fields(child, order.get(index), first), f"[{child.target.name}] How the host ended")


def record_line(arrival: Arrival) -> str:
    """Write a record.

    Raises:
        ConfigurationError: It is larger than the format allows.
    """
    number, child, (seq, stream, raw, object_id, time) = arrival
    text = _text(raw)
    line = _dump([number, child, seq, int(stream), object_id, time, text])
    if len(line) >= MAX_RECORD:
        raise ConfigurationError(f"Record {number} of the job is larger than the {MAX_RECORD:,} bytes of a line.")
    return line + "\n"


def last_line(records: int) -> str:
    """Write the end."""
    return _dump({"records": records}) + "\n"


def _child_fields(child: ChildRow, order: int | None, unread: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "target": encode_target(child.target),
        "instance_id": str(child.instance_id),
        "start": [str(each) for each in child.start],
        "state": child.state.name,
        "phase": child.phase.name,
    }
    optional = {
        name: getattr(child, name)
        for name in ("began", "ended", "seen", "error_count", "shell_id", "command_id", "seq", "object_id")
    }
    optional |= {"stop_requested": child.stop_requested, "told": child.told, "order": order, "unread": unread}
    for name in ("outcome", "left"):
        outcome: Outcome | None = getattr(child, name)
        if outcome is not None:
            optional[name] = json.loads(encode_outcome(outcome))
            if outcome.failure is not None:
                fields["failure"] = _text(outcome.failure)
    return fields | {name: value for name, value in optional.items() if value or name in ("began", "ended", "seen")}


def _line(fields: dict[str, Any], what: str) -> str:
    line = _dump(fields)
    if len(line) >= MAX_OBJECT:
        raise ConfigurationError(f"{what}: larger than the {MAX_OBJECT:,} characters that a file may hold of it.")
    return line + "\n"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
