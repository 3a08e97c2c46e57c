"""What a user sees first when a logon, a right or a second hop fails: each line says what to do, and on which side."""

from __future__ import annotations

import io
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from remotejobs.api import diagnose
from remotejobs.clock import SystemClock
from remotejobs.model import SessionOption
from remotejobs.sim.shells import HostSettings
from remotejobs.store.memory import MemoryStore
from remotejobs.views.console import Console
from remotejobs.views.hints import hints
from remotejobs.views.summary import exit_code
from tests.e2e.hosts import SIM, Result, ca_file, run, started, targets
from tests.kdc import PASSWORD, REALM, Kdc
from tests.transport.loopback import run as running

SEALING = {"allow_unencrypted": False}
ALICE = (f"alice@{REALM}", PASSWORD)
SECOND_HOP = r"Write-Error 'Access is denied' -Category PermissionDenied -TargetObject '\\files\share'"


class Seen(NamedTuple):
    """What is on the screen of a job with one host that matters, and its exit code."""

    line: str
    hints: str
    code: int
    result: Result


def seen(result: Result) -> Seen:
    err = io.StringIO()
    console, ends = Console(err, colour=False), list(result.ends.values())
    for end in ends:
        console.outcome(end)
    code = exit_code([end.outcome for end in ends])
    return Seen(err.getvalue(), "\n".join(hints(ends, stored=True)), code, result)


def invoked(*names: str, script: str = "1", faults: str = "", **options: Any) -> Seen:
    """Run a script on simulated hosts with these names (`web01`); `settings` are of the hosts."""

    async def scene() -> Seen:
        settings = HostSettings(**options.pop("settings", {"allow_unencrypted": True}))
        async with AsyncExitStack() as stack:
            hosts = await stack.enter_async_context(started({"web01": faults}, settings=settings))
            (host,) = targets(hosts)
            return seen(await run([replace(host, name=name) for name in names or ("web01",)], script, **options))

    return running(scene())


def test_a_local_account_without_rights() -> None:
    found = invoked(faults="fault:5@Create")
    assert found.line.startswith("[web01] AccessDenied: Access is denied. ")
    assert "On the host: reg add HKLM" in found.line
    assert "LocalAccountTokenFilterPolicy" in found.line
    assert found.line.endswith(" [AccessDenied,PSSessionStateBroken]\n")
    assert "remotejob test '@job:1/AccessDenied' -Shell" in found.hints
    assert found.code == 3


def test_an_account_of_a_domain_without_rights() -> None:
    found = invoked(faults="fault:5@Create", credential=("CORP\\sim", "sim"))
    assert "LocalAccountTokenFilterPolicy" not in found.line
    assert "net localgroup \"Remote Management Users\" 'CORP\\sim' /add" in found.line


def test_remote_shells_that_are_forbidden() -> None:
    found = invoked(faults="fault:2150859180@Create")
    assert "On the host: Set-Item WSMan:\\localhost\\Shell\\AllowRemoteShellAccess $true" in found.line
    assert "[RemoteSessionDisallowed,PSSessionStateBroken]" in found.line


@pytest.mark.parametrize("script", [SECOND_HOP, f"{SECOND_HOP} -ErrorAction Stop"], ids=["an error", "its end"])
def test_a_second_hop_is_said_once_and_changes_no_record(script: str) -> None:
    found = invoked("web01", "web02", script=script)
    assert "Second hop (web[01-02]): another host refused" in found.hints
    for way in ("Here: ", "-ArgumentCredential", "Delegate=true", "on the host: Enable-WSManCredSSP -Role Server"):
        assert way in found.hints
    assert found.hints.count("CredSSP,") == 1
    errors = [record.value for record in found.result.records if record.stream.name == "Error"]
    assert {error.message for error in errors} <= {"Access is denied"}
    assert found.code == (2 if "Stop" in script else 0)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (SECOND_HOP.replace(r"\\files\share", r"C:\secret"), {}),
        (
            SECOND_HOP,
            {"authentication": "Credssp", "option": SEALING, "settings": {"authentication": ("CredSSP", "Negotiate")}},
        ),
    ],
    ids=["its own files", "CredSSP"],
)
def test_no_second_hop(script: str, options: dict[str, Any]) -> None:
    found = invoked(script=script, **options)
    assert found.result.ends["web01"].outcome.error_count == 1
    assert not found.hints


