"""Every recorded session, played."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from remotejobs import compose
from remotejobs.sim.dialect.errors import Refusal
from tests.recorded import out_of_scope, recorded
from tests.recordings import RECORDINGS
from tests.transcripts.client import Client
from tests.transcripts.screen import Line, differences, recorded_lines
from tests.transcripts.values import NoSessions
from tests.transcripts.world import World

# A host called localhost stands in for Start-Job. What then cannot be played needs a real local job.
_LOCAL = re.compile(r"\b(Start-Job|sajb|Start-ThreadJob)\b|-Parallel\b", re.IGNORECASE)
_NO_WSMAN = "no supported WSMan client library"

Transcript = dict[str, str]


def _rows() -> list[Transcript]:
    if RECORDINGS is None:
        return []
    paths = sorted((RECORDINGS / "pwsh" / "transcripts").glob("*.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths]


async def _played(case: Transcript, monkeypatch: pytest.MonkeyPatch, path: Path | None) -> list[Line]:
    async with asyncio.timeout(60), World(case["output"], path) as world:
        monkeypatch.setattr(compose, "SystemClock", lambda: world.clock)
        shown = await Client(world).run(case["script"])
        if world.refused:
            raise world.refused
        return shown


@recorded("transcripts", _rows(), lambda row: row["name"])
@pytest.mark.parametrize("store", ["memory", "file"])
def test_transcript(case: Transcript, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if _NO_WSMAN in case["output"]:
        out_of_scope("the recorded computer had no client for WS-Man")
    local = bool(_LOCAL.search(case["script"]))
    try:
        shown = asyncio.run(_played(case, monkeypatch, tmp_path / "jobs.db" if store == "file" else None))
    except NoSessions:
        out_of_scope("sessions have no objects here")
    except Refusal as refusal:
        if local:
            out_of_scope(f"local job: {refusal.record.message}")
        raise AssertionError(refusal.record.message) from refusal
    found = differences(shown, recorded_lines(case["output"]), loosely=local)
    assert not found, "\n".join(found)
