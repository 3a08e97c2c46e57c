"""`remotejob simulate`: what its parameters make of the hosts, and the files that it writes."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest

from remotejobs.cli.binder import bind
from remotejobs.cli.tables.local import SIMULATE
from remotejobs.cli.verbs import simulate
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.sim.shells import HostSettings
from tests.kdc import Kdc


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REMOTEJOBS_PASSWORD", raising=False)
    return tmp_path


def run(line: str) -> int:
    """Run the verb until its hosts are up."""
    return simulate.run(bind(SIMULATE, shlex.split(f"web01 {line} -PowerShell builtin -Duration 0.2s")))


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("", {}),
        ("-Http", {"allow_unencrypted": True}),
        ("-Http -Authentication negotiate", {"authentication": ("Negotiate",)}),
        ("-Authentication CredSSP, Basic -Http", {"authentication": ("CredSSP", "Basic"), "allow_unencrypted": True}),
        ("-LockoutThreshold 3", {"lockout_threshold": 3}),
        ("-Keytab k.keytab", {"keytab": Path("k.keytab")}),
    ],
)
def test_settings_of_the_hosts(line: str, settings: dict[str, Any]) -> None:
    assert simulate._options(bind(SIMULATE, shlex.split(f"web01 {line}")).values).settings == HostSettings(**settings)


def test_the_server_list_names_the_first_mechanism(folder: Path) -> None:
    assert run("-Http -Authentication Negotiate,Basic") == 0
    assert (folder / "sim-servers.txt").read_text().endswith(" ssl=false authentication=Negotiate\n")
    assert not (folder / "sim-client.pem").exists()


def test_a_client_certificate_for_its_owner_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "client.pem").write_text("an old one")
    assert run("-Authentication Certificate -ClientCertificateFile client.pem") == 0
    pem = (folder / "client.pem").read_text()
    assert ("BEGIN CERTIFICATE" in pem, "BEGIN PRIVATE KEY" in pem) == (True, True)
    if os.name == "posix":
        assert stat.S_IMODE((folder / "client.pem").stat().st_mode) == 0o600
    assert "client certificate and key: client.pem" in capsys.readouterr().err
    assert (folder / "sim-servers.txt").read_text().endswith(" authentication=Default\n")


def test_kerberos_without_keys() -> None:
    with pytest.raises(UsageError, match="give -Keytab"):
        run("-Authentication Kerberos")


def test_a_keytab_that_cannot_be_used(kdc: Kdc) -> None:
    with pytest.raises(ConfigurationError, match=r"The keytab no\.keytab cannot be used: .*"):
        run("-Authentication Kerberos -Keytab no.keytab")
    assert run(f"-Authentication Kerberos -Keytab {kdc.keytab}") == 0
