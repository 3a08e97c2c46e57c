"""Takes passwords out of text that is about to be written: by value, in every form that a secret has on the wire.

Knows the forms, and every Secret that lives. Must not know where text is written.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from html import escape
from weakref import WeakKeyDictionary

from remotejobs.auth.credentials import Secret, living_secrets

STARS = "***"
_SHORTEST = 4  # what is shorter would take ordinary words out
_known: WeakKeyDictionary[Secret, tuple[bool, list[str]]] = WeakKeyDictionary()


def redact(text: str) -> str:
    """Return the text without any password that this process holds."""
    for secret in living_secrets():
        for form in _forms_of(secret):
            if form in text:
                text = text.replace(form, STARS)
    return text


def forms(password: str, *, hashed: bool = True) -> list[str]:
    """Every form in which a password may stand in a text, the longest first; none of one shorter than four characters.

    Args:
        password: In clear.
        hashed: The NT hash ([MS-NLMP] 3.3.1) too, which is as good as the password.
    """
    if len(password) < _SHORTEST:
        return []
    found = {
        password,
        repr(password)[1:-1],
        json.dumps(password)[1:-1],
        escape(password, quote=False),
        escape(password),
    }
    datas = [password.encode("utf-8", "surrogatepass"), password.encode("utf-16-le", "surrogatepass")]
    if hashed:
        datas.append(_nt_hash(password))
    for data in datas:
        found |= {data.hex(), data.hex().upper(), repr(data)[2:-1], *_base64(data)}
    return sorted((form for form in found if len(form) >= _SHORTEST), key=len, reverse=True)


def _base64(data: bytes) -> Iterator[str]:
    """What base64 makes of bytes in the middle of others: they begin at one of three places; the ends are blurred."""
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + data)[4 if shift else 0 : -4].decode()


def _forms_of(secret: Secret) -> list[str]:
    # Only who speaks NTLM computes the hash, with spnego, which takes long to import.
    hashed = "spnego" in sys.modules
    known = _known.get(secret)
    if known is None or known[0] != hashed:
        known = _known[secret] = (hashed, forms(secret.reveal(), hashed=hashed))
    return known[1]


def _nt_hash(password: str) -> bytes:
    from spnego._ntlm_raw.crypto import ntowfv1  # OpenSSL 3 has no MD4 any more

    return ntowfv1(password)
