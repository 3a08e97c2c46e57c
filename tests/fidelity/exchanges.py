"""Requests and answers of real servers, and what must hold for each answer: it is read, or it is one of our errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from remotejobs.errors import FaultError, ProtocolError
from remotejobs.model import SessionOption, Stream
from remotejobs.sim.psrp_wire import Message, MessageType, unpack_message
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.envelopes import read_answer
from remotejobs.wsman.psrp.fragments import Defragmenter
from remotejobs.wsman.psrp.messages import read_message
from remotejobs.wsman.received import read_received
from tests.fidelity.played import RECORDS
from tests.session.replay import Replay, converse

_MOST = SessionOption().maximum_received_object_size
_DETOURS = {"Disconnect", "Reconnect", "Connect"}
_LATER = "2150858793"  # nothing yet: ask again
_ENDS = {b"3": EndReason.Stopped, b"4": EndReason.Completed, b"5": EndReason.CommandFailed}


class Exchange(NamedTuple):
    """One request, and its answer: status 0 where none came."""

    request: str
    status: int
    answer: str

    @property
    def operation(self) -> str:
        found = re.search(r"Action[^>]*>\s*([^<\s]+)", self.request)
        return found[1].rpartition("/")[2] if found else ""

    @property
    def message_id(self) -> str:
        found = re.search(r"MessageID[^>]*>\s*([^<\s]+)", self.request)
        return found[1] if found else ""

    @property
    def command_id(self) -> str:
        found = re.search(r'CommandId="([^"]+)"', self.request)
        return found[1].upper() if found else ""


def omi(path: Path) -> list[Exchange]:
    """The requests of a conversation, in the order in which they were sent, each with its answer."""
    found: list[Exchange] = []
    pending: dict[int, int] = {}
    for row in map(json.loads, path.read_text("utf-8").splitlines()):
        if row["dir"] == "c2s" and row.get("body"):
            pending[row["conn"]] = len(found)
            found.append(Exchange(row["body"], 0, ""))
        elif row["dir"] == "s2c" and row["start"].startswith("HTTP/") and row["conn"] in pending:
            at = pending.pop(row["conn"])
            found[at] = Exchange(found[at].request, int(row["start"].split()[1]), row.get("body") or "")
    return found


def windows(path: Path) -> list[Exchange]:
    """The exchanges of a conversation of recordings/windows."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = []
    for row in yaml.load(path.read_text("utf-8"), loader)["messages"]:
        answer = row.get("response") or ""
        fault = bool(row.get("transport_error")) or "Fault>" in answer
        found.append(Exchange(row["request"], (500 if fault else 200) if answer else 0, answer))
    return found


def read_all(exchanges: list[Exchange]) -> dict[str, list[Message]]:
    """Read every answer; return the PSRP messages of each pipeline, and of the pools under no name."""
    streams: dict[str, Defragmenter] = {}
    found: dict[str, list[Message]] = {}
    for exchange in exchanges:
        if exchange.status == 200:
            found.setdefault(exchange.command_id, []).extend(understood(exchange, streams))
        elif exchange.status:
            refused(exchange)
    return found


def understood(exchange: Exchange, streams: dict[str, Defragmenter]) -> list[Message]:
    """An answer without a fault. What a Receive brought is PSRP, down to the values; of a cmd shell, bytes."""
    body = exchange.answer.encode()
    if exchange.operation != "Receive":
        read_answer(body, exchange.message_id)
        return []
    received = read_received(body, exchange.message_id)
    if "/shell/cmd<" in exchange.request:
        return []
    shell = re.search(r'Name="ShellId"[^>]*>([^<]+)<', exchange.request)
    channel = f"{shell[1] if shell else ''} {exchange.command_id}"
    found = []
    for _, blob in streams.setdefault(channel, Defragmenter(_MOST)).feed(received.data):
        kind, payload = read_message(blob)
        message = unpack_message(bytes(blob), to=1)  # by the other side's reader
        assert (kind, payload) == (message.type, message.payload)
        value = deserialize(payload)
        if kind in RECORDS and RECORDS[kind] is not Stream.Output:
            record = from_clixml(RECORDS[kind], value)
            assert str(record)
        found.append(message)
    return found


def refused(exchange: Exchange) -> None:
    """A fault, as one of our errors with words for a person."""
    try:
        read_answer(exchange.answer.encode(), exchange.message_id)
    except FaultError as fault:
        assert fault.message
    except ProtocolError as error:
        assert not exchange.answer.strip(), error  # an empty body is all that is not understood
    else:
        raise AssertionError(f"read as no fault: {exchange.answer[:200]}")


def same_as_sent(replay: Replay, exchanges: list[Exchange], came: list[Message]) -> None:
    """Our client is given a server's answers: it ends as the pipeline did, and has each of its records.

    Where the recorded client left the shell and came back, or was refused something, ours may be lost; where the
    recording ends before the pipeline does, it is.
    """
    attempt, ledger = converse(replay)
    lost = {EndReason.Unknown, EndReason.Disconnected}
    states = [found[1] for message in came if (found := _state(message))]
    straight = not any(
        each.operation in _DETOURS or (each.status > 200 and _LATER not in each.answer) for each in exchanges
    )
    ends = {_ENDS[state] for state in states[-1:]}
    assert attempt.outcome.reason in (ends if ends and straight else ends | lost)
    sent = [(RECORDS[message.type], message.payload) for message in came if message.type in RECORDS]
    ours = [(record.stream, record.raw) for record in ledger.records if record.object_id > 0]
    assert ours == (sent if attempt.outcome.reason in ends or not states else sent[: len(ours)])


def _state(message: Message) -> re.Match[bytes] | None:
    return re.search(rb'"PipelineState">(\d)<', message.payload) if message.type == MessageType.PIPELINE_STATE else None
