from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import ModuleType

import pytest

import remotejobs
from remotejobs.cli.commands import COMMANDS
from remotejobs.cli.main import main
from remotejobs.errors import UnreachableError

_VERB = "remotejobs.cli.verbs.hosts"


def run(*argv: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remotejobs", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )


def replace_verb(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    module = ModuleType(_VERB)

    def fail(_bound: object) -> int:
        raise error

    module.run = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, _VERB, module)


def test_alone_it_shows_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    overview = capsys.readouterr().out
    assert all(f"  {command.name} " in overview for command in COMMANDS)
    for word in ("-?", "-h", "--help", "help"):
        assert main([word]) == 0
        assert capsys.readouterr().out == overview


def test_help_of_a_verb_by_every_way_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "invoke"]) == 0
    text = capsys.readouterr().out
    for words in (["invoke", "-?"], ["icm", "web01", "-h"], ["Invoke-Command", "--help"], ["help", "INVOKE-COMMAND"]):
        assert main(words) == 0
        assert capsys.readouterr().out == text


@pytest.mark.parametrize("word", ["--version", "-Version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"remotejob {remotejobs.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["nvoke"], "remotejob: There is no verb 'nvoke'. Did you mean invoke? [CommandNotFoundException]"),
        (
            ["hosts", "a", "-Cuont"],
            (
                "remotejob hosts: A parameter cannot be found that matches parameter name 'Cuont'. Did you mean -Count?"
                " [NamedParameterNotFound] See: remotejob help hosts"
            ),
        ),
        (["help", "me"], "remotejob help: There is no verb 'me'."),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(line)
    assert shown.err.count("\n") == 1


def test_an_error_is_one_line_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_verb(monkeypatch, UnreachableError("web01:\nno\x1b[2J route", error_id="NetworkPathNotFound"))
    assert main(["hosts", "a"]) == 1
    assert capsys.readouterr().err == "remotejob hosts: web01: no [2J route [NetworkPathNotFound]\n"


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_verb(monkeypatch, KeyboardInterrupt())
    assert main(["hosts", "a"]) == 130
    assert capsys.readouterr().err == ""


def test_the_worker_is_a_verb_that_nobody_sees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("worker")
    module.run = lambda bound: 40 + len(bound.values)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "remotejobs.cli.verbs.worker", module)
    assert main(["__worker"]) == 40
    assert main(["help"]) == 0
    assert main(["nope"]) == 1
    shown = capsys.readouterr()
    assert "__worker" not in shown.out + shown.err


def test_a_mistake_of_ours_is_a_line_and_a_traceback_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REMOTEJOBS_DEBUG", raising=False)
    replace_verb(monkeypatch, KeyError("x"))
    assert main(["hosts", "a"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("remotejob hosts: internal error, KeyError: 'x' (-Debug,")
    assert line.count("\n") == 1
    assert main(["hosts", "a", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("REMOTEJOBS_DEBUG", "1")
    assert main(["hosts", "a"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_verb_has_a_module(command: object) -> None:
    name = getattr(command, "name", "")
    assert importlib.util.find_spec(f"remotejobs.cli.verbs.{name}")


@pytest.mark.parametrize("argv", [["help"], ["help", "invoke"], ["hosts", "web[1-3]"], ["invoke", "-Nope"]])
def test_it_starts_without_what_is_slow(argv: list[str]) -> None:
    slow = {"asyncio", "lxml", "rich", "ssl", "socket", "spnego", "psrpcore", "httptools", "tenacity", "logging"}
    code = (
        f"import sys; from remotejobs.cli.main import main; main({argv!r});"
        f" sys.exit(','.join({slow!r} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_as_a_program() -> None:
    done = run("hosts", "-", "-Fold", stdin="web1\nweb2\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "web[1-2]\n", "")
    assert run("hosts").returncode == 1


def test_output_survives_a_poor_locale() -> None:
    done = run("hosts", "bücher", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in ("b\\xfccher", "bücher")


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "remotejobs", "hosts", "web[1-20000]"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")
