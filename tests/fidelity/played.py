"""What a real PowerShell sent, played by simulated hosts over WS-Man on loopback and received with our client."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remotejobs.api.invoke import invoke_command
from remotejobs.jobs.job import RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import Outcome, SessionOption, Stream
from remotejobs.sim.interpreter import Invocation, Streams
from remotejobs.sim.powershell_exe import cmd_with_powershell
from remotejobs.sim.psrp_wire import Message, MessageType
from remotejobs.sim.recorded import Recording, read_pipelines
from remotejobs.sim.shells import HostInfo
from remotejobs.sim.winrs_host import CMD
from remotejobs.states import JobState
from tests.e2e.hosts import SIM, started, targets

RECORDS: dict[int, Stream] = {
    MessageType.PIPELINE_OUTPUT: Stream.Output,
    MessageType.ERROR_RECORD: Stream.Error,
    MessageType.WARNING_RECORD: Stream.Warning,
    MessageType.VERBOSE_RECORD: Stream.Verbose,
    MessageType.DEBUG_RECORD: Stream.Debug,
    MessageType.INFORMATION_RECORD: Stream.Information,
    MessageType.PROGRESS_RECORD: Stream.Progress,
}


_EXITS = re.compile(rb'<I32>6</I32>.*<Obj N="mp".*<I32>(-?\d+)</I32>', re.DOTALL)  # SetShouldExit
_ASKS = re.compile(rb'<I64 N="ci">\d')  # a host call that wants an answer


@dataclass
class Played:
    """What a job on one host came to."""

    job: RemoteJob
    records: list[ReceivedRecord] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        (end,) = self.job.outcomes
        return end.outcome


@dataclass(frozen=True)
class Playing:
    """An interpreter that gives one pipeline, whatever it is asked to run."""

    recording: Recording
    host: HostInfo | None = None

    def open(self, host: HostInfo) -> Playing:
        return Playing(self.recording, host)

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        assert self.host
        await self.recording.give(self.host, streams)


def wire_of(path: Path) -> list[dict[str, Any]]:
    """The packets beside a recording; none where nothing was sent."""
    wire = path.with_suffix(".wire.jsonl")
    return [json.loads(line) for line in wire.read_text("utf-8").splitlines()] if wire.exists() else []


def pipelines(path: Path) -> dict[int, list[Recording]]:
    """The pipelines of a recording, by connection, each in the order in which they were asked for."""
    lines = wire_of(path)
    return {conn: read_pipelines(lines, conn=conn) for conn in sorted({line["conn"] for line in lines})}


def messages(recording: Recording) -> list[Message]:
    """What comes of a pipeline. We refuse every prompt: what came after one, answered or not, does not come."""
    everything = [*recording.messages, *recording.stopped]
    prompt = _prompt(recording)
    return everything if prompt is None else everything[: prompt + 1]


def _prompt(recording: Recording) -> int | None:
    """The place of the first host call that wants an answer."""
    for place, message in enumerate(recording.messages):
        if message.type == MessageType.PIPELINE_HOST_CALL and _ASKS.search(message.payload):
            return place
    return None


def records(recording: Recording) -> Counter[Stream]:
    """How many records came on each stream."""
    return Counter(RECORDS[message.type] for message in messages(recording) if message.type in RECORDS)


def exit_code(recording: Recording) -> int | None:
    """What the script gave to `exit`."""
    calls = [message.payload for message in recording.messages if message.type == MessageType.PIPELINE_HOST_CALL]
    found = [exits[1] for call in calls if (exits := _EXITS.search(call))]
    return int(found[-1]) if found else None


def ends_by(recording: Recording) -> str:
    """What ends a pipeline: a `prompt` that is refused, `itself`, a `stop`, or the `death` of its process."""
    if _prompt(recording) is not None:
        return "prompt"
    if recording.ended:
        return "itself"
    return "stop" if recording.stopped else "death"


async def play(recording: Recording, name: str, *, hide: bool, engine: str = "native") -> Played:
    """Run a job against a host of this name that sends a pipeline; as text, where it is asked for that.

    The job is stopped, or the host restarts, at the moment when this happened to the recorded pipeline. A prompt is
    refused, as always.
    """
    before = sum(1 for message in recording.messages if message.type in RECORDS)
    playing = Playing(recording)
    shells = {CMD: cmd_with_powershell(playing)}
    async with started({name: ""}, interpreter=playing, shells=shells) as hosts, asyncio.timeout(20):
        settings = SessionOption(allow_unencrypted=True, max_connection_retry_count=1)
        job = await invoke_command(
            targets(hosts),
            "whatever it is",
            credential=SIM,
            authentication="Basic",
            session_option=settings,
            hide_computer_name=hide,
            engine=engine,
        )
        result = Played(job)
        acts = {"stop": [job.request_stop], "death": [lambda: hosts[name].reboot(0)]}.get(ends_by(recording), [])

        def look() -> None:
            there = sum(1 for record in result.records if record.record.object_id > 0) == before
            if there and acts and job.child_jobs[0].state is JobState.Running:
                acts.pop()()

        async for item in job.events(look):
            if isinstance(item, ReceivedRecord):
                result.records.append(item)
        await job.wait()
    return result


def played(recording: Recording, name: str = "localhost", *, hide: bool = True, engine: str = "native") -> Played:
    """As `play`, in a loop of its own."""
    return asyncio.run(play(recording, name, hide=hide, engine=engine))
