"""What a computer name is. Knows the rules of .NET's Uri.CheckHostName; must not know ranges, lists, files or look-ups.

PowerShell checks every name of -ComputerName with Uri.CheckHostName before it connects to any, and so do we.
"""

from __future__ import annotations

import re

from remotejobs.errors import TargetError

INVALID_NAME = "PSSessionInvalidComputerName"

_LABEL_OCTETS = 63
_DNS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_-]{0,62}\.)*[A-Za-z0-9][A-Za-z0-9_-]{0,62}\.?")
# Not compiled here: most command lines need none of these, and each start would pay for them.
_IRI_LABEL = r"[A-Za-z0-9\u00a0-\U0010ffff][A-Za-z0-9_\u00a0-\U0010ffff-]*"
_IRI_DOTS = "[.\u3002\uff0e\uff61]"
_SCOPE = r"[A-Za-z0-9_.-]+"
_HINTS = (
    (r"\s*", "it is blank"),
    (r".*://.*|.*[/\\].*", "give the name of a host, not a URL or a path"),
    (r"[^:]*:[0-9]+|\[.*\]:[0-9]+", "the port goes into -Port, or into port=NUMBER in a server list"),
    (r".*[*?].*", "wildcards are not expanded; a range is written web[01-20]"),
    (r".*[:\[\]].*", "it looks like an IPv6 address or a range, and is neither"),
)


def check_name(text: str) -> str:
    """Return the computer name in `text` as Location and PSComputerName show it.

    A DNS name (ASCII or international) or an IPv4 address stays as typed, an IPv6 address is put in brackets, `.` is
    `localhost`: PowerShell's rules (WSManConnectionInfo). Where .NET also takes invisible characters in an
    international name, or a prefix length behind an IPv6 address, we do not.

    Raises:
        TargetError: It is none of these; `error_id` is PowerShell's PSSessionInvalidComputerName.
    """
    if _DNS.fullmatch(text):
        return text
    if text == ".":
        return "localhost"
    if ":" in text:
        address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        if _is_ipv6(address):
            return f"[{address}]"
    elif _is_international(text):
        return text
    hint = next((hint for pattern, hint in _HINTS if re.fullmatch(pattern, text)), "use a DNS name or an IP address")
    raise TargetError(f"{shown(text)} is not a computer name: {hint}.", error_id=INVALID_NAME)


def name_key(name: str) -> str:
    """Return what two names share when they are the same computer: names are compared without regard to case."""
    return name.casefold()


def shown(text: str, limit: int = 80) -> str:
    """Return `text` quoted for a message: control characters escaped, no longer than `limit` characters and a mark."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}…"


def _is_ipv6(text: str) -> bool:
    import ipaddress  # only here: most calls of the command never need it

    address, percent, scope = text.partition("%")
    if percent and not re.fullmatch(_SCOPE, scope):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _is_international(text: str) -> bool:
    """Check a name with letters outside ASCII: .NET's DomainNameHelper.IsValidByIri, printable characters only."""
    if not text.isprintable():
        return False
    labels = re.split(_IRI_DOTS, text)
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    return all(re.fullmatch(_IRI_LABEL, label) and _octets(label) <= _LABEL_OCTETS for label in labels)


def _octets(label: str) -> int:
    """Count a label as .NET does: two for each UTF-16 unit above 0xFF, and four for `xn--` where one is needed."""
    count = sum(1 if c <= "\xff" else 2 if c <= "\uffff" else 4 for c in label)
    return count if max(label) < "\xa0" else count + 4
