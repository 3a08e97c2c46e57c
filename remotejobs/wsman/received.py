"""Reading the answer to Receive: the bytes of the streams, and whether the command is over.

Knows ReceiveResponse, as a pattern and as an element. Must not know what the bytes mean.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from typing import NamedTuple

from pybase64 import b64decode

from remotejobs.errors import ProtocolError
from remotejobs.wsman.envelopes import SHELL, Element, read_answer
from remotejobs.wsman.plain import END, body_of

_RSP = f"{{{SHELL}}}"
_DONE = f"{SHELL}/CommandState/Done"

_STREAM = re.compile(rb'<rsp:Stream Name="\w+"(?: CommandId="[\w-]+")?>')
_STREAM_END = b"</rsp:Stream>"
_STATE = re.compile(
    rb'(?:<rsp:CommandState CommandId="[\w-]+" State="([\w:/.]+)"'
    rb"(?:/>|>(?:<rsp:ExitCode>\d+</rsp:ExitCode>)?</rsp:CommandState>))?"
)
_BEGIN, _END = b"<rsp:ReceiveResponse>", b"</rsp:ReceiveResponse>" + END


class Received(NamedTuple):
    """What one Receive brought: the bytes of its streams, one after the other, and whether the command is over."""

    data: bytes
    done: bool


def read_received(data: bytes, message_id: str) -> Received:
    """Read the answer to Receive.

    Raises:
        FaultError, LimitError, ProtocolError: As read_answer() says; or it is no ReceiveResponse, or not base64.
    """
    return _read_plain(data, message_id) or _read_element(read_answer(data, message_id))


def _read_plain(data: bytes, message_id: str) -> Received | None:
    at = body_of(data, message_id)
    if at is None or not data.startswith(_BEGIN, at):
        return None
    at += len(_BEGIN)
    chunks: list[bytes] = []
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
