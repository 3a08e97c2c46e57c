"""Digest authentication (RFC 7616) for endpoints behind IIS; Windows' own WinRM service refuses it.

Knows the arithmetic of RFC 7616. Must not know connections.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Generator, Sequence
from typing import Final

from remotejobs.auth.challenges import offered, parameters
from remotejobs.auth.credentials import Credential
from remotejobs.auth.negotiate import not_offered
from remotejobs.errors import AuthenticationError
from remotejobs.model import Endpoint

_HASHES: Final = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}  # the strongest first
_PLAIN: Final = re.compile(r"[ -~]*")
_QUOTE: Final = re.compile(r'(["\\])')


class DigestContext:
    """Digest with qop `auth`: MD5 or SHA-256, also as `-sess`. Each request has its own header (`anew`).

    The first step has nothing to say yet: it yields an empty value, which stands for no Authorization header.
    """

    mechanism = "Digest"
    every_request = False
    anew = True
    waits = False

    __slots__ = ("_challenge", "_cnonce", "_count", "_credential", "_host", "_path")

    def __init__(self, credential: Credential, endpoint: Endpoint) -> None:
        self._credential, self._path = credential, endpoint.path
        self._host = endpoint.server_name or endpoint.host
        self._challenge: dict[str, str] | None = None
        self._cnonce, self._count = "", 0

    def steps(self, channel_binding: bytes | None) -> Generator[str, Sequence[str], None]:  # noqa: ARG002 - the port has it
        """Yield the header for one request; again where the host says that its nonce was stale.

        Raises:
            AuthenticationError: The host does not offer Digest, or none that is known here.
        """
        if self._challenge is None:
            challenges = yield ""
            if not challenges:
                return
            self._take(challenges)
        challenges = yield self._answer()
        if any(each.get("stale", "").lower() == "true" for each in parameters("Digest", challenges)):
            self._take(challenges)
            yield self._answer()

    def sealer(self) -> None:
        """Digest seals nothing here: it is for https."""

    def _take(self, challenges: Sequence[str]) -> None:
        # what is said back goes into a header
        found = [each for each in parameters("Digest", challenges) if all(map(_PLAIN.fullmatch, each.values()))]
        if not found:
            raise not_offered(self._host, "Digest", offered(challenges))
        for name in _HASHES:
            for each in found:
                if _hash_name(each) == name and "auth" in re.split(r"[\s,]+", each.get("qop", "").lower()):
                    # one of ours for all requests that answer it: with -sess it is in the key (RFC 7616 3.4.2)
                    self._challenge, self._cnonce, self._count = each, secrets.token_urlsafe(24), 0
                    return
        raise AuthenticationError(
            f"{self._host} offers Digest in a form that is not used here: known are MD5 and SHA-256 with qop=auth.",
            refused=False,
        )

    def _answer(self) -> str:
        assert self._challenge is not None
        self._count += 1
        return respond(self._challenge, self._credential, "POST", self._path, self._cnonce, self._count)


def respond(challenge: dict[str, str], credential: Credential, method: str, uri: str, cnonce: str, count: int) -> str:
    """The value of Authorization that answers `challenge` (RFC 7616 3.4)."""
    make = _HASHES[_hash_name(challenge)]
    # without a charset Latin-1 has been the custom (RFC 7616 4)
    charset = "utf-8" if challenge.get("charset", "").lower() == "utf-8" else "latin-1"

    def hashed(text: str) -> str:
        try:
            data = text.encode(charset)
        except UnicodeEncodeError:
            data = text.encode()
        return make(data).hexdigest()

    realm, nonce, username = challenge.get("realm", ""), challenge.get("nonce", ""), credential.username
    key = hashed(f"{username}:{realm}:{credential.secret.reveal()}")
    if challenge.get("algorithm", "").lower().endswith("-sess"):
        key = hashed(f"{key}:{nonce}:{cnonce}")
    response = hashed(f"{key}:{nonce}:{count:08x}:{cnonce}:auth:{hashed(f'{method}:{uri}')}")
    fields = [
        _user(username),
        _quoted("realm", realm),
        _quoted("uri", uri),
        *([f"algorithm={challenge['algorithm']}"] if "algorithm" in challenge else []),
        _quoted("nonce", nonce),
        f"nc={count:08x}",
        _quoted("cnonce", cnonce),
        "qop=auth",
        _quoted("response", response),
        *([_quoted("opaque", challenge["opaque"])] if "opaque" in challenge else []),
    ]
    return f"Digest {', '.join(fields)}"


def _hash_name(challenge: dict[str, str]) -> str:
    return challenge.get("algorithm", "MD5").upper().removesuffix("-SESS")


def _user(username: str) -> str:
    if username.isascii():
        return _quoted("username", username)
    from urllib.parse import quote

    return f"username*=UTF-8''{quote(username, safe='')}"


def _quoted(name: str, value: str) -> str:
    escaped = _QUOTE.sub(r"\\\1", value)
    return f'{name}="{escaped}"'
