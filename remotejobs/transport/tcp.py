"""Connecting: one address after the other, until one answers.

Knows sockets. Must not know names, TLS or HTTP.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from remotejobs.errors import UnreachableError
from remotejobs.transport.failures import not_connected
from remotejobs.transport.names import Address

# A host that loses its power while we wait for it says nothing: ask after a minute, give up a minute later.
_KEEP_ALIVE = [
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
    if hasattr(socket, name)
]


async def connect(place: str, addresses: Sequence[Address], *, patience: float = 5.0) -> socket.socket:
    """Connect to the first of `addresses` that answers. The socket is the caller's to close.

    Args:
        place: The host as messages name it.
        addresses: In order of preference, at least one.
        patience: Seconds after which an address that is silent makes way for the next one; SYN is sent at 0, 1 and 3.
            The last address has what the caller's clock leaves.

    Raises:
        UnreachableError: With `details["step"] == "tcp"`; says what the first address did.
    """
    failure: UnreachableError | None = None
    for left, address in enumerate(addresses, 1 - len(addresses)):
        try:
            if not left:
                return await _connect(address)
            async with asyncio.timeout(patience):
                return await _connect(address)
        except OSError as error:  # TimeoutError is one
            ip = address.sockaddr[0]
            failure = failure or not_connected(place if ip in place else f"{place} ({ip})", error)
    assert failure is not None
    raise failure


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
