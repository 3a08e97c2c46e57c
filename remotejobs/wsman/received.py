"""Reading the answer to Receive: the bytes of the streams, and whether the command is over.

Knows the envelope as Windows writes it. Must not know what the bytes mean. Nearly all that hosts say comes in such
answers, so one that is written as Windows writes them is read by patterns; whatever differs in anything is left to the
XML parser, and so is the question whether the start tag binds the prefixes as the patterns take for granted.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from functools import lru_cache
from typing import NamedTuple

from pybase64 import b64decode

from remotejobs.errors import ProtocolError
from remotejobs.wsman.envelopes import ADDRESSING, SHELL, SOAP, WSMAN_MS, Element, prefixes, read_answer

_RSP = f"{{{SHELL}}}"
_DONE = f"{SHELL}/CommandState/Done"

_START = re.compile(rb'<s:Envelope(?: [a-z:]+="[\w:/.-]*")+>')
_HEADER = re.compile(
    rb"<s:Header>(?:<([ap]:\w+)>[\w:/.{}-]*</\1>)*"
    rb"<a:RelatesTo>([\w:-]+)</a:RelatesTo></s:Header><s:Body><rsp:ReceiveResponse>"
)
_STREAM = re.compile(rb'<rsp:Stream Name="\w+"(?: CommandId="[\w-]+")?>')
_STREAM_END = b"</rsp:Stream>"
_STATE = re.compile(
    rb'(?:<rsp:CommandState CommandId="[\w-]+" State="([\w:/.]+)"'
    rb"(?:/>|>(?:<rsp:ExitCode>\d+</rsp:ExitCode>)?</rsp:CommandState>))?"
)
_END = b"</rsp:ReceiveResponse></s:Body></s:Envelope>"


class Received(NamedTuple):
    """What one Receive brought: the bytes of its streams, one after the other, and whether the command is over."""

    data: bytes
    done: bool


def read_received(data: bytes, message_id: str) -> Received:
    """Read the answer to Receive.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it is no ReceiveResponse, or not base64.
    """
    return _read_plain(data, message_id.encode()) or _read_element(read_answer(data, message_id))


def _read_plain(data: bytes, message_id: bytes) -> Received | None:
    """Read an answer that is written as Windows writes it; None where it is not."""
    start = _START.match(data)
    if start is None or not _as_expected(start[0]):
        return None
    header = _HEADER.match(data, start.end())
    if header is None or header[2] != message_id or data.find(b"<a:RelatesTo>", 0, header.start(2) - 13) >= 0:
        return None
    chunks: list[bytes] = []
    at = header.end()
    while stream := _STREAM.match(data, at):
        end = data.find(b"<", stream.end())
        if not data.startswith(_STREAM_END, end):
            return None
        if end > stream.end():
            try:
                chunks.append(b64decode(data[stream.end() : end], validate=True))
            except Base64Error:
                return None
        at = end + len(_STREAM_END)
    state = _STATE.match(data, at)
    if state is None or data[state.end() :] != _END:
        return None
    return Received(b"".join(chunks), state[1] == _DONE.encode())


@lru_cache(64)
def _as_expected(start: bytes) -> bool:
    bound = prefixes(start + b"</s:Envelope>")
    return {"s": SOAP, "a": ADDRESSING, "p": WSMAN_MS, "rsp": SHELL}.items() <= bound.items()


def _read_element(answer: Element) -> Received:
    if answer.tag != f"{_RSP}ReceiveResponse":
        raise ProtocolError("The answer to Receive is not a ReceiveResponse.")
    chunks: list[bytes] = []
    done = False
    for element in answer:
        if element.tag == f"{_RSP}Stream":
            if element.text:
                chunks.append(_unbase64(element.text))
        elif element.tag == f"{_RSP}CommandState":
            done = element.get("State") == _DONE
    return Received(b"".join(chunks), done)


def _unbase64(text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)  # line breaks are legal in xs:base64Binary
    except ValueError:
        raise ProtocolError("A stream of the answer is not base64.") from None
