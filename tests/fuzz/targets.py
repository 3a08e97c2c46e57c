"""The readers of bytes that come from the network or from other computers, each as a function of bytes.

Each must end, with a value or with an error of ours. Where two ways lead to one result they are compared as well.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Final, cast

from remotejobs import model
from remotejobs.auth.challenges import offered, parameters, token
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.digest import DigestContext
from remotejobs.auth.tokens import Contexts
from remotejobs.doctor import asking, certificates, steps
from remotejobs.errors import FaultError, RemoteJobsError, UsageError
from remotejobs.model import Endpoint, Limits, Record, SessionOption, Stream
from remotejobs.ports import Reply
from remotejobs.session.exchange import read_reply
from remotejobs.session.hints import is_second_hop
from remotejobs.session.outcomes import failure_of
from remotejobs.store.imported import read_job
from remotejobs.transport.answers import AnswerReader, split_challenges
from remotejobs.transport.certificates import Certificate, read_certificate, server_end_point
from remotejobs.transport.failures import not_tls
from remotejobs.transport.sealed import is_sealed, unseal
from remotejobs.wsman import about, discovery, received, shells, winrs
from remotejobs.wsman.clixml.read import deserialize, type_names
from remotejobs.wsman.clixml.records import error_record, from_clixml
from remotejobs.wsman.clixml.values import PSObject, SecureString, secure_strings, text
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.envelopes import read_answer
from remotejobs.wsman.faults import meaning
from remotejobs.wsman.pipes import Pipes, codec_of
from remotejobs.wsman.psrp import hostcalls, prompts
from remotejobs.wsman.psrp.fragments import Defragmenter, fragments
from remotejobs.wsman.psrp.messages import MessageType, write_message
from remotejobs.wsman.psrp.runspace import Runspace
from remotejobs.wsman.psrp.sessionkey import KeyPair, secret_names
from tests.fuzz import screens
from tests.fuzz.harness import Target
from tests.fuzz.seeds import (
    BETWEEN,
    CALLS,
    CERTIFICATES,
    CHALLENGES,
    CLIXML,
    DATES,
    ENVELOPES,
    HTTP,
    ID,
    MESSAGES,
    NTLM,
    PIPES,
    TLS,
    Clear,
    framed,
    jobs,
    sealed_bodies,
)

_POOL, _PIPELINE = uuid.UUID(int=1), uuid.UUID(int=2)
_LIMITS: Final = Limits(header_bytes=4096, header_count=40, body_bytes=16 * 1024)
_ANSWERS: Final = [
    ("", "Yes"),
    ("Name", "x"),
    ("*", "y"),
    ("ReadKey", "z"),
    ("nobody knows", SecureString.named("Answers[x]")),
]
_COPIED: Final = 100_000, 200  # lines of Python: references are written out, as far as that may be
_RELATES_TO: Final = re.compile(rb"RelatesTo[^>]{0,80}>([^<]{1,60})<")


def outcome(function: Callable[[], Any]) -> Any:
    """What a function gives, or the kind of error that it raises."""
    try:
        return function()
    except RemoteJobsError as error:
        assert error.message
        json.dumps(error.to_dict())
        return type(error)


# HTTP


def http(data: bytes) -> None:
    """An answer, whole and in pieces."""

    def read(size: int) -> Reply | None:
        reader = AnswerReader(_LIMITS, "web01:5985")
        for at in range(0, len(data), size):
            reply = reader.feed(data[at : at + size])
            if reply is not None:
                return reply
        return reader.end()

    assert len(not_tls("web01:5986", data).message) < 1000
    whole = outcome(partial(read, len(data) or 1))
    pieces = outcome(partial(read, 7))
    if isinstance(whole, Reply):
        assert len(whole.body) <= _LIMITS.body_bytes
        assert pieces == whole or isinstance(pieces, type)  # a piece may be refused for what follows the answer


def challenges(data: bytes) -> None:
    """Values of WWW-Authenticate, one a line, to the grammar and to Digest."""
    values = split_challenges(data.decode("latin-1").split("\n"))
    offered(values)
    for scheme in ("Negotiate", "CredSSP", "Digest"):
        with suppress(ValueError):  # what its callers expect
            token(scheme, values)
        list(parameters(scheme, values))
    digest = DigestContext(Credential("user", Secret("secret")), Endpoint("web01", 5986, ssl=True))
    steps = digest.steps(None)
    assert next(steps) == ""
    with suppress(StopIteration):
        for _ in range(3):
            header = steps.send(values)
            assert "\r" not in header
            assert "\n" not in header


def negotiate(data: bytes) -> None:
    """The tokens of a host, one a line, to NTLM."""
    endpoint = Endpoint("10.0.0.1", 5985, ssl=False)  # an address: no ticket is asked for
    context = Contexts(SessionOption()).context("Negotiate", Credential("user", Secret("secret")), endpoint)
    steps = context.steps(None)
    next(steps)
    with suppress(StopIteration):
        for line in data.split(b"\n"):
            steps.send([f"Negotiate {base64.b64encode(line).decode()}"])
    context.sealer()


def credssp(data: bytes) -> None:
    """The tokens of a host, one a line in base64, to CredSSP: TLS records that are none of its TLS."""
    endpoint = Endpoint("web01", 5985, ssl=False)
    context = _contexts().context("CredSSP", Credential("user", Secret("secret")), endpoint)
    steps = context.steps(None)
    next(steps)
    with suppress(StopIteration):
        for line in data.split(b"\n"):
            steps.send([f"CredSSP {line.decode('latin-1')}"])
    context.sealer()


@cache
def _contexts() -> Contexts:
    return Contexts(SessionOption())


def sealed(data: bytes) -> None:
    """A Content-Type in the first line, then a sealed body."""
    kind, _, body = data.partition(b"\n")
    is_sealed(kind.decode("latin-1"))
    clear = unseal(Clear(), body)
    assert len(clear) < len(body)


# SOAP


def _both(read: Callable[[bytes, str], Any], data: bytes, message_id: str) -> None:
    """As it is, and with a comment that sends it to the XML parser."""
    slow = data.replace(b"<s:Header>", b"<!-- --><s:Header>", 1)
    assert outcome(lambda: read(data, message_id)) == outcome(lambda: read(slow, message_id))


def envelopes(data: bytes) -> None:
    """An answer to each of our requests."""
    found = _RELATES_TO.search(data)
    message_id = found[1].decode("utf-8", "replace").strip() if found else ID
    for read in (received.read_received, shells.read_created, shells.read_command):
        _both(read, data, message_id)
    for other in (about.read_config, discovery.read_shell, shells.read_connected, winrs.read_output):
        outcome(partial(other, data, message_id))
    for status in (403, 500):
        outcome(partial(read_reply, Reply(status, data), message_id, read_answer))
    outcome(partial(about.read_identity, data, ""))
    page = outcome(partial(discovery.read_page, data, message_id))
    if isinstance(page, discovery.Page):
        for item in page.items:
            discovery.shell_of(item)
            discovery.command_of(item)
    try:
        discovery.read_shell(data, message_id)
    except FaultError as error:
        meaning(error)
        assert error.message.isprintable()
    except RemoteJobsError:
        pass


# Programs


def pipes(data: bytes) -> None:
    """What a program writes: a code page in the first line, then pieces with the name of a stream before each."""
    head, _, rest = data.partition(b"\n")
    try:
        code_page = int(head[:5])
        codec_of(code_page)
    except (ValueError, RemoteJobsError):
        code_page = 65001
    heads = [each.partition(b" ") for each in rest.split(BETWEEN)]
    pieces = [(name.decode("latin-1"), piece) for name, _, piece in heads]
    whole = list(Pipes(code_page).feed(pieces, last=True))
    reader = Pipes(code_page)
    bits = [(name, piece[at : at + 1]) for name, piece in pieces for at in range(len(piece))]
    parts = [record for bit in bits for record in reader.feed([bit])]
    assert [*parts, *reader.feed((), last=True)] == whole
    for record in whole:
        str(from_clixml(record.stream, deserialize(record.raw)))


# PSRP


def framing(data: bytes) -> None:
    """A stream of fragments, whole and in pieces, from its beginning and taken up in the middle."""
    for after in (None, 2):
        whole = outcome(lambda after=after: Defragmenter(10_000, after=after).feed(data))  # type: ignore[misc]

        def pieces(after: int | None = after) -> list[tuple[int, bytes]]:
            reader = Defragmenter(10_000, after=after)
            return [message for at in range(0, len(data), 5) for message in reader.feed(data[at : at + 5])]

        assert outcome(pieces) == whole


def messages(data: bytes) -> None:
    """Messages to a runspace pool and its pipeline: a type in hexadecimal, a blank, the payload."""
    space = Runspace(_POOL, _PIPELINE, b"<Nil/>", b"<Nil/>", max_object=100_000)
    pool: list[bytes] = []
    pipeline: list[bytes] = []
    for number, piece in enumerate(data.split(BETWEEN)):
        head, _, payload = piece.partition(b" ")
        try:
            kind = int(head[:9], 16) & 0xFFFFFFFF
        except ValueError:
            kind = 0
        where, pid = (pool, None) if kind < 0x41000 else (pipeline, _PIPELINE)
        message = kind.to_bytes(4, "little")
        blob = write_message(MessageType.PIPELINE_STATE, _POOL, pid, payload)
        where += fragments(number + 1, blob[:4] + message + blob[8:], 32768)
    outcome(lambda: space.connected(b"".join(pool)))
    outcome(lambda: space.feed_pool(b"".join(pool)))
    records = outcome(lambda: [record for each in pipeline for record in space.feed_pipeline(each)])
    for record in records if isinstance(records, list) else ():
        outcome(lambda record=record: str(from_clixml(record.stream, deserialize(record.raw))))  # type: ignore[misc]
    if space.failure is not None:
        outcome(lambda: str(error_record(space.failure or b"")))
    if space.encrypted_key is not None:
        outcome(lambda: _keys().session_key(space.encrypted_key or b""))
    assert all(len(reply) < 40_000 for reply in space.take_replies())


@cache
def _keys() -> KeyPair:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return KeyPair(rsa.generate_private_key(65537, 1024))


def hostcall(data: bytes) -> None:
    """A host call, refused and made a record of."""
    call = hostcalls.read(data)
    assert len(call.question) <= 1000
    assert isinstance(call.text, str)
    assert call.exit_code is None or isinstance(call.exit_code, int)
    deserialize(hostcalls.refuse(call, prompts.advice(call)))
    answered = prompts.Answers(_ANSWERS).reply(call)
    if answered is not None:
        assert not secret_names(hostcalls.respond(call, answered[0]))
    for stream in (Stream.Information, Stream.Warning, Stream.Progress):
        made = hostcalls.as_record(call, stream)
        if made is not None:
            str(from_clixml(stream, deserialize(made)))
        outcome(partial(hostcalls.repeats, call, stream, data))


def clixml(data: bytes) -> None:
    """An element: its value, its text, the record that it is on each stream, and written again."""
    names = type_names(data)
    assert all(isinstance(name, str) for name in names)
    value = deserialize(data)
    text(value)
    repr(value)
    for stream in Stream:
        record = from_clixml(stream, value)
        text(record) if stream is Stream.Output else str(record)
    error = error_record(data)
    assert isinstance(error.category_info, str)
    assert all(isinstance(words, str) for words in failure_of(data))
    is_second_hop(data, "web01")
    assert all(len(words) <= 60 for words in asking._versions([Record(1, Stream.Output, data, 1, 0.0)]).values())
    if isinstance(value, PSObject):
        dict(value.properties)
    for secret in secure_strings(value):
        with suppress(RemoteJobsError):
            secret.reveal()
    try:
        written = serialize(value)
    except UsageError:
        return
    try:
        deserialize(written)
    except RemoteJobsError as error:
        raise AssertionError(f"what was written cannot be read: {error.message}") from error


# TLS


def certificate(data: bytes) -> None:
    """A server's certificate."""
    for read in (server_end_point, read_certificate, certificates.read):
        with suppress(ValueError):  # what its callers expect
            found = read(data)
            if isinstance(found, Certificate):
                assert isinstance(found.matches("web01.corp.example"), bool)
                assert all(isinstance(name, str) for name in found.names)


