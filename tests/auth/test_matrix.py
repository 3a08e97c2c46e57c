"""Every mechanism on every way in, with every kind of credential, by every client: one table of what comes of it.

Real sockets, real TLS, a real KDC; over https the hosts want logons bound to the channel (Strict) where a mechanism
can. `native` is invoke_command from the script to its records, the others are unmodified libraries.

What the words of the table mean is in ENDS; a word in capitals says why there is no such case, and is in REASONS.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from requests.exceptions import ConnectionError as RequestsConnectionError
from winrm.exceptions import WinRMError

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import ConfigurationError
from remotejobs.model import Outcome, Target
from remotejobs.sim.certificates import CertificateAuthority
from remotejobs.sim.fleet import default_factories
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostSettings
from remotejobs.states import EndReason
from tests.e2e import hosts
from tests.kdc import PASSWORD, REALM, Kdc
from tests.sim import clients
from tests.sim.clients import OUTPUT, REFUSED, SCRIPT, leftovers
from tests.sim.wire import run

__all__ = ["leftovers"]
pytestmark = pytest.mark.usefixtures("leftovers")

CLIENTS = ("native", "pypsrp", "pywinrm")
CREDENTIALS = ("right", "wrong", "expired", "locked", "unknown")
# http with sealed messages; http with clear ones, which host and client allow (AllowUnencrypted); https
WAYS = ("sealed", "clear", "https")
TABLE = """
                     native                        | pypsrp                        | pywinrm
                     right wrong exp.  lock. unkn. | right wrong exp.  lock. unkn. | right wrong exp.  lock. unkn.
