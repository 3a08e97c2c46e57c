from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.model import Limits
from remotejobs.ports import Reply
from remotejobs.transport.answers import AnswerReader, split_challenges

LIMITS = Limits(header_bytes=2000, header_count=20, body_bytes=5000)
OK = b"HTTP/1.1 200 OK\r\n"
CHALLENGED = (
    b"HTTP/1.1 401 \r\nServer: Microsoft-HTTPAPI/2.0\r\nWWW-Authenticate: Negotiate\r\n"
    b'WWW-Authenticate: Kerberos, Basic realm="WS, MAN"\r\nContent-Length: 0\r\n\r\n'
)

Result = tuple[Reply | None, bool] | ProtocolError

ANSWERS: dict[str, tuple[bytes, Reply, bool]] = {
    "length": (
        OK + b"Content-Type: application/soap+xml;charset=UTF-8\r\nServer: X/1\r\nContent-Length: 5\r\n\r\nhello",
        Reply(200, b"hello", "application/soap+xml;charset=UTF-8", ()),
        True,
    ),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", Reply(200, b""), True),
    "chunked": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        Reply(200, b"abcde"),
        True,
    ),
    "trailers": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nServer: evil\r\nContent-Type: evil\r\n\r\n",
        Reply(200, b"a"),
        True,
    ),
    "many small chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nsmall\r\n" * 900 + b"0\r\n\r\n",
        Reply(200, b"small" * 900),
        True,
    ),
    "challenges": (
        CHALLENGED,
        Reply(401, b"", "", ("Negotiate", "Kerberos", 'Basic realm="WS, MAN"')),
        True,
    ),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK
        + b"Content-Length: 1\r\n\r\nx",
        Reply(200, b"x"),
        True,
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", Reply(204, b""), True),
    "not modified, with a length": (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", Reply(304, b""), True),
    "said to close": (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", Reply(200, b"x"), False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", Reply(200, b"x"), False),
    "HTTP/1.0 kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        Reply(200, b"x"),
        True,
    ),
}

TO_THE_END: dict[str, tuple[bytes, Reply]] = {
    "no length": (OK + b"Server: X\r\n\r\nto the end", Reply(200, b"to the end")),
    "HTTP/1.0": (b"HTTP/1.0 500 Oops\r\nContent-Type: text/html\r\n\r\n<html>", Reply(500, b"<html>", "text/html")),
    "nothing": (OK + b"\r\n", Reply(200, b"")),
    "after an interim one with a length": (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK + b"\r\nbody",
        Reply(200, b"body"),
    ),
}

CUT_SHORT: dict[str, bytes] = {
    "nothing": b"",
    "status line": b"HTTP/1.1 200",
    "head": OK + b"Content-Length: 5\r\n",
    "body": OK + b"Content-Length: 5\r\n\r\nhell",
    "chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\n",
    "interim only": b"HTTP/1.1 100 Continue\r\n\r\n",
}

BROKEN: dict[str, tuple[bytes, type[ProtocolError], str]] = {
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", ProtocolError, "not HTTP"),
    "junk first": (b"junk HTTP/1.1 200 OK\r\n\r\n", ProtocolError, "not HTTP"),
    "a TLS alert": (b"\x15\x03\x03\x00\x02\x02\x28", ProtocolError, "-UseSSL"),
    "a request": (b"GET / HTTP/1.1\r\n\r\n", ProtocolError, "not HTTP"),
    "negative length": (OK + b"Content-Length: -5\r\n\r\n", ProtocolError, "HTTP"),
    "length in words": (OK + b"Content-Length: five\r\n\r\n", ProtocolError, "HTTP"),
    "huge length": (OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", ProtocolError, "broke HTTP"),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", ProtocolError, "HTTP"),
    "length and chunks": (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ProtocolError, "HTTP"),
    "bad chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", ProtocolError, "HTTP"),
    "negative chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", ProtocolError, "HTTP"),
    "chunk longer than said": (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", ProtocolError, "HTTP"),
    "header without a colon": (OK + b"no colon\r\n\r\n", ProtocolError, "HTTP"),
    "header folded out of nothing": (OK + b" x: y\r\n\r\n", ProtocolError, "HTTP"),
    "NUL in a header": (OK + b"X: a\0b\r\n\r\n", ProtocolError, "HTTP"),
    "upgrade": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n\0\0\0",
        ProtocolError,
        "101",
    ),
    "101 without upgrade": (b"HTTP/1.1 101 X\r\n\r\n", ProtocolError, "101"),
    "endless line": (OK + b"X: " + b"a" * 1_000_000, LimitError, "2000 bytes"),
    "endless name": (OK + b"a" * 1_000_000, LimitError, "2000 bytes"),
    "endless reason": (b"HTTP/1.1 200 " + b"a" * 1_000_000, LimitError, "2000 bytes"),
    "long head of a complete answer": (
        OK + b"X: " + b"a" * 3000 + b"\r\nContent-Length: 0\r\n\r\n",
        LimitError,
        "2000 bytes",
    ),
    "many headers": (OK + b"X: y\r\n" * 21 + b"\r\n", LimitError, "20 HTTP headers"),
    "many trailers": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 21 + b"\r\n",
        LimitError,
        "20 HTTP headers",
    ),
    "a flood of interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 200, LimitError, "2000 bytes"),
    "endless chunk extension": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 1_000_000,
        LimitError,
        "2000 bytes",
    ),
    "long body": (OK + b"Content-Length: 5001\r\n\r\n" + b"x" * 5001, LimitError, "5000 bytes"),
    "long chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"186a0\r\n" + b"x" * 100_000,
        LimitError,
        "5000 bytes",
    ),
    "long body to the end": (OK + b"\r\n" + b"x" * 5001, LimitError, "5000 bytes"),
}

