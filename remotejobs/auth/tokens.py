r"""Authentication mechanisms by name, and the contexts of one job: what they share (hashes, tickets) is made once.

Knows which mechanism may be used where, and which of the others serves it. Must not know sockets, HTTP connections or
time.

Never a silent step down: Kerberos is Kerberos or fails, and nothing becomes Basic or Digest that was not called so.
Negotiate is the host's and our choice of Kerberos or NTLM, as in PowerShell: with a password it is Kerberos where this
computer's realm is the user's (`user@REALM`, `DOMAIN\user`; see Tickets.knows) and NTLM where it is not, so that nobody
waits for a KDC that is not there; with a keytab, a ticket cache or the current user's tickets it is Kerberos alone.
A ticket that cannot be had leaves NTLM, a password that the domain refuses does not: it would be refused twice.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from remotejobs.auth.certificate import CertificateContext
from remotejobs.auth.credentials import Credential
from remotejobs.auth.failures import USER_UNKNOWN
from remotejobs.auth.kerberos import Tickets, is_address, require
from remotejobs.auth.kerberos import available as kerberos_available
from remotejobs.errors import AuthenticationError, ConfigurationError, TransportError
from remotejobs.model import MECHANISMS, Endpoint, SessionOption
from remotejobs.ports import AuthContext

if TYPE_CHECKING:
    import spnego
    from spnego.tls import CredSSPTLSContext

_MECHANISMS = {name.lower(): name for name in MECHANISMS}
_SSPI: bool = sys.platform == "win32"  # Windows negotiates by itself, with tickets of its own
_NEED_PASSWORD = ("Basic", "Digest", "Credssp")


class BasicContext:
    """Basic authentication (RFC 7617, UTF-8): the same header on every request, no handshake, local accounts only.

    Raises:
        ConfigurationError: A user name with a colon, which Basic cannot carry.
    """

    mechanism = "Basic"
    every_request = True
    anew = False
    waits = False

    __slots__ = ("_header",)

    def __init__(self, credential: Credential) -> None:
        if ":" in credential.username:
            raise ConfigurationError(
                f"The user name {credential.username!r} has a colon, which Basic authentication cannot carry."
            )
        pair = f"{credential.username}:{credential.secret.reveal()}".encode()
        self._header = f"Basic {base64.b64encode(pair).decode('ascii')}"

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]:  # noqa: ARG002 - the port has it
        """Yield the one header; an answer 401 to it is final."""
        yield self._header

    def sealer(self) -> None:
        """Basic seals nothing: it has no key."""


class Contexts:
    """The authentication contexts of one job. Its methods may be called from the event loop: nothing waits here.

    Args:
        option: Service names, delegation, clear text, client certificate.
    """

    def __init__(self, option: SessionOption) -> None:
        self._option = option
        self._tickets = Tickets(forwardable=option.delegate)
        self._hashes: dict[Credential, spnego.NTLMHash] = {}
        self._tls: CredSSPTLSContext | None = None

    def context(self, mechanism: str, credential: Credential | None, endpoint: Endpoint) -> AuthContext:
        """A fresh context of `mechanism` (any case) for one connection.

        Args:
            mechanism: PowerShell's name; Default is Negotiate, or the client certificate where there is one and no
                credential.
            credential: None is the current user: tickets of kinit, or the Windows logon.
            endpoint: Where to.

        Raises:
            ConfigurationError: Refused before anything is sent: an unknown mechanism, clear text, a credential that the
                mechanism cannot use, an extra that is not installed.
        """
        name, option = canonical(mechanism), self._option
        if name == "Default" and credential is None and option.certificate_file:
            refuse_clear_text("Certificate", endpoint, option.allow_unencrypted)
            return CertificateContext()
        refuse_clear_text(name, endpoint, option.allow_unencrypted)
        if name in _NEED_PASSWORD:
            return self._with_password(name, _password(name, credential), endpoint)
        if name == "NegotiateWithImplicitCredential" and credential is not None:
            raise ConfigurationError(
                "NegotiateWithImplicitCredential is for the current user: leave -Credential out, or give "
                "-Authentication Negotiate.",
                error_id="ParameterBindingFailed",
            )
        if name == "Kerberos":
            return self._kerberos(credential, endpoint)
        return self._negotiate(credential, endpoint)

    def close(self) -> None:
        """Drop hashes and tickets. Contexts that are in use go on."""
        self._hashes.clear()
        self._tickets.close()

    def _with_password(self, name: str, credential: Credential, endpoint: Endpoint) -> AuthContext:
        if name == "Basic":
            return BasicContext(credential)
        if name == "Digest":
            from remotejobs.auth.digest import DigestContext

            return DigestContext(credential, endpoint)
        return self._credssp(credential, endpoint)

    def _kerberos(self, credential: Credential | None, endpoint: Endpoint) -> AuthContext:
        from remotejobs.auth.negotiate import GssContext, begin

        require(implicit=credential is None)
        host, spn, services = self._names(endpoint)

        def first(binding: bytes | None) -> tuple[spnego.ContextProxy, bytes | None]:
            refuse_address(spn)
            ticket = self._ticket(credential, spn)
            return begin("kerberos", ticket, spn, services, binding, delegate=self._option.delegate)

        return GssContext("Kerberos", "Kerberos", host, first, waits=True)

    def _negotiate(self, credential: Credential | None, endpoint: Endpoint) -> AuthContext:
        from remotejobs.auth.negotiate import GssContext

        host, spn, _ = self._names(endpoint)
        kerberos = self._uses_kerberos(credential, spn)
        if kerberos and (credential is None or not credential.secret):
            require(implicit=credential is None)
        return GssContext(
            "Negotiate",
            "Negotiate",
            host,
            lambda binding: self._begin_negotiate(credential, endpoint, binding),
            waits=kerberos,
        )

    def _credssp(self, credential: Credential, endpoint: Endpoint) -> AuthContext:
        from remotejobs.auth import credssp

        host, spn, services = self._names(endpoint)

        def inner() -> spnego.ContextProxy:
            import spnego

            return spnego.client(
                self._credentials(credential, spn), hostname=spn, service=services[0], protocol="negotiate"
            )

        def begin(binding: bytes | None) -> tuple[spnego.ContextProxy, bytes | None]:  # noqa: ARG001 - TLS is bound inside
            if self._tls is None:
                self._tls = credssp.tls_context()
            return credssp.begin(credential, inner, self._tls, spn, services[0])

        waits = self._uses_kerberos(credential, spn)
        return credssp.CredsspContext("Credssp", "CredSSP", host, begin, waits=waits)

    def _begin_negotiate(
        self, credential: Credential | None, endpoint: Endpoint, binding: bytes | None
    ) -> tuple[spnego.ContextProxy, bytes | None]:
        from remotejobs.auth.negotiate import begin

        _, spn, services = self._names(endpoint)
        if not _SSPI and not (credential and credential.secret):
            refuse_address(spn)  # without a password it is Kerberos
        credentials = self._credentials(credential, spn)
        if not credentials or "kerberos" in credentials[0].supported_protocols:
            context, out = begin("negotiate", credentials, spn, services, binding, delegate=self._option.delegate)
            if _SSPI or context.negotiated_protocol != "ntlm":
                return context, out
            credentials = credentials[1:]
        # bare NTLM, without SPNEGO around it: a third of the work, and what WinRM has always taken
        return begin("ntlm", credentials, spn, services[:1], binding)

    def _credentials(self, credential: Credential | None, spn: str) -> list[spnego.Credential]:
        """What Negotiate may use, the best first; nothing is the current user's. May wait for a KDC."""
        if credential is None:
            return []
        if _SSPI:
            return self._ticket(credential, spn)
        password = bool(credential.secret)
        found: list[spnego.Credential] = []
        if self._uses_kerberos(credential, spn):
            try:
                found.extend(self._ticket(credential, spn))
            except TransportError as error:
                if not password or (error.details.get("refused") and error.details.get("krb5") != USER_UNKNOWN):
                    raise
        if password:
            found.append(self._hash(credential))
        return found

    def _ticket(self, credential: Credential | None, spn: str) -> list[spnego.Credential]:
        import spnego

        if credential is None:
            return []
        if _SSPI:
            if credential.keytab:
                return [spnego.KerberosKeytab(credential.keytab, credential.username)]
            return [spnego.Password(credential.username, credential.secret.reveal())]
        return [spnego.KerberosCCache(self._tickets.cache(credential, spn))]

    def _hash(self, credential: Credential) -> spnego.NTLMHash:
        """The NT hash instead of the password: computed once, in Python, for all hosts (MS-NLMP 3.3.1, NTOWFv1).

        The library takes a password of the form LMHASH:NTHASH (32 hexadecimal digits each) for the hashes themselves.
        """
        found = self._hashes.get(credential)
        if found is None:
            import spnego
            from spnego._ntlm_raw.crypto import ntowfv1  # the library offers it nowhere else

            found = spnego.NTLMHash(credential.username, nt_hash=ntowfv1(credential.secret.reveal()).hex())
            self._hashes[credential] = found
        return found

    def _uses_kerberos(self, credential: Credential | None, spn: str) -> bool:
        if credential is None or _SSPI or not credential.secret:
            return True
        return self._tickets.knows(credential.username) and not is_address(spn) and kerberos_available()

    def _names(self, endpoint: Endpoint) -> tuple[str, str, tuple[str, ...]]:
        """The host for messages; the host part and the service classes of its SPN."""
        host = endpoint.server_name or endpoint.host
        service = self._option.spn_service
        return host, self._option.spn_name or host, (service, "http") if service.lower() == "host" else (service,)


