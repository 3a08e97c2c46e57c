"""The server's bytes of recorded PSRP conversations, by pool and pipeline, and what the real client made of them."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.recordings import RECORDINGS

DATA = Path(__file__).parents[1] / "data" / "psrp" / "cases.jsonl"
POOL = "00000000-0000-0000-0000-000000000000"
_PACKET = re.compile(r"<Data Stream='\w+' PSGuid='([^']+)'\s*>([^<]*)</Data>")
_STREAM = re.compile(r'<\w+:Stream\b(?:[^>]*CommandId="([^"]+)")?[^>]*>([A-Za-z0-9+/=\s]+)<')
_ARGUMENTS = re.compile(r"<\w+:Arguments\b[^>]*>([A-Za-z0-9+/=\s]+)<")
_COMMAND = re.compile(r'CommandId="([^"]+)"')
_DESIRED = re.compile(r'DesiredStream[^>]*CommandId="([^"]+)"')


class Sent(NamedTuple):
    """One message, as a plain reader finds it."""

    object_id: int
    type: int
    data: bytes


@dataclass
class Conversation:
    """What one server process sent, in packets.

    Attributes:
        name: Of the recording.
        pool: Packets of the pool's stream.
        pipelines: Packets of each pipeline, in the order of their beginning.
        requests: What the client sent to each pipeline (POOL: to the pool), as far as it was recorded.
        case: What the recorder wrote down.
    """

    name: str
    pool: list[bytes] = field(default_factory=list)
    pipelines: dict[str, list[bytes]] = field(default_factory=dict)
    requests: dict[str, bytes] = field(default_factory=dict)
    case: dict[str, Any] = field(default_factory=dict)

    @property
    def scripts(self) -> list[list[bytes]]:
        """The user's own pipelines, without those that Start-Job and Invoke-Command run before."""
        own = {guid for guid, stream in self.requests.items() if b"__Set-PSDebugMode" in stream}
        return [packets for guid, packets in self.pipelines.items() if guid not in own]

    @property
    def child(self) -> dict[str, Any] | None:
        """The one child job, where there was just one."""
        children = (self.case.get("job") or {}).get("children", ())
        return children[0] if len(children) == 1 else None


def walk(stream: bytes) -> Iterator[Sent]:
    """Read the messages of a whole stream: a plain second reader, to compare with."""
    whole, at = b"", 0
    while len(stream) - at >= 21:
        object_id, _, flags, size = struct.unpack_from(">QQBI", stream, at)
        whole += stream[at + 21 : at + 21 + size]
        at += 21 + size
        if flags & 2:
            yield Sent(object_id, struct.unpack_from("<I", whole, 4)[0], whole[40:].removeprefix(b"\xef\xbb\xbf"))
            whole = b""


def pieces(stream: bytes) -> list[bytes]:
    """Cut a stream into its fragments."""
    found, at = [], 0
    while len(stream) - at >= 21:
        size = 21 + int(struct.unpack_from(">I", stream, at + 17)[0])
        found.append(stream[at : at + size])
        at += size
    return found


def processes(wire: Path, case: dict[str, Any]) -> list[Conversation]:
    """The conversations of a wire file of PowerShell's stdio packets, one for each process; `case` is of the first."""
    found: dict[Any, Conversation] = {}
    for line in wire.read_text("utf-8").splitlines():
        packet = json.loads(line)
        matched = _PACKET.match(packet["line"]) if packet["dir"] in ("c2s", "s2c") else None
        if matched is None:
            continue
        guid, data = matched[1], base64.b64decode(matched[2])
        one = found.setdefault(packet["conn"], Conversation(wire.name.partition(".")[0], case={} if found else case))
        if packet["dir"] == "c2s":
            one.requests[guid] = one.requests.get(guid, b"") + data
        elif guid == POOL:
            one.pool.append(data)
        else:
            one.pipelines.setdefault(guid, []).append(data)
    return list(found.values())


def recorded(kind: str) -> list[Conversation]:
    """Every conversation of one folder of recordings/pwsh; of `cases` a selection where there are no recordings."""
    if RECORDINGS is not None:
        found = []
        for wire in sorted((RECORDINGS / "pwsh" / kind).glob("*.wire.jsonl")):
            notes = wire.with_name(wire.name.replace(".wire.jsonl", ".json"))
            found += processes(wire, json.loads(notes.read_text("utf-8")) if notes.exists() else {})
        return found
    return [_kept(json.loads(line)) for line in DATA.read_text("utf-8").splitlines()] if kind == "cases" else []


def _kept(line: dict[str, Any]) -> Conversation:
    pool, pipeline = (base64.b64decode(line[key]) for key in ("pool", "pipeline"))
    return Conversation(line["name"], [pool], {"pipeline": [pipeline]}, case=line["case"])


def envelopes(name: str, exchanges: Iterable[tuple[str, str]]) -> Iterator[Conversation]:
    """The conversations in WS-Man requests and answers, one for each PowerShell shell."""
    found: Conversation | None = None
    for request, response in exchanges:
        if "transfer/Create<" in request:
            found = Conversation(name) if "creationXml" in request else None
            if found:
                yield found
        if found is None:
            continue
        asked, command, arguments = (one.search(request) for one in (_DESIRED, _COMMAND, _ARGUMENTS))
        if arguments and command:
            found.requests[command[1]] = base64.b64decode(arguments[1])
        for command_id, text in _STREAM.findall(response):
            guid = command_id or (asked[1] if asked else "")
            packets = found.pipelines.setdefault(guid, []) if guid else found.pool
            packets.append(base64.b64decode(text))


def windows() -> list[Conversation]:
    """Real Windows servers with pypsrp; without the recordings of cmd shells."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: list[Conversation] = []
    for path in sorted((RECORDINGS / "windows").glob("*.yml")) if RECORDINGS is not None else ():
        messages = yaml.load(path.read_text("utf-8"), loader)["messages"]
        found += envelopes(path.stem, [(one.get("request") or "", one.get("response") or "") for one in messages])
    return found


def omi() -> list[Conversation]:
    """PowerShell behind Microsoft's OMI server."""
    found: list[Conversation] = []
    for path in sorted((RECORDINGS / "psrp-omi").glob("*.jsonl")) if RECORDINGS is not None else ():
        asked: dict[int, str] = {}
        pairs = []
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            if row["dir"] == "c2s" and row.get("body"):
                asked[row["conn"]] = row["body"]
            elif row["dir"] == "s2c" and row.get("body") and row["conn"] in asked:
                pairs.append((asked.pop(row["conn"]), row["body"]))
        found += envelopes(path.stem, pairs)
    return found
