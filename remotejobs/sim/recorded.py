"""Recorded conversations with a real PowerShell, served again: the very messages, ids and fragments of this pool.

Knows PSRP's bytes and the packets of PowerShell's stdio. Must not know what a message means, but for the end of a
pipeline and the calls of the client's host.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remotejobs.errors import ConfigurationError
from remotejobs.sim.interpreter import HostMethod, Invocation, Streams
from remotejobs.sim.packets import parse_packet
from remotejobs.sim.psrp_wire import Defragmenter, Message, MessageType, unpack_message
from remotejobs.sim.shells import HostInfo

_CALL = re.compile(rb'<I64 N="ci">(-?\d+)</I64>.*?<I32>(\d+)</I32>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recording:
    """What a PowerShell answered to one script.

    Attributes:
        script: The script that it answers.
        messages: Of its pipeline, in order; the terminal state last, unless it was stopped or its process died.
        stopped: What came once its client had stopped it; empty if nobody did.
    """

    script: str
    messages: tuple[Message, ...]
    stopped: tuple[Message, ...] = ()

    def fits(self, invocation: Invocation, host: HostInfo) -> bool:  # noqa: ARG002 - as every answer
        """True for the script that was recorded."""
        return invocation.text.strip() == self.script.strip()

    async def give(self, host: HostInfo, streams: Streams) -> None:  # noqa: ARG002 - as every answer
        """Write the recorded messages. A client without a host does not get the calls of one, as from PowerShell."""
        try:
            for message in self.messages:
                await _write(message, streams)
            if not self.ended:
                await asyncio.Event().wait()  # for the stop that was recorded
        except asyncio.CancelledError:
            for message in self.stopped:
                await _write(message, streams)
            raise

    @property
    def ended(self) -> bool:
        """True where the pipeline came to its end by itself."""
        return bool(self.messages) and self.messages[-1].type == MessageType.PIPELINE_STATE


async def _write(message: Message, streams: Streams) -> None:
    call = _CALL.search(message.payload) if message.type == MessageType.PIPELINE_HOST_CALL else None
    if call and not streams.interactive and int(call[2]) != HostMethod.SetShouldExit:
        if int(call[1]) >= 0:
            await streams.host_call(HostMethod.Prompt)
        return
    await streams.recorded(message.type, message.payload.decode())
    if call and int(call[1]) >= 0:
        await streams.answer(int(call[1]))


def read_messages(lines: list[dict[str, Any]], direction: str, conn: int = 1) -> dict[uuid.UUID, list[Message]]:
    """The messages of one direction (`s2c`, `c2s`) of one connection, by the PSGuid of their packets.

    Raises:
        ValueError: The packets do not hold PSRP.
    """
    found: dict[uuid.UUID, list[Message]] = {}
    joined: dict[uuid.UUID, Defragmenter] = {}
    for line in lines:
        if line["conn"] != conn or line["dir"] != direction or not line["line"].startswith("<Data"):
            continue
        packet = parse_packet(line["line"])
        parts = joined.setdefault(packet.guid, Defragmenter()).feed(packet.data)
        to = 1 if direction == "s2c" else 2
        found.setdefault(packet.guid, []).extend(unpack_message(part, to=to) for part in parts)
    return found


def read_pipelines(lines: list[dict[str, Any]], script: str = "", conn: int = 1) -> list[Recording]:
    """What one connection's PowerShell answered to each pipeline, in the order in which they were asked for.

    Raises:
        ValueError: The packets do not hold PSRP.
    """
    asked, answered = read_messages(lines, "c2s", conn), read_messages(lines, "s2c", conn)
    before: dict[uuid.UUID, int] = {}  # messages that came before the pipeline was stopped
    for number, line in enumerate(lines):
        if line["conn"] == conn and line["dir"] == "c2s" and line["line"].startswith("<Signal"):
            guid = parse_packet(line["line"]).guid
            before[guid] = len(read_messages(lines[:number], "s2c", conn).get(guid, ()))
    found = []
    for guid, messages in asked.items():
        if any(message.type == MessageType.CREATE_PIPELINE for message in messages):
            came = answered.get(guid, [])
            cut = before.get(guid, len(came))
            found.append(Recording(script, tuple(came[:cut]), tuple(came[cut:])))
    return found


def load_recording(path: Path) -> Recording:
    """Read `NAME.wire.jsonl` and the `NAME.json` beside it: the last pipeline of the first connection.

    Raises:
        ConfigurationError: One of the files is missing or not a recording.
    """
    about = path.with_name(path.name.removesuffix(".wire.jsonl") + ".json")
    try:
        script = json.loads(about.read_text("utf-8"))["script"]
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return read_pipelines(lines, script)[-1]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        message = f"The recording {path} cannot be used: {type(error).__name__}: {error}."
        raise ConfigurationError(message) from None