def refuse_address(host: str) -> None:
    """Refuse to ask for a ticket for an IP address: at the logon, for it concerns one host, and no job as a whole.

    Raises:
        AuthenticationError: As PowerShell does, CannotUseIPAddress.
    """
    if is_address(host):
        raise AuthenticationError(
            f"Kerberos has no tickets for IP addresses ({host}). Here: give the host by its DNS name, or its name in "
            "the domain with -SessionOption SpnName=NAME; or a password (-Credential) with -Authentication Negotiate.",
            error_id="CannotUseIPAddress",
            refused=False,
        )


def refuse_clear_text(mechanism: str, endpoint: Endpoint, allow_unencrypted: bool) -> None:
    """Refuse, before anything is sent, to send over clear http what must not go there.

    PowerShell refuses Basic over http outside Windows in the same way (error code 801).

    Raises:
        ConfigurationError: To an http endpoint: Basic without the session option AllowUnencrypted, Digest, a client
            certificate.
    """
    if endpoint.ssl:
        return
    name = mechanism if mechanism == "Certificate" else canonical(mechanism)
    if name in ("Digest", "Certificate"):
        what = "Digest authentication" if name == "Digest" else "A client certificate"
        raise ConfigurationError(f"{what} is for https and was not tried with {endpoint.url}. Give -UseSSL.")
    if name == "Basic" and not allow_unencrypted:
        raise ConfigurationError(
            f"Basic authentication would send the password in clear to {endpoint.url} and was not tried. Give -UseSSL, "
            "or permit it with -SessionOption AllowUnencrypted=true.",
            error_id="801",
            code=801,
        )


def canonical(mechanism: str) -> str:
    """PowerShell's spelling of a mechanism name.

    Raises:
        ConfigurationError: No such mechanism.
    """
    try:
        return _MECHANISMS[mechanism.lower()]
    except KeyError:
        raise ConfigurationError(
            f"There is no authentication mechanism {mechanism!r}. They are {', '.join(_MECHANISMS.values())}.",
            mechanism=mechanism,
        ) from None


def _password(name: str, credential: Credential | None) -> Credential:
    if credential is None or not credential.secret:
        raise ConfigurationError(
            f"{name} authentication needs a user name and a password: give -Credential.", error_id="CredentialMissing"
        )
    return credential
