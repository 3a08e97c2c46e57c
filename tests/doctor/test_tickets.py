"""The ticket that Kerberos needs, asked for in advance: with a real KDC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remotejobs.api import diagnose
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.doctor.findings import Finding, HostDiagnosis, Verdict
from remotejobs.model import SessionOption
from remotejobs.sim.shells import HostSettings
from tests.auth.test_kerberos import tickets_given
from tests.doctor.hosts import OFFERS, examine, served, winrm
from tests.e2e.hosts import ca_file, started, targets
from tests.kdc import PASSWORD, REALM, Kdc
from tests.transport.loopback import run

STEPS = frozenset({"Name", "Ticket", "Authentication"})


def alice(password: str = PASSWORD) -> dict[str, Credential]:
    return {"": Credential(f"alice@{REALM}", Secret(password))}


def ticket(name: str = "web01", credentials: dict[str, Credential] | None = None, **option: Any) -> Finding:
    async def scene() -> Finding | None:
        async with served(winrm(*OFFERS)) as target:
            host = type(target)(name, address="127.0.0.1", port=target.port)
            found = await examine(
                host,
                authentication="Kerberos",
                credentials=alice() if credentials is None else credentials,
                steps=STEPS,
                **option,
            )
            return found.finding("Ticket")

    found = run(scene())
    assert found is not None
    return found


def test_a_ticket_for_a_host_that_the_domain_knows(kdc: Kdc) -> None:
    found = ticket()
    assert (found.verdict, found.text) == (Verdict.Passed, "given for host/web01 or http/web01")
    assert found.facts["candidates"] == ["host/web01", "http/web01"]


def test_a_service_name_of_ones_own(kdc: Kdc) -> None:
    found = ticket("alias.example", spn_service="WSMAN", spn_name="web02")
    assert (found.verdict, found.text) == (Verdict.Passed, "given for WSMAN/web02")


def test_a_host_that_the_domain_does_not_know(kdc: Kdc) -> None:
    found = ticket("web99")
    assert (found.verdict, found.diagnosis.error_id) == (Verdict.Failed, "TargetUnknown")
    assert "not registered for its computer account" in found.diagnosis.cause
    assert ("host", "setspn -S HOST/web99 web99") in found.diagnosis.remedies


def test_a_wrong_password(kdc: Kdc) -> None:
    found = ticket(credentials=alice("wrong"))
    assert (found.verdict, found.diagnosis.error_id) == (Verdict.Failed, "LogonFailure")
    assert "password is wrong" in found.diagnosis.cause
    assert "wrong" not in " ".join(remedy.command for remedy in found.diagnosis.remedies)


def test_the_current_user_has_no_ticket(kdc: Kdc) -> None:
    found = ticket(credentials={})
    assert found.verdict is Verdict.Failed
    assert ("here", "kinit USER@REALM") in found.diagnosis.remedies


def test_no_domain_controller(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "krb5.conf"
    config.write_text(kdc.config.read_text().replace(f"127.0.0.1:{kdc.port}", "127.0.0.1:1"))
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    found = ticket()
    assert found.verdict is Verdict.Failed
    assert "No domain controller answers" in found.diagnosis.cause


def test_what_failed_for_the_ticket_is_not_tried_at_the_host(kdc: Kdc) -> None:
    async def scene() -> Finding | None:
        async with served(winrm(*OFFERS)) as target:
            found = await examine(target, authentication="Kerberos", credentials=alice("wrong"), steps=STEPS)
            return found.finding("Authentication")

    found = run(scene())
    assert found is not None
    assert (found.verdict, found.text) == (Verdict.Skipped, "Ticket failed.")


def test_the_logon_uses_the_ticket_that_was_asked_for_in_advance(kdc: Kdc, tmp_path: Path) -> None:
    async def scene() -> list[HostDiagnosis]:
        settings = HostSettings(keytab=kdc.keytab)
        async with (
            started({"web01": "", "web02": ""}, settings=settings) as clear,
            started({"web03": ""}, settings=settings, tls=True) as encrypted,
        ):
            return await diagnose.test_wsman(
                [*targets(clear), *targets(encrypted)],
                authentication="Kerberos",
                credential=(f"alice@{REALM}", PASSWORD),
                session_option=SessionOption(ca_file=ca_file(tmp_path)),
                shell=True,
            )

    before = tickets_given(kdc), services_given(kdc)
    found = run(scene())
    assert all(each.passed for each in found)
    for step in ("Ticket", "Authentication", "Shell"):
        assert [(made := each.finding(step)) and made.verdict for each in found] == [Verdict.Passed] * 3
    assert (tickets_given(kdc) - before[0], services_given(kdc) - before[1]) == (1, 3)


def services_given(kdc: Kdc) -> int:
    """How many service tickets alice has got."""
    return sum("TGS_REQ" in line and "ISSUE" in line and f"alice@{REALM}" in line for line in kdc.log.splitlines())
