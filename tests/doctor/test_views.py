"""Findings on the screen and for programs."""

from __future__ import annotations

import io
import json

from remotejobs.doctor.findings import Diagnosis, Finding, HostDiagnosis, Remedy, Verdict
from remotejobs.views.diagnoses import write_diagnoses

REFUSED = Diagnosis("WinRM is not enabled.", (Remedy("host", "Enable-PSRemoting -Force"),), "CannotConnect")
CLOCKS = Diagnosis("One of the two clocks is wrong.", (Remedy("here", "timedatectl"),))


def host(name: str, *findings: Finding) -> HostDiagnosis:
    return HostDiagnosis(name, f"http://{name}:5985/wsman", "Basic", findings)


def bad(name: str) -> HostDiagnosis:
    return host(
        name,
        Finding("Name", Verdict.Passed, "192.0.2.1"),
        Finding("Port", Verdict.Failed, f"{name}:5985 refused the connection.", REFUSED, {"port": 5985}, 0.0012),
        Finding("TLS", Verdict.NotTried, "http."),
        Finding("Clock", Verdict.Skipped, "Port failed."),
    )


def good(name: str, clock: Verdict = Verdict.Passed) -> HostDiagnosis:
    return host(
        name,
        Finding("Name", Verdict.Passed, "192.0.2.1"),
        Finding("Port", Verdict.Passed, "192.0.2.1, port 5985, in 1 ms"),
        Finding("TLS", Verdict.NotTried, "http."),
        Finding("Clock", clock, "2 h behind", CLOCKS if clock is Verdict.Warning else Diagnosis()),
    )


def written(format_name: str, *diagnoses: HostDiagnosis, width: int | None = 60) -> str:
    out = io.StringIO()
    write_diagnoses(format_name, diagnoses, out, width)
    return out.getvalue()


def test_a_table_has_a_row_for_each_host_and_what_helps_once() -> None:
    assert written("Table", bad("web02"), good("web01"), bad("web03"), good("web04", Verdict.Warning)) == (
        "ComputerName Name Port Clock\n"
        "------------ ---- ---- -----\n"
        "web02        ok   FAIL .\n"
        "web01        ok   ok   ok\n"
        "web03        ok   FAIL .\n"
        "web04        ok   ok   warn\n"
        "\n"
        "web[02-03]: Port failed. On web02: web02:5985 refused\n"
        "    the connection.\n"
        "    Likely: WinRM is not enabled.\n"
        "    on the host: Enable-PSRemoting -Force\n"
        "    PowerShell: CannotConnect\n"
        "\n"
        "web04: Clock warning. 2 h behind\n"
        "    Likely: One of the two clocks is wrong.\n"
        "    here: timedatectl\n"
        "\n"
        "2 passed (1 with a warning), 2 failed: 4 hosts\n"
    )


def test_the_table_says_what_hosts_are_as_far_as_there_is_room() -> None:
    known = Finding("Identify", Verdict.Passed, "", facts={"vendor": "x", "version": "OS: 10.0.20348 SP: 0.0"})
    diagnoses = host("web01", known), host("web02", Finding("Identify", Verdict.Failed, "no"))
    assert written("Table", *diagnoses).splitlines()[:4] == [
        "ComputerName Ident Product",
        "------------ ----- -------",
        "web01        ok    OS: 10.0.20348 SP: 0.0",
        "web02        FAIL",
    ]
    assert written("Table", *diagnoses, width=34).splitlines()[2] == "web01        ok    OS: 10.0.20348…"


def test_a_list_has_everything_about_a_host() -> None:
    assert written("List", bad("web02")) == (
        "web02  http://web02:5985/wsman  Basic\n"
        "\n"
        "  Name  ok    192.0.2.1\n"
        "  Port  FAIL  web02:5985 refused the connection.\n"
        "              Likely: WinRM is not enabled.\n"
        "              on the host: Enable-PSRemoting -Force\n"
        "              PowerShell: CannotConnect\n"
        "  TLS   -     http.\n"
        "  Clock .     Port failed.\n"
    )


def test_json_is_whole_and_jsonl_a_line_each() -> None:
    both = (bad("web02"), good("web01"))
    array = json.loads(written("Json", *both))
    assert [json.loads(line) for line in written("Jsonl", *both).splitlines()] == array
    assert [(each["computer_name"], each["passed"], each["failed_step"]) for each in array] == [
        ("web02", False, "Port"),
        ("web01", True, None),
    ]
    assert array[0]["steps"][1] == {
        "step": "Port",
        "verdict": "Failed",
        "text": "web02:5985 refused the connection.",
        "cause": "WinRM is not enabled.",
        "remedies": [{"where": "host", "command": "Enable-PSRemoting -Force"}],
        "error_id": "CannotConnect",
        "seconds": 0.001,
        "facts": {"port": 5985},
    }


def test_no_hosts_are_no_rows() -> None:
    assert (written("Table"), written("List"), written("Json"), written("Jsonl")) == ("", "", "[]\n", "")


def test_a_command_is_never_cut_or_wrapped() -> None:
    command = "Set-Item " + "x" * 200
    finding = Finding("Port", Verdict.Failed, "no", Diagnosis("why", (Remedy("host", command),)))
    for format_name in ("Table", "List"):
        assert command in written(format_name, host("web01", finding), width=40)
