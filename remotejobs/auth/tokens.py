"""Authentication mechanisms as generators of Authorization headers (the AuthContext port). So far: Basic.

Knows mechanisms and their header values. Must not know sockets, HTTP connections or time.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Sequence

from remotejobs.auth.credentials import Credential
from remotejobs.errors import ConfigurationError
from remotejobs.model import Endpoint
from remotejobs.ports import AuthContext

# PowerShell's AuthenticationMechanism enumeration, looked up without regard to case
_MECHANISMS = {
    name.lower(): name
    for name in ("Default", "Basic", "Negotiate", "NegotiateWithImplicitCredential", "Credssp", "Digest", "Kerberos")
}


class BasicContext:
    """Basic authentication (RFC 7617, UTF-8): the same header on every request, no handshake, local accounts only.

    Raises:
        ConfigurationError: A user name with a colon, which Basic cannot carry.
    """

    mechanism = "Basic"
    every_request = True
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


def context(mechanism: str, credential: Credential) -> AuthContext:
    """A fresh context of `mechanism` (any case) for one connection.

    Raises:
        ConfigurationError: A mechanism that is unknown or not there yet, or a user name that it cannot carry.
    """
    if canonical(mechanism) == "Basic":
        return BasicContext(credential)
    raise ConfigurationError(
        f"The authentication mechanism {canonical(mechanism)} is not supported yet. Give -Authentication Basic -UseSSL "
        "with a local account of the hosts.",
        mechanism=canonical(mechanism),
    )


def refuse_clear_text(mechanism: str, endpoint: Endpoint, allow_unencrypted: bool) -> None:
    """Refuse, before anything is sent, to send a password over clear http.

    PowerShell refuses Basic over http outside Windows in the same way (error code 801).

    Raises:
        ConfigurationError: Basic to an http endpoint without the session option AllowUnencrypted.
    """
    if canonical(mechanism) == "Basic" and not endpoint.ssl and not allow_unencrypted:
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
