"""What -ComputerName takes: forms, order, duplicates, exclusions, groups, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from remotejobs.errors import TargetError
from remotejobs.model import Target
from remotejobs.targets.ranges import fold
from remotejobs.targets.resolve import Resolved, resolve

LIST = """\
web[01-03] group=web
web04      group=web,canary port=15986
db01       group=DB ssl=true
"""


@pytest.fixture
def servers(tmp_path: Path) -> str:
    path = tmp_path / "servers.txt"
    path.write_text(LIST)
    return str(path)


def no_stdin() -> str:
    raise AssertionError("standard input is read only for -")


def names(*expressions: str, stdin: str | None = None) -> list[str]:
    read_stdin = no_stdin if stdin is None else lambda: stdin
    return [target.name for target in resolve(expressions, read_stdin=read_stdin).targets]


def test_names_ranges_and_comma_lists_keep_their_order() -> None:
    assert names("web02, db[1-2]", "app-[a,b]") == ["web02", "db1", "db2", "app-a", "app-b"]


def test_a_plain_name_has_no_settings() -> None:
    assert resolve(["web01"], read_stdin=no_stdin) == Resolved((Target("web01"),), ())


def test_a_server_list_brings_settings(servers: str) -> None:
    resolved = resolve([f"app,@{servers}"], read_stdin=no_stdin)
    assert fold(target.name for target in resolved.targets) == "app,db01,web[01-04]"
    assert resolved.targets[0] == Target("app")
    assert resolved.targets[4] == Target("web04", port=15986, group=("web", "canary"))
    assert resolved.warnings == ()


def test_a_group_of_a_server_list(servers: str) -> None:
    assert names(f"@{servers}:web") == ["web01", "web02", "web03", "web04"]
    assert names(f"@{servers}:db") == ["db01"]
    assert names(f"@{servers}:canary,@{servers}:Db") == ["web04", "db01"]


def test_a_group_that_is_not_there(servers: str) -> None:
    with pytest.raises(TargetError, match="nothing in the group mail: its groups are canary, DB, web"):
        names(f"@{servers}:mail")


def test_a_list_without_groups(tmp_path: Path) -> None:
    path = tmp_path / "servers.txt"
    path.write_text("web01")
    with pytest.raises(TargetError, match="no line of it has group="):
        names(f"@{path}:web")


@pytest.mark.parametrize("name", ["a:b.txt", "c:servers"])
def test_a_colon_that_belongs_to_the_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError) as caught:
        names(f"@{name}")
    assert caught.value.details["file"] == name


def test_standard_input_is_a_server_list_and_read_once() -> None:
    reads = []

    def read_stdin() -> str:
        reads.append(1)
        return "\ufeffweb01 port=1\r\n# no\r\ndb[1-2]\r\n"

    resolved = resolve(["-", "mail,-", "!db1"], read_stdin=read_stdin)
    assert [target.name for target in resolved.targets] == ["web01", "db2", "mail", "web01", "db2"]
    assert resolved.targets[0].port == 1
    assert len(reads) == 1


def test_what_hosts_writes_can_be_read_back() -> None:
    assert names("-", stdin="app01,db[1-2],web[01-02]-a\n") == ["app01", "db1", "db2", "web01-a", "web02-a"]


def test_mistakes_on_standard_input_have_their_line() -> None:
    with pytest.raises(TargetError, match="<standard input>:2: 'host:1'"):
        names("-", stdin="web01\nhost:1\n")


def test_exclusions_count_wherever_they_stand(servers: str) -> None:
    assert names("!web02", "web[01-03]") == ["web01", "web03"]
    assert names("web[01-04],!WEB[02-03]") == ["web01", "web04"]
    assert names(f"@{servers}", f"!@{servers}:web") == ["db01"]
    assert names("web[01-05]", f"!@{servers}") == ["web05"]
    assert names("web[01-03],!-", stdin="web01\n") == ["web02", "web03"]
    assert names(".,::1,web01,!localhost,![::1]") == ["web01"]


def test_an_exclusion_leaves_out_every_mention() -> None:
    assert resolve(["web1,web2,WEB1,!web1"], read_stdin=no_stdin) == Resolved((Target("web2"),), ())


def test_an_exclusion_that_leaves_nothing_out_is_told() -> None:
    resolved = resolve(["web[1-3],!web[3-9],!wbe2"], read_stdin=no_stdin)
    assert [target.name for target in resolved.targets] == ["web1", "web2"]
    assert resolved.warnings == ("!wbe2 leaves nothing out: no such target is named.",)


def test_duplicates_are_kept_and_told_once() -> None:
    resolved = resolve(["web[1-3]", "WEB[1-2],web1", "db"], read_stdin=no_stdin)
    assert [target.name for target in resolved.targets] == ["web1", "web2", "web3", "WEB1", "WEB2", "web1", "db"]
    assert resolved.warnings == ("2 targets are named more than once and will run as often: web[1-2]",)


def test_the_warning_about_many_duplicates_is_short() -> None:
    some = ",".join(f"web{number * number}" for number in range(1000))
    (warning,) = resolve([some, some], read_stdin=no_stdin).warnings
    assert warning.startswith("1,000 targets are named more than once")
    assert len(warning) < 600


@pytest.mark.parametrize(
    "expression",
    ["web01,host:5985", "http://web01", "web01,,web02", "", " ", "!", "web01,!http://x", "!!web01", "web[1"],
)
def test_one_bad_name_refuses_all_as_in_powershell(expression: str) -> None:
    with pytest.raises(TargetError) as caught:
        names("web00", expression)
    assert caught.value.error_id == "PSSessionInvalidComputerName"


def test_a_bad_name_in_a_list_refuses_all(tmp_path: Path) -> None:
    path = tmp_path / "servers.txt"
    path.write_text("web01\n\nhost:5985\n")
    with pytest.raises(TargetError, match=r"servers\.txt:3: 'host:5985' is not a computer name") as caught:
        names("web00", f"@{path}")
    assert caught.value.error_id == "PSSessionInvalidComputerName"


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        ([], "No target is named"),
        (["!web01"], "No target is named"),
        (["web01,!web01"], "No target is left"),
        (["@"], "@ needs the name of a server list"),
        (["@none.txt"], "'none.txt' cannot be read"),
        (["web[1-249999]", "db[1-2]"], "250,000 names"),
        (["!web[1-249999]", "!db[1-2]"], "250,000 names"),
    ],
)
def test_refusals(expressions: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=message):
        names(*expressions)


def test_an_empty_list_on_standard_input_is_not_a_job_without_targets() -> None:
    with pytest.raises(TargetError, match="No target is named"):
        names("-", stdin="# nothing\n")
