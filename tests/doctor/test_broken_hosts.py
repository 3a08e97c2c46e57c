"""Hosts that are broken in different ways, and what is said of each: the right step, cause and command."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from remotejobs.doctor.findings import HostDiagnosis
from tests.doctor.hosts import (
    OFFERS,
    Host,
    answering,
    examine,
    named,
    saying,
    served,
    sim,
    unheard,
    winrm,
)
from tests.transport.loopback import answer, run
from tests.transport.tls_host import CA, OTHER_CA, server_context

PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"
BAD_REQUEST = answer(PAGE, "400 Bad Request")
LONG_AGO = dt.datetime(2001, 2, 3, tzinfo=dt.UTC)


class Case(NamedTuple):
    """One broken host.

    Attributes:
        host: Makes it.
        step: Where it is found out.
        seen: What is said to have been seen.
        cause: Words of the likely cause.
        command: What helps.
        error_id: PowerShell's.
        options: Of the examination.
    """

    host: Callable[[], Host]
    step: str
    seen: str
    cause: str
    command: str
    error_id: str = ""
    options: dict[str, Any] = {}


def tls(*names: str, **issue: Any) -> Callable[[], Host]:
    return lambda: served(winrm(*OFFERS), server_context(*(names or ("web01",)), **issue))


def says(status: str, *headers: str, body: bytes = b"") -> Callable[[], Host]:
    return lambda: served(answering(status, *headers, body=body))


CASES = {
    "dead name": Case(
        lambda: named("nosuch.invalid"),
        "Name",
        "no name server knows it",
        "misspelt",
        "nslookup nosuch.invalid",
        "ComputerNotFound",
    ),
    "refused port": Case(
        unheard, "Port", "refused the connection", "nothing listens on port", "Enable-PSRemoting", "CannotConnect"
    ),
    "refused https port": Case(
        lambda: unheard(ssl=True),
        "Port",
        "refused the connection",
        "no https listener",
        "winrm quickconfig -transport:https",
        "CannotConnect",
    ),
    "not HTTP": Case(
        lambda: served(saying(b"SSH-2.0-OpenSSH_9.6\r\n")),
        "Listener",
        "not HTTP",
        "Another service than WinRM",
        "netstat -ano",
    ),
    "hangs up": Case(
        lambda: served(saying(b"")), "Listener", "closed the connection without an answer", "was cut", "Get-WinEvent",
        "CannotConnect",
    ),
    "certificate of another name": Case(
        tls("other.example"), "TLS", "not for web01", "for another name", "other.example address=127.0.0.1", "12175"
    ),
    "certificate of an unknown issuer": Case(
        tls(ca=OTHER_CA), "TLS", "issuer that is not known", "signed itself, or its issuer", "CAFile=", "12175"
    ),
    "expired certificate": Case(
        tls(not_after=LONG_AGO), "TLS", "until 2001-02-03", "not been renewed", "Sort-Object NotAfter", "12175"
    ),
    "http where https was asked": Case(
        lambda: spoken(saying(BAD_REQUEST), ssl=True), "TLS", "plain http", "for clear http", "-Port 5986", "12175"
    ),
    "https where http was asked": Case(
        lambda: spoken(winrm(*OFFERS), server_context("web01"), ssl=False),
        "Listener",
        "speaks TLS",
        "one for https",
        "-UseSSL",
        "CannotConnect",
    ),
    "wrong password": Case(
        lambda: sim("wrong-password"), "Authentication", "HTTP 401", "password is wrong", "net user sim", "AccessDenied"
    ),
    "Basic off": Case(
        lambda: served(winrm("Negotiate", "Kerberos")),
        "Mechanisms",
        "offers Negotiate, Kerberos, not Basic",
        "Basic is off",
        "Set-Item WSMan:\\localhost\\Service\\Auth\\Basic $true",
        "AccessDenied",
    ),
    "CredSSP off": Case(
        lambda: served(winrm("Negotiate")),
        "Mechanisms",
        "not CredSSP",
        "CredSSP is off",
        "Enable-WSManCredSSP -Role Server",
        "AccessDenied",
        {"authentication": "Credssp"},
    ),
    "404": Case(
        says("404 Not Found"), "Listener", "HTTP 404", "not at this path", "-ApplicationName", "URLNotAvailable"
    ),
    "503": Case(
        says("503 Service Unavailable", "Content-Type: text/html", body=PAGE),
        "Listener",
        "HTTP 503",
        "stopped, starting or stopping",
        "Start-Service WinRM",
    ),
    "web page of a proxy": Case(
        says("200 OK", "Content-Type: text/html", body=PAGE),
        "Listener",
        "web page",
        "a proxy",
        "winrm enumerate winrm/config/listener",
    ),
    "proxy that wants a logon": Case(
        says("407 Proxy Authentication Required"), "Listener", "HTTP 407", "proxy is in between", "env | grep -i proxy"
    ),
    "filtered": Case(says("403 Forbidden"), "Listener", "HTTP 403", "IPv4Filter", "IPv?Filter", "AccessDenied"),
    "clock an hour off, with Kerberos": Case(
        lambda: served(winrm(*OFFERS, ahead=3600)),
        "Clock",
        "1 h ahead of",
        "which Kerberos refuses",
        "w32tm /resync",
        options={"authentication": "Kerberos"},
    ),
    "shell quota full": Case(
        lambda: sim("quota"), "Shell", "MaxShellsPerUser", "as many shells", "remotejob sessions web01 -Remove",
        "2150859173",
    ),
    "no such configuration": Case(
        lambda: sim("fault:2150858811@Create"),
        "Shell",
        "Microsoft.PowerShell",
        "no session configuration of this name",
        "Get-PSSessionConfiguration",
        "InvalidResourceUri",
    ),
    "no right to a shell": Case(
        lambda: sim("fault:5@Create"), "Shell", "Microsoft.PowerShell", "no right", "LocalAccountTokenFilterPolicy",
        "AccessDenied",
    ),
    "encryption demanded": Case(
        lambda: sim("status:500@Identify#2"), "Authentication", "HTTP 500", "wants messages encrypted", "-UseSSL",
        "WinRMHttpError",
    ),
    "Basic in clear": Case(
        sim,
        "Authentication",
        "in clear",
        "show the password",
        "-UseSSL -Authentication Basic",
        "801",
        {"allow_unencrypted": False},
    ),
}  # fmt: skip


def spoken(handler: Any, context: Any = None, *, ssl: bool) -> Host:
    """A host that is asked for another transport than it speaks."""

    @asynccontextmanager
    async def host() -> Any:
        async with served(handler, context) as target:
            yield replace(target, ssl=ssl)

    return host()


pytestmark = pytest.mark.usefixtures("names")


@pytest.fixture
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


async def examined(case: Case, ca: str) -> HostDiagnosis:
    async with case.host() as target:
        return await examine(target, **{"ca_file": ca, **case.options})


@pytest.mark.parametrize("name", CASES)
def test_a_broken_host_gets_the_right_diagnosis(name: str, ca: str) -> None:
    case = CASES[name]
    found = run(examined(case, ca))
    failure = found.failure
    assert failure is not None
    assert failure.step == case.step
    assert case.seen in failure.text
    assert case.cause in failure.diagnosis.cause
    assert any(case.command in remedy.command for remedy in failure.diagnosis.remedies)
    assert failure.diagnosis.error_id == case.error_id
    assert {remedy.where for remedy in failure.diagnosis.remedies} <= {"host", "here"}


def test_all_the_diagnoses_are_different(ca: str) -> None:
    async def all_of_them() -> list[HostDiagnosis]:
        return [await examined(case, ca) for case in CASES.values()]

    causes = [found.failure.diagnosis.cause for found in run(all_of_them()) if found.failure]
    assert len(set(causes)) == len(CASES)
