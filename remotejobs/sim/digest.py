"""The host's side of Digest (RFC 7616, and RFC 2617 before it), as IIS has it in front of an endpoint.

Knows challenges, nonces and the arithmetic. Must not know HTTP or connections. Written apart from the client's side on
purpose: a mistake in one must not be hidden by the other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote
from urllib.request import parse_http_list, parse_keqv_list

from remotejobs.sim.accounts import LOGON_FAILURE, SUCCESS, Account
from remotejobs.sim.shells import HostSettings

ALGORITHMS: Final = ("MD5", "MD5-sess", "SHA-256", "SHA-256-sess")
_REALM: Final = "Digest"  # what Windows says
_COUNT: Final = re.compile(r"[0-9a-fA-F]{8}")


class Verdict(NamedTuple):
    """What one Authorization header is worth.

    Attributes:
        user: As the client wrote it.
        status: NT status; None where the password is right and the nonce is too old: to be asked for again.
        first: It is the first with its nonce: a logon, and the others belong to it.
    """

    user: str = ""
    status: int | None = LOGON_FAILURE
    first: bool = True


@dataclass(slots=True)
class _Nonce:
    algorithm: str
    count: int = 0
    user: str = ""  # whose logon it is
    key: str = ""  # H(A1) of that logon: with -sess it stays (RFC 7616 3.4.2)


class DigestAcceptor:
    """Digest with qop `auth` on one connection.

    Args:
        settings: The algorithms, and how long a nonce lasts.
        account: The host's.
    """

    def __init__(self, settings: HostSettings, account: Account) -> None:
        self._settings = settings
        self._account = account
        self._opaque = secrets.token_hex(8)
        self._nonces: dict[str, _Nonce] = {}
        self._stale = False

    def challenges(self) -> list[str]:
        """Return one challenge for each algorithm, each with a new nonce; those before it are no longer good."""
        self._nonces = {secrets.token_urlsafe(24): _Nonce(name) for name in self._settings.digest_algorithms}
        stale, self._stale = ", stale=true" if self._stale else "", False
        return [
            f'Digest realm="{_REALM}", qop="auth", algorithm={nonce.algorithm}, nonce="{text}", '
            f'opaque="{self._opaque}", charset=UTF-8{stale}'
            for text, nonce in self._nonces.items()
        ]

    def take(self, text: str, method: str, path: str) -> Verdict:
        """Look at what comes after `Digest` in a request for `path`."""
        try:
            fields = parse_keqv_list(parse_http_list(text))
        except ValueError:
            return Verdict()
        user = unquote(fields.get("username*", "").partition("''")[2]) or fields.get("username", "")
        algorithm, said, count = fields.get("algorithm", "MD5"), fields.get("nonce", ""), fields.get("nc", "")
        # A nonce of another connection, or one that is over: it may be right all the same.
        nonce = self._nonces.get(said, _Nonce(algorithm))
        if (
            algorithm not in self._settings.digest_algorithms
            or algorithm != nonce.algorithm
            or (fields.get("realm"), fields.get("qop"), fields.get("uri")) != (_REALM, "auth", path)
            or not _COUNT.fullmatch(count)
        ):
            return Verdict(user)
        first = nonce.user != user or not user
        key = self._key(algorithm, user, said, fields.get("cnonce", "")) if first else nonce.key
        asked = _hash(algorithm, f"{method}:{path}")
        wanted = _hash(algorithm, f"{key}:{said}:{count}:{fields.get('cnonce', '')}:auth:{asked}")
        proved = hmac.compare_digest(wanted.encode(), fields.get("response", "").encode())
        number, uses = int(count, 16), self._settings.digest_nonce_uses
        if proved and (said not in self._nonces or (uses and nonce.count >= uses)):
            self._stale = True
            return Verdict(user, None)
        if proved and (number <= nonce.count or fields.get("opaque") != self._opaque):
            return Verdict(user)  # somebody repeats what was said before
        if not proved or first:
            status = self._account.logon(user, proved=proved)
            if status != SUCCESS:
                return Verdict(user, status)
        nonce.count, nonce.user, nonce.key = number, user, key
        return Verdict(user, SUCCESS, first)

    def _key(self, algorithm: str, user: str, nonce: str, cnonce: str) -> str:
        key = _hash(algorithm, f"{user}:{_REALM}:{self._account.password}")
        return _hash(algorithm, f"{key}:{nonce}:{cnonce}") if algorithm.endswith("-sess") else key


def _hash(algorithm: str, text: str) -> str:
    make = hashlib.md5 if algorithm.startswith("MD5") else hashlib.sha256
    return make(text.encode()).hexdigest()
