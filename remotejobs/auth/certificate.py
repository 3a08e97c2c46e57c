"""The TLS client certificate as authentication (DSP0226's mutual profile): all of it but the header is TLS's.

Knows the one header. Must not know certificates, keys or TLS: the transport's context presents them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"


class CertificateContext:
    r"""Client certificate over https: the same header on every request, no handshake, local accounts only.

    The host maps the certificate to an account (`New-Item WSMan:\localhost\ClientCertificate`); it asks for the
    certificate when it sees the request, by TLS 1.2 renegotiation or TLS 1.3 post-handshake authentication.
    """

    mechanism = "Certificate"
    every_request = True
    anew = False
    waits = False

    __slots__ = ()

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]:  # noqa: ARG002 - the port has it
        """Yield the one header; an answer 401 to it is final."""
        yield _MUTUAL

    def sealer(self) -> None:
        """A certificate seals nothing: TLS does."""
