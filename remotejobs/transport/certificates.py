"""What a server's certificate says: its names and the hash of its signature, read from DER (X.690, RFC 5280).

Knows certificates as bytes. Must not know connections; who issued a certificate is OpenSSL's to verify.

Read by hand because Python's ssl gives the names of verified certificates only, and the signature hash, which the
channel binding needs, of none.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from typing import NamedTuple

_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")  # 2.5.29.17
_RSA_PSS = bytes.fromhex("2a864886f70d01010a")  # 1.2.840.113549.1.1.10: names its hash in its parameters
_SHA2 = "6086480165030402"  # 2.16.840.1.101.3.4.2
_HASHES = {
    bytes.fromhex(oid): name
    for oid, name in {
        "2a864886f70d01010b": "sha256",  # 1.2.840.113549.1.1: RSA PKCS #1
        "2a864886f70d01010c": "sha384",
        "2a864886f70d01010d": "sha512",
        "2a864886f70d01010e": "sha224",
        "2a8648ce3d040301": "sha224",  # 1.2.840.10045.4.3: ECDSA
        "2a8648ce3d040302": "sha256",
        "2a8648ce3d040303": "sha384",
        "2a8648ce3d040304": "sha512",
        _SHA2 + "01": "sha256",  # the hashes themselves, in RSA-PSS parameters
        _SHA2 + "02": "sha384",
        _SHA2 + "03": "sha512",
        _SHA2 + "04": "sha224",
    }.items()
}
_TEXT = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
_OCTETS, _VERSION, _EXTENSIONS, _SAN_DNS, _SAN_IP, _PSS_HASH = 0x04, 0xA0, 0xA3, 0x82, 0x87, 0xA0


class Certificate(NamedTuple):
    """What counts of a certificate.

    Attributes:
        dns: DNS names of the alternative names.
        addresses: IP addresses of the alternative names, 4 or 16 bytes.
        common_names: Of the subject.
        signature_hash: As hashlib names it, empty for one that is not known.
    """

    dns: tuple[str, ...]
    addresses: tuple[bytes, ...]
    common_names: tuple[str, ...]
    signature_hash: str

    @property
    def names(self) -> tuple[str, ...]:
        """All names that count, for people."""
        texts = (socket.inet_ntop(socket.AF_INET if len(a) == 4 else socket.AF_INET6, a) for a in self.addresses)
        return (*(self.dns or self.common_names), *texts)

    def matches(self, host: str) -> bool:
        """Is it for `host`, a name in ASCII or an IP literal? The rules are OpenSSL's (RFC 6125, 9525).

        An IP literal is compared with the addresses only; common names count where there is no DNS name; `*` stands
        for the whole first label, and for no top-level domain.
        """
        packed = packed_address(host)
        if packed:
            return packed in self.addresses
        name = host.lower().removesuffix(".")
        return any(_matches(pattern.lower(), name) for pattern in self.dns or self.common_names)


def packed_address(host: str) -> bytes:
    """An IP literal as its 4 or 16 bytes, empty for a name. A scope after `%` does not count."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
    return b""


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        ValueError: It is not one.
    """
    try:
        (_, certificate), *_ = _items(der)
        (_, body), (_, algorithm), *_ = _items(certificate)
        fields = list(_items(body))
        if fields[0][0] == _VERSION:
            del fields[0]
        # serial number, signature, issuer, validity, subject, key, extensions
        subject = fields[4][1]
        extensions = next((value for tag, value in fields[6:] if tag == _EXTENSIONS), b"")
        alternatives = list(_alternative_names(extensions))
        return Certificate(
            tuple(value.decode("ascii") for tag, value in alternatives if tag == _SAN_DNS),
            tuple(value for tag, value in alternatives if tag == _SAN_IP and len(value) in (4, 16)),
            tuple(_common_names(subject)),
            _signature_hash(algorithm),
        )
    except (IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"not a certificate: {error}") from None


def server_end_point(der: bytes) -> bytes:
    """The channel binding `tls-server-end-point` of a server's certificate (RFC 5929 section 4.1).

    Returns:
        The application data for GSS: the prefix with its colon, then the hash. The hash is that of the certificate's
        signature, but SHA-256 for MD5, SHA-1 and whatever is not known.
    """
    name = read_certificate(der).signature_hash or "sha256"
    return b"tls-server-end-point:" + hashlib.new(name, der).digest()


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == name
    _, _, rest = name.partition(".")
    return rest.count(".") >= 1 and pattern[2:] == rest and not name.startswith(".")


def _alternative_names(extensions: bytes) -> Iterator[tuple[int, bytes]]:
    for _, sequence in _items(extensions):
        for _, extension in _items(sequence):
            (_, oid), *_, (tag, value) = _items(extension)
            if oid == _SUBJECT_ALT_NAME and tag == _OCTETS:
                for _, names in _items(value):
                    yield from _items(names)


def _common_names(subject: bytes) -> Iterator[str]:
    for _, attributes in _items(subject):
        for _, attribute in _items(attributes):
            (_, oid), (tag, value), *_ = _items(attribute)
            if oid == _COMMON_NAME and tag in _TEXT:
                yield value.decode(_TEXT[tag])


def _signature_hash(algorithm: bytes) -> str:
    (_, oid), *parameters = _items(algorithm)
    if oid == _RSA_PSS and parameters:
        # [0] hash AlgorithmIdentifier; left out means SHA-1
        hashes = [value for tag, value in _items(parameters[0][1]) if tag == _PSS_HASH]
        oid = next(_items(next(_items(hashes[0]))[1]))[1] if hashes else b""
    return _HASHES.get(oid, "")


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements that `data` is a row of: tag and value. Definite lengths and one-byte tags only, as DER has them."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count], "big") if 1 <= count <= 4 else len(data) + 1
            at += count
        if tag & 0x1F == 0x1F or at + length > len(data):
            raise ValueError("not a certificate: an element ends after its end")
        yield tag, data[at : at + length]
        at += length
