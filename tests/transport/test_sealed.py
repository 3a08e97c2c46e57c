"""Sealed bodies: the framing, byte by byte, its deviations, and what is not it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import ProtocolError
from remotejobs.transport.sealed import is_sealed, seal, unseal
from tests.recordings import RECORDINGS, needs_recordings
from tests.transport.sealers import SPNEGO, Turned


def test_a_message_is_framed_byte_by_byte() -> None:
    content_type, body = seal(Turned(), b"<s/>")
    assert content_type == f'multipart/encrypted;protocol="{SPNEGO}";boundary="Encrypted Boundary"'
    assert body == (
        b"--Encrypted Boundary\r\n"
        b"\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
        b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=4\r\n"
        b"--Encrypted Boundary\r\n"
        b"\tContent-Type: application/octet-stream\r\n"
        b"\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\xc3\x8c\xd0\xc1"
        b"--Encrypted Boundary--\r\n"
    )


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.just(b"--Encrypted Boundary--\r\n")), max_size=9).map(b"".join),
    st.sampled_from([0, 1, 7, 64]),
    st.sampled_from([0, 1, 16]),
    st.sampled_from([b"", b"x" * 13]),
)
def test_what_was_sealed_opens(message: bytes, largest: int, padding: int, extra: bytes) -> None:
    sealer = Turned(largest, padding, extra)
    content_type, body = seal(sealer, message)
    assert is_sealed(content_type)
    assert content_type.startswith("multipart/x-multi" if largest and len(message) > largest else "multipart/encrypted")
    assert unseal(sealer, body) == message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\t", b""),  # OMI
        (b"--Encrypted Boundary--\r\n", b"--Encrypted Boundary--\r\n\r\n"),  # OMI
        (b"--Encrypted", b"-- Encrypted"),  # Exchange
    ],
)
def test_deviations_of_the_field_are_taken(old: bytes, new: bytes) -> None:
    sealer = Turned()
    assert unseal(sealer, seal(sealer, b"<a>b</a>")[1].replace(old, new)) == b"<a>b</a>"


@pytest.mark.parametrize("at", range(0, 240, 3))
def test_a_body_that_was_cut_is_refused(at: int) -> None:
    sealer = Turned()
    body = seal(sealer, b"<message>that is cut</message>")[1]
    assert len(body) > 240
    with pytest.raises(ProtocolError, match="not framed"):
        unseal(sealer, body[:at])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Length=4", b"Length=3"),
        (b"Length=4", b"Length=99"),
        (b"Length=4", b"Length=4000000000"),
        (b"\x08\x00\x00\x00", b"\x08\x00\x00\xff"),
        (b"SPNEGO", b"CredSSP"),
        (b"Boundary--", b"Boundary-"),
        (b"OriginalContent", b"Content"),
    ],
)
def test_a_body_that_was_changed_is_refused(old: bytes, new: bytes) -> None:
    sealer = Turned()
    with pytest.raises((ProtocolError, AssertionError)):
        unseal(sealer, seal(sealer, b"<s/>")[1].replace(old, new))


def test_nothing_can_be_put_between_parts() -> None:
    sealer = Turned(4)
    body = seal(sealer, b"12345678")[1]
    second = body.index(b"--Encrypted", 200)
    with pytest.raises(AssertionError):  # the first part's ciphertext is then longer than what was sealed
        unseal(sealer, body[:second] + b"in between" * 200 + body[second:])


@needs_recordings
@pytest.mark.parametrize("name", ["ntlm-negotiate", "negotiate-negotiate", "kerberos-negotiate", "kerberos-kerberos"])
def test_the_recorded_bodies_of_omi_are_read(name: str) -> None:
    class Recorded:
        largest = 0

        def __init__(self, protocol: str) -> None:
            self.protocol = protocol
            self.parts: list[tuple[int, int]] = []

        def wrap(self, message: bytes) -> tuple[bytes, bytes, int]:
            raise NotImplementedError

        def unwrap(self, header: bytes, ciphertext: bytes) -> bytes:
            self.parts.append((len(header), len(ciphertext)))
            return ciphertext

    assert RECORDINGS is not None
    protocol = "application/HTTP-Kerberos-session-encrypted" if name.endswith("-kerberos") else SPNEGO
    for kind in ("req", "resp"):
        whole = (RECORDINGS / "omi" / f"encrypted-{name}-{kind}.bin").read_bytes()
        body = whole[whole.index(b"--Encrypted Boundary") :]
        sealer = Recorded(protocol)
        assert len(unseal(sealer, body)) >= 1238
        assert sealer.parts[0][0] == (60 if name.startswith("kerberos") else 16)
