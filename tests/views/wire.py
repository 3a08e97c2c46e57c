"""Output objects of recorded conversations, decoded as the product decodes them. Used by tests of views only."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.psrp.fragments import Defragmenter
from remotejobs.wsman.psrp.messages import MessageType, read_message
from tests.recordings import RECORDINGS

_DATA = re.compile(r"<Data Stream='[^']*' PSGuid='([^']*)'\s*>([^<]*)</Data>")
_NO_ID = "00000000-0000-0000-0000-000000000000"
_GUID = re.compile(
    r"RunspaceId=([0-9a-f-]{36})|\"RunspaceId\":\"([0-9a-f-]{36})\"|RunspaceId +: ([0-9a-f-]{36})|^([0-9a-f-]{36})",
    re.MULTILINE,
)


def messages(wire: Path) -> Iterator[tuple[int, bytes]]:
    """Yield type and data of every message that the server of the first connection of a recording sent."""
    streams: dict[str, Defragmenter] = {}
    packets = [json.loads(line) for line in wire.read_text("utf-8").splitlines()]
    for packet in packets:
        ours = packet["dir"] == "s2c" and packet["conn"] == packets[0]["conn"]
        match = _DATA.search(packet.get("line") or "") if ours else None
        if match:
            stream = streams.setdefault(match[1], Defragmenter(1 << 30))
            for _, blob in stream.feed(base64.b64decode(match[2])):
                yield read_message(blob)


def raw_records(wire: Path, kind: MessageType) -> list[bytes]:
    """Return the CLIXML of every record of one kind."""
    return [data for type_, data in messages(wire) if type_ == kind]


class Shown(NamedTuple):
    """One output object, and what PowerShell showed for it: on a screen of 100 columns, and as JSON (-Depth 3).

    `whole` is `value` with the notes that PowerShell gives to strings and numbers too.
    """

    value: Any
    whole: PSObject
    display: str
    json: str


class Case(NamedTuple):
    """A recorded script with its output."""

    name: str
    outputs: list[Shown]


def output_cases(*kinds: str) -> list[Case]:
    """Every recorded script of these kinds that has one child, and output. The recorder kept the first objects only."""
    if RECORDINGS is None:
        return []
    paths = [path for kind in kinds for path in sorted((RECORDINGS / "pwsh" / kind).glob("*.json"))]
    return [Case(path.stem, shown) for path in paths if (shown := list(_outputs(path)))]


def _outputs(case: Path) -> Iterator[Shown]:
    job, wire = json.loads(case.read_text("utf-8")).get("job"), case.with_suffix(".wire.jsonl")
    if not isinstance(job, dict) or not wire.exists() or len(job.get("children") or ()) != 1:
        return
    child = job["children"][0]
    values = [deserialize(raw) for raw in raw_records(wire, MessageType.PIPELINE_OUTPUT)]
    if len(values) != child["counts"]["output"]:
        return
    kept = (value for value in values if value is not None)  # the recorder left `$null` out
    for value, recorded in zip(kept, child["output"], strict=False):
        guid = _GUID.search(f"{recorded.get('to_string')} {recorded.get('json')} {recorded['display']}")
        runspace_id = next((each for each in guid.groups() if each), _NO_ID) if guid else _NO_ID
        whole = value if isinstance(value, PSObject) else PSObject(base=value)
        whole.set_origin(child["location"], uuid.UUID(runspace_id), show=child["location"] != "localhost")
        yield Shown(value, whole, recorded["display"], recorded["json"])
