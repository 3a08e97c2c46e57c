"""Unmodified pypsrp and pywinrm log on to simulated hosts with every mechanism that they have, a real KDC included."""

from __future__ import annotations

import asyncio
import gc
import ssl as ssl_module
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pypsrp.exceptions import AuthenticationError, WinRMTransportError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from requests_credssp.exceptions import AuthenticationException
from winrm.exceptions import InvalidCredentialsError
from winrm.protocol import Protocol

from remotejobs.sim.authentication import MUTUAL
from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostSettings
from tests.kdc import PASSWORD, REALM, Kdc
from tests.sim.wire import Client, create, host_of, run

ALICE = f"alice@{REALM}"
REFUSED = (AuthenticationError, AuthenticationException, InvalidCredentialsError)


@pytest.fixture(scope="module", autouse=True)
def leftovers() -> Iterator[None]:
    """Refused in the middle, the libraries leave a socket in a cycle of exceptions: no other test is to find it."""
    gc.disable()
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
    gc.enable()


class Clients:
    """A fleet of one host, web01, and what the two libraries make of it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        settings.setdefault("authentication", ("Negotiate", "Kerberos", "CredSSP", "Certificate", "Basic"))
        self.fleet = Fleet(["web01"], FleetOptions(settings=HostSettings(**settings)))
        self.folder = folder
        self.host: SimulatedHost

    def pypsrp(self, auth: str, *, ssl: bool, username: str = "sim", password: str | None = "sim", **more: Any) -> Any:
        """Run `1 + 1` with pypsrp and return its output."""

        def work() -> Any:
            wsman = WSMan(
                "127.0.0.1",
                port=self.host.https_port if ssl else self.host.http_port,
                ssl=ssl,
                auth=auth,
                username=username,
                password=password,
                cert_validation=str(self.folder / "ca.pem") if ssl else True,  # type: ignore[arg-type]
                no_proxy=True,
                negotiate_hostname_override="web01",
                **more,
            )
            with wsman, RunspacePool(wsman) as pool:
                shell = PowerShell(pool)
                shell.add_script("1 + 1; 'x' * 20000")
                return shell.invoke()

        return self._while_up(work)

    def pywinrm(self, transport: Any, *, ssl: bool, username: str = "sim", password: str = "sim", **more: Any) -> Any:
        """Run `echo hi` with pywinrm and return its output."""

        def work() -> Any:
            port = self.host.https_port if ssl else self.host.http_port
            protocol = Protocol(
                f"http{'s' if ssl else ''}://127.0.0.1:{port}/wsman",
                transport=transport,
                username=username,
                password=password,
                ca_trust_path=str(self.folder / "ca.pem"),
                proxy=None,
                kerberos_hostname_override="web01",
                **more,
            )
            try:
                shell_id = protocol.open_shell()
                command_id = protocol.run_command(shell_id, "echo hi")
                output = protocol.get_command_output(shell_id, command_id)
                protocol.cleanup_command(shell_id, command_id)
                protocol.close_shell(shell_id)
                return output
            finally:
                protocol.transport.close_session()

        return self._while_up(work)

    def run(self, library: str, *words: Any, **more: Any) -> None:
        """Let one of the two do its work, and check what it got."""
        if library == "pypsrp":
            assert self.pypsrp(*words, **more) == [2, "x" * 20000]
        else:
            assert self.pywinrm(*words, **more) == (b"hi\r\n", b"", 0)

    def _while_up(self, work: Any) -> Any:
        async def main() -> Any:
            async with self.fleet:
                self.host = host_of(self.fleet)
                (self.folder / "ca.pem").write_text(self.fleet.ca_pem)
                return await asyncio.to_thread(work)

        return run(main())


@pytest.fixture(params=[False, True], ids=["http", "https"])
def ssl(request: pytest.FixtureRequest) -> Iterator[bool]:
    return request.param  # type: ignore[no-any-return]


WAYS = [
    ("pypsrp", "ntlm"),
    ("pypsrp", "negotiate"),
    ("pypsrp", "credssp"),
    ("pypsrp", "basic"),
    ("pywinrm", "ntlm"),
    ("pywinrm", "credssp"),
    ("pywinrm", "basic"),
]


@pytest.mark.parametrize(("library", "mechanism"), WAYS)
def test_the_right_password(library: str, mechanism: str, ssl: bool, tmp_path: Path) -> None:
    basic = mechanism == "basic"
    clients = Clients(tmp_path, allow_unencrypted=basic)
    clients.run(library, mechanism, ssl=ssl, **({"encryption": "never"} if basic and library == "pypsrp" else {}))
    assert clients.host.counters.logons == {"sim": 1}
    assert clients.host.counters.refused == 0


@pytest.mark.parametrize(("library", "mechanism"), WAYS)
def test_a_wrong_password(library: str, mechanism: str, ssl: bool, tmp_path: Path) -> None:
    basic = mechanism == "basic"
    clients = Clients(tmp_path, allow_unencrypted=basic)
    with pytest.raises(REFUSED):
        clients.run(
            library,
            mechanism,
            ssl=ssl,
            password="wrong",
            **({"encryption": "never"} if basic and library == "pypsrp" else {}),
        )
    assert clients.host.counters.logon_failures == {"sim": 1}
    assert not clients.host.counters.logons


@pytest.mark.parametrize("mechanism", ["ntlm", "negotiate", "credssp"])
@pytest.mark.parametrize("rule", [{"password_expired": True}, {"lockout_threshold": 1}])
def test_expired_and_locked(mechanism: str, rule: dict[str, Any], tmp_path: Path) -> None:
    clients = Clients(tmp_path, **rule)
    if "lockout_threshold" in rule:
        with pytest.raises(REFUSED):
            clients.pypsrp(mechanism, ssl=False, password="wrong")
    before = clients.fleet.hosts["web01"].counters.refused
    with pytest.raises(REFUSED):
        clients.pypsrp(mechanism, ssl=False)
    assert clients.host.counters.refused == before + 1
    assert not clients.host.counters.logons


# Kerberos


@pytest.mark.parametrize(
    ("authentication", "auth"),
    [
        (("Negotiate", "Kerberos"), "kerberos"),  # a bare token in the scheme Negotiate
        (("Kerberos",), "kerberos"),  # the scheme Kerberos
        (("Negotiate",), "negotiate"),  # SPNEGO, which has NTLM only
        (("Negotiate", "Kerberos"), "negotiate"),
    ],
)
def test_kerberos_with_pypsrp(authentication: tuple[str, ...], auth: str, ssl: bool, tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, authentication=authentication, keytab=kdc.keytab)
    if "Kerberos" in authentication:
        clients.run("pypsrp", auth, ssl=ssl, username=ALICE, password=PASSWORD)
        assert clients.host.counters.logons == {ALICE: 1}
    else:
        clients.run("pypsrp", auth, ssl=ssl)
        assert clients.host.counters.logons == {"sim": 1}


def test_kerberos_with_pywinrm(ssl: bool, tmp_path: Path, kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", kdc.ticket())
    clients = Clients(tmp_path, keytab=kdc.keytab)
    clients.run("pywinrm", "kerberos", ssl=ssl, username=ALICE)
    assert clients.host.counters.logons == {ALICE: 1}


def test_credssp_with_kerberos_inside(tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, keytab=kdc.keytab)
    clients.run("pypsrp", "credssp", ssl=False, username=ALICE, password=PASSWORD, credssp_auth_mechanism="kerberos")
    assert clients.host.counters.logons == {ALICE: 1}


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [("alice", "wrong", "integrity check"), ("expired", PASSWORD, "has expired"), ("locked", PASSWORD, "revoked")],
)
def test_the_kdc_refuses_before_the_host_is_asked(user: str, password: str, why: str, tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, keytab=kdc.keytab)
    with pytest.raises(Exception, match=why):
        clients.pypsrp("kerberos", ssl=False, username=f"{user}@{REALM}", password=password)
    assert clients.host.counters.refused == 0


def test_a_host_of_no_domain_takes_ntlm_from_a_client_that_began_with_kerberos(tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, user="alice", password=PASSWORD)
    clients.run("pypsrp", "negotiate", ssl=False, username=ALICE, password=PASSWORD)
    assert clients.host.counters.logons == {ALICE: 1}
    assert f"alice@{REALM} for host/web01@{REALM}" in kdc.log


def test_a_user_of_no_realm_falls_back_to_ntlm(tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, keytab=kdc.keytab)
    clients.run("pypsrp", "negotiate", ssl=False)
    assert clients.host.counters.logons == {"sim": 1}


# Certificates


@pytest.mark.parametrize("library", ["pypsrp", "pywinrm"])
@pytest.mark.parametrize("user", ["sim", "else"])
def test_a_client_certificate(library: str, user: str, tmp_path: Path) -> None:
    clients = Clients(tmp_path)
    pem = tmp_path / "client.pem"
    authority = clients.fleet._authority
    assert authority is not None
    pem.write_bytes(clients.fleet.client_pem() if user == "sim" else authority.issue_client(user))
    names = ("certificate_pem", "certificate_key_pem") if library == "pypsrp" else ("cert_pem", "cert_key_pem")
    files = dict.fromkeys(names, str(pem))
    if user == "sim":
        clients.run(library, "certificate", ssl=True, **files)
        assert clients.host.counters.logons == {"sim": 1}
    else:
        with pytest.raises(REFUSED):
            clients.run(library, "certificate", ssl=True, **files)
        assert clients.host.counters.logon_failures == {user: 1}


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
@pytest.mark.parametrize(("setting", "sent"), [("Strict", True), ("Strict", False), ("Relaxed", False)])
def test_a_binding_to_the_channel(mechanism: str, setting: str, sent: bool, tmp_path: Path, kdc: Kdc) -> None:
    clients = Clients(tmp_path, channel_binding=setting, keytab=kdc.keytab)
    who = {"username": ALICE, "password": PASSWORD} if mechanism == "kerberos" else {}
    if setting == "Strict" and not sent:
        with pytest.raises(REFUSED):
            clients.run("pypsrp", mechanism, ssl=True, negotiate_send_cbt=sent, **who)
        assert clients.host.counters.refused == 1
    else:
        clients.run("pypsrp", mechanism, ssl=True, negotiate_send_cbt=sent, **who)


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
def test_clear_messages_over_http(mechanism: str, tmp_path: Path) -> None:
    clients = Clients(tmp_path)
    with pytest.raises(WinRMTransportError) as caught:
        clients.pypsrp(mechanism, ssl=False, encryption="never")
    assert (caught.value.code, caught.value.response_text) == (500, "")
    assert clients.host.counters.logons == {"sim": 1}
    Clients(tmp_path, allow_unencrypted=True).run("pypsrp", mechanism, ssl=False, encryption="never")


@pytest.mark.parametrize("mechanism", ["ntlm", "credssp"])
def test_sealed_over_https(mechanism: str, tmp_path: Path) -> None:
    Clients(tmp_path).run("pypsrp", mechanism, ssl=True, encryption="always")
    Clients(tmp_path).run("pywinrm", mechanism, ssl=True, message_encryption="always")


@pytest.mark.parametrize("folds", [False, True])
def test_challenges_in_one_header(folds: bool, tmp_path: Path) -> None:
    Clients(tmp_path, folds_challenges=folds).run("pypsrp", "negotiate", ssl=False)
