"""Envelopes written as Windows writes them, found without an XML parser.

Knows the start tag and the header of an answer. Must not know bodies. Nearly all answers are of a few shapes; a reader
may match its shape of the body by patterns, and whatever differs in anything is left to the XML parser, as is the
question whether a start tag binds the prefixes as the patterns take for granted.
"""

from __future__ import annotations

import re
from functools import lru_cache

from remotejobs.wsman.envelopes import ADDRESSING, SHELL, SOAP, WSMAN_MS, prefixes

END = b"</s:Body></s:Envelope>"

_START = re.compile(rb'<s:Envelope(?: [a-z:]+="[\w:/.-]*")+>')
_LONGEST_START = 2048
_RELATES_TO = b"<a:RelatesTo>"
_HEADER = re.compile(
    rb"<s:Header>(?:<([ap]:\w+)>[\w:/.{}-]*</\1>)*<a:RelatesTo>([\w:-]+)</a:RelatesTo></s:Header><s:Body>"
)


def body_of(data: bytes, message_id: str) -> int | None:
    """Where the body's content begins in the answer to `message_id`; None where the answer is written another way."""
    end = data.find(b">", 0, _LONGEST_START) + 1
    if not _as_expected(data[:end]):
        return None
    header = _HEADER.match(data, end)
    if header is None or header[2] != message_id.encode():
        return None
    if data.find(_RELATES_TO, 0, header.start(2) - len(_RELATES_TO)) >= 0:
        return None
    return header.end()


@lru_cache(64)
def _as_expected(start: bytes) -> bool:
    if not _START.fullmatch(start):
        return False
    bound = prefixes(start + b"</s:Envelope>")
    return {"s": SOAP, "a": ADDRESSING, "p": WSMAN_MS, "rsp": SHELL}.items() <= bound.items()
