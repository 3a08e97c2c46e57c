"""The host's side of NTLM, Kerberos, SPNEGO and CredSSP, on pyspnego.

Knows tokens, channel bindings, and what proves a password. Must not know HTTP or connections. pyspnego's own acceptors
read passwords from a file that the environment names, are content without a channel binding, and take the optimistic
token of a mechanism that was not chosen for one that was: what is here changes that and no more.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import spnego
from spnego._context import ContextProxy, GSSMech
from spnego._gss import GSSAPIProxy
from spnego._negotiate import NegotiateProxy
from spnego._ntlm import NTLMProxy
from spnego._ntlm_raw.crypto import hmac_md5, md5, ntowfv2, rc4k
from spnego._ntlm_raw.messages import Authenticate, AvFlags, AvId, NegotiateFlags, NTClientChallengeV2
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import BadBindingsError, BadMechanismError, InvalidTokenError, SpnegoError

from remotejobs.errors import ConfigurationError
from remotejobs.sim.accounts import BAD_BINDINGS, LOGON_FAILURE, SUCCESS, Account

logging.getLogger("spnego").setLevel(logging.CRITICAL + 1)  # its debug lines hold tokens

_CHANNEL_BOUND: Final = 0x800  # GSS_C_CHANNEL_BOUND_FLAG
_LONGEST_NTLM1: Final = 24  # bytes of a response
_MIC: Final = 16  # bytes
_MIC_AT: Final = 64  # in an AUTHENTICATE_MESSAGE, and behind a version where there is one (MS-NLMP 2.2.1.3)
_VERSION: Final = 8  # bytes


@dataclass(slots=True)
class Claim:
    """Who somebody says they are, and what came of it: an acceptor fills it in.

    Attributes:
        user: As the client wrote it; empty while it is not known.
        status: NT status; None while nothing is decided.
    """

    user: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """The channel that a logon must be bound to (RFC 5929, tls-server-end-point).

    Attributes:
        token: The application data; empty where there is no channel, or nobody looks.
        required: A logon that is not bound is refused (CbtHardeningLevel Strict); else only one bound to another.
    """

    token: bytes = b""
    required: bool = False

    def gss(self) -> GssChannelBindings | None:
        """Return it as GSS has it."""
        return GssChannelBindings(application_data=self.token) if self.token else None


class NtlmAcceptor(NTLMProxy):
    """NTLMv2 (MS-NLMP 3.2.5), against an account in memory."""

    def __init__(self, account: Account, binding: Binding, claim: Claim) -> None:
        # As an initiator, because an acceptor's constructor wants the file.
        super().__init__(spnego.NTLMHash("", nt_hash=account.nt_hash.hex()), usage="initiate")
        self.usage = "accept"
        self._account = account
        self._binding = binding
        self._claim = claim
        self._before = b""

    def _step_accept_negotiate(self, token: bytes) -> bytes:
        challenge: bytes = super()._step_accept_negotiate(token)
        self._before = token + challenge
        return challenge

    def _step_accept_authenticate(self, token: bytes, channel_bindings: Any) -> None:  # noqa: ARG002
        message = Authenticate.unpack(token)
        self._claim.user = user = message.user_name or ""
        response = message.nt_challenge_response or b""
        if len(response) <= _LONGEST_NTLM1:
            self._claim.status = LOGON_FAILURE
            raise InvalidTokenError(context_msg="Anonymous, or NTLMv1")
        targets = NTClientChallengeV2.unpack(response[16:]).av_pairs
        key = ntowfv2(user, self._account.nt_hash, message.domain_name)
        assert self._temp_challenge is not None
        proof = hmac_md5(key, self._temp_challenge.server_challenge + response[16:])
        proved = hmac.compare_digest(proof, response[:16])
        self._claim.status = self._account.logon(user, proved=proved)
        if self._claim.status == SUCCESS and not self._bound(targets.get(AvId.channel_bindings, b"")):
            self._claim.status = BAD_BINDINGS
        if self._claim.status != SUCCESS:
            raise SpnegoError(error_code=self._claim.status, context_msg="The logon is refused")
        self._session_key = hmac_md5(key, proof)
        sealed = NegotiateFlags.sign | NegotiateFlags.seal
        if message.flags & NegotiateFlags.key_exch and message.flags & sealed:
            self._session_key = rc4k(self._session_key, message.encrypted_random_session_key or b"")
        if targets.get(AvId.flags, 0) & AvFlags.mic:
            at = _MIC_AT + (_VERSION if message.flags & NegotiateFlags.version else 0)
            blank = token[:at] + bytes(_MIC) + token[at + _MIC :]
            if hmac_md5(self._session_key, self._before + blank) != token[at : at + _MIC]:
                self._claim.status = LOGON_FAILURE
                raise InvalidTokenError(context_msg="The messages were changed on their way")
        self._context_attr = message.flags
        self._complete = True

    def _bound(self, sent: bytes) -> bool:
        wanted = self._binding.gss()
        if wanted is None:
            return True
        if not any(sent):  # absent, or zeros, which mean the same
            return not self._binding.required
        return bool(sent == md5(wanted.pack()))


class KerberosAcceptor(GSSAPIProxy):
    """Kerberos (RFC 4121) with the keys of a keytab."""

    def __init__(self, keytab: Path, binding: Binding, claim: Claim) -> None:
        super().__init__(
            usage="accept",
            protocol="kerberos",
            channel_bindings=binding.gss(),
            _gssapi_credential=service_keys(str(keytab)),
        )
        self._binding = binding
        self._claim = claim

    def step(self, in_token: bytes | None = None, *, channel_bindings: Any = None) -> bytes | None:
        """Take the client's token, return the host's."""
        try:
            token: bytes | None = super().step(in_token, channel_bindings=channel_bindings)
        except SpnegoError as error:
            self._claim.status = BAD_BINDINGS if isinstance(error, BadBindingsError) else LOGON_FAILURE
            raise
        if self.complete:
            self._claim.user = self.client_principal or ""
            if self._binding.token and self._binding.required and not self._context_attr & _CHANNEL_BOUND:
                self._claim.status = BAD_BINDINGS
                raise BadBindingsError(context_msg="The logon is not bound to its channel")
            self._claim.status = SUCCESS
        return token


class NegotiateAcceptor(NegotiateProxy):
    """SPNEGO (RFC 4178) over those of NTLM and Kerberos that this host has, and either of them bare."""

    def __init__(self, mechanisms: dict[GSSMech, ContextProxy]) -> None:
        super().__init__(usage="accept", protocol="negotiate")
        self._mechanisms = mechanisms
        for context in mechanisms.values():
            context._is_wrapped = True  # noqa: SLF001

    def _preferred_mech_list(self) -> list[GSSMech]:
        return list(self._mechanisms)

    def _rebuild_context_list(self, mech_types: list[str] | None = None, channel_bindings: Any = None) -> list[str]:
        # The client's order counts, as with Windows.
        self._available_contexts = {
            mech: context for oid in mech_types or () for mech, context in self._mechanisms.items() if _same(mech, oid)
        }
        if not self._available_contexts:
            raise BadMechanismError(context_msg="No mechanism in common")
        names: list[str] = super()._rebuild_context_list(mech_types, channel_bindings)
        return names

    def _step_spnego_input(self, *args: Any, **more: Any) -> tuple[bytes | None, bytes | None, bool]:
        first = not self._context_list
        token, mic, is_spnego = super()._step_spnego_input(*args, **more)
        if first and is_spnego and not _same(self._chosen_mech, self._mech_list[0]):
            token = None  # the optimistic token of another mechanism (RFC 4178, section 4.2.1)
        return token, mic, is_spnego


def _same(mech: GSSMech, oid: str) -> bool:
    """True if an object identifier means a mechanism: Windows names Kerberos by one of its own as well."""
    try:
        other = GSSMech.from_oid(oid)
    except ValueError:
        return False
    return bool(other == mech or (other.is_kerberos_oid and mech.is_kerberos_oid))


def negotiate(account: Account, keytab: Path | None, binding: Binding, claim: Claim) -> ContextProxy:
    """Return an acceptor for the scheme Negotiate."""
    mechanisms: dict[GSSMech, ContextProxy] = {}
    if keytab is not None:
        mechanisms[GSSMech.kerberos] = KerberosAcceptor(keytab, binding, claim)
    mechanisms[GSSMech.ntlm] = NtlmAcceptor(account, binding, claim)
    return NegotiateAcceptor(mechanisms)


def credssp(account: Account, keytab: Path | None, claim: Claim) -> ContextProxy:
    """Return an acceptor for the scheme CredSSP (MS-CSSP); it looks for no channel binding, having a TLS of its own."""
    inner = negotiate(account, keytab, Binding(), claim)
    return spnego.server(protocol="credssp", credssp_negotiate_context=inner)


def delegated(context: ContextProxy) -> tuple[str, str] | None:
    """Return user name and password that CredSSP has brought."""
    found = context.get_extra_info("client_credential")
    return (found.username, found.password) if found is not None else None


@lru_cache(maxsize=16)
def service_keys(keytab: str) -> Any:
    """Return the keys in a keytab, as GSS has them.

    Raises:
        ConfigurationError: There is no GSS here, or the file cannot be used.
    """
    try:
        import gssapi
    except ImportError:
        raise ConfigurationError(
            "Simulated hosts take Kerberos with the package gssapi only: pip install 'remotejobs[kerberos]'."
        ) from None
    # Without a replay cache: it is a file that all hosts of this computer share, and flushed to disk with each logon.
    try:
        return gssapi.Credentials(usage="accept", store={"keytab": keytab, "rcache": "none:"})
    except gssapi.exceptions.GSSError as error:
        raise ConfigurationError(f"The keytab {keytab} cannot be used: {error}.") from None
