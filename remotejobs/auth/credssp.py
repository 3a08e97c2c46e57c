"""CredSSP (MS-CSSP): TLS in HTTP headers, in it Negotiate, then the password itself for the host to use.

Knows pyspnego's context and what it needs to be safe from a hostile host. Must not know connections or sealed framing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from remotejobs.auth.credentials import Credential
from remotejobs.auth.negotiate import GssContext, GssSealer, guarded

if TYPE_CHECKING:
    import spnego
    from spnego.tls import CredSSPTLSContext

_MOST_SEALED: Final = 16384  # bytes: one TLS record
# Older versions can be relayed (CVE-2018-0886): Windows itself refuses them since May 2018.
_LEAST_VERSION: Final = 5


class CredsspContext(GssContext):
    """CredSSP on one connection. `waits` where the Negotiate inside it may ask a KDC."""

    __slots__ = ()
    _asks_later = True  # TLS first, the ticket inside of it

    def _next(self, context: spnego.ContextProxy, answer: bytes) -> bytes | None:
        # after the password has been sent comes an empty 200, or the host's reason against it
        return guarded(lambda: context.step(answer), self.mechanism, self._host)

    def _sealer(self, context: spnego.ContextProxy) -> GssSealer:
        return GssSealer(
            context, "application/HTTP-CredSSP-session-encrypted", self.mechanism, self._host, _MOST_SEALED
        )


def tls_context() -> CredSSPTLSContext:
    """The TLS settings for all contexts of a job: TLS 1.2 or newer; certificates are self-signed, and bound inside."""
    from spnego.tls import default_tls_context

    tls = default_tls_context()
    base: Any = tls.context.sslobject_class

    class Bounded(base):  # type: ignore[misc]
        """Ends where the host says that it ends: pyspnego would read nothing for ever."""

        def read(self, len: int = _MOST_SEALED, buffer: Any = None) -> Any:  # noqa: A002 - ssl's name
            data = super().read(len, buffer)
            if not data:
                raise EOFError
            return data

    tls.context.sslobject_class = Bounded
    return tls


def begin(
    credential: Credential,
    inner: Callable[[], spnego.ContextProxy],
    tls: CredSSPTLSContext,
    host: str,
    service: str,
) -> tuple[spnego.ContextProxy, bytes | None]:
    """Make a context of pyspnego's and its first token.

    Args:
        credential: What the host gets.
        inner: Makes the context that authenticates inside of TLS.
        tls: tls_context().
        host, service: The SPN.
    """
    import spnego

    context = spnego.client(
        spnego.Password(credential.username, credential.secret.reveal()),
        hostname=host,
        service=service,
        protocol="credssp",
        credssp_negotiate_context=inner(),
        credssp_tls_context=tls,
        credssp_min_protocol=_LEAST_VERSION,
    )
    return context, context.step()
