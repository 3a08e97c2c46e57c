"""Who may come in: the challenges of a simulated host, what it makes of Authorization headers, and sealed bodies.

Knows the schemes of WinRM and that a logon belongs to its connection, as http.sys has it. Must not know HTTP's framing
or WS-Man, nor how a mechanism proves anything (sim.acceptors).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from remotejobs.errors import ConfigurationError
from remotejobs.sim import sealed
from remotejobs.sim.accounts import LOGON_FAILURE, SUCCESS, Account
from remotejobs.sim.counters import Counters
from remotejobs.sim.digest import ALGORITHMS, DigestAcceptor
from remotejobs.sim.shells import HostSettings

if TYPE_CHECKING:
    from remotejobs.sim.acceptors import Claim

MECHANISMS: Final = ("Negotiate", "Kerberos", "CredSSP", "Digest", "Certificate", "Basic")
CHANNEL_BINDINGS: Final = ("None", "Relaxed", "Strict")
MUTUAL: Final = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
_SCHEMES: Final = {name.lower(): name for name in ("Negotiate", "Kerberos", "CredSSP")}
_SEALED_AS: Final = {"Negotiate": "SPNEGO", "Kerberos": "Kerberos", "CredSSP": "CredSSP"}
# What a first token begins with: GSS-API's frame, NTLM's NEGOTIATE_MESSAGE.
_FIRST: Final = (b"\x60", b"NTLMSSP\x00\x01")


class Channel(NamedTuple):
    """What lies between the host and its client.

    Attributes:
        secure: TLS.
        binding: The application data of a channel binding to the host's certificate; empty without TLS.
    """

    secure: bool = False
    binding: bytes = b""


class Result(Enum):
    """What came of one Authorization header."""

    CHALLENGE = "one more step: 401 with a token"
    REFUSED = "401"
    LOGGED_ON = "the request counts, and an empty one is answered empty: it was for the logon only"
    ACCEPTED = "the request counts: its header is as good as a logon"


class Step(NamedTuple):
    """One step of a logon: its result, and the value of WWW-Authenticate that goes with the answer, empty for none."""

    result: Result
    header: str = ""


class Authentication:
    """The logon of one connection.

    Args:
        settings: What the host takes.
        account: Its account.
        counters: Where logons are counted.
        channel: What the connection goes through.
        spoiled: Asked with each logon that is decided: True refuses it whatever it was.

    Attributes:
        client: Whom the client's certificate names, empty without one. Its issuer has been checked.
        logged_on: The connection has a logon; Basic, Digest and certificates have one in each request instead.
    """

    def __init__(
        self,
        settings: HostSettings,
        account: Account,
        counters: Counters,
        channel: Channel,
        spoiled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._account = account
        self._counters = counters
        self._channel = channel
        self._spoiled = spoiled
        self._offers = _offers(settings, secure=channel.secure)
        self._digest = DigestAcceptor(settings, account) if "Digest" in self._offers else None
        self.client = ""
        self._context: Any = None
        self._claim: Claim | None = None
        self._scheme = ""
        self._plain = ""  # the header that was accepted, where each request has it
        self.logged_on = False

    @property
    def may_be_clear(self) -> bool:
        """True if messages need not be sealed."""
        return self._channel.secure or self._settings.allow_unencrypted

    def challenges(self) -> list[str]:
        """Return the values of WWW-Authenticate, strongest first."""
        values = [name for name in self._offers if name not in ("Digest", "Basic", "Certificate")]
        if self._digest is not None:
            values += self._digest.challenges()
        if "Basic" in self._offers:
            values.append('Basic realm="WSMAN"')
        return [", ".join(values)] if self._settings.folds_challenges and values else values

    def take(self, header: str, method: str = "POST", path: str = "/wsman") -> Step:
        """Take the value of an Authorization header, of a request for `path`."""
        header = header.strip()
        if header and header == self._plain:
            return Step(Result.ACCEPTED)
        scheme, _, token = header.partition(" ")
        known = _SCHEMES.get(scheme.lower(), "")
        if known in self._offers:
            return self._negotiate(known, token.strip())
        self._forget()
        if scheme.lower() == "digest" and self._digest is not None:
            verdict = self._digest.take(token, method, path)
            if verdict.status is None:
                return Step(Result.REFUSED)  # and the challenges say that the nonce was stale
            if verdict.status == SUCCESS and not verdict.first:
                return Step(Result.ACCEPTED)
            return Step(Result.ACCEPTED if self._decide(verdict.user, verdict.status) else Result.REFUSED)
        if scheme.lower() == "basic" and "Basic" in self._offers:
            user, status = self._basic(token.strip())
        elif header == MUTUAL and "Certificate" in self._offers:
            user = self.client
            status = self._account.logon(user, proved=True)
        else:
            user, status = "", LOGON_FAILURE
        if not self._decide(user, status):
            return Step(Result.REFUSED)
        self._plain = header
        return Step(Result.ACCEPTED)

    def unseal(self, body: bytes) -> bytes | None:
        """Open a sealed request; None if it was not sealed with the keys of this connection, which are then lost."""
        if self.logged_on:
            try:
                return sealed.unseal(self._context, _SEALED_AS[self._scheme], body)
            except Exception:  # noqa: BLE001 - what a mechanism makes of any bytes is not listed anywhere
                self._forget()
        return None

    def seal(self, message: bytes) -> tuple[str, bytes]:
        """Seal an answer: the value of Content-Type, and the body."""
        return sealed.seal(self._context, _SEALED_AS[self._scheme], message)

    def _negotiate(self, scheme: str, text: str) -> Step:
        self._plain = ""
        try:
            token = b64decode(text, validate=True)
        except binascii.Error:
            token = b""
        if self._context is None or self.logged_on or scheme != self._scheme or token.startswith(_FIRST):
            self._begin(scheme)
        context, claim = self._context, self._claim
        assert claim is not None
        answer = b""
        failed = not token
        if token:
            try:
                answer = context.step(token) or b""
            except Exception:  # noqa: BLE001 - as above: whatever it is, it is no logon
                failed = True
        header = f"{scheme} {b64encode(answer).decode('ascii')}" if answer else ""
        if header and not context.complete and claim.status in (None, SUCCESS):
            return Step(Result.CHALLENGE, header)
        status = LOGON_FAILURE if claim.status is None else claim.status
        if failed or not context.complete:
            status = status or LOGON_FAILURE
        elif scheme == "CredSSP" and not self._delegated():
            status = LOGON_FAILURE
        if self._decide(claim.user, status):
            self.logged_on = True
            return Step(Result.LOGGED_ON, header)
        self._forget()
        return Step(Result.REFUSED, header)

    def _begin(self, scheme: str) -> None:
        from remotejobs.sim import acceptors  # takes long to import, and many a fleet is Basic only

        self._forget()
        self._scheme = scheme
        self._claim = claim = acceptors.Claim()
        keytab = self._settings.keytab if "Kerberos" in self._offers else None
        binding = acceptors.Binding()
        if self._settings.channel_binding != "None":
            binding = acceptors.Binding(self._channel.binding, self._settings.channel_binding == "Strict")
        if scheme == "CredSSP":
            self._context = acceptors.credssp(self._account, keytab, claim)
        elif scheme == "Kerberos":
            assert keytab is not None
            self._context = acceptors.KerberosAcceptor(keytab, binding, claim)
        else:
            self._context = acceptors.negotiate(self._account, keytab, binding, claim)

    def _basic(self, token: str) -> tuple[str, int]:
        try:
            user, colon, password = b64decode(token, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", LOGON_FAILURE
        if not colon:
            return "", LOGON_FAILURE
        return user, self._account.logon(user, proved=self._account.has_password(password))

    def _delegated(self) -> bool:
        """True if CredSSP has brought a password, and not a wrong one."""
        from remotejobs.sim import acceptors

        user, password = acceptors.delegated(self._context) or ("", "")
        return bool(password) and (not self._account.named(user) or self._account.has_password(password))

    def _decide(self, user: str, status: int) -> bool:
        refused = self._spoiled() or status != SUCCESS
        (self._counters.logon_failures if refused else self._counters.logons)[user] += 1
        return not refused

    def _forget(self) -> None:
        self._context = self._claim = None
        self._scheme = self._plain = ""
        self.logged_on = False


def check(settings: HostSettings) -> None:
    """Look at what settings say about logons.

    Raises:
        ConfigurationError: A mechanism that there is none of, or a keytab that cannot be used.
    """
    known = ", ".join(MECHANISMS)
    for name in settings.authentication:
        if name not in MECHANISMS:
            raise ConfigurationError(f"{name!r} is no mechanism of a simulated host; there are {known}.")
    if settings.channel_binding not in CHANNEL_BINDINGS:
        raise ConfigurationError(f"The channel binding is one of {', '.join(CHANNEL_BINDINGS)}.")
    for name in settings.digest_algorithms:
        if name not in ALGORITHMS:
            raise ConfigurationError(f"{name!r} is no algorithm of Digest here; there are {', '.join(ALGORITHMS)}.")
    if "Kerberos" in _offers(settings, secure=True):
        from remotejobs.sim import acceptors

        acceptors.service_keys(str(settings.keytab))


def _offers(settings: HostSettings, *, secure: bool) -> tuple[str, ...]:
    """Which mechanisms there are, strongest first."""
    left_out = set(MECHANISMS) - set(settings.authentication)
    if settings.keytab is None:
        left_out.add("Kerberos")
    if not secure:
        left_out |= {"Certificate", "Digest"} if settings.allow_unencrypted else {"Certificate", "Digest", "Basic"}
    return tuple(name for name in MECHANISMS if name not in left_out)
