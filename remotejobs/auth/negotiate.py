"""Negotiate and Kerberos: a security context of pyspnego's as steps of HTTP authentication, and what it seals.

Knows pyspnego, tokens and header values. Must not know connections, where tickets come from, or how a sealed body is
framed. pyspnego is imported when the first context begins: it takes a quarter of a second.

What pyspnego and the libraries below it raise ends here: their exceptions hold frames with keys and tokens, so none is
chained to ours.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from remotejobs.auth.challenges import offered, token
from remotejobs.auth.failures import SERVER_UNKNOWN, explain, krb5_code, unknown_service
from remotejobs.errors import AuthenticationError, RemoteJobsError

if TYPE_CHECKING:
    import spnego

T = TypeVar("T")
Begin = Callable[[bytes | None], "tuple[spnego.ContextProxy, bytes | None]"]

# its debug lines hold every token
logging.getLogger("spnego").setLevel(logging.CRITICAL + 1)

_MOST_ROUNDS: Final = 12  # CredSSP, the longest, takes seven
_LONGEST_TOKEN: Final = 64 * 1024
_CHALLENGE: Final = b"NTLMSSP\0\x02\0\0\0"
# NTLMSSP_NEGOTIATE_SIGN, _SEAL, _EXTENDED_SESSIONSECURITY, _128 (MS-NLMP 2.2.2.5)
_STRONG: Final = 0x10 | 0x20 | 0x80000 | 0x20000000


class GssContext:
    """Implements ports.AuthContext with one context of pyspnego's.

    Args:
        mechanism: PowerShell's name.
        scheme: What stands before the token in the header.
        host: For messages.
        begin: Makes the context and its first token from the channel binding; runs in the first step.
        waits: The first step may ask a KDC.
    """

    every_request = False
    anew = False
    _asks_later = False  # the ticket comes with the first token

    __slots__ = ("_begin", "_context", "_host", "_scheme", "_weak", "mechanism", "waits")

    def __init__(self, mechanism: str, scheme: str, host: str, begin: Begin, *, waits: bool) -> None:
        self.mechanism, self.waits = mechanism, waits
        self._scheme, self._host, self._begin = scheme, host, begin
        self._context: spnego.ContextProxy | None = None
        self._weak = False

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]:
        """Yield the tokens; what the host says with its 200 is checked too.

        Raises:
            AuthenticationError: No ticket, a host that does not offer the mechanism, or an answer that does not fit.
            UnreachableError: No KDC can be reached.
        """
        context, out = guarded(lambda: self._begin(channel_binding), self.mechanism, self._host)
        self._context = context
        self.waits = self.waits and self._asks_later
        for turn in range(_MOST_ROUNDS):
            if not out:
                return
            challenges = yield f"{self._scheme} {base64.b64encode(out).decode('ascii')}"
            answer = self._token(challenges)
            if answer is None:
                schemes = offered(challenges)
                if turn == 0 and schemes and self._scheme.lower() not in map(str.lower, schemes):
                    raise not_offered(self._host, self._scheme, schemes)
                return
            if turn and context.complete:
                return  # a host that has accepted has nothing to add
            out = self._next(context, answer)
        raise self._unfit("goes on for ever")

    def sealer(self) -> GssSealer:
        """What seals once the host has proved itself.

        Raises:
            AuthenticationError: The host has accepted without proving who it is, or allows weak encryption only.
        """
        context = self._context
        if context is None or not context.complete:
            raise AuthenticationError(
                f"{self._host} has accepted without proving its own identity, so nothing was sent to it: somebody may "
                "be in between.",
                refused=False,
            )
        if self._weak:
            raise AuthenticationError(
                f"{self._host} allows weak or no encryption only (NTLM without 128-bit session security), so nothing "
                "was sent to it. On the host: 'Network security: Minimum session security for NTLM SSP based servers'.",
                refused=False,
            )
        return self._sealer(context)

    def _next(self, context: spnego.ContextProxy, answer: bytes) -> bytes | None:
        at = answer.find(_CHALLENGE)
        if at >= 0 and ~int.from_bytes(answer[at + 20 : at + 24], "little") & _STRONG:
            self._weak = True
        return guarded(lambda: context.step(answer), self.mechanism, self._host)

    def _sealer(self, context: spnego.ContextProxy) -> GssSealer:
        name = "Kerberos" if self._scheme == "Kerberos" else "SPNEGO"
        return GssSealer(context, f"application/HTTP-{name}-session-encrypted", self.mechanism, self._host)

    def _token(self, challenges: Sequence[str]) -> bytes | None:
        try:
            found = token(self._scheme, challenges)
        except ValueError:
            raise self._unfit("is not base64") from None
        if found is not None and len(found) > _LONGEST_TOKEN:
            raise self._unfit("is far too long")
        return found

    def _unfit(self, how: str) -> AuthenticationError:
        return AuthenticationError(
            f"What {self._host} answers to {self.mechanism} authentication {how}. It is no WinRM service, or something "
            "in between changes what it says.",
            refused=False,
        )


class GssSealer:
    """Implements ports.Sealer with a context that is complete."""

    __slots__ = ("_context", "_host", "_mechanism", "_whole", "largest", "protocol")

    def __init__(
        self, context: spnego.ContextProxy, protocol: str, mechanism: str, host: str, largest: int = 0
    ) -> None:
        self.protocol, self.largest = protocol, largest
        self._context, self._mechanism, self._host = context, mechanism, host
        # GSSAPI, not SSPI
        self._whole = not largest and sys.platform != "win32" and context.negotiated_protocol == "kerberos"

    def wrap(self, message: bytes) -> tuple[bytes, bytes, int]:
        """Encrypt: header, ciphertext, bytes of padding.

        Raises:
            AuthenticationError: The context has ended, as a ticket's life may.
        """
        if self._whole:
            token = guarded(lambda: self._context.wrap(message), self._mechanism, self._host).data
            return cut_token(token, len(message))
        wrapped = guarded(lambda: self._context.wrap_winrm(message), self._mechanism, self._host)
        return wrapped.header, wrapped.data, wrapped.padding_length

    def unwrap(self, header: bytes, ciphertext: bytes) -> bytes:
        """Decrypt.

        Raises:
            AuthenticationError: Not sealed with these keys, changed, or out of order.
        """
        return guarded(lambda: self._unwrap(header, ciphertext), self._mechanism, self._host)

    def _unwrap(self, header: bytes, ciphertext: bytes) -> bytes:
        if self._whole:
            # A whole token, rotated (Windows) or not (OMI), opens at half the cost (RFC 4121 4.2.4); RC4's is none.
            with contextlib.suppress(Exception):
                return self._context.unwrap(header + ciphertext).data
        return self._context.unwrap_winrm(header, ciphertext)


def cut_token(token: bytes, length: int) -> tuple[bytes, bytes, int]:
    """Cut what GSS_Wrap gives for Kerberos as WinRM sends it: header, ciphertext, bytes of padding.

    The buffers of GSS_WrapIOV are the same at four times the cost, and Heimdal (macOS) has none that fit.

    Args:
        token: Of AES or Camellia (RFC 4121 4.2.6.2): what follows the message is rotated to stand before it; else of
            RC4 (RFC 4757 7.3), which ends with one byte of padding.
        length: The message's, in bytes.
    """
    if token[:2] != b"\x05\x04":
        at = len(token) - length - 1
        return token[:at], token[at:], 1
    body, behind = token[16:], len(token) - 32 - length
    turn = behind - int.from_bytes(token[6:8], "big")
    body = body[-turn:] + body[:-turn]
    at = behind + 16  # with the confounder
    return token[:6] + behind.to_bytes(2, "big") + token[8:16] + body[:at], body[at:], 0


def begin(
    protocol: str,
    credentials: Sequence[spnego.Credential],
    host: str,
    services: Sequence[str],
    binding: bytes | None,
    *,
    delegate: bool = False,
) -> tuple[spnego.ContextProxy, bytes | None]:
    """Make a context of pyspnego's and its first token.

    Args:
        protocol: `ntlm`, `kerberos` or `negotiate`.
        credentials: What may be used; none are the current user's.
        host: Host part of the SPN.
        services: Service classes of the SPN, tried in order while the domain does not know them.
        binding: Channel binding, as application data.
        delegate: Ask for delegation.

    Raises:
        AuthenticationError: The domain knows none of the services.
    """
    import spnego
    from spnego.channel_bindings import GssChannelBindings

    bindings = GssChannelBindings(application_data=binding) if binding else None
    request = spnego.ContextReq.default | (spnego.ContextReq.delegate if delegate else spnego.ContextReq.none)
    last = len(services) - 1
    for at, service in enumerate(services):
        try:
            context = spnego.client(
                list(credentials) or None,
                hostname=host,
                service=service,
                channel_bindings=bindings,
                context_req=request,
                protocol=protocol,
            )
            out = context.step()
        except Exception as error:
            if krb5_code(error) != SERVER_UNKNOWN:
                raise
            continue
        # NTLM stands in for a ticket that was not to be had: ask for the next one first
        if at == last or protocol != "negotiate" or context.negotiated_protocol != "ntlm":
            return context, out
    raise unknown_service(host, services)


def guarded(action: Callable[[], T], mechanism: str, host: str) -> T:
    """Run `action`; what a library raises becomes an error of ours that has nothing of the library's in it."""
    failure: RemoteJobsError
    try:
        return action()
    except RemoteJobsError:
        raise
    except Exception as error:  # noqa: BLE001 - fed with a host's bytes, libraries raise anything
        failure = explain(error, mechanism, host)
    raise failure


def not_offered(host: str, scheme: str, schemes: Sequence[str]) -> AuthenticationError:
    """The error for a host that does not offer `scheme` but others."""
    names = ", ".join(dict.fromkeys(name for name in schemes if name.isascii()))
    allow = f"allow it on the host: Set-Item WSMan:\\localhost\\Service\\Auth\\{scheme} $true"
    if scheme == "CredSSP":
        allow = "allow it on the host: Enable-WSManCredSSP -Role Server"
    elif scheme == "Digest":
        allow = "look at the endpoint: Windows' own WinRM service has no Digest"
    return AuthenticationError(
        f"{host} does not offer {scheme} authentication; it offers {names or 'none that is known'}. Give another "
        f"-Authentication, or {allow}.",
        error_id="InvalidAuthentication",
        offered=names,
        refused=False,
    )
