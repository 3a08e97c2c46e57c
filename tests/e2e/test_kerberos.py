"""Kerberos from the command line to the shell: hosts, commands and workers as processes, and a real KDC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kdc import PASSWORD, REALM, Kdc

ALICE = f"alice@{REALM}"
CONFIG = "[credential.nightly]\nusername = '{alice}'\nprovider = 'kerberos'\nkeytab = '{keytab}'\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals; Windows has tickets of its own")


class Scene:
    """A folder with a configuration, a state directory, and two simulated hosts of the realm."""

    def __init__(self, folder: Path, kdc: Kdc) -> None:
        self.folder, self.kdc = folder, kdc
        file = folder / "config.toml"
        file.write_text(CONFIG.format(alice=ALICE, keytab=kdc.alice_keytab))
        file.chmod(0o600)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        own = {"REMOTEJOBS_HOME": str(self.folder / "home"), "REMOTEJOBS_CONFIG": "config.toml", "NO_COLOR": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "remotejobs", *words],
            cwd=self.folder,
            env={**os.environ, **own, "KRB5_CONFIG": str(self.kdc.config), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Run one command to its end: exit code, and what it has printed."""
        with self.start(*words, **environment) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def invoke(self, *words: str, **environment: str) -> tuple[int, str, str]:
        return self.run("invoke", "@servers.txt", "-ScriptBlock", "'from ' + (40 + 2)", *words, **environment)


@pytest.fixture(scope="module")
def scene(kdc_of_all_tests: Kdc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("kerberos"), kdc_of_all_tests)
    words = ["web[01-02]", "-ServerList", "servers.txt", "-Authentication", "Kerberos", "-Http"]
    with scene.start("simulate", *words, "-Keytab", str(scene.kdc.keytab)) as hosts:
        assert hosts.stderr is not None
        assert "2 simulated hosts" in hosts.stderr.readline()
        yield scene
        hosts.send_signal(signal.SIGINT)
        hosts.communicate(timeout=20)
    assert hosts.returncode == 0


def how(kind: str, kdc: Kdc) -> tuple[list[str], dict[str, str]]:
    """Words and variables for one way to have a ticket."""
    match kind:
        case "password":
            return ["-Credential", ALICE], {"REMOTEJOBS_PASSWORD": PASSWORD}
        case "keytab":
            return ["-Credential", "nightly"], {}
    return [], {"KRB5CCNAME": kdc.ticket()}


@pytest.mark.parametrize("kind", ["password", "keytab", "ticket"])
def test_from_the_logon_to_the_record(scene: Scene, kind: str) -> None:
    words, environment = how(kind, scene.kdc)
    code, out, err = scene.invoke("-Authentication", "Kerberos", *words, **environment)
    assert (code, sorted(out.splitlines())) == (0, ["web01: from 42", "web02: from 42"]), err


@pytest.mark.parametrize("kind", ["password", "keytab", "ticket"])
def test_a_worker_logs_on(scene: Scene, kind: str) -> None:
    words, environment = how(kind, scene.kdc)
    code, _, err = scene.invoke(
        "-Authentication", "Kerberos", "-AsJob", "-JobName", kind.title(), *words, **environment
    )
    assert code == 0, err
    code, out, err = scene.run("receive", "-Name", kind.title(), "-Wait")
    assert (code, sorted(out.splitlines())) == (0, ["web01: from 42", "web02: from 42"]), err


def test_without_a_ticket(scene: Scene) -> None:
    code, _, err = scene.invoke("-Authentication", "Kerberos")
    assert code == 3
    assert "web01" in err
    assert "Run kinit, or give -Credential" in err


def test_a_wrong_password_is_the_domain_s_word(scene: Scene) -> None:
    words = ["-Authentication", "Kerberos", "-Credential", ALICE]
    code, _, err = scene.invoke(*words, REMOTEJOBS_PASSWORD="wrong")
    assert code == 3
    assert f"No ticket was given for {ALICE}. The password is wrong" in err
