"""A sealer whose every byte can be worked out by hand."""

from __future__ import annotations

SPNEGO = "application/HTTP-SPNEGO-session-encrypted"


class Turned:
    """Every bit turned over; the header is the length, to be checked; `extra` is what CredSSP's ciphertext grows by."""

    def __init__(self, largest: int = 0, padding: int = 0, extra: bytes = b"", protocol: str = SPNEGO) -> None:
        self.protocol, self.largest, self.padding, self.extra = protocol, largest, padding, extra

    def wrap(self, message: bytes) -> tuple[bytes, bytes, int]:
        body = bytes(byte ^ 0xFF for byte in message) + b"\0" * self.padding + self.extra
        return len(message).to_bytes(8, "big"), body, self.padding

    def unwrap(self, header: bytes, ciphertext: bytes) -> bytes:
        length = int.from_bytes(header, "big")
        assert len(ciphertext) == length + self.padding + len(self.extra)
        return bytes(byte ^ 0xFF for byte in ciphertext[:length])
