"""Reading HTTP answers: bytes in, a Reply out. One reader for one connection, one answer at a time.

Knows HTTP/1.x (RFC 9110, 9112) by httptools, and the limits of a job. Must not know sockets, TLS or what the answers
mean. httptools sets no limits, does not know when a connection ends, and stops at upgrades: that is done here.
Bytes are counted as they come, so that it sees at most one received block past a limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.model import Limits
from remotejobs.ports import Reply
from remotejobs.transport.failures import shown

_OUTSIDE_QUOTES = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETER = re.compile(r"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=")
_TLS_ALERT = b"\x15\x03"


class AnswerReader:
    """Reads the answers of one server.

    Args:
        limits: Of heads, bodies and the number of headers.
        place: The host and port as messages name them.
    """

    __slots__ = (
        "_body",
        "_challenges",
        "_complete",
        "_content_type",
        "_fault",
        "_fed",
        "_framed",
        "_headers",
        "_in_body",
        "_limits",
        "_parser",
        "_place",
        "_size",
        "_status",
        "reusable",
    )

    def __init__(self, limits: Limits, place: str) -> None:
        self._limits, self._place = limits, place
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """A request goes out: what comes next is its answer."""
        self._fed = self._headers = self._size = 0
        self._fault: ProtocolError | None = None
        self._complete = False
        self.reusable = False  # after a complete answer: may the connection carry another request?
        self._status = 0
        self._content_type = ""
        self._challenges: list[str] = []
        self._body: list[bytes] = []
        self._in_body = self._framed = False

    @property
    def begun(self) -> bool:
        """Has anything of the answer come?"""
        return self._fed > 0

    def feed(self, data: bytes | memoryview) -> Reply | None:
        """Take bytes of the connection; the reply once it is complete.

        Raises:
            ProtocolError: This is not HTTP, or not an answer.
            LimitError: Past a limit.
        """
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._fault = self._fault or self._upgraded()
        except HttpParserError as error:
            if not self._complete:  # else it is about what came after the answer
                raise self._fault or self._not_http(error, bytes(data)) from None
        if self._fault is not None:
            raise self._fault
        # What is not body is heads, chunk sizes and trailers. A byte of body may bring one of these, so that small
        # chunks are fine.
        if self._fed - 2 * self._size > self._limits.header_bytes:
            raise LimitError(
                f"{self._place} sent more than {self._limits.header_bytes} bytes of HTTP headers.", limit="header_bytes"
            )
        return self._reply() if self._complete else None

    def end(self) -> Reply | None:
        """The connection has ended in order: the reply, where its end is what ends its body (RFC 9112 6.3)."""
        if self._in_body and not self._framed:
            self.reusable = False
            return self._reply()
        return None

    def close(self) -> None:
        """Let go of the parser: it and the reader hold each other."""
        del self._parser

    def _reply(self) -> Reply:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        challenges = split_challenges(self._challenges) if self._challenges else ()
        return Reply(self._status, body, self._content_type, challenges)

    # what httptools calls; an exception from here would lose its type on the way

    def on_message_begin(self) -> None:
        """A status line begins."""
        if self._complete:
            self.reusable = False  # another answer, which nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self._headers += 1
        if self._headers > self._limits.header_count:
            self._fault = LimitError(
                f"{self._place} sent more than {self._limits.header_count} HTTP headers.", limit="header_count"
            )
        if self._in_body or self._complete:
            return  # a trailer: says nothing that we need
        name = name.lower()
        if name == b"content-length" or name == b"transfer-encoding":
            self._framed = True
        elif name == b"content-type":
            self._content_type = value.decode("latin-1")
        elif name == b"www-authenticate":
            self._challenges.append(value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The empty line."""
        if not self._complete:
            self._status = self._parser.get_status_code()
            self._in_body = self._status >= 200

    def on_body(self, data: bytes) -> None:
        """Some of the body, chunk sizes taken off."""
        if self._complete:
            return
        self._size += len(data)
        if self._size <= self._limits.body_bytes:
            self._body.append(data)
        elif self._fault is None:
            self._body = []
            self._fault = LimitError(
                f"{self._place} sent an answer of more than {self._limits.body_bytes} bytes.", limit="body_bytes"
            )

    def on_message_complete(self) -> None:
        """The end of an answer whose length is known."""
        if self._status == 101:
            self._fault = self._fault or self._upgraded()
        elif self._status < 200:
            self._framed = False  # an interim answer; the real one is to come
        elif not self._complete:
            self._complete = True
            self._in_body = False
            self.reusable = self._parser.should_keep_alive()

    def _upgraded(self) -> ProtocolError:
        return ProtocolError(f"{self._place} answered with a change of protocol that nobody asked for (HTTP 101).")

    def _not_http(self, error: HttpParserError, data: bytes) -> ProtocolError:
        if self._fed > len(data) or data.startswith(b"HTTP/"):
            return ProtocolError(f"{self._place} broke HTTP in the middle of its answer ({error}).")
        if data.startswith(_TLS_ALERT):
            return ProtocolError(f"{self._place} speaks TLS, and was asked in clear. Give -UseSSL.", reason="tls")
        return ProtocolError(f"{self._place} answered with something that is not HTTP ({error}): {shown(data)}.")


def split_challenges(values: Iterable[str]) -> tuple[str, ...]:
    """The challenges in the values of WWW-Authenticate, folded or not: `a, b x=1, y=2` gives `a` and `b x=1, y=2`.

    RFC 9110 11.6.1: after a comma comes either a parameter, which has `=`, of the challenge before it, or a scheme.
    """
    challenges: list[str] = []
    for value in values:
        first = True
        for piece in _OUTSIDE_QUOTES.findall(value):
            if not first and _PARAMETER.match(piece):
                challenges[-1] += "," + piece.rstrip()
            elif piece.strip():
                challenges.append(piece.strip())
                first = False
    return tuple(challenges)
