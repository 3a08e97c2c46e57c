from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remotejobs.views.display import display, without_origin
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject, Uri, Version
from tests.views.factory import bag, error, service
from tests.views.screens import plain

KEPT = Path(__file__).parents[1] / "data" / "display.jsonl"


def shown(value: Any, width: int | None = 100) -> list[str]:
    return plain("\n".join(display(value, width)))


@pytest.mark.parametrize("line", KEPT.read_text("utf-8").splitlines(), ids=lambda line: json.loads(line)["case"])
def test_kept_recordings(line: str) -> None:
    case = json.loads(line)
    value = deserialize(case["clixml"].encode())
    if isinstance(value, PSObject):
        value.set_origin("localhost", uuid.UUID(int=1), show=False)
    assert shown(value) == plain(case["display"])


SERVICE_ROW = ["", "Status   Name               DisplayName", "------   ----               -----------"]


def test_a_service_as_get_service_shows_it() -> None:
    row = "Running  WinRM              Windows Remote Management (WS-Managem…"
    assert shown(service("Running", "WinRM", "Windows Remote Management (WS-Management)"))[3] == row
    assert shown([service("Running", "a", "A"), service("Stopped", "b", "B")]) == [
        *SERVICE_ROW,
        "Running  a                  A",
        "Stopped  b                  B",
    ]


def test_deserialized_types_have_the_same_view() -> None:
    local = service("Running", "a", "A")
    remote = PSObject(tuple(f"Deserialized.{name}" for name in local.type_names), None, adapted=local.properties)
    assert shown(remote) == shown(local)


def test_a_view_gets_the_computer_name_when_it_is_to_be_shown() -> None:
    value = service("Running", "a", "A")
    value.set_origin("web01", uuid.UUID(int=1), show=True)
    assert shown(value)[3].split() == ["Running", "a", "A", "web01"]
    value = service("Running", "a", "A")
    value.set_origin("web01", uuid.UUID(int=1), show=False)
    assert shown(value) == [*SERVICE_ROW, "Running  a                  A"]


def test_four_properties_are_a_table_and_five_a_list() -> None:
    assert shown(bag(A=1, B="x", C=True, D=None)) == ["", "A B    C D", "- -    - -", "1 x True"]
    assert shown(bag(A=1, B="x", C=True, D=None, E=[1, 2, 3, 4, 5])) == [
        "", "A : 1", "B : x", "C : True", "D :", "E : {1, 2, 3, 4…}",
    ]  # fmt: skip


def test_notes_count_even_when_they_are_hidden() -> None:
    """Semantics 4.6: one property of its own and three notes are a table, two are a list."""
    one, two = bag(A=1), bag(A=1, B=2)
    for value in (one, two):
        value.set_origin("web01", uuid.UUID(int=1), show=True)
    assert shown(one)[1] == "A PSComputerName RunspaceId"
    assert shown(two)[1:4] == ["A              : 1", "B              : 2", "PSComputerName : web01"]
    assert shown(without_origin(two)) == ["", "A B", "- -", "1 2"]


def test_text_stands_among_the_rows_of_a_table() -> None:
    assert shown(["a", bag(A=1), bag(A=22), "b", {"k": "v"}, 5]) == [
        "a", "", " A", " -", " 1", "22", "b", "",
        "Name                           Value", "----                           -----",
        "k                              v", "5",
    ]  # fmt: skip


def test_null_is_nothing_and_an_empty_string_is_a_line() -> None:
    assert display(None, 100) == []
    assert display([1, None, "", "x"], 100) == ["1", "", "x"]


def test_lists_in_lists_are_shown_by_their_items() -> None:
    assert display([1, [2, [3]]], 100) == ["1", "2", "3"]
    endless: list[Any] = []
    endless.append(endless)
    assert display(endless, 100) == ["System.Collections.ArrayList"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 / 3, "0.333333333333333"),
        (float("inf"), "∞"),
        (True, "True"),
        (datetime(2026, 11, 20, 0, 5, tzinfo=UTC), "Friday, November 20, 2026 12:05:00 AM"),
        (Version("10.0.17763"), "10     0      17763  -1"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (timedelta(hours=-1), "TotalMilliseconds : -3600000"),
        (b"\x01\xff", "255"),
    ],
)
def test_natural_values(value: object, expected: str) -> None:
    assert shown(value)[-1] == expected


def test_properties_with_dates_lists_and_objects() -> None:
    value = bag(When=datetime(2026, 1, 1, 13, 1, tzinfo=UTC), Tags=["a", None], Map={"x": {}}, Inner=bag(n=1), E=None)
    assert shown(value)[1:] == [
        "When  : 1/1/2026 1:01:00 PM", "Tags  : {a, $null}", "Map   : {[x, System.Collections.Hashtable]}",
        "Inner : @{n=1}", "E     :",
    ]  # fmt: skip


def test_a_file_stands_under_its_folder() -> None:
    members = {
        "Mode": "-a----",
        "LastWriteTime": datetime(2026, 11, 20, 15, 4, tzinfo=UTC),
        "Length": 12,
        "Name": "a.txt",
    }
    parent = "Microsoft.PowerShell.Core\\FileSystem::C:\\Temp"
    value = PSObject(("Deserialized.System.IO.FileInfo",), adapted=members, extended={"PSParentPath": parent})
    assert shown(value) == [
        "", "    Directory: C:\\Temp", "",
        "Mode                 LastWriteTime         Length Name",
        "----                 -------------         ------ ----",
        "-a----         11/20/2026  3:04 PM             12 a.txt",
    ]  # fmt: skip


