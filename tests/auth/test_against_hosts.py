"""Each mechanism through the transport to a simulated host: real sockets, real TLS, a real KDC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.tokens import Contexts
from remotejobs.errors import AuthenticationError
from remotejobs.model import Endpoint, Limits, SessionOption
from remotejobs.ports import Reply
from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.shells import HostSettings
from remotejobs.transport.http import HttpTransport
from remotejobs.transport.names import Names
from remotejobs.transport.tls import client_context
from tests.kdc import PASSWORD, REALM, Kdc
from tests.sim.wire import envelope, host_of, run

LOCAL = Credential("sim", Secret("sim"))
ALICE = Credential(f"alice@{REALM}", Secret(PASSWORD))
OFFERS = ("Negotiate", "Kerberos", "CredSSP")
GET = envelope("http://schemas.xmlsoap.org/ws/2004/09/transfer/Get").encode()


async def answers(
    mechanism: str, who: Credential, *, ssl: bool = False, count: int = 3, **settings: Any
) -> list[Reply]:
    """Ask a host the same thing again and again, on one connection."""
    behaviour = HostSettings(authentication=OFFERS, **settings)
    options = SessionOption(skip_ca_check=True, skip_cn_check=True)
    contexts = Contexts(options)
    async with Fleet(["web01"], FleetOptions(settings=behaviour)) as fleet:
        host = host_of(fleet)
        endpoint = Endpoint("127.0.0.1", host.https_port if ssl else host.http_port, ssl, server_name="web01")
        with ThreadPoolExecutor(2) as threads:
            transport = HttpTransport(
                endpoint,
                contexts.context(mechanism, who, endpoint),
                tls=client_context(options),
                names=Names(),
                limits=Limits(),
                seals=not ssl,
                threads=threads,
            )
            await transport.open()
            try:
                replies = [await transport.post(GET) for _ in range(count)]
            finally:
                transport.close()
                contexts.close()
    assert all(isinstance(reply, Reply) for reply in replies)
    return replies  # type: ignore[return-value]


@pytest.mark.parametrize("ssl", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("mechanism", "who"),
    [("Negotiate", LOCAL), ("Credssp", LOCAL), ("Negotiate", ALICE), ("Kerberos", ALICE)],
    ids=["NTLM", "CredSSP", "SPNEGO", "Kerberos"],
)
def test_a_host_understands_and_is_understood(
    mechanism: str, who: Credential, ssl: bool, request: pytest.FixtureRequest
) -> None:
    keytab = request.getfixturevalue("kdc").keytab if who is ALICE else None
    binding = "Relaxed" if mechanism == "Credssp" else "Strict"
    for reply in run(answers(mechanism, who, ssl=ssl, keytab=keytab, channel_binding=binding)):
        assert reply.status == 500  # there is no such resource: the host's words, unsealed
        assert b"Envelope" in reply.body


@pytest.mark.parametrize("ssl", [False, True], ids=["http", "https"])
def test_a_host_outside_of_the_realm_chooses_ntlm(kdc: Kdc, ssl: bool) -> None:
    """It is offered both, and the ticket that came with the offer is left aside (RFC 4178 4.2.2, request-mic)."""
    replies = run(answers("Negotiate", ALICE, ssl=ssl, user="alice", password=PASSWORD))
    assert [reply.status for reply in replies] == [500] * 3
    assert run(answers("Negotiate", ALICE, ssl=ssl, count=1, user="alice", password="other"))[0].status == 401


def test_credssp_with_a_ticket(kdc: Kdc) -> None:
    assert [reply.status for reply in run(answers("Credssp", ALICE, keytab=kdc.keytab))] == [500] * 3


@pytest.mark.parametrize("ssl", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "how", [{}, {"password": "other"}, {"password_expired": True}, {"lockout_threshold": 1, "password": "other"}]
)
@pytest.mark.parametrize("mechanism", ["Negotiate", "Credssp"])
def test_a_refusal_is_a_verdict(mechanism: str, how: dict[str, Any], ssl: bool) -> None:
    who = LOCAL if how else Credential("nobody", Secret("sim"))
    if mechanism == "Negotiate":
        assert run(answers(mechanism, who, ssl=ssl, count=1, **how))[0].status == 401
    else:
        with pytest.raises(AuthenticationError, match="web01") as caught:
            run(answers(mechanism, who, ssl=ssl, **how))
        assert caught.value.error_id == "LogonFailure"
