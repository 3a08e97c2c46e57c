"""Server lists: lines, keys, encodings, and mistakes with file and line."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from remotejobs.errors import TargetError
from remotejobs.model import Target
from remotejobs.targets import inventory
from remotejobs.targets.inventory import parse, read_list

ROOT = Path(__file__).parents[2]


def test_names_comments_and_blank_lines() -> None:
    text = "# all of it\nweb01\n\n   \t\n  db01\t# the old one\n#web02\nweb03#not"
    with pytest.raises(TargetError, match=r"servers\.txt:7: 'web03#not' is not a computer name"):
        parse(text, "servers.txt")
    assert parse(text.removesuffix("#not"), "servers.txt") == [Target("web01"), Target("db01"), Target("web03")]


def test_every_key() -> None:
    line = (
        "web01 address=10.0.0.1 PORT=15986 Ssl=True application=wsman2 configuration=PowerShell.7 "
        "authentication=kerberos credential=CONTOSO\\admin group=web,Canary"
    )
    assert parse(line, "x") == [
        Target(
            "web01",
            address="10.0.0.1",
            port=15986,
            ssl=True,
            application="wsman2",
            configuration="PowerShell.7",
            authentication="Kerberos",
            credential="CONTOSO\\admin",
            group=("web", "Canary"),
        )
    ]


def test_what_is_not_given_is_left_to_the_job() -> None:
    assert parse("web01 ssl=false", "x") == [Target("web01", ssl=False)]


def test_ranges_and_comma_lists_share_the_settings_of_their_line() -> None:
    assert parse("web[01-02]-[a,b],db01 port=1", "x") == [
        Target(name, port=1) for name in ("web01-a", "web01-b", "web02-a", "web02-b", "db01")
    ]


def test_names_are_made_as_on_the_command_line() -> None:
    assert [target.name for target in parse(". address=::1\nfe80::1\nfe80::1", "x")] == [
        "localhost",
        *["[fe80::1]"] * 2,
    ]
    assert parse("web01 address=::1", "x")[0].address == "[::1]"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_line_ends_and_encodings(tmp_path: Path, end: str, mark: bytes, encoding: str) -> None:
    path = tmp_path / "servers.txt"
    path.write_bytes(mark + end.join(["web01", "", "bücher", "host:1"]).encode(encoding))
    with pytest.raises(TargetError) as caught:
        read_list(str(path))
    assert caught.value.details == {"file": str(path), "line": 4}
    path.write_bytes(mark + end.join(["web01", "", "bücher", ""]).encode(encoding))
    assert [target.name for target in read_list(str(path))] == ["web01", "bücher"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("web01 port=0", "port is a number from 1 to 65535"),
        ("web01 port=65536", "port is a number from 1 to 65535"),
        ("web01 port=５９８５", "port is a number from 1 to 65535"),
        ("web01 ssl=yes", "ssl is true or false"),
        ("web01 address=http://10.0.0.1", "'http://10.0.0.1' is not a computer name"),
        ("web01 authentication=NTLM", "authentication is one of Default, Basic, Negotiate"),
        ("web01 group=web,,db", "a group has letters"),
        ("web01 group=web.db", "a group has letters"),
        ("web01 credential=", "credential has no value"),
        ("web01 port=1 Port=2", "port is given twice"),
        ("web01 colour=red", "'colour' is not a setting; there are address, port"),
        ("web01 port = 5986", "settings are written key=value"),
        ("web[1-2] address=10.0.0.1", "address belongs to one name"),
        ("web[2-1]", "must run upwards"),
        ("web01, web02", "There is a blank name"),
        ("@other.txt", "'@other.txt' is not a computer name"),
        ("[web]", "text around it"),
    ],
)
def test_mistakes(line: str, message: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse(f"web00\n{line}\n", "servers.txt")
    assert caught.value.message.startswith("servers.txt:2: ")
    assert message in caught.value.message
    assert caught.value.details == {"file": "servers.txt", "line": 2}


@pytest.mark.parametrize("line", ["web01 password=hunter2", "web01 admin hunter2"])
def test_a_password_in_a_list_is_not_repeated(line: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse(line, "servers.txt")
    assert "hunter2" not in str(caught.value.to_dict())


def test_all_mistakes_are_told_at_once_and_the_error_id_of_powershell_with_them() -> None:
    with pytest.raises(TargetError) as caught:
        parse("web01 port=x\nweb02\nhost:1\n", "servers.txt")
    assert [line.split(": ")[0] for line in caught.value.message.splitlines()] == ["servers.txt:1", "servers.txt:3"]
    assert caught.value.error_id == "PSSessionInvalidComputerName"
    assert caught.value.details["line"] == 1


def test_ten_mistakes_are_told_and_no_more() -> None:
    with pytest.raises(TargetError) as caught:
        parse("host:1\n" * 100_000, "x")
    assert len(caught.value.message.splitlines()) == 10


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "servers.txt"
    path.write_bytes(b"web01\r\nb\xfccher\r\n")
    with pytest.raises(TargetError, match=":2: this is not UTF-8 text") as caught:
        read_list(str(path))
    assert caught.value.details["line"] == 2


@pytest.mark.parametrize("name", ["none.txt", ".", "nul\0.txt"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(TargetError, match=r"The server list .* cannot be read: ."):
        read_list(str(tmp_path / name))


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servers.txt").write_text("web01")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert read_list("~/servers.txt") == [Target("web01")]


def test_a_list_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "servers.txt"
    path.write_bytes(b"web01\n" * 4)
    monkeypatch.setattr(inventory, "MAX_BYTES", 24)
    assert len(read_list(str(path))) == 4
    path.write_bytes(b"web01\n" * 4 + b"#")
    with pytest.raises(TargetError, match="longer than"):
        read_list(str(path))


def test_lines_that_come_to_too_many_names_together() -> None:
    with pytest.raises(TargetError, match="'x' comes to more than 250,000 names"):
        parse("web[1-249999]\ndb01\ndb02\n", "x")


def test_the_example() -> None:
    targets = read_list(str(ROOT / "servers.txt.example"))
    assert targets[0] == Target("web01", group=("web",))
    assert {group for target in targets for group in target.group} == {"web", "canary", "db", "lab"}
    assert Target("[2001:db8::7]", ssl=True) in targets
