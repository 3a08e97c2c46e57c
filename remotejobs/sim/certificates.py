"""A certificate authority for simulated hosts, with a server certificate for each, and certificates for clients.

Knows X.509. Must not know sockets or hosts. One key (EC P-256) serves all hosts, so that a thousand certificates take
a second; nothing outlives the process but what is written on purpose, and that is never a key of the hosts.
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
_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # a user principal name: what Windows maps
_VALID = dt.timedelta(days=30)


class ServerContext(ssl.SSLContext):
    """What a TLS server needs.

    Attributes:
        channel_binding: What a client binds a logon to: the application data for this certificate (RFC 5929, section
            4.1; its signature is with SHA-256).
    """

    channel_binding: bytes = b""


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
        return self._sign(name, self._server_key, ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_client(self, user: str) -> bytes:
        """Return PEM of a certificate that names `user`, and of a key of its own: for a client."""
        upn = f"{user}@localhost".encode()
        names = x509.SubjectAlternativeName([x509.OtherName(_UPN, b"\x0c" + bytes([len(upn)]) + upn)])
        return self._sign(user, ec.generate_private_key(ec.SECP256R1()), ExtendedKeyUsageOID.CLIENT_AUTH, names)

    def server_context(self, name: str, *, client_certificates: bool = False) -> ServerContext:
        """Return what a server that is called `name` needs.

        Args:
            name: The computer name.
            client_certificates: Clients can be asked for a certificate, and one of this authority is taken: in TLS 1.3
                when the server wants it, as http.sys does, else in the handshake.
        """
        context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
        pem = self.issue(name)
        # Python loads certificates from files only.
        handle, path = tempfile.mkstemp(suffix=".pem")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
            context.load_cert_chain(path)
        finally:
            os.unlink(path)
        digest = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())
        context.channel_binding = b"tls-server-end-point:" + digest
        if client_certificates:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.post_handshake_auth = True
            context.load_verify_locations(cadata=self.pem)
        return context

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName,
    ) -> bytes:
        certificate = (
            self._builder(_name(name), key.public_key())
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(self._authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + private

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
