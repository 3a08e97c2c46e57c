"""Recorded CLIXML with what PowerShell made of it, beside the repository where it is there, else a selection of it."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from remotejobs.wsman.clixml.read import type_names
from remotejobs.wsman.clixml.values import NO_BASE, PSObject, text
from tests.recordings import RECORDINGS

DATA = Path(__file__).parents[1] / "data" / "clixml"
PIPELINE_OUTPUT, ERROR_RECORD, PIPELINE_STATE = 0x41004, 0x41005, 0x41006
_DATA_PACKET = re.compile(r"<Data Stream='\w+' PSGuid='([^']+)'>([^<]*)</Data>")


class Shown(NamedTuple):
    """One object: its CLIXML and what PowerShell says about what it read."""

    case: str
    raw: bytes
    type_names: list[str]
    to_string: str
    display: str
    json: str


def lines(name: str) -> list[dict[str, Any]]:
    """The lines of a recording of CLIXML's own, or of the selection of it."""
    path = RECORDINGS / "pwsh" / "clixml" / name if RECORDINGS is not None else DATA / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def element(document: str) -> bytes:
    """What is between `<Objs>` and `</Objs>`."""
    return re.sub(r"^<Objs[^>]*>\s*(.*?)\s*</Objs>$", r"\1", document, flags=re.DOTALL).encode()


def messages(wire: Path, direction: str = "s2c") -> Iterator[tuple[int, bytes]]:
    """Type and data of each PSRP message of a wire file."""
    streams: dict[tuple[str, str], bytes] = {}
    parts: dict[tuple[tuple[str, str], int], bytes] = {}
    for line in wire.read_text("utf-8").splitlines():
        packet = json.loads(line)
        found = _DATA_PACKET.match(packet["line"]) if packet["dir"] == direction else None
        if found is None:
            continue
        key = (str(packet.get("conn")), found[1])
        data = streams.get(key, b"") + base64.b64decode(found[2])
        while len(data) >= 21 and len(data) >= 21 + (size := struct.unpack_from(">I", data, 17)[0]):
            object_id, flags = struct.unpack_from(">Q", data)[0], data[16]
            whole = parts.pop((key, object_id), b"") + data[21 : 21 + size]
            data = data[21 + size :]
            if flags & 2:
                yield struct.unpack_from("<I", whole, 4)[0], whole[40:]
            else:
                parts[key, object_id] = whole
        streams[key] = data


def cases(kind: str = "cases") -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each recorded script: its wire file and what the real client made of it."""
    if RECORDINGS is not None:
        for path in sorted((RECORDINGS / "pwsh" / kind).glob("*.json")):
            wire = path.with_suffix(".wire.jsonl")
            if wire.exists():
                yield wire, json.loads(path.read_text("utf-8"))


def outputs() -> list[Shown]:
    """Every recorded output object of the cases, or the selection of them."""
    found = []
    for wire, case in cases():
        shown = [item for child in (case.get("job") or {}).get("children", ()) for item in child["output"] if item]
        raws = [data for kind, data in messages(wire) if kind == PIPELINE_OUTPUT and data]
        for raw, item in zip(raws, shown, strict=False):  # of many only the first are recorded
            known = [str(item[key]) for key in ("to_string", "display", "json")]
            found.append(Shown(case["name"], raw, item["type_names"], *known))
    if RECORDINGS is None:
        for line in (DATA / "output.jsonl").read_text("utf-8").splitlines():
            item = json.loads(line)
            found.append(Shown(**{**item, "raw": item["raw"].encode()}))
    return found


def _received(names: tuple[str, ...]) -> list[str]:
    """Type names as PowerShell shows them after reading; the bag's own first name is no name of the host's."""
    return [name if name.startswith("Deserialized.") else f"Deserialized.{name}" for name in names]


def check_names(raw: bytes, recorded: list[str]) -> None:
    names = [name for name in recorded if name != "Selected.System.Management.Automation.PSCustomObject"]
    if names and names[0].startswith("Deserialized."):
        assert _received(type_names(raw)) == names
    else:  # a primitive, a bare container, or a type that PowerShell revives: named as on the wire
        assert type_names(raw)[0] == names[0]


def check_text(value: Any, shown: Shown) -> None:
    if isinstance(value, PSObject) and value.base is not NO_BASE and value.to_string is not None:
        # The recorder cast to [string], which converts the number inside an enum; what is shown is its text.
        assert text(value.base) == shown.to_string
        assert text(value)[:40] in shown.display
    elif type_names(shown.raw)[0] != "System.Management.Automation.PSPrimitiveDictionary":  # a plain dict here
        assert text(value)[:400] == shown.to_string[:400]
