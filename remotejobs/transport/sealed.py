"""Encrypted bodies: a SOAP message sealed by a security context, in the multipart form of WinRM (MS-WSMV 2.2.9.1).

Knows the framing, byte by byte, and what deviates from it in the field. Must not know mechanisms or connections. The
parts hold binary, which may contain anything: they are found by position and length, never by splitting at boundaries.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from remotejobs.errors import ProtocolError
from remotejobs.ports import Sealer

_MESSAGE_TYPE: Final = b"application/soap+xml;charset=UTF-8"
_SEALED_TYPES: Final = ("multipart/encrypted", "multipart/x-multi-encrypted")
# Exchange writes a blank after the dashes; OMI leaves tabs out and ends with empty lines.
_PART: Final = re.compile(
    rb"--\s*Encrypted Boundary\r\n"
    rb"[ \t]*Content-Type:[ \t]*([!-~]+)[ \t]*\r\n"
    rb"[ \t]*OriginalContent:[ \t]*type=[^\r\n]{1,200};[ \t]*Length=(\d{1,10})[ \t]*\r\n"
    rb"--\s*Encrypted Boundary\r\n"
    rb"[ \t]*Content-Type:[ \t]*application/octet-stream[ \t]*\r\n",
    re.IGNORECASE,
)
_END: Final = re.compile(rb"--\s*Encrypted Boundary--(?:\r\n)*\Z", re.IGNORECASE)
_HEADER_LENGTH: Final = struct.Struct("<I")
_MOST_PADDING: Final = 16  # bytes; Length counts them, the message that comes out has lost them
_SLACK: Final = 1024  # bytes that a ciphertext may be longer than its message
_LONGEST_HEADER: Final = 4096  # a signature or a trailer: tens of bytes


def seal(sealer: Sealer, message: bytes) -> tuple[str, bytes]:
    """Seal a message.

    Returns:
        The value of Content-Type, and the body.
    """
    protocol = sealer.protocol.encode("ascii")
    cut = sealer.largest if sealer.largest and len(message) > sealer.largest else 0
    pieces = [message[at : at + cut] for at in range(0, len(message), cut)] if cut else [message]
    body = []
    for piece in pieces:
        header, ciphertext, padding = sealer.wrap(piece)
        body.append(
            b"--Encrypted Boundary\r\n\tContent-Type: %b\r\n\tOriginalContent: type=%b;Length=%d\r\n"
            b"--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n%b%b%b"
            % (protocol, _MESSAGE_TYPE, len(piece) + padding, _HEADER_LENGTH.pack(len(header)), header, ciphertext)
        )
    body.append(b"--Encrypted Boundary--\r\n")
    kind = "multipart/x-multi-encrypted" if cut else "multipart/encrypted"
    return f'{kind};protocol="{sealer.protocol}";boundary="Encrypted Boundary"', b"".join(body)


def is_sealed(content_type: str) -> bool:
    """Tell by the Content-Type of an answer: a proxy's own page, for one, is not."""
    return content_type.partition(";")[0].strip().lower() in _SEALED_TYPES


def unseal(sealer: Sealer, body: bytes) -> bytes:
    """Open a sealed body.

    Raises:
        ProtocolError: It is not framed as WinRM's are, or a part has not the length that it says.
        AuthenticationError: It was not sealed with the keys of this connection.
    """
    part = _PART.match(body)
    message = []
    while part is not None:
        protocol, length, at = part[1], int(part[2]), part.end()
        if protocol.lower() != sealer.protocol.encode("ascii").lower():
            raise ProtocolError(
                "The host's encrypted answer names another mechanism than the one that it was asked with."
            )
        if len(body) < at + _HEADER_LENGTH.size:
            break
        (size,) = _HEADER_LENGTH.unpack_from(body, at)
        if size > _LONGEST_HEADER:
            break
        at += _HEADER_LENGTH.size
        # No ciphertext is shorter than its message: what follows is looked for behind that.
        least = at + size + length - _MOST_PADDING
        part = _PART.search(body, least, least + _SLACK)
        after = part or _END.search(body, least)
        if after is None:
            break
        clear = sealer.unwrap(body[at : at + size], body[at + size : after.start()])
        if not 0 <= length - len(clear) <= _MOST_PADDING:
            break
        message.append(clear)
    else:
        if message:
            return b"".join(message)
    raise ProtocolError("The host's encrypted answer is not framed as WinRM's are, was cut, or changed on its way.")
