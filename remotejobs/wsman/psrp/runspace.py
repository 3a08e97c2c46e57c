"""The client's side of one runspace pool with one pipeline (MS-PSRP 3.1), without I/O.

Knows messages, their order, and which of them are records. Must not know what carries the fragments (WS-Man or stdio),
time, or jobs. Bytes in, records and a few facts out; bytes to send are asked for.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from remotejobs.errors import LimitError, ProtocolError
from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.psrp import hostcalls, prompts
from remotejobs.wsman.psrp.fragments import Defragmenter, fragments
from remotejobs.wsman.psrp.messages import (
    ACCEPTED_VERSIONS,
    CONNECT_RUNSPACEPOOL,
    SESSION_CAPABILITY,
    MessageType,
    read_message,
    write_message,
)

_RECORDS: dict[int, Stream] = {
    MessageType.PIPELINE_OUTPUT: Stream.Output,
    MessageType.ERROR_RECORD: Stream.Error,
    MessageType.WARNING_RECORD: Stream.Warning,
    MessageType.VERBOSE_RECORD: Stream.Verbose,
    MessageType.DEBUG_RECORD: Stream.Debug,
    MessageType.INFORMATION_RECORD: Stream.Information,
    MessageType.PROGRESS_RECORD: Stream.Progress,
}
# Object ids of a client begin anywhere; one that takes over begins past all that the one before can have used.
_TAKEN_OVER = 1 << 32
_MOST_KEY_REQUESTS = 8
_MOST_QUESTIONS = 10_000  # -Confirm asks for each file; a host that asks for ever has to stop somewhere
_STATE = re.compile(rb'<Obj RefId="0"><MS><I32 N="(?:Pipeline|Runspace)State">(\d{1,3})</I32>')
_VERSION = re.compile(rb'<Obj RefId="0"><MS><Version N="protocolversion">(\d\.\d)</Version>')


class PoolState(IntEnum):
    """Runspace pool states as they come on the wire."""

    BeforeOpen = 0
    Opened = 2
    Closed = 3
    Closing = 4
    Broken = 5


class PipelineState(IntEnum):
    """Pipeline states as they come on the wire; only the last three are ever sent."""

    NotStarted = 0
    Running = 1
    Stopping = 2
    Stopped = 3
    Completed = 4
    Failed = 5


class RecordData(NamedTuple):
    """A record as the server sent it, or as we made it from a host call (then its object id is negative)."""

    stream: Stream
    object_id: int
    raw: bytes


class Reply(NamedTuple):
    """The answer to a host call, to be sent.

    Attributes:
        kind: Of the message.
        payload: Its payload; a SecureString in it is the name of a secret.
        note: What a user is told of it, as a record.
    """

    kind: MessageType
    payload: bytes
    note: RecordData | None


class Runspace:
    """One pool, one pipeline.

    Args:
        pool_id: RunspacePool id, the shell's id under WS-Man.
        pipeline_id: Pipeline id, the command's id under WS-Man.
        init: The payload of INIT_RUNSPACEPOOL, the same for every host of a job.
        pipeline: The payload of CREATE_PIPELINE, likewise, unless it has secrets: then they are to be filled in.
        max_object: Bytes of one message from the server.
        after: Another client had the pipeline's records up to this object id: it is taken up there. None where we
            begin it.
        answers: To what the script asks its user; all that they do not answer is refused.
    """

    __slots__ = (
        "_after",
        "_answers",
        "_init",
        "_objects",
        "_pipe",
        "_pool",
        "_questions",
        "_shown",
        "encrypted_key",
        "ended",
        "exit_code",
        "failure",
        "key_requests",
        "max_object",
        "pipeline",
        "pipeline_id",
        "pipeline_state",
        "pool_id",
        "pool_reason",
        "pool_state",
        "replies",
        "version",
    )

    def __init__(
        self,
        pool_id: uuid.UUID,
        pipeline_id: uuid.UUID,
        init: bytes,
        pipeline: bytes,
        *,
        max_object: int,
        after: int | None = None,
        answers: prompts.Answers | None = None,
    ) -> None:
        self.pool_id = pool_id
        self.pipeline_id = pipeline_id
        self.max_object = max_object
        self.pipeline = pipeline
        self._init = init
        self._answers = answers
        self._questions = 0
        self._after = 0 if after is None else after
        self._objects = 0 if after is None else _TAKEN_OVER
        self._pool = Defragmenter(max_object)
        self._pipe = Defragmenter(max_object, after=after)
        # The record just before, if it is of a kind that a host call may follow to show it.
        self._shown: RecordData | None = None
        self.version = ""
        self.pool_state = PoolState.BeforeOpen
        self.pool_reason = ""
        self.pipeline_state = PipelineState.NotStarted
        self.ended = False  # the pipeline has come to a state after which nothing comes
        # The whole PIPELINE_STATE message of a failure: readers find the error record in it.
        self.failure: bytes | None = None
        self.exit_code: int | None = None
        # The host's answer to the exchange of keys, and how often it has asked for one.
        self.encrypted_key: bytes | None = None
        self.key_requests = 0
        self.replies: list[Reply] = []  # to be sent on the stream `pr`

    def opening(self, size: int) -> list[bytes]:
        """The bytes that open the pool, in packets of at most `size` bytes: the first goes with Create."""
        pieces = [
            *self._cut(MessageType.SESSION_CAPABILITY, SESSION_CAPABILITY, None, size),
            *self._cut(MessageType.INIT_RUNSPACEPOOL, self._init, None, size),
        ]
        return list(_join(pieces, size))

    def exchanging(self, public_key: bytes, size: int) -> list[bytes]:
        """The bytes that tell our public key, a payload of PUBLIC_KEY; `encrypted_key` is set by the answer to them."""
        return list(self._cut(MessageType.PUBLIC_KEY, public_key, None, size))

    def starting(self, size: int, inputs: Iterable[bytes] | None = None) -> list[bytes]:
        """The bytes that start the pipeline: the first packet goes with Command, the others with Send.

        Args:
            size: Bytes of a packet at most.
            inputs: Payloads of PIPELINE_INPUT, which go up with it, and their end; None where there is no input or it
                comes by `feeding`.
        """
        self.pipeline_state = PipelineState.Running
        packets = list(self._cut(MessageType.CREATE_PIPELINE, self.pipeline, self.pipeline_id, size))
        return packets if inputs is None else [*packets, *self.feeding(inputs, size, last=True)]

    def feeding(self, inputs: Iterable[bytes], size: int, *, last: bool) -> Iterator[bytes]:
        """The packets that give the pipeline input: payloads of PIPELINE_INPUT, and with the last their end."""
        pieces = [p for data in inputs for p in self._cut(MessageType.PIPELINE_INPUT, data, self.pipeline_id, size)]
        if last:
            pieces += self._cut(MessageType.END_OF_PIPELINE_INPUT, b"", self.pipeline_id, size)
        return _join(pieces, size)

    def connecting(self, size: int) -> bytes:
        """The bytes that take the pool over: two messages of one fragment each (MS-PSRP 3.1.5.4.28)."""
        pieces = [
            *self._cut(MessageType.SESSION_CAPABILITY, SESSION_CAPABILITY, None, size),
            *self._cut(MessageType.CONNECT_RUNSPACEPOOL, CONNECT_RUNSPACEPOOL, None, size),
        ]
        return b"".join(pieces)

    def connected(self, data: bytes) -> None:
        """Take the server's answer to connecting().

        Raises:
            ProtocolError: It is corrupt, or the server speaks a version that we do not.
        """
        for _, blob in Defragmenter(self.max_object).feed(data):
            kind, payload = read_message(blob)
            if kind == MessageType.SESSION_CAPABILITY:
                self._negotiate(payload)
            elif kind == MessageType.RUNSPACEPOOL_INIT_DATA:
                self.pool_state = PoolState.Opened

    def resume(self) -> None:
        """The pipeline runs already: another client began it."""
        self.pipeline_state = PipelineState.Running

    def feed_pool(self, data: bytes) -> None:
        """Take bytes of the pool's stream.

        Raises:
            ProtocolError: They are corrupt, or the server speaks a version that we do not.
        """
        for _, blob in self._pool.feed(data):
            kind, payload = read_message(blob)
            if kind == MessageType.SESSION_CAPABILITY:
                self._negotiate(payload)
            elif kind == MessageType.RUNSPACEPOOL_STATE:
                self._pool_changed(payload)
            elif kind == MessageType.RUNSPACEPOOL_HOST_CALL:
                self._host_call(payload, 0, None)
            elif kind == MessageType.ENCRYPTED_SESSION_KEY:
                self.encrypted_key = payload
            elif kind == MessageType.PUBLIC_KEY_REQUEST:
                self.key_requests += 1
                if self.key_requests > _MOST_KEY_REQUESTS:
                    raise ProtocolError(f"The host asked for our public key more than {_MOST_KEY_REQUESTS} times.")
            # Everything else is news that one script needs none of; what nobody knows must not break the pool.

    def feed_pipeline(self, data: bytes) -> list[RecordData]:
        """Take bytes of the pipeline's stream, return the records in them.

        Raises:
            ProtocolError: They are corrupt.
        """
        records: list[RecordData] = []
        for object_id, blob in self._pipe.feed(data):
            kind, payload = read_message(blob)
            stream = _RECORDS.get(kind)
            if stream is not None:
                if self.ended:
                    continue  # nothing counts after the end (MS-PSRP 3.1.5.4.21)
                record = RecordData(stream, object_id, payload)
                records.append(record)
                self._shown = record if stream in hostcalls.SHOWN else None
            elif kind == MessageType.PIPELINE_STATE:
                self._pipeline_changed(payload)
            elif kind == MessageType.PIPELINE_HOST_CALL:
                self._host_call(payload, object_id, records)
        if self._after and records:
            return [record for record in records if abs(record.object_id) > self._after]
        return records

    def take_replies(self) -> list[Reply]:
        """Take the answers to host calls that are to be sent."""
        taken, self.replies = self.replies, []
        return taken

    def replying(self, reply: Reply, payload: bytes, size: int) -> list[bytes]:
        """The packets of a reply, whose payload may have been filled in."""
        pipeline = self.pipeline_id if reply.kind == MessageType.PIPELINE_HOST_RESPONSE else None
        return list(self._cut(reply.kind, payload, pipeline, size))

    @property
    def headless(self) -> int:
        """Messages of the pipeline of which only the end has come: their beginning went to another client."""
        return self._pipe.headless

    @property
    def closed(self) -> bool:
        """True when the pool has come to its end, in order or not."""
        return self.pool_state in (PoolState.Closing, PoolState.Closed, PoolState.Broken)

    @property
    def cut_short(self) -> bool:
        """True while a message of the pipeline has begun and not ended."""
        return self._pipe.incomplete

    def _cut(self, kind: MessageType, data: bytes, pipeline: uuid.UUID | None, size: int) -> Iterator[bytes]:
        self._objects += 1
        return fragments(self._objects, write_message(kind, self.pool_id, pipeline, data), size)

    def _negotiate(self, data: bytes) -> None:
        found = _VERSION.match(data)
        version = found[1].decode() if found else str(_member(data, "protocolversion"))
        if version not in ACCEPTED_VERSIONS:
            raise ProtocolError(
                f"The host speaks version {version[:20]} of the PowerShell remoting protocol; "
                f"{', '.join(ACCEPTED_VERSIONS)} are understood.",
                error_id="IncorrectProtocolVersion",
            )
        self.version = version

    def _pool_changed(self, data: bytes) -> None:
        state = _state(data)
        if state == PoolState.Broken:
            reason = deserialize(data)
            record = reason.get("ExceptionAsErrorRecord") if isinstance(reason, PSObject) else None
            self.pool_reason = str(record)[:500] if record is not None else ""
        if state in (PoolState.Opened, PoolState.Closed, PoolState.Closing, PoolState.Broken):
            self.pool_state = PoolState(state)

    def _pipeline_changed(self, data: bytes) -> None:
        state = _state(data)
        if self.ended or not 0 <= state <= PipelineState.Failed:
            return
        self.pipeline_state = PipelineState(state)
        self.ended = state >= PipelineState.Stopped
        if state == PipelineState.Failed:
            self.failure = data

    def _host_call(self, data: bytes, object_id: int, records: list[RecordData] | None) -> None:
        call = hostcalls.read(data)
        shown, self._shown = self._shown, None
        if call.method == hostcalls.SET_SHOULD_EXIT:
            self.exit_code = call.exit_code
        elif records is not None and object_id <= self._after:
            return  # answered, or made a record of, by who had the pipeline before
        elif call.call_id != hostcalls.VOID:
            self._asked(call, object_id, of_pipeline=records is not None)
        elif records is not None and not self.ended:
            stream = hostcalls.STREAMS.get(call.method)
            if stream and not shown and object_id == self._after + 1 and self._after:
                return  # most likely it shows the last record that the client before has had
            if stream and not (shown and shown.stream is stream and hostcalls.repeats(call, stream, shown.raw)):
                raw = hostcalls.as_record(call, stream)
                if raw is not None:
                    records.append(RecordData(stream, -object_id, raw))

    def _asked(self, call: hostcalls.HostCall, object_id: int, *, of_pipeline: bool) -> None:
        """Answer a call, or refuse it. Start-up scripts of a configuration, which the pool runs, get no answers."""
        self._questions += 1
        if self._questions > _MOST_QUESTIONS:
            raise LimitError(
                f"The script asked its user more than {_MOST_QUESTIONS:,} questions; it was ended.",
                error_id="HostCallLimitExceeded",
            )
        kind = MessageType.PIPELINE_HOST_RESPONSE if of_pipeline else MessageType.RUNSPACEPOOL_HOST_RESPONSE
        answer = self._answers.reply(call) if self._answers and of_pipeline else None
        if answer is None:
            payload = hostcalls.refuse(call, prompts.advice(call) if of_pipeline else "")
            self.replies.append(Reply(kind, payload, None))
            return
        result, words = answer
        note = hostcalls.informational(Stream.Verbose, f"Answered by -Answer: {words}")
        self.replies.append(Reply(kind, hostcalls.respond(call, result), RecordData(Stream.Verbose, -object_id, note)))


def _state(data: bytes) -> int:
    # Every server writes it like this; decoding the whole of it costs ten times as much.
    found = _STATE.match(data)
    state = int(found[1]) if found else _member(data, "PipelineState", "RunspaceState")
    if not isinstance(state, int):
        raise ProtocolError("A state message of the host says no state.")
    return state


def _member(data: bytes, *names: str) -> Any:
    value = deserialize(data)
    if isinstance(value, PSObject):
        for name in names:
            member = value.get(name)
            if member is not None:
                return member
    raise ProtocolError(f"A message of the host lacks its {' or '.join(names)}.")


def _join(pieces: list[bytes], size: int) -> Iterator[bytes]:
    """Put small fragments together as long as they fit one packet."""
    packet = b""
    for piece in pieces:
        if packet and len(packet) + len(piece) > size:
            yield packet
            packet = b""
        packet += piece
    if packet:
        yield packet