def test_an_error_among_the_objects_is_its_message() -> None:
    assert shown(error()) == ["Get-Item: Cannot find path '/nope'."]


def test_a_hostile_property_name_stays_on_its_line() -> None:
    assert shown(bag(**{"a\nweb02: fake": 1})) == ["", "a web02: fake", "-------------", "            1"]
    assert shown(bag(**{"a\nb": 1, "c": 2, "d": 3, "e": 4, "f": 5}))[1] == "a b : 1"


@pytest.mark.parametrize(
    "type_name",
    [
        "System.Diagnostics.Process",
        "System.Diagnostics.EventLogEntry",
        "System.Diagnostics.Eventing.Reader.EventLogRecord",
        "System.IO.DirectoryInfo",
        "System.Management.Automation.PSDriveInfo",
        "Microsoft.Management.Infrastructure.CimInstance#root/cimv2/Win32_QuickFixEngineering",
        "System.Management.Automation.ErrorRecord",
        "System.DateTime",
        "System.TimeSpan",
    ],
)
def test_a_view_survives_an_object_that_only_claims_its_type(type_name: str) -> None:
    """Type names are claims of the host."""
    odd = {
        "NPM": "x",
        "PM": float("nan"),
        "WS": 10**400,
        "CPU": float("inf"),
        "Provider": bag(Name=5),
        "TimeGenerated": 5,
        "LastWriteTime": "never",
        "PSParentPath": None,
        "Days": {},
    }
    assert display(PSObject((type_name,), adapted={}), 80)
    assert display(PSObject((type_name,), adapted=odd), 80)


def test_a_type_without_a_view_has_its_default_properties() -> None:
    cim = ("Microsoft.Management.Infrastructure.CimInstance#root/cimv2/Win32_BIOS", "System.Object")
    members = {"Caption": "c", "Name": "n", "Version": "v", "Manufacturer": "m", "SerialNumber": 1, "Other": None}
    value = PSObject(cim, adapted={**members, "SMBIOSBIOSVersion": "s"})
    assert shown(value)[1:] == [
        "SMBIOSBIOSVersion : s", "Manufacturer      : m", "Name              : n",
        "SerialNumber      : 1", "Version           : v",
    ]  # fmt: skip


def test_what_a_cim_class_is_shown_by() -> None:
    disk = ("Microsoft.Management.Infrastructure.CimInstance#root/cimv2/Win32_DiskDrive",)
    members = {"Caption": "c", "DeviceID": "0", "Size": 10, "Model": "m", "Partitions": 2, "Other": 1}
    assert shown(PSObject(disk, adapted=members)) == [
        "", "DeviceID Caption Partitions Size Model", "-------- ------- ---------- ---- -----",
        "0        c       2          10   m",
    ]  # fmt: skip


def test_a_certificate_stands_under_its_store() -> None:
    usages = [bag(FriendlyName="Server Authentication", ObjectId="1.3.6"), bag(FriendlyName="x", ObjectId="1")]
    value = PSObject(
        ("Deserialized.System.Security.Cryptography.X509Certificates.X509Certificate2",),
        adapted={"Thumbprint": "AB" * 20, "Subject": "CN=web01"},
        extended={"PSParentPath": "Microsoft.PowerShell.Security\\Certificate::My", "EnhancedKeyUsageList": usages},
    )
    lines = shown(value)
    assert lines[1] == "   PSParentPath: Microsoft.PowerShell.Security\\Certificate::My"
    assert lines[-1] == f"{'AB' * 20}  CN=web01             {{Server Authentication, x}}"


def test_a_key_of_the_registry_stands_under_its_hive() -> None:
    members = {"PSParentPath": "Microsoft.PowerShell.Core\\Registry::HKEY_LOCAL_MACHINE", "PSChildName": "SYSTEM"}
    lines = shown(PSObject(("Microsoft.Win32.RegistryKey",), extended={**members, "Property": ["a", "b"]}))
    assert lines[1] == "    Hive: HKEY_LOCAL_MACHINE"
    assert lines[-1].split(maxsplit=1) == ["SYSTEM", "{a, b}"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://user@web01:8080/a/b%20c?q=1#f", ["web01:8080", "Dns", "False", "/a/b c", "{/, a/, b%20c}", "user"]),
        ("https://10.0.0.1", ["10.0.0.1", "IPv4", "True", "/", "{/}", ""]),
        ("a/b", ["", "", "", "", "", ""]),
        ("http://a:x/", ["", "", "", "", "", ""]),
    ],
)
def test_the_parts_of_a_uri(written: str, expected: list[str]) -> None:
    pairs = dict(line.split(":", 1) for line in shown(Uri(written))[1:])
    found = {name.strip(): value.strip() for name, value in pairs.items()}
    names = ("Authority", "HostNameType", "IsDefaultPort", "LocalPath", "Segments", "UserInfo")
    assert [found[name] for name in names] == expected
    assert found["OriginalString"] == written


def test_a_process_in_megabytes() -> None:
    members = {"NPM": 20480, "PM": 3 << 20, "WS": 1 << 30, "CPU": 1.5, "Id": 7, "SI": 1, "ProcessName": "pwsh"}
    row = shown(PSObject(("System.Diagnostics.Process",), extended=members))[3]
    assert row == "     20     3.00   1,024.00       1.50       7   1 pwsh"
