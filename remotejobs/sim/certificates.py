"""A certificate authority for simulated hosts, and a server certificate for each.

Knows X.509. Must not know sockets or hosts. One key (EC P-256) serves all hosts, so that a thousand certificates take
a second; nothing outlives the process but what is written on purpose, and that is never the key.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_VALID = dt.timedelta(days=30)


class CertificateAuthority:
    """Signs the certificates of one fleet; valid for 30 days, from yesterday on."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._server_key = ec.generate_private_key(ec.SECP256R1())
        self._from = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        self._name = _name("remotejobs simulated hosts CA")
        usage = {"digital_signature": False, "content_commitment": False, "key_encipherment": False,
                 "data_encipherment": False, "key_agreement": False, "key_cert_sign": True, "crl_sign": True,
                 "encipher_only": False, "decipher_only": False}  # fmt: skip
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def issue(self, name: str) -> bytes:
        """Return PEM of a certificate for `name`, localhost and 127.0.0.1, and of its key."""
        names = x509.SubjectAlternativeName([_general_name(name), x509.DNSName("localhost"), x509.IPAddress(_LOOPBACK)])
        certificate = (
            self._builder(_name(name), self._server_key.public_key())
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(self._authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        key = self._server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + key

    def server_context(self, name: str) -> ssl.SSLContext:
        """Return what a server that is called `name` needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Python loads certificates from files only.
        handle, path = tempfile.mkstemp(suffix=".pem")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.issue(name))
            context.load_cert_chain(path)
        finally:
            os.unlink(path)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._from)
            .not_valid_after(self._from + _VALID)
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name if name.isascii() else name.encode("idna").decode("ascii"))
