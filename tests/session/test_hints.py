"""What is said of a right that is missing, and which errors are of a second hop."""

from __future__ import annotations

from typing import Any

import pytest

from remotejobs.model import JobSpec, ScriptCommand, SessionOption, Target
from remotejobs.session.hints import is_second_hop, no_right, passes_logon_on
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import serialize

DENIED, OPEN_ERROR, UNAVAILABLE, NOT_FOUND = 18, 1, 15, 13


@pytest.mark.parametrize("user", ["admin", ".\\admin", "WEB01\\admin"])
def test_a_local_account_may_be_an_administrator_without_rights(user: str) -> None:
    words = no_right(user, "web01.corp.example")
    assert "On the host: reg add" in words
    assert "/v LocalAccountTokenFilterPolicy /t REG_DWORD /d 1 /f" in words
    assert f"net localgroup \"Remote Management Users\" '{user}' /add" in words


@pytest.mark.parametrize("user", ["CORP\\admin", "admin@corp.example", ""])
def test_another_account_needs_a_group(user: str) -> None:
    words = no_right(user, "web01")
    assert "LocalAccountTokenFilterPolicy" not in words
    assert 'On the host: net localgroup "Remote Management Users"' in words


def test_a_user_name_is_quoted_for_powershell() -> None:
    assert "'CORP\\O''Hara'" in no_right("CORP\\O'Hara", "web01")


def error(
    message: str, category: int, *, kind: str = "System.Exception", target: str = "", error_id: str = "Some,Id"
) -> PSObject:
    exception = PSObject((f"Deserialized.{kind}",), to_string=f"{kind}: {message}")
    exception.extended["Message"] = message
    return PSObject(
        ("System.Management.Automation.ErrorRecord",),
        to_string=message,
        extended={
            "Exception": exception,
            "TargetObject": target,
            "FullyQualifiedErrorId": error_id,
            "ErrorCategory_Category": category,
            "ErrorCategory_TargetName": target,
            "SerializeExtendedInfo": False,
        },
    )


UNAUTHORIZED = "System.UnauthorizedAccessException"
ELSEWHERE: dict[str, PSObject] = {
    "a share": error("Access is denied", DENIED, kind=UNAUTHORIZED, target=r"\\files\share"),
    "a share, in German": error("Zugriff verweigert", DENIED, target=r"\\files.corp.example\share"),
    ".NET": error(r"Access to the path '\\files\share\a.txt' is denied.", 0, kind=UNAUTHORIZED),
    "an address": error("Access is denied", DENIED, target=r"\\10.0.0.2\share"),
    "Active Directory": error(
        "Unable to contact the server.", UNAVAILABLE, kind="Microsoft.ActiveDirectory.Management.ADServerDownException"
    ),
    "SQL Server": error("Login failed for user 'NT AUTHORITY\\ANONYMOUS LOGON'.", 0),
    "Invoke-Command": error(
        "Access is denied.", OPEN_ERROR, target="db01", error_id="AccessDenied,PSSessionStateBroken"
    ),
    "Kerberos": error("The following error with errorcode 0x8009030e occurred", OPEN_ERROR, target="db01"),
}
HERE: dict[str, PSObject] = {
    "a file": error(r"Access to the path 'C:\secret' is denied.", DENIED, kind=UNAUTHORIZED, target=r"C:\secret"),
    "a share of its own": error("Access is denied", DENIED, target=r"\\WEB01\c$"),
    "a share of its own, in full": error("Access is denied", DENIED, target=r"\\web01.corp.example\c$"),
    "a share of localhost": error("Access is denied", DENIED, target=r"\\localhost\c$"),
    "a share that is not there": error("Cannot find path", NOT_FOUND, target=r"\\files\nope"),
    "a device": error("Access is denied", DENIED, target=r"\\.\PhysicalDrive0"),
    "a long path": error("Access is denied", DENIED, target=r"\\?\C:\secret"),
    "a host that is off": error("No answer.", OPEN_ERROR, target="db01", error_id="CannotConnect,PSSessionStateBroken"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_refusal_by_another_host(name: str) -> None:
    raw = serialize(ELSEWHERE[name])
    assert is_second_hop(raw, "web01")
    state = PSObject(extended={"ExceptionAsErrorRecord": ELSEWHERE[name], "PipelineState": 5})
    assert is_second_hop(serialize(state), "web01")


@pytest.mark.parametrize("name", HERE)
def test_a_refusal_by_the_host_itself_is_none(name: str) -> None:
    assert not is_second_hop(serialize(HERE[name]), "web01")


def test_what_cannot_be_read_or_is_very_long_is_none() -> None:
    raw = serialize(ELSEWHERE["a share"])
    assert not is_second_hop(raw[:-20], "web01")
    assert not is_second_hop(serialize(error("x" * 70_000, DENIED, target=r"\\files\share")), "web01")


@pytest.mark.parametrize(
    ("job", "target", "option", "expected"),
    [
        ("Default", None, {}, False),
        ("Kerberos", None, {}, False),
        ("Kerberos", None, {"delegate": True}, True),
        ("CredSSP", None, {}, True),
        ("Default", "Credssp", {}, True),
        ("Credssp", "Negotiate", {}, False),
    ],
)
def test_which_logons_are_passed_on(job: str, target: str | None, option: dict[str, Any], expected: bool) -> None:
    host = Target("web01", authentication=target)
    spec = JobSpec(ScriptCommand("1"), (host,), authentication=job, session_option=SessionOption(**option))
    assert passes_logon_on(spec, host) is expected
