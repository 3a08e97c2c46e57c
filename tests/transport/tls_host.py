"""A TLS host with a certificate authority of its own, for tests of connections over TLS."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import trustme

from remotejobs.model import SessionOption
from remotejobs.ports import Lost, NotSent, Reply
from remotejobs.transport.tls import client_context
from tests.transport.loopback import Handler, connected, echo, serving

CA, OTHER_CA = trustme.CA(), trustme.CA()
SKIP_ALL = SessionOption(skip_ca_check=True, skip_cn_check=True)


def server_context(*names: str, ca: trustme.CA = CA, **issue: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("web01",)), **issue).configure_cert(context)
    return context


async def post_to(
    server: ssl.SSLContext, option: SessionOption, server_name: str = "web01", handler: Handler = echo
) -> Reply | NotSent | Lost:
    async with (
        serving(handler, server) as endpoint,
        connected(endpoint, tls=client_context(option), server_name=server_name) as transport,
    ):
        return await transport.post(b"hello")


def client_pair(folder: Path) -> SessionOption:
    issued = CA.issue_cert("client@example")
    certificate, key = folder / "client.pem", folder / "client.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    return replace(SKIP_ALL, certificate_file=str(certificate), certificate_key_file=str(key))
