from __future__ import annotations

import copy
import io
import os
import pickle
import sys
import traceback
from dataclasses import asdict
from pathlib import Path

import pytest

from remotejobs.auth.credentials import (
    Credential,
    Secret,
    secret_from_environment,
    secret_from_file,
    secret_from_terminal,
)
from remotejobs.errors import ConfigurationError
from tests.processes import at_a_terminal

PASSWORD = "pä$$ w0rd"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access control lists, no modes")


def password_file(folder: Path, data: bytes, mode: int = 0o600) -> str:
    path = folder / "password"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


# the secret itself


def test_a_secret_shows_nothing() -> None:
    secret = Secret(PASSWORD)
    credential = Credential("admin", secret)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret, repr(credential)):  # noqa: UP031
        assert PASSWORD not in text
        assert "***" in text
    assert secret.reveal() == PASSWORD


def test_a_secret_is_not_copied_pickled_or_compared() -> None:
    secret = Secret(PASSWORD)
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            take(secret)
    with pytest.raises(TypeError):
        asdict(Credential("admin", secret))
    assert secret != Secret(PASSWORD)
    assert not hasattr(secret, "__dict__")


# files


@pytest.mark.parametrize(
    ("data", "password"),
    [
        (PASSWORD.encode(), PASSWORD),
        (PASSWORD.encode() + b"\n", PASSWORD),
        (PASSWORD.encode() + b"\r\n", PASSWORD),
        (b"\xef\xbb\xbf" + PASSWORD.encode(), PASSWORD),
        (b" two  spaces \n\n", " two  spaces \n"),
        (b"two\nlines\n", "two\nlines"),
    ],
)
def test_password_file(tmp_path: Path, data: bytes, password: str) -> None:
    assert secret_from_file(password_file(tmp_path, data)).reveal() == password


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o601, 0o610])
def test_password_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = password_file(tmp_path, PASSWORD.encode(), mode)
    with pytest.raises(ConfigurationError, match=f"mode 0{mode:o}") as caught:
        secret_from_file(path)
    assert f"chmod 600 {path}" in caught.value.message


@posix
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_password_file_of_its_owner_alone(tmp_path: Path, mode: int) -> None:
    assert secret_from_file(password_file(tmp_path, b"x", mode)).reveal() == "x"


@posix
def test_the_file_behind_a_link_is_what_counts(tmp_path: Path) -> None:
    path = password_file(tmp_path, b"x", 0o644)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert link.lstat().st_mode & 0o077
    with pytest.raises(ConfigurationError):
        secret_from_file(str(link))
    Path(path).chmod(0o600)
    assert secret_from_file(str(link)).reveal() == "x"


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "is empty"), (b"\n", "is empty"), (b"a" * 70_000, "too large"), (b"secret\xff", "UTF-8")]
)
def test_password_file_without_a_password(tmp_path: Path, data: bytes, words: str) -> None:
    path = password_file(tmp_path, data)
    with pytest.raises(ConfigurationError, match=words) as caught:
        secret_from_file(path)
    assert path in caught.value.message
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.to_dict())
    assert "secret" not in shown.replace("secret_from_file", "")
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_password_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read") as caught:
            secret_from_file(str(path))
        assert str(path) in caught.value.message


# the environment


def test_environment_is_read_once_and_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOTEJOBS_PASSWORD", PASSWORD)
    secret = secret_from_environment()
    assert secret is not None
    assert secret.reveal() == PASSWORD
    assert "REMOTEJOBS_PASSWORD" not in os.environ
    assert secret_from_environment() is None


def test_empty_environment_is_no_password() -> None:
    environ = {"REMOTEJOBS_PASSWORD": "", "PATH": "x"}
    assert secret_from_environment(environ) is None
    assert environ == {"PATH": "x"}


# the terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())


def test_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (io.StringIO("x\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(ConfigurationError, match="no terminal") as caught:
            secret_from_terminal("admin")
        assert "-PasswordFile" in caught.value.message
        assert "REMOTEJOBS_PASSWORD" in caught.value.message


@posix
def test_asked_at_a_terminal_without_echo() -> None:
    program = (
        "from remotejobs.auth.credentials import secret_from_terminal as ask\n"
        "secret = ask('CORP\\\\admin')\n"
        f"print('right' if secret.reveal() == {PASSWORD!r} else 'wrong', secret)"
    )
    code, seen = at_a_terminal([sys.executable, "-X", "utf8", "-c", program], (b"admin: ", PASSWORD))
    assert code == 0
    assert b"Password for CORP\\admin: " in seen
    assert b"right" in seen
    assert PASSWORD.encode() not in seen


@pytest.mark.usefixtures("terminal")
def test_nothing_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_of_file(prompt: str) -> str:
        raise EOFError

    for typed in (lambda prompt: "", end_of_file):
        monkeypatch.setattr("getpass.getpass", typed)
        with pytest.raises(ConfigurationError, match="No password"):
            secret_from_terminal("admin")
