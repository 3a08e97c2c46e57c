"""The hosts' framing of encrypted bodies, to the letter, and against the client's: neither has seen the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.sim import sealed
from remotejobs.transport import sealed as client


class Keys:
    """Keys that turn a message around, with a header and padding of any size, and look like boundaries if they can."""

    def __init__(self, header: bytes = b"0123456789abcdef", padding: int = 0, more: bytes = b"") -> None:
        self.header = header
        self.padding = padding
        self.more = more  # of the ciphertext beyond its message and padding, as TLS has it
        self.protocol = "application/HTTP-SPNEGO-session-encrypted"
        self.largest = 0

    def wrap_winrm(self, data: bytes) -> tuple[bytes, bytes, int]:
        return self.header, data[::-1] + bytes(self.padding) + self.more, self.padding

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        assert header == self.header
        return data[: len(data) - self.padding - len(self.more)][::-1]

    wrap, unwrap = wrap_winrm, unwrap_winrm


def test_the_bytes() -> None:
    content_type, body = sealed.seal(Keys(b"HDR", 1), "Kerberos", b"olleh")
    assert content_type == (
        'multipart/encrypted;protocol="application/HTTP-Kerberos-session-encrypted";boundary="Encrypted Boundary"'
    )
    assert body == (
        b"--Encrypted Boundary\r\n"
        b"\tContent-Type: application/HTTP-Kerberos-session-encrypted\r\n"
        b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=6\r\n"
        b"--Encrypted Boundary\r\n"
        b"\tContent-Type: application/octet-stream\r\n"
        b"\x03\x00\x00\x00HDRhello\x00"
        b"--Encrypted Boundary--\r\n"
    )
    assert sealed.unseal(Keys(b"HDR", 1), "Kerberos", body) == b"olleh"


# Beyond the length that a part says, ciphertext that looks like a boundary cannot be told from one.
_MORE = st.binary(max_size=30).filter(lambda more: b"Boundary" not in more)
_KEYS = st.builds(Keys, header=st.binary(max_size=60), padding=st.integers(0, 15), more=_MORE)
_MESSAGES = st.binary(min_size=1, max_size=200) | st.sampled_from(
    [b"--Encrypted Boundary\r\n"[::-1], b"--Encrypted Boundary--\r\n"[::-1] * 3, b"x" * 40000]
)


@given(keys=_KEYS, message=_MESSAGES)
def test_what_a_host_seals_a_client_opens(keys: Keys, message: bytes) -> None:
    content_type, body = sealed.seal(keys, "SPNEGO", message)
    assert client.is_sealed(content_type)
    assert client.unseal(keys, body) == message


@given(keys=_KEYS, message=_MESSAGES, parts=st.booleans())
def test_what_a_client_seals_a_host_opens(keys: Keys, message: bytes, parts: bool) -> None:
    keys.largest = 64 if parts else 0
    content_type, body = client.seal(keys, message)
    assert sealed.is_sealed(content_type)
    assert sealed.unseal(keys, "SPNEGO", body) == message


def test_credssp_is_sealed_in_parts_of_16_kib() -> None:
    for length, parts in ((16384, 1), (16385, 2), (40000, 3)):
        content_type, body = sealed.seal(Keys(), "CredSSP", b"x" * length)
        assert content_type.startswith("multipart/x-multi-encrypted;") == (parts > 1)
        assert body.count(b"\tContent-Type: application/HTTP-CredSSP-session-encrypted\r\n") == parts
        assert body.count(b"--Encrypted Boundary--\r\n") == 1
        assert sealed.unseal(Keys(), "CredSSP", body) == b"x" * length


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.replace(b"SPNEGO", b"CredSSP"),
        lambda body: body.replace(b"\t", b""),
        lambda body: body.replace(b"\r\n", b"\n"),
        lambda body: body.replace(b"Length=5", b"Length=4"),
        lambda body: body.replace(b"Length=5", b"Length=500"),
        lambda body: body.replace(b"Length=5", b"Length=x"),
        lambda body: body[:-4],
        lambda body: body + b"\r\n",
        lambda _: b"",
    ],
)
def test_what_is_not_framed_to_the_letter_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    _, body = sealed.seal(Keys(), "SPNEGO", b"hello")
    assert sealed.unseal(Keys(), "SPNEGO", body) == b"hello"
    with pytest.raises(ValueError):
        sealed.unseal(Keys(), "SPNEGO", spoil(body))
