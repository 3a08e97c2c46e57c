"""From what -ConnectionUri was given to targets. Knows URIs; must not know jobs, stores or hosts."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from remotejobs.errors import TargetError
from remotejobs.model import Target


def targets_of(uris: str | Sequence[str]) -> tuple[Target, ...]:
    """Turn -ConnectionUri into targets.

    Raises:
        TargetError: A URI is relative or not http or https.
    """
    targets = []
    for uri in [uris] if isinstance(uris, str) else uris:
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise TargetError(
                f"{uri!r} is not an endpoint: write it as https://web01:5986/wsman, without a user name.",
                error_id="CreateRemoteRunspaceFailed",
            )
        ssl = parts.scheme.lower() == "https"
        path = (parts.path.lstrip("/") or "wsman") + (f"?{parts.query}" if parts.query else "")
        targets.append(Target(parts.hostname, port=port or (5986 if ssl else 5985), ssl=ssl, application=path))
    if not targets:
        raise TargetError("No target is named: the list of URIs is empty.")
    return tuple(targets)