Basic        sealed  never never never never never | never never never never never | never never never never never
Basic        clear   ok    401   401   401   401   | ok    401   401   401   401   | ok    401   401   401   401
Basic        https   ok    401   401   401   401   | ok    401   401   401   401   | ok    401   401   401   401
NTLM         sealed  ok    401   401   401   401   | ok    401   401   401   401   | ok    401   401   401   401
NTLM         clear   ok    401   401   401   401   | ok    401   401   401   401   | ok    401   401   401   401
NTLM         https   ok    401   401   401   401   | ok    401   401   401   401   | ok    401   401   401   401
Negotiate    sealed  ok    kdc   kdc   kdc   401   | ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES
Negotiate    clear   ok    kdc   kdc   kdc   401   | ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES
Negotiate    https   ok    kdc   kdc   kdc   401   | ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES
Fallback     sealed  ok    401   401   401   401   | ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES
Fallback     clear   ok    401   401   401   401   | ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES
Fallback     https   ok    401   401   401   401   | ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES
Kerberos     sealed  ok    kdc   kdc   kdc   kdc   | ok    kdc   kdc   kdc   kdc   | KINIT KINIT KINIT KINIT KINIT
Kerberos     clear   ok    kdc   kdc   kdc   kdc   | ok    kdc   kdc   kdc   kdc   | KINIT KINIT KINIT KINIT KINIT
Kerberos     https   ok    kdc   kdc   kdc   kdc   | ok    kdc   kdc   kdc   kdc   | KINIT KINIT KINIT KINIT KINIT
Ticket       sealed  ok    cache cache LASTS LASTS | ok    cache cache LASTS LASTS | ok    cache cache LASTS LASTS
Ticket       clear   ok    cache cache LASTS LASTS | ok    cache cache LASTS LASTS | ok    cache cache LASTS LASTS
Ticket       https   ok    cache cache LASTS LASTS | ok    cache cache LASTS LASTS | again cache cache LASTS LASTS
Keytab       sealed  ok    kdc   kdc   kdc   kdc   | FILES FILES FILES FILES FILES | FILES FILES FILES FILES FILES
Keytab       clear   ok    kdc   kdc   kdc   kdc   | FILES FILES FILES FILES FILES | FILES FILES FILES FILES FILES
Keytab       https   ok    kdc   kdc   kdc   kdc   | FILES FILES FILES FILES FILES | FILES FILES FILES FILES FILES
CredSSP      sealed  ok    says  says  says  says  | ok    401   401   401   401   | ok    401   401   401   401
CredSSP      clear   ok    says  says  says  says  | ok    401   401   401   401   | ok    401   401   401   401
CredSSP      https   ok    says  says  says  says  | ok    401   401   401   401   | ok    401   401   401   401
CredSSP-K    sealed  ok    kdc   kdc   kdc   says  | ok    kdc   kdc   kdc   kdc   | ok    401   401   401   401
CredSSP-K    clear   ok    kdc   kdc   kdc   says  | ok    kdc   kdc   kdc   kdc   | ok    401   401   401   401
CredSSP-K    https   ok    kdc   kdc   kdc   says  | ok    kdc   kdc   kdc   kdc   | ok    401   401   401   401
Digest       sealed  never never never never never | NAMES NAMES NAMES NAMES NAMES | NAMES NAMES NAMES NAMES NAMES
Digest       clear   never never never never never | NAMES NAMES NAMES NAMES NAMES | NAMES NAMES NAMES NAMES NAMES
Digest       https   ok    401   401   401   401   | NAMES NAMES NAMES NAMES NAMES | NAMES NAMES NAMES NAMES NAMES
Certificate  sealed  never never never never never | never never never never never | never never never never never
Certificate  clear   never never never never never | never never never never never | 401   401   401   401   401
Certificate  https   ok    tls   401   401   401   | ok    tls   401   401   401   | ok    tls   401   401   401
"""
REASONS = {
    "NAMES": "the client does not have the mechanism",
    "KINIT": "pywinrm takes no password for Kerberos, only the ticket of a cache: see Ticket",
    "FILES": "the client takes no keytab",
    "LASTS": "a ticket that was given is good to its end, whatever becomes of its user",
}


class End(NamedTuple):
    """What comes of a case.

    Attributes:
        logons, failures: What the host has counted.
        connects: The host may have seen a connection.
        reason, error_id: How the child ends.
        words: What its message says, by credential; `""` is for the others.
        raised: What the libraries raise.
        said: What that says, likewise.
    """

    logons: int = 0
    failures: int = 0
    connects: bool = True
    reason: EndReason = EndReason.AuthenticationFailed
    error_id: str = "LogonFailure"
    words: Mapping[str, str] = {}
    raised: tuple[type[Exception], ...] = ()
    said: Mapping[str, str] = {}


ENDS = {
    # The script runs and its records come.
    "ok": End(logons=1),
    # The same after a refusal: pywinrm sends its first ticket before it knows the channel to bind it to.
    "again": End(logons=1, failures=1),
    # The host refuses and gives no reason, once: it is not asked again.
    "401": End(
        failures=1,
        error_id="AccessDenied",
        words={"": r"HTTP 401.*not tried again, so that the account is not locked out\. Check the credential"},
        raised=REFUSED,
    ),
    # The host refuses and says why, as only CredSSP can.
    "says": End(
        failures=1,
        words={
            "": r"web01.*The user name or the password is wrong",
            "expired": r"web01.*The password has expired\. Change it",
            "locked": r"web01.*The account is locked out",
        },
    ),
    # The domain refuses, and the host hears nothing of it.
    "kdc": End(
        words={
            "wrong": r"No ticket was given for \w+@REMOTEJOBS\.TEST\. The password is wrong",
            "expired": r"for expired@.*The password has expired\. Change it",
            "locked": r"for locked@.*The account is disabled, expired or locked out",
            "unknown": r"knows no such user\. Check the name and its realm",
        },
        raised=(Exception,),  # krb5's own
        said={
            "wrong": "integrity check failed",
            "expired": "Password has expired",
            "locked": "have been revoked",
            "unknown": "not found in Kerberos database",
        },
    ),
    # There is no ticket here, or it has ended.
    "cache": End(
        error_id="AuthenticationFailed",
        words={"wrong": r"web01.*no ticket.*Run kinit", "expired": r"web01.*The ticket has expired\. Run kinit"},
        raised=(Exception,),  # spnego's, or pykerberos'
        said={"wrong": "No credentials were supplied", "expired": "Ticket expired"},
    ),
    # TLS fails: the host does not know who has signed the client's certificate.
    "tls": End(
        reason=EndReason.Unreachable,
        error_id="12175",
        words={"": r"web01.* refused the client certificate.*unknown ca.*must trust its issuer"},
        raised=(RequestsConnectionError,),
    ),
    # The client refuses to try, before it connects.
    "never": End(
        connects=False,
        words={"": "-UseSSL|needs a user name and a password"},
        raised=(ValueError, WinRMError),
        said={"": "encryption|SSL"},
    ),
}


class Mechanism(NamedTuple):
    """What the host offers, and what each client calls it.

    Attributes:
        domain: The users are the KDC's.
    """

    offers: tuple[str, ...]
    native: str
    pypsrp: str = ""
    pywinrm: str = ""
    domain: bool = False


MECHANISMS = {
    "Basic": Mechanism(("Basic",), "Basic", "basic", "basic"),
    "NTLM": Mechanism(("Negotiate",), "Negotiate", "ntlm", "ntlm"),  # a local account
    "Negotiate": Mechanism(("Negotiate", "Kerberos"), "Negotiate", "negotiate", domain=True),
    # The client has a ticket, the host is in no domain and has a local account of the same name: NTLM.
    "Fallback": Mechanism(("Negotiate",), "Negotiate", "negotiate", domain=True),
    "Kerberos": Mechanism(("Kerberos",), "Kerberos", "kerberos", domain=True),
    # The current user's: a cache in KRB5CCNAME, no credential.
    "Ticket": Mechanism(("Negotiate", "Kerberos"), "Default", "kerberos", "kerberos", domain=True),
    "Keytab": Mechanism(("Kerberos",), "Kerberos", domain=True),
    "CredSSP": Mechanism(("CredSSP",), "Credssp", "credssp", "credssp"),
    "CredSSP-K": Mechanism(("CredSSP", "Kerberos"), "Credssp", "credssp", "credssp", domain=True),
    "Digest": Mechanism(("Digest",), "Digest"),
    "Certificate": Mechanism(("Certificate",), "Default", "certificate", "certificate"),
}


class Case(NamedTuple):
    mechanism: str
    way: str
    client: str
    credential: str


def cases() -> dict[Case, str]:
    """The words of TABLE."""
    found: dict[Case, str] = {}
    _, heads, *lines = TABLE.replace("|", " ").strip("\n").splitlines()
    columns = list(itertools.product(CLIENTS, CREDENTIALS))
    for head, (_, credential) in zip(heads.split(), columns, strict=True):
        assert credential.startswith(head.rstrip("."))
    for line in lines:
        mechanism, way, *words = line.split()
        for (client, credential), word in zip(columns, words, strict=True):
            case = Case(mechanism, way, client, credential)
            assert case not in found, case
            found[case] = word
    return found


CASES = cases()


def test_the_table_has_no_holes() -> None:
    assert set(CASES) == set(itertools.starmap(Case, itertools.product(MECHANISMS, WAYS, CLIENTS, CREDENTIALS)))
    assert set(CASES.values()) == {*ENDS, *REASONS}


@pytest.mark.parametrize(
    ("case", "word"),
    [pytest.param(case, word, id="-".join(case)) for case, word in CASES.items() if word in ENDS],
)
def test_a_case(
    case: Case, word: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kdc: Kdc | None = request.getfixturevalue("kdc") if MECHANISMS[case.mechanism].domain else None
    if kdc and case.mechanism == "Ticket" and case.credential != "wrong":
        monkeypatch.setenv("KRB5CCNAME", kdc.ticket() if case.credential == "right" else kdc.ended_ticket())
    end, user = ENDS[word], user_of(case)

    async def main() -> None:
        async with host_for(case, kdc) as host:
            if case.client == "native":
                await native(case, host, end, kdc, tmp_path)
            else:
                await asyncio.to_thread(library, case, host, end, tmp_path)
            counters = host.counters
            assert counters.logons == ({user: 1} if end.logons else {})
            assert counters.refused == end.failures, counters.to_dict()
            assert end.connects or not counters.connections

    run(main())


async def native(case: Case, host: SimulatedHost, end: End, kdc: Kdc | None, folder: Path) -> None:
    """Let invoke_command run the script; look at what its child has come to."""
    ssl = case.way == "https"
    option: dict[str, Any] = {"allow_unencrypted": case.way == "clear", "ca_file": hosts.ca_file(folder)}
    option["max_connection_retry_count"] = 0
    if case.mechanism == "Certificate":
        option["certificate_file"] = str(certificate(case.credential, folder))
    running = hosts.run(
        [Target("web01", address="127.0.0.1", port=host.https_port if ssl else host.http_port, ssl=ssl)],
        SCRIPT,
        authentication=MECHANISMS[case.mechanism].native,
        credential=credential_of(case, kdc),
        option=option,
    )
    words = end.words.get(case.credential, end.words.get("", ""))
    if not end.connects:
        with pytest.raises(ConfigurationError, match=words):
            await running
        return
    result = await running
    outcome: Outcome = result.ends["web01"].outcome
    if end.logons:
        assert (outcome.reason, result.values("web01")) == (EndReason.Completed, OUTPUT), outcome
    else:
        assert (outcome.reason, result.records) == (end.reason, []), outcome
        assert outcome.error_id == (f"{end.error_id},PSSessionStateBroken" if end.error_id else "PSSessionStateBroken")
        assert re.search(words, outcome.message), outcome.message


def library(case: Case, host: SimulatedHost, end: End, folder: Path) -> None:
    """Let one of the two libraries do its work; what it raises must be what it has for this."""
    mechanism = MECHANISMS[case.mechanism]
    how: dict[str, Any] = {"ca": hosts.ca_file(folder) if case.way == "https" else ""}
    how |= {"username": user_of(case), "password": password_of(case)}
    pem = str(certificate(case.credential, folder)) if case.mechanism == "Certificate" else ""
    if case.client == "pypsrp":
        if case.mechanism == "Ticket":
            how |= {"username": None, "password": None}
        if case.mechanism == "CredSSP-K":
            how["credssp_auth_mechanism"] = "kerberos"
        how["encryption"] = "never" if case.way == "clear" else "auto"
        how |= {"certificate_pem": pem, "certificate_key_pem": pem} if pem else {}
    else:
        how["message_encryption"] = {"sealed": "always", "clear": "never"}.get(case.way, "auto")
        how |= {"cert_pem": pem, "cert_key_pem": pem} if pem else {}
    work = functools.partial(getattr(clients, case.client), host, getattr(mechanism, case.client), **how)
    if end.logons:
        work()
    else:
        with pytest.raises(end.raised, match=end.said.get(case.credential, end.said.get(""))):
            work()


@asynccontextmanager
async def host_for(case: Case, kdc: Kdc | None) -> AsyncIterator[SimulatedHost]:
    """web01, with the account that the case needs: the host's own, where the users are not the KDC's."""
    offers = MECHANISMS[case.mechanism].offers
    settings: dict[str, Any] = {"authentication": offers, "allow_unencrypted": case.way == "clear"}
    settings |= {"channel_binding": "Strict", "keytab": kdc.keytab if kdc and "Kerberos" in offers else None}
    local = case.mechanism == "Fallback"
    if local:
        settings |= {"user": "alice" if case.credential != "unknown" else "bob"}
        settings |= {"password": PASSWORD if case.credential != "wrong" else "another"}
    if local or kdc is None:
        settings |= {"password_expired": case.credential == "expired", "lockout_threshold": 1}
    host = SimulatedHost("web01", _factories(), HostSettings(**settings))
    if case.credential == "locked":
        host._account.logon(host.settings.user, proved=False)
    certificates = "Certificate" in offers
    await host.start(_tls(certificates) if case.way == "https" else None, http=case.way != "https")
    try:
        yield host
    finally:
        await host.stop()


def user_of(case: Case) -> str:
    if not MECHANISMS[case.mechanism].domain:
        return "nobody" if case.credential == "unknown" else "sim"
    if case.mechanism == "Fallback":
        return f"alice@{REALM}"
    user = {"expired": "expired", "locked": "locked", "unknown": "nobody"}.get(case.credential, "alice")
    if case.mechanism == "Keytab":
        user = {"wrong": "changed", "unknown": "gone"}.get(case.credential, user)
    return f"{user if case.mechanism != 'Ticket' else 'alice'}@{REALM}"


def password_of(case: Case) -> str:
    if case.credential == "wrong" and case.mechanism != "Fallback":
        return "wrong"
    return PASSWORD if MECHANISMS[case.mechanism].domain else "sim"


def credential_of(case: Case, kdc: Kdc | None) -> Credential | None:
    if case.mechanism in ("Ticket", "Certificate"):
        return None
    if case.mechanism == "Keytab":
        assert kdc is not None
        keytab = kdc.alice_keytab if case.credential == "right" else kdc.users_keytab
        return Credential(user_of(case), keytab=str(keytab))
    return Credential(user_of(case), Secret(password_of(case)))


def certificate(credential: str, folder: Path) -> Path:
    """A client's certificate with its key: the wrong one is signed by somebody whom the host does not know."""
    authority = _somebody() if credential == "wrong" else hosts.authority()
    file = folder / "client.pem"
    file.write_bytes(authority.issue_client("nobody" if credential == "unknown" else "sim"))
    return file


@functools.cache
def _somebody() -> CertificateAuthority:
    return CertificateAuthority()


@functools.cache
def _factories() -> Any:
    return default_factories()


@functools.cache
def _tls(client_certificates: bool) -> Any:
    return hosts.authority().server_context("web01", client_certificates=client_certificates)