def test_credssp_that_the_host_does_not_offer() -> None:
    found = invoked(authentication="Credssp", option=SEALING)
    assert "[web01] AuthenticationFailed: web01 does not offer CredSSP authentication" in found.line
    assert "it offers Negotiate" in found.line
    assert "on the host: Enable-WSManCredSSP -Role Server" in found.line
    assert "[InvalidAuthentication,PSSessionStateBroken]" in found.line
    assert found.code == 3


def test_clear_text_that_the_host_does_not_take() -> None:
    found = invoked(authentication="Negotiate", settings={})
    assert "[web01] Unreachable: The host answered HTTP 500 and gave no reason." in found.line
    assert "here, leave it out and take Negotiate, Kerberos or CredSSP" in found.line
    assert "-UseSSL, which Basic needs" in found.line
    assert "[WinRMHttpError,PSSessionStateBroken]" in found.line


def test_an_address_with_kerberos_is_the_failure_of_one_host(kdc: Kdc) -> None:
    settings = {"keytab": kdc.keytab}
    options: dict[str, Any] = {"authentication": "Kerberos", "credential": ALICE, "option": SEALING}
    for names in (("web01", "127.0.0.1"), ("127.0.0.1", "web01")):
        found = invoked(*names, settings=settings, **options)
        assert found.result.reason("web01") == "Completed"
        assert found.line.startswith("[127.0.0.1] AuthenticationFailed: Kerberos has no tickets for IP addresses")
        assert "Here: give the host by its DNS name" in found.line
        assert "[CannotUseIPAddress,PSSessionStateBroken]" in found.line
        assert found.code == 3


def test_a_service_that_the_domain_does_not_know(kdc: Kdc) -> None:
    settings = {"keytab": kdc.keytab}
    found = invoked("web99", settings=settings, authentication="Kerberos", credential=ALICE, option=SEALING)
    assert "[web99] AuthenticationFailed: There is no ticket for web99" in found.line
    assert "neither SPN host/web99 nor http/web99" in found.line
    assert "SpnName=NAME, or SpnService=CLASS" in found.line
    assert "In the domain: setspn -S HOST/web99 COMPUTER" in found.line
    assert "[TargetUnknown,PSSessionStateBroken]" in found.line


def test_clocks_that_are_apart(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No difference is small enough for this computer, which is what it is like where there is one."""
    config = tmp_path / "krb5.conf"
    config.write_text(
        kdc.config.read_text().replace("[libdefaults]\n", "[libdefaults]\n    clockskew = -1\n    kdc_timesync = 0\n")
    )
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    found = invoked(settings={"keytab": kdc.keytab}, authentication="Kerberos", credential=ALICE, option=SEALING)
    assert "[web01] AuthenticationFailed:" in found.line
    assert "more than 5 minutes apart. Here: timedatectl set-ntp true; on the host: w32tm /resync" in found.line
    assert "[AuthenticationFailed,PSSessionStateBroken]" in found.line


def test_what_the_hint_names_can_be_tested() -> None:
    async def scene() -> list[str]:
        store = MemoryStore(SystemClock())
        async with started({"web01": "", "web02": "fault:5@Create", "web03": "wrong-password"}) as hosts:
            (hint,) = hints(list((await run(targets(hosts), "1", store=store)).ends.values()), stored=True)
            (named,) = re.findall(r"test '([^']+)' -Shell", hint)
            option = SessionOption(allow_unencrypted=True)
            found = await diagnose.test_wsman(
                named, credential=SIM, authentication="Basic", session_option=option, shell=True, store=store
            )
            return [f"{each.computer_name}: {each.failure.step}" for each in found if each.failure]

    assert running(scene()) == ["web03: Authentication", "web02: Shell"]


def test_a_password_that_is_wrong_over_https(tmp_path: Path) -> None:
    async def scene() -> Seen:
        async with started({"web01": ""}, tls=True) as hosts:
            option = {"ca_file": ca_file(tmp_path)}
            return seen(await run(targets(hosts), "1", credential=("sim", "other"), option=option))

    found = running(scene())
    assert "[web01] AuthenticationFailed: The host refused the user name or password (HTTP 401)." in found.line
    assert "with Kerberos, that the clocks of both" in found.line
    assert "remotejob test '@job:1/AuthenticationFailed'" in found.hints