def date(data: bytes) -> None:
    """The Date of an answer."""
    endpoint = Endpoint("web01", 5986, ssl=True)
    stamp = data.decode("latin-1"), 1.8e9
    host = {"endpoint": endpoint, "target": model.Target("web01"), "user": "u", "mechanism": "Basic", "kerberos": False}
    patient = SimpleNamespace(date=stamp, **host)
    with suppress(StopIteration):
        steps.clock(cast("Any", patient)).send(None)


# Files


def job(data: bytes) -> None:
    """The file of a job, packed or as it is before that."""
    packed = data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1, mtime=0)
    held = read_job(io.BytesIO(packed), "x.rjob")
    assert sum(map(len, held.pages)) <= data.count(b"\n") or packed is data


TARGETS: Final[dict[str, Target]] = {
    "http": Target(
        http, HTTP, (b"\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 200 OK")
    ),
    "challenges": Target(
        challenges, CHALLENGES, (b"Digest ", b"auth", b'="', b", ", b"nonce=", b"stale=true", b"realm=")
    ),
    "negotiate": Target(negotiate, (NTLM, NTLM + b"\n" + NTLM, b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x00"), (NTLM[:12],)),
    "credssp": Target(credssp, (*map(base64.b64encode, TLS), b"\n".join(map(base64.b64encode, TLS)))),
    "certificate": Target(
        certificate, CERTIFICATES, (b"\x30\x80", b"\x06\x03\x55\x1d\x11", b"\x82\x01a", b"\x84\xff\xff\xff\xff")
    ),
    "date": Target(date, DATES, (b"GMT", b"+9999", b"-0000", b":", b"9999", b"Jan")),
    "sealed": Target(sealed, sealed_bodies(), (b"--Encrypted Boundary\r\n", b"--Encrypted Boundary--\r\n")),
    "envelopes": Target(
        envelopes, ENVELOPES, (b"<rsp:Stream/>", b"<s:Body>", b"<s:Fault/>", b"<a:RelatesTo>", b"rsp:")
    ),
    "pipes": Target(
        pipes,
        PIPES,
        (BETWEEN, b"stderr ", b"stdout ", b"#< CLIXML\r\n", b"\r", b"\n", b"_x000D__x000A_"),
        (20_000, 600),  # byte by byte as well, and each line on stderr is a record
    ),
    "framing": Target(framing, framed(), tuple(fragments(9, b"x", 30))),
    "messages": Target(messages, MESSAGES, (BETWEEN, b"41100 ", b"41006 ", b"21005 ", b"<Nil/>", *CALLS), _COPIED),
    "hostcall": Target(hostcall, CALLS, (b"<Nil/>", b"<S>x</S>", b"<LST/>", b'N="mp"', b'N="ci"', b'N="mi"')),
    "clixml": Target(
        clixml,
        CLIXML,
        (
            b"<Nil/>",
            b'<Ref RefId="0"/>',
            b"<LST/>",
            b"<Obj>",
            b"</Obj>",
            b'<TNRef RefId="0"/>',
            b"<ToString>x</ToString>",
        ),
        _COPIED,
    ),
    "views": Target(screens.shown, screens.SEEDS, screens.WORDS, screens.LINES, screens.MEMORY),
    "job": Target(job, jobs(), (b'"order":1,', b'"unread":1,', b"[1,0,1,1,1,1.0,", b"null", b"[]", b"{}", b"1e999")),
}
