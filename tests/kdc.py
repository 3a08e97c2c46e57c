"""A Kerberos realm of our own for tests: MIT's KDC from Debian's krb5-kdc, on loopback, gone when the tests are.

The system's realm and its files are never read: KRB5_CONFIG and KRB5_KDC_PROFILE point to files of the realm.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

REALM = "REMOTEJOBS.TEST"
PASSWORD = "Password-1"
HOSTS = ("web01", "web02", "web03", "localhost", "127.0.0.1")
# Principals are compared to the letter, and pywinrm's service is written HTTP.
SERVICES = ("host", "http", "HTTP", "WSMAN")
# Services with keys of one kind each, named host/KIND.
ENCRYPTION = (
    "aes256-cts-hmac-sha1-96",
    "aes128-cts-hmac-sha1-96",
    "aes256-cts-hmac-sha384-192",
    "aes128-cts-hmac-sha256-128",
    "camellia256-cts-cmac",
    "arcfour-hmac",
)
USERS = {"alice": "", "bob": "", "expired": "-pwexpire yesterday", "locked": "-allow_tix"}

_LIBDEFAULTS = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
    kdc_timeout = 2
    max_retries = 1
"""
_KRB5 = (
    _LIBDEFAULTS
    + """\
    allow_weak_crypto = true
    allow_rc4 = true
    permitted_enctypes = {encryption}
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
[domain_realm]
    web01 = {realm}
    localhost = {realm}
"""
)
_KDC = """\
[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
[realms]
    {realm} = {{
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
        acl_file = {folder}/acl
        supported_enctypes = aes256-cts-hmac-sha1-96:normal
        default_principal_flags = +forwardable
    }}
[logging]
    kdc = FILE:{folder}/kdc.log
    default = FILE:{folder}/default.log
"""


def no_realm(folder: Path) -> Path:
    """Write a krb5.conf of a realm that has no KDC: a Kerberos logon fails at once and asks nobody."""
    file = folder / "no-realm.conf"
    file.write_text(_LIBDEFAULTS.format(realm="NO-REALM.TEST"))
    return file


class Kdc:
    """The realm, inside `with`. Each of USERS has the password PASSWORD, each of HOSTS each of SERVICES.

    Attributes:
        config: The krb5.conf that clients need: KRB5_CONFIG.
        keytab: The keys of all hosts.
        alice_keytab: The keys of alice.
        users_keytab: The keys of `expired` and `locked`; of `changed`, who has another password by now; of `gone`, who
            was deleted.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remotejobs-kdc-"))
        self.config = self.folder / "krb5.conf"
        self.keytab = self.folder / "hosts.keytab"
        self.alice_keytab = self.folder / "alice.keytab"
        self.users_keytab = self.folder / "users.keytab"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        values = {"realm": REALM, "folder": self.folder, "port": self.port, "encryption": " ".join(ENCRYPTION)}
        self.config.write_text(_KRB5.format(**values))
        (self.folder / "kdc.conf").write_text(_KDC.format(**values))
        self._environment = {
            **os.environ,
            "KRB5_CONFIG": str(self.config),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
        }

    def __enter__(self) -> Self:
        try:
            self._run("kdb5_util", "create", "-s", "-P", "a master key")
            self.admin(
                *(f"addprinc {options} -pw {PASSWORD} {user}" for user, options in USERS.items()),
                *(f"addprinc -randkey {service}/{host}" for host in HOSTS for service in SERVICES),
                *(f"ktadd -k {self.keytab} {service}/{host}" for host in HOSTS for service in SERVICES),
                *(f"addprinc -randkey -e {kind}:normal host/{kind}" for kind in ENCRYPTION),
                *(f"ktadd -k {self.keytab} -e {kind}:normal host/{kind}" for kind in ENCRYPTION),
                f"ktadd -k {self.alice_keytab} -norandkey alice",
                f"addprinc -pw {PASSWORD} changed",
                f"addprinc -pw {PASSWORD} gone",
                *(
                    f"ktadd -k {self.users_keytab} -norandkey {user}"
                    for user in ("expired", "locked", "changed", "gone")
                ),
                "cpw -pw Another-1 changed",
                "delprinc -force gone",
            )
            command = [_program("krb5kdc"), "-n", "-r", REALM, "-P", str(self.folder / "pid")]
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def admin(self, *commands: str) -> None:
        """Run commands of kadmin.local, `modprinc -allow_tix alice` for one."""
        self._run("kadmin.local", "-r", REALM, given="\n".join(commands))

    def ticket(self, user: str = "alice") -> str:
        """Get a ticket for `user` into a file of its own; return what KRB5CCNAME takes."""
        cache = f"FILE:{self.folder / user}.ccache"
        self._run("kinit", "-f", "-c", cache, user, given=PASSWORD)
        return cache

    def ended_ticket(self) -> str:
        """Like ticket(), of alice, a week ago."""
        import krb5

        cache = self.ticket()
        (times,) = {each.times for each in krb5.cc_resolve(krb5.init_context(), cache.encode()) if each.times.endtime}
        now = struct.pack(">3I", times.authtime, times.starttime, times.endtime)
        then = struct.pack(">3I", *(time - 7 * 86400 for time in (times.authtime, times.starttime, times.endtime)))
        data = Path(cache.removeprefix("FILE:")).read_bytes()
        assert data.count(now) == 1
        (self.folder / "ended.ccache").write_bytes(data.replace(now, then))
        return f"FILE:{self.folder / 'ended.ccache'}"

    @property
    def log(self) -> str:
        """What the KDC has written: a line for each ticket that was asked for."""
        return (self.folder / "kdc.log").read_text()

    def _run(self, program: str, *words: str, given: str = "") -> None:
        done = subprocess.run(
            [_program(program), *words], input=given, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr or done.stdout}")

    def _wait(self) -> None:
        assert self._process is not None
        for _ in range(500):
            if self._process.poll() is not None:
                raise RuntimeError(f"krb5kdc has ended: {(self.folder / 'kdc.log').read_text()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise RuntimeError("krb5kdc does not answer")

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def missing() -> str:
    """Return why there can be no KDC here, or nothing."""
    for program in ("krb5kdc", "kdb5_util", "kadmin.local", "kinit"):
        if not _program(program):
            return f"{program} is not installed (Debian: krb5-kdc krb5-admin-server krb5-user)"
    for module in ("gssapi", "krb5"):
        if find_spec(module) is None:
            return f"the Python package {module} is not installed (pip install 'remotejobs[kerberos]')"
    return ""


@pytest.fixture(scope="session")
def kdc_of_all_tests() -> Iterator[Kdc]:
    """The realm, started once and with the first test that needs it; skipped where it cannot be, unless that is a must.

    TESTS_NEED_KDC=required makes it one.
    """
    if missing():
        (pytest.fail if os.environ.get("TESTS_NEED_KDC") == "required" else pytest.skip)(missing())
    with Kdc() as kdc:
        yield kdc


@pytest.fixture
def kdc(kdc_of_all_tests: Kdc, monkeypatch: pytest.MonkeyPatch) -> Kdc:
    """The realm, and this process one of its computers for one test. Its default cache has no ticket."""
    monkeypatch.setenv("KRB5_CONFIG", str(kdc_of_all_tests.config))
    return kdc_of_all_tests


def _program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/opt/krb5/sbin") or ""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
