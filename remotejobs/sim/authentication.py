"""Who may come in: the challenges of a simulated host and what it makes of an Authorization header.

Knows Basic, the only mechanism that is served here. Must not know HTTP's framing or WS-Man. Negotiate is offered
beside it, as real hosts do, and always refused: a client must choose by what it can use.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode

from remotejobs.sim.shells import HostSettings


class Authentication:
    """The logon of one request.

    Args:
        settings: The account, and whether Basic is allowed over http.
        secure: TLS lies between.
    """

    def __init__(self, settings: HostSettings, *, secure: bool) -> None:
        self._settings = settings
        self._basic = secure or settings.allow_unencrypted

    def challenges(self) -> list[str]:
        """Return the values of WWW-Authenticate, strongest first."""
        return ["Negotiate", 'Basic realm="WSMAN"'] if self._basic else ["Negotiate"]

    def accepts(self, header: str) -> bool:
        r"""True if the value of an Authorization header names the account and its password.

        Windows compares user names without case; a domain or host name before `\` is left aside.
        """
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() != "basic" or not self._basic:
            return False
        try:
            user, colon, password = b64decode(token.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        settings = self._settings
        same_user = user.rsplit("\\", 1)[-1].casefold() == settings.user.casefold()
        return bool(colon) and same_user and hmac.compare_digest(password.encode(), settings.password.encode())
