"""Encrypted bodies as a Windows host frames them (MS-WSMV 2.2.9.1): the host's side, with no tolerance for a client.

Knows the framing. Must not know mechanisms, HTTP or SOAP. Written apart from the client's framing on purpose: a mistake
in one must not be hidden by the other.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

_TYPES: Final = ("multipart/encrypted", "multipart/x-multi-encrypted")
_BOUNDARY: Final = b"--Encrypted Boundary\r\n"
_END: Final = b"--Encrypted Boundary--\r\n"
_STREAM: Final = b"\tContent-Type: application/octet-stream\r\n"
_LARGEST_CREDSSP: Final = 16384  # bytes of a message in one part


class Keys(Protocol):
    """The security context of one connection, as pyspnego gives it."""

    def wrap_winrm(self, data: bytes) -> tuple[bytes, bytes, int]:
        """Encrypt: header, ciphertext, bytes of padding."""
        ...

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        """Decrypt."""
        ...


def is_sealed(content_type: str) -> bool:
    """Tell by the Content-Type of a request."""
    return content_type.partition(";")[0].strip().lower() in _TYPES


def seal(keys: Keys, mechanism: str, message: bytes) -> tuple[str, bytes]:
    """Seal an answer.

    Args:
        keys: Of the connection.
        mechanism: SPNEGO, Kerberos or CredSSP.
        message: The envelope.

    Returns:
        The value of Content-Type, and the body.
    """
    protocol = f"application/HTTP-{mechanism}-session-encrypted"
    largest = _LARGEST_CREDSSP if mechanism == "CredSSP" else len(message)
    parts = []
    for start in range(0, len(message), largest):
        piece = message[start : start + largest]
        header, ciphertext, padding = keys.wrap_winrm(piece)
        length = len(piece) + padding
        original = f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={length}\r\n"
        parts += [_BOUNDARY, f"\tContent-Type: {protocol}\r\n{original}".encode(), _BOUNDARY, _STREAM]
        parts += [struct.pack("<I", len(header)), header, ciphertext]
    kind = _TYPES[len(message) > largest]
    return f'{kind};protocol="{protocol}";boundary="Encrypted Boundary"', b"".join([*parts, _END])


def unseal(keys: Keys, mechanism: str, body: bytes) -> bytes:
    """Open a sealed request.

    Raises:
        ValueError: It is not framed to the letter, or names another mechanism. What `keys` raises comes out as well.
    """
    kind = f"\tContent-Type: application/HTTP-{mechanism}-session-encrypted\r\n".encode()
    message = b""
    while body != _END:
        body = _after(kind, _after(_BOUNDARY, body))
        original, _, body = body.partition(b"\r\n")
        length = int(_after(b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=", original))
        body = _after(_STREAM, _after(_BOUNDARY, body))
        size = int.from_bytes(body[:4], "little")
        start = 4 + size
        # The ciphertext is at least as long as its message, and may contain anything.
        end = body.index(b"--Encrypted Boundary", start + length)
        clear = keys.unwrap_winrm(body[4:start], body[start:end])
        if not 0 <= length - len(clear) < 16:
            raise ValueError(f"A part of {len(clear)} bytes says {length}")
        message += clear
        body = body[end:]
    return message


def _after(prefix: bytes, data: bytes) -> bytes:
    if not data.startswith(prefix):
        raise ValueError(f"{prefix!r} is missing before {data[:60]!r}")
    return data[len(prefix) :]
