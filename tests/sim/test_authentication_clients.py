"""What the table of tests/auth/test_matrix.py has no room for: how other clients find a mechanism, bind and seal."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from pathlib import Path
from typing import Any

import pytest
from pypsrp.exceptions import WinRMTransportError

from remotejobs.sim.authentication import MUTUAL
from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostSettings
from tests.kdc import PASSWORD, REALM, Kdc
from tests.sim.clients import REFUSED, leftovers, pypsrp, pywinrm
from tests.sim.wire import Client, create, host_of, run

__all__ = ["leftovers"]
pytestmark = pytest.mark.usefixtures("leftovers")

ALICE = f"alice@{REALM}"


class Clients:
    """A fleet of one host, web01, and what the two libraries make of it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        settings.setdefault("authentication", ("Negotiate", "Kerberos", "CredSSP", "Certificate", "Basic"))
        self.fleet = Fleet(["web01"], FleetOptions(settings=HostSettings(**settings)))
        self.folder = folder
        self.host: SimulatedHost

    def run(self, library: str, auth: str, *, ssl: bool, **more: Any) -> None:
        """Let one of the two do its work."""
        ca = self.folder / "ca.pem"
        ca.write_text(self.fleet.ca_pem)
        work: Any = pypsrp if library == "pypsrp" else pywinrm

        async def main() -> None:
            async with self.fleet:
                self.host = host_of(self.fleet)
                await asyncio.to_thread(work, self.host, auth, ca=str(ca) if ssl else "", **more)

        run(main())


@pytest.mark.parametrize("ssl", [False, True], ids=["http", "https"])
def test_a_bare_token_of_kerberos_in_the_scheme_negotiate(ssl: bool, tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, authentication=("Negotiate", "Kerberos"), keytab=kdc.keytab)
    clients.run("pypsrp", "kerberos", ssl=ssl, username=ALICE, password=PASSWORD)
    assert clients.host.counters.logons == {ALICE: 1}


def test_a_user_of_no_realm_falls_back_to_ntlm(tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, keytab=kdc.keytab)
    clients.run("pypsrp", "negotiate", ssl=False)
    assert clients.host.counters.logons == {"sim": 1}


@pytest.mark.parametrize("version", [ssl_module.TLSVersion.TLSv1_2, ssl_module.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("takes_part", [True, False])
def test_when_a_client_is_asked_for_its_certificate(
    version: ssl_module.TLSVersion, shown: bool, takes_part: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        settings = HostSettings(authentication=("Certificate",))
        async with Fleet(["web01"], FleetOptions(settings=settings, http=False)) as fleet:
            context = ssl_module.create_default_context(cadata=fleet.ca_pem)
            context.maximum_version = version
            context.post_handshake_auth = takes_part
            if shown:
                (tmp_path / "client.pem").write_bytes(fleet.client_pem())
                context.load_cert_chain(tmp_path / "client.pem")
            async with await Client.open(host_of(fleet).https_port, context, "web01") as client:
                for _ in range(2):
                    reply = await client.post(create(), logon=None, more=f"Authorization: {MUTUAL}\r\n")
                    asked = version is ssl_module.TLSVersion.TLSv1_2 or takes_part
                    assert reply.status == (200 if shown and asked else 401)
            assert host_of(fleet).counters.logons == ({"sim": 1} if shown and asked else {})

    run(main())


# Channel bindings, and messages that must be sealed


@pytest.mark.parametrize("mechanism", ["ntlm", "negotiate", "kerberos"])
@pytest.mark.parametrize("setting", ["Strict", "Relaxed"])
def test_no_binding_to_the_channel(mechanism: str, setting: str, tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, channel_binding=setting, keytab=kdc.keytab)
    who = {"username": ALICE, "password": PASSWORD} if mechanism == "kerberos" else {}
    if setting == "Relaxed":
        clients.run("pypsrp", mechanism, ssl=True, negotiate_send_cbt=False, **who)
    else:
        with pytest.raises(REFUSED):
            clients.run("pypsrp", mechanism, ssl=True, negotiate_send_cbt=False, **who)
        assert clients.host.counters.refused == 1


@pytest.mark.parametrize("setting", ["None", "Relaxed", "Strict"])
@pytest.mark.parametrize("mechanism", ["ntlm", "negotiate", "kerberos"])
def test_a_binding_to_another_channel(
    setting: str, mechanism: str, tmp_path: Path, kdc: Kdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pypsrp.negotiate import HTTPNegotiateAuth

    monkeypatch.setattr(HTTPNegotiateAuth, "_get_cbt_data", lambda _: b"tls-server-end-point:" + bytes(32))
    clients = Clients(tmp_path, channel_binding=setting, keytab=kdc.keytab)
    who = {"username": ALICE, "password": PASSWORD} if mechanism == "kerberos" else {}
    if setting == "None":
        clients.run("pypsrp", mechanism, ssl=True, **who)
    else:
        with pytest.raises(REFUSED):
            clients.run("pypsrp", mechanism, ssl=True, **who)


@pytest.mark.parametrize("mechanism", ["ntlm", "negotiate"])
def test_clear_messages_that_the_host_does_not_allow(mechanism: str, tmp_path: Path) -> None:
    clients = Clients(tmp_path)
    with pytest.raises(WinRMTransportError) as caught:
        clients.run("pypsrp", mechanism, ssl=False, encryption="never")
    assert (caught.value.code, caught.value.response_text) == (500, "")
    assert clients.host.counters.logons == {"sim": 1}


@pytest.mark.parametrize("mechanism", ["ntlm", "credssp"])
def test_sealed_over_https(mechanism: str, tmp_path: Path) -> None:
    Clients(tmp_path).run("pypsrp", mechanism, ssl=True, encryption="always")
    Clients(tmp_path).run("pywinrm", mechanism, ssl=True, message_encryption="always")


@pytest.mark.parametrize("folds", [False, True])
def test_challenges_in_one_header(folds: bool, tmp_path: Path) -> None:
    Clients(tmp_path, folds_challenges=folds).run("pypsrp", "negotiate", ssl=False)
