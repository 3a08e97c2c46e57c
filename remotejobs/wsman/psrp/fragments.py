"""PSRP fragments (MS-PSRP 2.2.4): messages cut to fit a transport, and put together again.

Knows the 21-byte header. Must not know what a message says. A stream of fragments belongs to one guid, the pool's or a
pipeline's; its packets are slices that may be cut anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from remotejobs.errors import LimitError, ProtocolError

_HEADER = Struct(">qQBI")  # PowerShell's object ids are signed
HEADER_SIZE = _HEADER.size
_START, _END = 1, 2


def fragments(object_id: int, message: bytes, size: int) -> Iterator[bytes]:
    """Cut one message into fragments of at most `size` bytes, header included."""
    room = size - HEADER_SIZE
    if room < 1:
        raise ValueError("a fragment needs room for at least one byte")
    last = max(len(message) - 1, 0) // room
    for number in range(last + 1):
        piece = message[number * room : (number + 1) * room]
        flags = (_START if number == 0 else 0) | (_END if number == last else 0)
        yield _HEADER.pack(object_id, number, flags, len(piece)) + piece


class Defragmenter:
    """Puts the messages of one guid together.

    Only a gap of fragment ids inside one object is corruption. Object ids rise and skip; what comes a second time after
    a lost answer is dropped by its ids.

    Args:
        max_object: Bytes of one message; more raises LimitError.
        after: The stream is taken up where another client left it, which had all objects up to this id. It may begin
            in the middle of an object, whose beginning went to that client: such a one is passed over.
    """

    __slots__ = ("_after", "_buffer", "_last", "_max", "_need", "_next", "_object", "_parts", "_size", "headless")

    def __init__(self, max_object: int, *, after: int | None = None) -> None:
        self._max = max_object
        self._after = after
        self.headless = 0  # objects after `after` that were passed over
        self._buffer = bytearray()
        self._need = 0  # bytes of the buffer's fragment; fewer are not worth a look
        self._last = 0  # the highest object id that is complete
        self._object = 0  # the one being put together, 0 for none
        self._next = 0  # the fragment id that must come next
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def incomplete(self) -> bool:
        """True while a message or a fragment is cut short."""
        return bool(self._buffer or self._object)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes, return the messages that they complete as (object id, message).

        Raises:
            ProtocolError: A gap, a fragment of another message in the middle of one, or an id below 1.
            LimitError: A message is larger than allowed.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        done: list[tuple[int, bytes]] = []
        at, end, need = 0, len(data), HEADER_SIZE
        while end - at >= HEADER_SIZE:
            object_id, fragment_id, flags, length = _HEADER.unpack_from(data, at)
            if length > self._max:
                raise self._too_large()
            start = at + HEADER_SIZE
            if end - start < length:
                need += length
                break
            at = start + length
            if flags & 3 == 3 and not self._object and object_id > self._last and not fragment_id:
                self._last = object_id
                done.append((object_id, data[start:at]))
            else:
                self._take(object_id, fragment_id, flags, data[start:at], done)
        if at < end:
            self._buffer += memoryview(data)[at:]
            self._need = need
        return done

    def _take(self, object_id: int, number: int, flags: int, blob: bytes, done: list[tuple[int, bytes]]) -> None:
        if object_id < 1:
            raise ProtocolError(f"A fragment of the host has object id {object_id}; the first is 1.")
        if object_id <= self._last or (object_id == self._object and number < self._next):
            return  # seen before: the host repeats what it cannot know that we have
        if object_id != self._object:
            if self._object:
                raise ProtocolError(f"Fragments of object {object_id} came before the end of object {self._object}.")
            if not flags & _START or number:
                if self._after is None or self._last:
                    raise ProtocolError(f"Object {object_id} has no first fragment.")
                if flags & _END:
                    self._last = object_id
                    self.headless += object_id > self._after
                return
            self._object, self._next, self._size = object_id, 0, 0
        elif number != self._next or flags & _START:
            raise ProtocolError(f"Object {object_id} lacks fragment {self._next} ({number} came).")
        self._size += len(blob)
        if self._size > self._max:
            raise self._too_large()
        if blob:  # else nothing bounds their number
            self._parts.append(blob)
        self._next += 1
        if flags & _END:
            done.append((object_id, b"".join(self._parts)))
            self._last, self._object = object_id, 0
            self._parts.clear()

    def _too_large(self) -> LimitError:
        return LimitError(
            f"The host sent an object of more than {self._max:,} bytes (MaximumReceivedObjectSize).",
            error_id="ReceivedObjectSizeExceededMaximum",
        )
