"""The packets of PowerShell's stdio, one a line (`pwsh -s`; reference: the out-of-process transport of PowerShell 7).

Knows text and bytes. Must not know PSRP.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from typing import NamedTuple

POOL = uuid.UUID(int=0)
_PACKET = re.compile(
    r"<(?:(?P<kind>Command|CommandAck|Close|CloseAck|Signal|SignalAck|DataAck) PSGuid=['\"](?P<guid>[^'\"]+)['\"] ?/>"
    r"|Data (?:Stream=['\"](?P<stream>\w+)['\"] PSGuid=['\"](?P<target>[^'\"]+)['\"]"
    r"|PSGuid=['\"](?P<target2>[^'\"]+)['\"] Stream=['\"](?P<stream2>\w+)['\"])>(?P<data>[A-Za-z0-9+/=]+)</Data>)\s*\Z"
)


class Packet(NamedTuple):
    """One packet.

    Attributes:
        kind: `Data`, `Command`, `Close`, `Signal`, or one of them with `Ack`.
        guid: A pipeline, or POOL.
        data: Bytes of fragments, cut anywhere; Data only.
        stream: `Default`, or `PromptResponse` for answers to host calls; Data only.
    """

    kind: str
    guid: uuid.UUID
    data: bytes = b""
    stream: str = "Default"

    def line(self) -> bytes:
        """The packet as PowerShell writes it."""
        if self.kind != "Data":
            return f"<{self.kind} PSGuid='{self.guid}' />\n".encode()
        text = base64.b64encode(self.data).decode()
        return f"<Data Stream='{self.stream}' PSGuid='{self.guid}'>{text}</Data>\n".encode()


def parse_packet(line: str) -> Packet:
    """Read one line.

    Raises:
        ValueError: It is no packet; PowerShell would end its process.
    """
    found = _PACKET.match(line)
    if not found:
        raise ValueError(f"not a packet: {line[:80]!r}")
    kind, guid = found["kind"] or "Data", found["guid"] or found["target"] or found["target2"]
    try:
        data = base64.b64decode(found["data"] or "", validate=True)
    except binascii.Error:
        raise ValueError(f"a Data packet without base64: {line[:80]!r}") from None
    return Packet(kind, uuid.UUID(guid), data, found["stream"] or found["stream2"] or "Default")
