"""Whole screens of PowerShell: several objects one after the other, and errors.

The objects are made here as the hosts of the transcripts sent them; the screens are the recorded ones.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from remotejobs.model import Stream
from remotejobs.views.display import Printer, blocks
from remotejobs.views.errorview import error_text
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.clixml.values import PSObject, Version
from remotejobs.wsman.psrp.messages import MessageType
from tests.recorded import recorded
from tests.recordings import RECORDINGS
from tests.views.factory import bag, error
from tests.views.screens import plain
from tests.views.wire import raw_records

_GUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RUNSPACE_ID = "11111111-1111-1111-1111-111111111111"


def screen(*values: Any, host: str = "localhost", show: bool = False, width: int = 120) -> str:
    """What one host's objects look like, with the notes that PowerShell gives them."""
    printer = Printer(width)
    lines: list[str] = []
    for value in values:
        whole = value if isinstance(value, PSObject) else PSObject(base=value)
        whole.set_origin(host, uuid.UUID(_RUNSPACE_ID), show=show)
        lines += printer.lines(blocks(whole))
    return "\n".join(lines)


def process() -> PSObject:
    members = {"Handles": 167, "Name": "pwsh.real", "CPU": 0.517438, "Id": 20584, "BasePriority": 0, "HasExited": False}
    return PSObject(("Deserialized.System.Diagnostics.Process", "Deserialized.System.Object"), adapted=members)


def file() -> PSObject:
    assert RECORDINGS is not None
    wire = RECORDINGS / "pwsh" / "calls" / "api-addcommand-parameters.wire.jsonl"
    value = deserialize(raw_records(wire, MessageType.PIPELINE_OUTPUT)[0])
    assert isinstance(value, PSObject)
    return value


def mixed() -> str:
    day = datetime(2026, 11, 20)  # noqa: DTZ001 - a date of PowerShell without a kind
    natural = [timedelta(minutes=90), day, 1.5, True, uuid.UUID(int=0), Version("1.2")]
    return screen(file(), process(), bag(A=1, B="x"), {"k": "v"}, *natural)


def in_view(view: str, said: PSObject, host: str = "localhost") -> str:
    return error_text(from_clixml(Stream.Error, said), view, host)


# The part of a screen that shows what a host sent: the rest is other questions of the script.
SCREENS: dict[str, Callable[[], str]] = {
    "deserialized-display": mixed,
    "many-properties-display": lambda: screen(bag(A=1, B=2, C=3, D=4), bag(A=1, B=2, C=3, D=4, E=5)),
    "receive-hidecomputername": lambda: screen(bag(a=1), host="web01"),
    "receive-properties-note": lambda: screen(bag(a=1), host="web01", show=True, width=80),
    "receive-errors-concise-vs-normal": lambda: "\n".join(
        in_view(view, error("Cannot find path '/nope' because it does not exist."))
        for view in ("NormalView", "CategoryView")
    ),
    "parent-states-mixed": lambda: in_view("ConciseView", error("x", "", 14)),
    "receive-failed-job": lambda: in_view("ConciseView", error("boom", "", 14)),
    "sync-invoke-errors": lambda: in_view("ConciseView", error("nt", "Write-Error", 0)),
}


def _rows() -> list[tuple[str, str]]:
    if RECORDINGS is None:
        return []
    paths = [RECORDINGS / "pwsh" / "transcripts" / f"{name}.json" for name in SCREENS]
    return [(path.stem, json.loads(path.read_text("utf-8"))["output"]) for path in paths if path.exists()]


@recorded("transcripts-display", _rows(), lambda row: row[0])
def test_screen(case: tuple[str, str]) -> None:
    name, output = case
    expected, ours = plain(_comparable(output)), plain(_comparable(SCREENS[name]()))
    assert any(expected[at : at + len(ours)] == ours for at in range(len(expected))), "\n".join(ours)


def _comparable(text: str) -> str:
    masked = _GUID.sub(lambda found: found[0] if set(found[0]) == {"0", "-"} else _RUNSPACE_ID, text)
    return masked.strip("\n")
