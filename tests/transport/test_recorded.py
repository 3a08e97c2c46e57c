from __future__ import annotations

import json
from pathlib import Path

import pytest

from remotejobs.model import Limits
from remotejobs.ports import Reply
from remotejobs.transport.answers import AnswerReader
from tests.recordings import RECORDINGS, needs_recordings

CONVERSATIONS = sorted((RECORDINGS / "psrp-omi").glob("*.jsonl")) if RECORDINGS else []


@needs_recordings
@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda p: p.stem)
def test_answers_of_a_real_server_on_one_connection(path: Path) -> None:
    reader = AnswerReader(Limits(), "omi")
    for line in path.read_text(encoding="utf-8").splitlines():
        message = json.loads(line)
        if message["dir"] != "s2c" or not message["start"].startswith("HTTP/"):
            continue
        body = message["body"].encode()
        # the recorder replaced names in some bodies
        headers = dict(message["headers"]) | {"Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader.expect()
        reply = reader.feed(f"{message['start']}\r\n{head}\r\n".encode() + body)
        assert reply == Reply(int(message["start"].split()[1]), body, headers["Content-Type"])
        assert reader.reusable


@needs_recordings
def test_refusals_of_a_real_server() -> None:
    assert RECORDINGS is not None
    refusals = 0
    for path in sorted((RECORDINGS / "omi").glob("auth-*-resp.txt")):
        if not path.read_bytes().startswith(b"HTTP/"):
            continue  # the recorder's own error
        head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        reply = AnswerReader(Limits(), "omi").feed(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
        assert reply is not None
        if reply.status == 401:
            refusals += 1
            assert reply.challenges == ('Basic realm="WSMAN"', "Negotiate", "Kerberos")
    assert refusals
