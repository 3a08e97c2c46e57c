"""The Json and Jsonl formats: every record of every stream and every end as one JSON object.

Knows the two schemas. Must not know screens. Jsonl is one object a line, Json one array of them that is whole after
close(), after an interrupt too. Everything but ASCII is escaped: no encoding of stdout and no terminal can go wrong.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from remotejobs.errors import ProtocolError
from remotejobs.jobs.job import ChildEnd
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Stream
from remotejobs.views.display import without_origin
from remotejobs.views.tojson import DEPTH, to_plain
from remotejobs.wsman.clixml.read import type_names
from remotejobs.wsman.clixml.tree import bounded

RECORD_SCHEMA = "remotejobs.record.1"
OUTCOME_SCHEMA = "remotejobs.outcome.1"
_OF_A_RECORD = 2  # levels of an error: its fields, and its inner exceptions with theirs


class JsonView:
    """JSON, object by object as it comes.

    Args:
        out: Where it goes.
        err: Where it is said, once, that something was too deep.
        array: One array (Json) instead of lines (Jsonl).
        depth: As ConvertTo-Json's -Depth, of each object; a record of another stream is whole, and its values are cut.
    """

    def __init__(self, out: TextIO, err: TextIO, *, array: bool, depth: int = DEPTH) -> None:
        self._out = out
        self._err = err
        self._array = array
        self._depth = depth
        self._begun = self._told = False

    def record(self, item: ReceivedRecord) -> None:
        """Write one record."""
        self._write(
            {
                "schema": RECORD_SCHEMA,
                "job_id": item.job_id,
                "computer_name": item.computer_name,
                "stream": item.stream.name,
                "seq": item.record.seq,
                "time": _iso(item.record.time),
                **self._content(item),
            }
        )

    def outcome(self, child: ChildEnd) -> None:
        """Write how one child ended."""
        outcome = child.outcome
        code = outcome.details.get("exit_code")
        self._write(
            {
                "schema": OUTCOME_SCHEMA,
                "job_id": child.job_id,
                "computer_name": child.computer_name,
                "state": outcome.state.name,
                "reason": outcome.reason.value,
                "message": outcome.message,
                "error_id": outcome.error_id,
                "error_count": outcome.error_count,
                "seconds": round(outcome.seconds, 3),
                **({} if code is None else {"exit_code": code}),
            }
        )

    def aside(self, entry: Mapping[str, Any], text: str) -> None:  # noqa: ARG002 - of two forms this takes the other
        """Write a job or an event."""
        self._write(entry)

    def flush(self) -> None:
        """Hand on what was written."""
        self._out.flush()

    def written(self, then: Callable[[], None]) -> None:
        """Hand on what was written, and call `then`."""
        self.flush()
        then()

    def close(self) -> None:
        """Close the array."""
        if self._array:
            self._out.write("\n]\n" if self._begun else "[]\n")
        self._out.flush()

    def _write(self, entry: Mapping[str, Any]) -> None:
        text = json.dumps(entry, separators=(",", ":"), allow_nan=False)
        if self._array:
            text = f"{',' if self._begun else '['}\n{text}"
        else:
            text += "\n"
        self._begun = True
        self._out.write(text)
        self._out.flush()

    def _content(self, item: ReceivedRecord) -> dict[str, Any]:
        """Return `type_names` and `value`; of a record that cannot be decoded why, and no value."""
        names = type_names(item.record.raw)
        try:
            value, depth = bounded(item.value, item.record.raw), self._depth
        except ProtocolError as error:
            return {"type_names": names, "value": None, "unreadable": error.message}
        if item.stream is Stream.Output:
            value = without_origin(value)
        else:
            value, depth = {"message": str(value), **_members(value)}, depth + _OF_A_RECORD
        return {"type_names": names, "value": to_plain(value, depth, self._truncated)}

    def _truncated(self) -> None:
        """Say it in ConvertTo-Json's words."""
        if not self._told:
            self._told = True
            self._err.write(
                "WARNING: Resulting JSON is truncated as serialization has exceeded the set depth of "
                f"{self._depth}. (-Depth)\n"
            )
            self._err.flush()


def _members(record: Any) -> dict[str, Any]:
    """Return the fields of a record, those of the records inside it too."""
    return {each.name: _member(getattr(record, each.name)) for each in dataclasses.fields(record)}


def _member(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_member(each) for each in value]
    return _members(value) if dataclasses.is_dataclass(value) else value


def _iso(seconds: float) -> str:
    """Return a point in time as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
