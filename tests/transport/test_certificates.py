from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import ipaddress
import socket
import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.transport.certificates import Certificate, packed_address, read_certificate, server_end_point

RSA, EC, ED = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
DAY = dt.timedelta(days=1)


def certificate(
    names: list[str] | None = None,
    common_name: str | None = "cn.example",
    *,
    key: Any = EC,
    hash_: Any = hashes.SHA256(),  # noqa: B008
    **sign: Any,
) -> bytes:
    """A self-signed certificate in DER; names that are IP addresses become IP addresses."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names is not None:
        general: list[x509.GeneralName] = [x509.RFC822Name("a@b.example")]
        for name in names:
            if packed_address(name):
                general.append(x509.IPAddress(ipaddress.ip_address(name)))
            else:
                general.append(x509.DNSName(name))
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(key, hash_, **sign).public_bytes(serialization.Encoding.DER)


def test_names() -> None:
    read = read_certificate(certificate(["web01.corp", "*.x.corp", "10.0.0.1", "fd00::1"], "Größe"))
    assert read == Certificate(
        ("web01.corp", "*.x.corp"),
        (bytes([10, 0, 0, 1]), socket.inet_pton(socket.AF_INET6, "fd00::1")),
        ("Größe",),
        "sha256",
    )
    assert read.names == ("web01.corp", "*.x.corp", "10.0.0.1", "fd00::1")
    assert read_certificate(certificate(None, "old.corp")).names == ("old.corp",)
    assert read_certificate(certificate(None, None)).names == ()


@pytest.mark.parametrize(
    ("key", "hash_", "sign", "name"),
    [
        (RSA, hashes.SHA256(), {}, "sha256"),
        (RSA, hashes.SHA384(), {}, "sha384"),
        (RSA, hashes.SHA512(), {}, "sha512"),
        (RSA, hashes.SHA384(), {"rsa_padding": PSS}, "sha384"),
        (EC, hashes.SHA224(), {}, "sha224"),
        (EC, hashes.SHA512(), {}, "sha512"),
        (ED.generate(), None, {}, "sha256"),
    ],
)
def test_channel_binding_uses_the_hash_of_the_signature(key: Any, hash_: Any, sign: dict[str, Any], name: str) -> None:
    der = certificate(key=key, hash_=hash_, **sign)
    assert server_end_point(der) == b"tls-server-end-point:" + hashlib.new(name, der).digest()


@pytest.mark.parametrize("weak", ["2a864886f70d010104", "2a864886f70d010105"])  # MD5, SHA-1 with RSA
def test_channel_binding_of_weak_signatures_is_sha256(weak: str) -> None:
    strong = bytes.fromhex("2a864886f70d01010c")
    der = certificate(key=RSA, hash_=hashes.SHA384())
    assert der.count(strong) == 2
    der = der.replace(strong, bytes.fromhex(weak))
    assert server_end_point(der) == b"tls-server-end-point:" + hashlib.sha256(der).digest()


CERTIFICATES: list[tuple[list[str] | None, str | None]] = [
    (["web01.corp.local"], "other"),
    (["WEB01.Corp.Local", "10.0.0.1"], "web02"),
    (["*.corp.local"], None),
    (["*.local"], None),
    (["*"], None),
    (["w*.corp.local", "*b01.corp.local"], None),
    (["web01.*.local"], None),
    (["10.0.0.1", "fd00::1"], "web01"),
    (["10.0.0.1"], "10.0.0.2"),
    ([], "web01"),
    (None, "web01"),
    (None, "*.corp.local"),
    (None, "10.0.0.1"),
    (None, None),
]
HOSTS = [
    "web01",
    "WEB01",
    "web02",
    "other",
    "web01.corp.local",
    "a.web01.corp.local",
    "corp.local",
    "xn--mller-kva.corp.local",
    "local",
    "10.0.0.1",
    "10.0.0.2",
    "fd00::1",
]


def openssl_accepts(der: bytes, host: str) -> bool:
    """What OpenSSL itself says of the name, in a handshake through memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(server, der)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=der)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                assert error.verify_code in (62, 64), error  # another name, another address
                return False
    return True


def _load(context: ssl.SSLContext, der: bytes) -> None:
    import tempfile
    from pathlib import Path

    key = EC.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pair.pem")
        path.write_text(key + ssl.DER_cert_to_PEM_cert(der))
        context.load_cert_chain(path)


@pytest.mark.parametrize(("names", "common_name"), CERTIFICATES)
def test_names_are_compared_as_openssl_does(names: list[str] | None, common_name: str | None) -> None:
    der = certificate(names, common_name)
    read = read_certificate(der)
    assert {h: read.matches(h) for h in HOSTS} == {h: openssl_accepts(der, h) for h in HOSTS}


def test_a_final_dot_and_a_scope_do_not_count() -> None:
    read = read_certificate(certificate(["web01.corp", "fe80::1"]))
    assert read.matches("web01.corp.")
    assert read.matches("fe80::1%eth0")


def test_a_name_with_nul_is_no_shorter_name() -> None:
    der = certificate(["web01.corpXevil.example"])
    read = read_certificate(der.replace(b"corpXevil", b"corp\0evil"))
    assert not read.matches("web01.corp")


@given(st.binary(max_size=200))
def test_not_a_certificate(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(data)


WHOLE = certificate(["web01.corp", "10.0.0.1"])


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_refused(at: int, byte: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] = byte
    for data in (bytes(damaged), WHOLE[:at]):
        with contextlib.suppress(ValueError):
            assert isinstance(read_certificate(data).names, tuple)
