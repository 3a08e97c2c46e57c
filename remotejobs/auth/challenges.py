"""What a host offers: the values of WWW-Authenticate, each with one scheme or several folded into it (RFC 9110 11.6.1).

Knows the grammar, as far as WinRM's hosts use it. Must not know mechanisms.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence

_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][\w-]*)(?:\s+([A-Za-z0-9+/]{4,}={0,2}))?(?=\s|,|$)")
_PARAMETER = re.compile(
    r'(?<![\w*-])(?:([A-Za-z][\w-]*)\s+)?([A-Za-z][\w*-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))'
)
_ESCAPE = re.compile(r"\\(.)")


def offered(challenges: Sequence[str]) -> list[str]:
    """Names of the schemes, as the host spells them, in its order."""
    return [match[1] for value in challenges for match in _SCHEME.finditer(value)]


def token(scheme: str, challenges: Sequence[str]) -> bytes | None:
    """The token that `scheme` brings, None where it is not there or bare.

    Raises:
        ValueError: It is not base64.
    """
    for value in challenges:
        for match in _SCHEME.finditer(value):
            if match[2] and match[1].lower() == scheme.lower():
                try:
                    return base64.b64decode(match[2], validate=True)
                except binascii.Error:
                    raise ValueError("not base64") from None
    return None


def parameters(scheme: str, challenges: Sequence[str]) -> Iterator[dict[str, str]]:
    """The parameters of each challenge of `scheme`; names in lower case."""
    for value in challenges:
        current: dict[str, str] | None = None
        for name, key, quoted, plain in _PARAMETER.findall(value):
            if name:
                if current:
                    yield current
                current = {} if name.lower() == scheme.lower() else None
            if current is not None:
                current[key.lower()] = plain or _ESCAPE.sub(r"\1", quoted)
        if current:
            yield current
