"""PSRP's bytes on the server's side: message types, messages and their fragments (MS-PSRP 2.2.1 to 2.2.4).

Knows bytes. Must not know CLIXML or what a message means. What comes in is checked as PowerShell 7 checks it.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

FRAGMENT_SIZE = 32768  # header included, as real servers cut
_FRAGMENT = struct.Struct(">QQBI")
_MESSAGE = struct.Struct("<iI16s16s")
_BOM = b"\xef\xbb\xbf"
_NIL = uuid.UUID(int=0)


class MessageType(IntEnum):
    """The types of messages (MS-PSRP 2.2.1)."""

    SESSION_CAPABILITY = 0x00010002
    INIT_RUNSPACEPOOL = 0x00010004
    PUBLIC_KEY = 0x00010005
    ENCRYPTED_SESSION_KEY = 0x00010006
    PUBLIC_KEY_REQUEST = 0x00010007
    CONNECT_RUNSPACEPOOL = 0x00010008
    SET_MAX_RUNSPACES = 0x00021002
    SET_MIN_RUNSPACES = 0x00021003
    RUNSPACE_AVAILABILITY = 0x00021004
    RUNSPACEPOOL_STATE = 0x00021005
    CREATE_PIPELINE = 0x00021006
    GET_AVAILABLE_RUNSPACES = 0x00021007
    USER_EVENT = 0x00021008
    APPLICATION_PRIVATE_DATA = 0x00021009
    GET_COMMAND_METADATA = 0x0002100A
    RUNSPACEPOOL_INIT_DATA = 0x0002100B
    RESET_RUNSPACE_STATE = 0x0002100C
    RUNSPACEPOOL_HOST_CALL = 0x00021100
    RUNSPACEPOOL_HOST_RESPONSE = 0x00021101
    PIPELINE_INPUT = 0x00041002
    END_OF_PIPELINE_INPUT = 0x00041003
    PIPELINE_OUTPUT = 0x00041004
    ERROR_RECORD = 0x00041005
    PIPELINE_STATE = 0x00041006
    DEBUG_RECORD = 0x00041007
    VERBOSE_RECORD = 0x00041008
    WARNING_RECORD = 0x00041009
    PROGRESS_RECORD = 0x00041010
    INFORMATION_RECORD = 0x00041011
    PIPELINE_HOST_CALL = 0x00041100
    PIPELINE_HOST_RESPONSE = 0x00041101


class WireError(ValueError):
    """Bytes that are no PSRP, or go past a limit."""


class Message(NamedTuple):
    """One message; `payload` is CLIXML without a byte order mark, empty for `$null`."""

    type: int
    pool_id: uuid.UUID
    pipeline_id: uuid.UUID
    payload: bytes


def pack_message(kind: int, pool_id: uuid.UUID, pipeline_id: uuid.UUID | None, payload: bytes, to: int = 1) -> bytes:
    """A message for the client (`to` 1), or the server (2); only a payload gets a byte order mark."""
    head = _MESSAGE.pack(to, kind, pool_id.bytes_le, (pipeline_id or _NIL).bytes_le)
    return head + (_BOM + payload if payload else b"")


def unpack_message(data: bytes, *, to: int = 2) -> Message:
    """Read a message that is meant for the server (`to` 2), or the client (1).

    Raises:
        WireError: It is too short, or for the other side.
    """
    if len(data) < _MESSAGE.size:
        raise WireError(f"a message of {len(data)} bytes is shorter than its header")
    destination, kind, pool, pipeline = _MESSAGE.unpack_from(data)
    if destination != to:
        raise WireError(f"a message for destination {destination}")
    return Message(
        kind, uuid.UUID(bytes_le=pool), uuid.UUID(bytes_le=pipeline), data[_MESSAGE.size :].removeprefix(_BOM)
    )


def fragments(object_id: int, message: bytes, size: int = FRAGMENT_SIZE) -> Iterator[bytes]:
    """Cut a message into fragments of at most `size` bytes, headers included."""
    room = size - _FRAGMENT.size
    last = max(0, (len(message) - 1) // room)
    for number in range(last + 1):
        part = message[number * room : (number + 1) * room]
        flags = (number == 0) | (number == last) << 1
        yield _FRAGMENT.pack(object_id, number, flags, len(part)) + part


class Defragmenter:
    """Joins the fragments of one stream to messages. They may be cut anywhere, inside a header too.

    Args:
        limit: Bytes of one message; PowerShell's MaximumReceivedObjectSize.
    """

    def __init__(self, limit: int = 200 * 1024 * 1024) -> None:
        self._limit = limit
        self._raw = bytearray()
        self._message = bytearray()
        self._expected: tuple[int, int] | None = None  # object id and the next fragment id

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the messages that they complete.

        Raises:
            WireError: A gap, a missing or second start, another object before the end of one, or past the limit.
        """
        self._raw += data
        messages: list[bytes] = []
        while len(self._raw) >= _FRAGMENT.size:
            object_id, number, flags, length = _FRAGMENT.unpack_from(self._raw)
            if len(self._message) + length > self._limit:
                raise WireError(f"an object of more than {self._limit} bytes")
            if len(self._raw) < _FRAGMENT.size + length:
                break
            self._check(object_id, number, flags)
            self._message += self._raw[_FRAGMENT.size : _FRAGMENT.size + length]
            del self._raw[: _FRAGMENT.size + length]
            self._expected = (object_id, number + 1)
            if flags & 2:
                messages.append(bytes(self._message))
                self._message.clear()
                self._expected = None
        return messages

    def _check(self, object_id: int, number: int, flags: int) -> None:
        if not object_id:
            raise WireError("object id 0")
        if self._expected is None:
            if not flags & 1:
                raise WireError(f"fragment {number} of object {object_id} without its start")
        elif flags & 1 or self._expected != (object_id, number):
            raise WireError(
                f"fragment {number} of object {object_id} where fragment {self._expected[1]} of object "
                f"{self._expected[0]} has to come"
            )
