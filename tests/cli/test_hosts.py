from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from remotejobs.cli.main import main


@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (["web[01-03]"], "web01\nweb02\nweb03\n"),
        (["web[01-03]", "!web02", "-Expand"], "web01\nweb03\n"),
        (["web[01-03],db1", "-Separator", ","], "web01,web02,web03,db1\n"),
        (["web03", "web01", "WEB02", "-Fold"], "web[01-03]\n"),
        (["web[001-250]", "-Count"], "250\n"),
        (["--computer-name", "a,", "b", "--count"], "2\n"),
    ],
)
def test_output(argv: list[str], output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", *argv]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (output, "")


def test_names_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("web2\nweb1\n"))
    assert main(["hosts", "-", "db1", "-Fold"]) == 0
    assert capsys.readouterr().out == "db1,web[1-2]\n"


def test_names_from_a_server_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    servers = tmp_path / "servers.txt"
    servers.write_text("web[1-2]\n# a comment\ndb1\n", encoding="utf-8")
    assert main(["hosts", f"@{servers}"]) == 0
    assert capsys.readouterr().out == "web1\nweb2\ndb1\n"


def test_a_name_that_comes_twice_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "a", "b", "a"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "a\nb\na\n"
    assert shown.err.startswith("WARNING: ")


def test_a_bad_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "a", "http://b"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("remotejob hosts: ")
    assert "[PSSessionInvalidComputerName]" in shown.err