AFTERWARDS = [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"H", b"garbage", b"\0", b"HTTP/1.1 200 OK\r\n"]


def read(data: bytes, *cuts: int, end: bool = False) -> Result:
    """What a reader makes of `data`, cut into pieces: the reply and whether the connection goes on, or the error."""
    reader = AnswerReader(LIMITS, "web01:5985")
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    try:
        for start, stop in itertools.pairwise(edges):
            if start < stop:
                reply = reader.feed(memoryview(data)[start:stop])
                if reply is not None:
                    assert stop == len(data), "complete before its end"
                    return reply, reader.reusable
    except ProtocolError as error:
        return error
    return (reader.end() if end else None), reader.reusable


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_in_one_piece_and_byte_by_byte(name: str) -> None:
    data, reply, reusable = ANSWERS[name]
    assert read(data) == (reply, reusable)
    assert read(data, *range(len(data))) == (reply, reusable)


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 1500), max_size=5))
def test_answer_does_not_depend_on_its_pieces(name: str, cuts: list[int]) -> None:
    data, reply, reusable = ANSWERS[name]
    assert read(data, *cuts) == (reply, reusable)


@pytest.mark.parametrize("name", TO_THE_END)
def test_body_that_ends_with_the_connection(name: str) -> None:
    data, reply = TO_THE_END[name]
    assert read(data) == (None, False)
    assert read(data, end=True) == (reply, False)
    assert read(data, *range(len(data)), end=True) == (reply, False)


@pytest.mark.parametrize("name", CUT_SHORT)
def test_answer_that_is_cut_short_is_no_answer(name: str) -> None:
    assert read(CUT_SHORT[name], end=True) == (None, False)


@pytest.mark.parametrize("size", [1, 7, 65536])
@pytest.mark.parametrize("name", BROKEN)
def test_hostile_answer(name: str, size: int) -> None:
    data, kind, words = BROKEN[name]
    data = data if size > 1 else data[:20_000]
    error = read(data, *range(0, len(data), size))
    assert isinstance(error, kind), error
    assert error.message.startswith("web01:5985 ")
    if size > 7:  # with the first bytes only, less can be said
        assert re.search(words, error.message)
    assert error.message.isascii()
    assert error.message.isprintable()


def test_limits_hold_before_the_end_is_seen() -> None:
    reader = AnswerReader(LIMITS, "web01:5985")
    assert reader.feed(OK + b"X: ") is None
    fed = 0
    with pytest.raises(LimitError):
        while True:
            reader.feed(b"a" * 100)
            fed += 100
    assert fed <= LIMITS.header_bytes


@pytest.mark.parametrize("name", [n for n, (_, reply, reusable) in ANSWERS.items() if reusable])
@pytest.mark.parametrize("junk", AFTERWARDS)
def test_bytes_after_an_answer_end_the_connection_but_not_the_answer(name: str, junk: bytes) -> None:
    data, reply, _ = ANSWERS[name]
    assert read(data + junk) == (reply, False)


def test_line_end_after_an_answer_is_let_pass() -> None:
    data, reply, _ = ANSWERS["length"]
    assert read(data + b"\r\n\r\n") == (reply, True)  # OMI does


def test_one_reader_reads_answer_after_answer() -> None:
    reader = AnswerReader(LIMITS, "web01:5985")
    for _ in range(3):
        for data, reply, reusable in ANSWERS.values():
            if reusable:
                reader.expect()
                assert not reader.begun
                assert reader.feed(data) == reply
                assert reader.begun


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    read(data, end=True)
    read(OK + data, end=True)
    read(OK + b"Transfer-Encoding: chunked\r\n\r\n" + data, 40, end=True)


@pytest.mark.parametrize(
    ("values", "challenges"),
    [
        ([], ()),
        ([""], ()),
        ([", ,"], ()),
        (["Negotiate"], ("Negotiate",)),
        (["Negotiate, Kerberos,CredSSP"], ("Negotiate", "Kerberos", "CredSSP")),
        (["Negotiate", 'Basic realm="WSMAN"'], ("Negotiate", 'Basic realm="WSMAN"')),
        (["Negotiate YII+/a==, Basic realm=x"], ("Negotiate YII+/a==", "Basic realm=x")),
        (
            ['Digest realm="a, b", nonce="c=d", qop = auth, NTLM'],
            ('Digest realm="a, b", nonce="c=d", qop = auth', "NTLM"),
        ),
        ([r'Basic realm="a\", Evil", charset="UTF-8"'], (r'Basic realm="a\", Evil", charset="UTF-8"',)),
        (['Basic realm="no end, Negotiate'], ('Basic realm="no end, Negotiate',)),
    ],
)
def test_challenges_folded_or_not(values: list[str], challenges: tuple[str, ...]) -> None:
    assert split_challenges(values) == challenges


@given(st.lists(st.text(max_size=60), max_size=3))
def test_challenges_of_any_text(values: list[str]) -> None:
    split_challenges(values)
