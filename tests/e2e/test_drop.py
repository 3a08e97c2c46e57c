"""A job that leaves its script with OutputBufferingMode Drop: the host keeps the newest output, and goes on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from remotejobs import compose
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.model import JobSpec, Outcome, ScriptCommand, SessionOption
from remotejobs.sim.interpreter import Streams
from remotejobs.sim.shells import HostSettings
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from tests.e2e.hosts import Writes, started, targets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the worker's folder cannot be removed at once")

CREDENTIALS = {"": Credential("sim", Secret("sim"))}
SETTINGS = HostSettings(allow_unencrypted=True, buffer_size=400_000)
COUNT = 40


async def left_and_collected(tmp_path: Path, size: int, mode: str) -> tuple[list[str], Outcome | None]:
    """Leave a script that then writes more than the host's buffer holds; connect; return the output and the end."""
    go, written = asyncio.Event(), asyncio.Event()

    async def write(streams: Streams) -> None:
        await streams.output("began")
        await go.wait()
        for number in range(COUNT):
            await streams.output(f"{number} " + "x" * size)
        written.set()

    store = compose.open_store(tmp_path / "jobs.db")
    try:
        async with started({"a": ""}, settings=SETTINGS, interpreter=Writes(write)) as hosts, asyncio.timeout(60):
            spec = JobSpec(
                ScriptCommand("x"),
                tuple(targets(hosts)),
                authentication="Basic",
                session_option=SessionOption(
                    allow_unencrypted=True, operation_timeout=5, output_buffering_mode=mode, idle_timeout=60
                ),
                in_disconnected_session=True,
            )
            job_id = (await compose.submit(spec, CREDENTIALS, store=store)).id
            await compose.start_worker(job_id, CREDENTIALS, home=tmp_path, store=store)
            while store.job(job_id).lease is not None:
                await asyncio.sleep(0.02)
            go.set()
            if mode == "Drop":
                await written.wait()  # with nobody there to read
            await compose.start_worker(job_id, CREDENTIALS, mode="connect", home=tmp_path, store=store)
            while store.job(job_id).lease is not None:
                await asyncio.sleep(0.02)
        arrivals = store.read(job_id, 0, 1000)
        words = [str(deserialize(arrival.record.raw)).split()[0] for arrival in arrivals]
        return words, store.job(job_id).children[0].outcome
    finally:
        store.close()


def test_block_loses_nothing(tmp_path: Path) -> None:
    words, outcome = asyncio.run(left_and_collected(tmp_path, 20_000, "Block"))
    assert words == ["began", *map(str, range(COUNT))]
    assert outcome is not None
    assert (outcome.reason, outcome.message) == (EndReason.Completed, "")


def test_drop_keeps_the_newest_and_what_the_wire_does_not_tell_is_not_told(tmp_path: Path) -> None:
    words, outcome = asyncio.run(left_and_collected(tmp_path, 20_000, "Drop"))
    first = COUNT - len(words)
    assert 0 < first < COUNT - 5
    assert words == [*map(str, range(first, COUNT))]
    assert outcome is not None
    assert (outcome.reason, outcome.message) == (EndReason.Completed, "")


def test_a_record_whose_beginning_was_dropped_is_told(tmp_path: Path) -> None:
    words, outcome = asyncio.run(left_and_collected(tmp_path, 90_000, "Drop"))
    first = COUNT - len(words)
    assert words == [*map(str, range(first, COUNT))]
    assert outcome is not None
    assert outcome.reason is EndReason.Completed
    assert "The output is incomplete" in outcome.message
    assert "OutputBufferingMode Drop" in outcome.message
    assert outcome.details["incomplete"] is True
