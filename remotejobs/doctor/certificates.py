"""What a server's certificate says to a person: whose it is, who issued it, from when until when.

Knows certificates as bytes. Must not know connections; whether one is trusted is OpenSSL's to say.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from remotejobs.transport.certificates import read_certificate

_TEXT_LIMIT = 200


class Shown(NamedTuple):
    """A certificate for people. Times are seconds since the epoch.

    Attributes:
        names: That it is for.
        issuer: Its common name as a rule.
        self_signed: It is its own issuer.
        not_before, not_after: Its dates.
    """

    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    not_before: float
    not_after: float

    def facts(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**self._asdict(), "names": list(self.names)}


def read(der: bytes) -> Shown:
    """Read a certificate.

    Raises:
        ValueError: It cannot be read.
    """
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from None
    common = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    issuer = str(common[0].value) if common else certificate.issuer.rfc4514_string()
    return Shown(
        tuple(_clean(name) for name in read_certificate(der).names[:20]),
        _clean(issuer),
        certificate.issuer == certificate.subject,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def _clean(text: str) -> str:
    return "".join([c if c.isprintable() else " " for c in text[:_TEXT_LIMIT]])
