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
    """What a PowerShell answered to one script: the messages of its pipeline, the terminal state last."""

    script: str
    messages: tuple[Message, ...]

    def fits(self, invocation: Invocation, host: HostInfo) -> bool:  # noqa: ARG002 - as every answer
        """True for the script that was recorded."""
        return invocation.text.strip() == self.script.strip()

    async def give(self, host: HostInfo, streams: Streams) -> None:  # noqa: ARG002 - as every answer
        """Write the recorded messages. A client without a host does not get the calls of one, as from PowerShell."""
        try:
            await self._write(streams)
        except asyncio.CancelledError:
            last = self.messages[-1]
            if last.type == MessageType.PIPELINE_STATE and b'"PipelineState">3<' in last.payload:
                await streams.recorded(last.type, last.payload.decode())
            raise

    async def _write(self, streams: Streams) -> None:
        for message in self.messages:
            call = _CALL.search(message.payload) if message.type == MessageType.PIPELINE_HOST_CALL else None
            if call and not streams.interactive and int(call[2]) != HostMethod.SetShouldExit:
                if int(call[1]) >= 0:
                    await streams.host_call(HostMethod.Prompt)
                continue
            await streams.recorded(message.type, message.payload.decode())
            if call and int(call[1]) >= 0:
                await streams.answer(int(call[1]))


def read_messages(lines: list[dict[str, Any]], direction: str) -> dict[uuid.UUID, list[Message]]:
    """The messages of one direction (`s2c`, `c2s`) of the first connection, by the PSGuid of their packets.

    Raises:
        ValueError: The packets do not hold PSRP.
    """
    found: dict[uuid.UUID, list[Message]] = {}
    joined: dict[uuid.UUID, Defragmenter] = {}
    for line in lines:
        if line["conn"] != 1 or line["dir"] != direction or not line["line"].startswith("<Data"):
            continue
        packet = parse_packet(line["line"])
        parts = joined.setdefault(packet.guid, Defragmenter()).feed(packet.data)
        to = 1 if direction == "s2c" else 2
        found.setdefault(packet.guid, []).extend(unpack_message(part, to=to) for part in parts)
    return found


def load_recording(path: Path) -> Recording:
    """Read `NAME.wire.jsonl` and the `NAME.json` beside it.

    Raises:
        ConfigurationError: One of the files is missing or not a recording.
    """
    about = path.with_name(path.name.removesuffix(".wire.jsonl") + ".json")
    try:
        script = json.loads(about.read_text("utf-8"))["script"]
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        asked = read_messages(lines, "c2s")
        created = [
            guid for guid, messages in asked.items() if any(m.type == MessageType.CREATE_PIPELINE for m in messages)
        ]
        return Recording(script, tuple(read_messages(lines, "s2c").get(created[-1], ())))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        message = f"The recording {path} cannot be used: {type(error).__name__}: {error}."
        raise ConfigurationError(message) from None
