"""Which password belongs to which name: every provider, the order for a user, what is refused before anybody asks."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from remotejobs.auth import providers
from remotejobs.auth.credentials import NO_SECRET, Credential, Secret, packed, secret_from_terminal, unpacked
from remotejobs.auth.providers import Credentials, names_of
from remotejobs.config.load import Configuration, load
from remotejobs.errors import ConfigurationError

PASSWORD = "pä$$ w0rd"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access control lists, no modes")


class Keyring(keyring.backend.KeyringBackend):
    """A keyring in memory; `broken` is what it raises instead of an answer."""

    priority = 1
    broken: Exception | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str]] = []

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append((service, username))
        if self.broken is not None:
            raise self.broken
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def ring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    backend = Keyring()
    monkeypatch.setattr("keyring.core._keyring_backend", backend)
    return backend


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Who was asked for at the terminal."""
    names: list[tuple[str, str]] = []

    def ask(username: str, name: str = "", **_: str) -> Secret:
        names.append((username, name))
        return Secret(f"typed by {username}")

    monkeypatch.setattr(providers, "secret_from_terminal", ask)
    return names


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Configuration]:
    def read(text: str) -> Configuration:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return load({"REMOTEJOBS_CONFIG": str(path)}, system=tmp_path / "none")

    return read


def ops(provider: str, *lines: str) -> str:
    return "\n".join([r"[credential.ops]", r"username = 'CORP\ops'", f"provider = '{provider}'", *lines])


def prints(code: str, *more: str) -> str:
    words = ", ".join(f"'''{word}'''" for word in (sys.executable, "-c", code, *more))
    return f"command = [{words}]"


def password_file(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "ops.password"
    path.write_text(f"{PASSWORD}\n", encoding="utf-8")
    path.chmod(mode)
    return path


Configured = Callable[[str], Configuration]


# refusals


@posix
def test_a_password_file_of_the_configuration_is_its_owners_alone(tmp_path: Path, configured: Configured) -> None:
    password_file(tmp_path, 0o640)
    with pytest.raises(ConfigurationError, match="can be read or changed by others"):
        Credentials(configured(ops("file", "path = 'ops.password'")), environ={}).find("ops")


def test_a_name_in_a_server_list_that_is_nowhere_is_refused_and_nobody_asked(
    configured: Configured, asked: list[tuple[str, str]], ring: Keyring
) -> None:
    sources = Credentials(configured(ops("prompt")), user="Administrator", environ={"REMOTEJOBS_PASSWORD": PASSWORD})
    fine = ["ops", "OPS", "Administrator", r"CORP\dba", "dba@corp.example"]
    sources.check(dict.fromkeys(fine, "web01"))
    with pytest.raises(ConfigurationError) as caught:
        sources.check({**dict.fromkeys(fine, "web01"), "opps": "web07"})
    assert caught.value.error_id == "CredentialMissing"
    assert caught.value.message == (
        "[web07] The server list says credential=opps, and no such credential is configured. Did you mean ops?"
    )
    with pytest.raises(ConfigurationError, match=r"Add \[credential\.zzz\] to .*config\.toml, with its username"):
        sources.check({"zzz": "web07"})
    assert asked == ring.asked == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print(word); sys.exit(3)", "ended with exit code 3"),
        ("print()", "its command printed nothing"),
        ("sys.stdout.buffer.write(word.encode() + bytes([255]))", "printed what is not UTF-8 text"),
        ("print(word, flush=True); time.sleep(60)", "did not end within 0.5 seconds"),
    ],
)
def test_a_command_that_fails_is_named_and_its_output_is_not(configured: Configured, code: str, words: str) -> None:
    code = f"import sys, time; word = bytes({[*PASSWORD.encode()]}).decode(); {code}"
    limit = f"timeout = {0.5 if 'sleep' in code else 30}"
    with pytest.raises(ConfigurationError, match=words) as caught:
        Credentials(configured(ops("command", prints(code), limit)), environ={"PYTHONUTF8": "1"}).find("ops")
    assert "[credential.ops] of " in caught.value.message
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.to_dict())
    assert caught.value.__context__ is None


def test_a_command_that_is_not_there(configured: Configured) -> None:
    with pytest.raises(ConfigurationError, match="its command, no-such-program, cannot be run: No such file"):
        Credentials(configured(ops("command", "command = ['no-such-program', 'x']")), environ={}).find("ops")


def test_a_variable_that_is_not_set(configured: Configured) -> None:
    with pytest.raises(ConfigurationError, match="the environment variable OPS_PW is not set") as caught:
        Credentials(configured(ops("env", "variable = 'OPS_PW'")), environ={"OPS_PW": ""}).find("ops")
    assert caught.value.error_id == "CredentialMissing"


def test_a_keyring_that_is_empty_broken_or_missing(
    configured: Configured, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Credentials(configured(ops("keyring", "service = 'wsman'")), environ={})
    with pytest.raises(ConfigurationError, match=r"Put it there: keyring set wsman 'CORP\\ops'"):
        sources.find("ops")
    ring.broken = keyring.errors.KeyringLocked("it is\nlocked")
    with pytest.raises(ConfigurationError, match=r"cannot be asked .KeyringLocked: it is locked."):
        sources.find("ops")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'remotejobs\[keyring\]'"):
        sources.find("ops")


# the providers


@pytest.mark.parametrize("name", ["ops", "OPS"])
def test_each_provider_gives_its_password(
    tmp_path: Path, configured: Configured, ring: Keyring, asked: list[tuple[str, str]], name: str
) -> None:
    password_file(tmp_path)
    ring.kept = {("remotejobs", r"CORP\ops"): PASSWORD, ("wsman", r"CORP\ops"): "other"}
    code = f"import sys; sys.stdout.buffer.write({PASSWORD!r}.encode() + b'\\r\\nurl: x\\n')"
    texts = {
        ops("file", "path = 'ops.password'"): PASSWORD,
        ops("env", "variable = 'OPS_PW'"): PASSWORD,
        ops("keyring"): PASSWORD,
        ops("keyring", "service = 'wsman'"): "other",
        ops("command", prints(code)): PASSWORD,
        ops("prompt"): r"typed by CORP\ops",
    }
    for text, password in texts.items():
        credential = Credentials(configured(text), environ={**os.environ, "OPS_PW": PASSWORD}).find(name)
        assert (credential.username, credential.secret.reveal()) == (r"CORP\ops", password)
        assert (credential.keytab, credential.ccache) == (None, None)
    assert asked == [(r"CORP\ops", "ops")]


def test_kerberos_has_paths_and_no_password(tmp_path: Path, configured: Configured) -> None:
    text = "[credential.k]\nusername = 'k@X'\nprovider = 'kerberos'\nkeytab = 'k.keytab'\nccache = 'KCM:1'\n"
    credential = Credentials(configured(text), environ={}).find("k")
    assert credential == Credential("k@X", keytab=str(tmp_path / "k.keytab"), ccache="KCM:1")
    assert credential.secret is NO_SECRET
    assert not credential.secret
    with pytest.raises(ConfigurationError, match="Kerberos tickets or keys and no password"):
        credential.secret.reveal()


def test_a_command_gets_no_secret_no_input_and_no_shell(configured: Configured) -> None:
    code = (
        "import os, sys; names = ('REMOTEJOBS_PASSWORD', 'OPS_PW', 'PLAIN');"
        " print([name in os.environ for name in names], sys.stdin.read(), sys.argv[1])"
    )
    other = "[credential.e]\nusername = 'e'\nprovider = 'env'\nvariable = 'OPS_PW'\n"
    text = ops("command", prints(code, "$PLAIN; x")) + f"\n{other}"
    environ = {**os.environ, "REMOTEJOBS_PASSWORD": "a", "OPS_PW": "b", "PLAIN": "c"}
    found = Credentials(configured(text), environ=environ).find("ops")
    assert found.secret.reveal() == "[False, False, True]  $PLAIN; x"


# the order for a user


def test_a_user_file_before_environment_before_keyring_before_terminal(
    tmp_path: Path, configured: Configured, ring: Keyring, asked: list[tuple[str, str]]
) -> None:
    empty = configured("")
    file = str(password_file(tmp_path))
    ring.kept["remotejobs", "admin"] = "kept"

    def found(password_file: str | None = None, **environ: str) -> str:
        credential = Credentials(empty, user="admin", password_file=password_file, environ=environ).find("admin")
        assert credential.username == "admin"
        return credential.secret.reveal()

    assert found(file, REMOTEJOBS_PASSWORD="from the environment") == PASSWORD
    assert found(REMOTEJOBS_PASSWORD="from the environment") == "from the environment"
    assert ring.asked == []
    assert found() == "kept"
    ring.kept.clear()
    assert found() == "typed by admin"
    ring.broken = keyring.errors.NoKeyringError("none")
    assert found() == "typed by admin"
    assert asked == [("admin", "")] * 2


def test_a_named_credential_comes_first_and_a_password_file_is_for_the_one_it_was_given_with(
    tmp_path: Path, configured: Configured
) -> None:
    text = (
        ops("env", "variable = 'OPS_PW'")
        + "\n[credential.dba]\nusername = 'dba'\nprovider = 'env'\nvariable = 'DBA_PW'\n"
    )
    environ = {"REMOTEJOBS_PASSWORD": "general", "OPS_PW": "o", "DBA_PW": "d"}
    sources = Credentials(configured(text), user="ops", environ=dict(environ))
    assert sources.find("ops").secret.reveal() == "o"
    assert sources.find("other").secret.reveal() == "general"
    file = str(password_file(tmp_path))
    sources = Credentials(configured(text), user="ops", password_file=file, environ=dict(environ))
    assert {name: sources.find(name).secret.reveal() for name in ("ops", "dba", "other")} == {
        "ops": PASSWORD,
        "dba": "d",
        "other": PASSWORD,
    }
    assert sources.find("ops").username == r"CORP\ops"


def test_each_is_asked_for_once_and_the_environment_is_emptied_first(
    configured: Configured, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Credentials(configured(ops("prompt")), environ={})
    assert sources.find("ops") is sources.find("OPS")
    assert sources.find("admin") is sources.find("admin")
    assert asked == [(r"CORP\ops", "ops"), ("admin", "")]
    monkeypatch.setenv("REMOTEJOBS_PASSWORD", PASSWORD)
    Credentials(configured(""))
    assert "REMOTEJOBS_PASSWORD" not in os.environ


def test_names_of_a_list_each_with_its_first_target() -> None:
    assert names_of([("a", "web01"), (None, "web02"), ("a", "web03"), ("b", "web04")]) == {"a": "web01", "b": "web04"}


@pytest.mark.parametrize(
    "credential",
    [Credential("ops", Secret(PASSWORD)), Credential("k@X", keytab="/k", ccache="KCM:"), Credential("e", Secret(""))],
)
def test_what_goes_through_the_pipe_comes_out_of_it(credential: Credential) -> None:
    found = unpacked(packed(credential))
    assert (found.username, found.keytab, found.ccache) == (credential.username, credential.keytab, credential.ccache)
    assert bool(found.secret) == bool(credential.secret)
    if credential.secret:
        assert found.secret.reveal() == credential.secret.reveal()


# arguments of a script


def test_an_argument_gets_no_password_of_who_connects(
    tmp_path: Path, configured: Configured, ring: Keyring, asked: list[tuple[str, str]]
) -> None:
    ring.kept["remotejobs", "kept"] = "from the keyring"
    text = ops("env", "variable = 'OPS_PW'")
    for file in (None, str(password_file(tmp_path))):
        environ = {"REMOTEJOBS_PASSWORD": PASSWORD, "OPS_PW": "named"}
        sources = Credentials(configured(text), user="Me", password_file=file, environ=environ)
        found = {name: sources.find(name, argument=True) for name in ("kept", r"CORP\sql", "ops", "ME")}
        assert {name: each.secret.reveal() for name, each in found.items()} == {
            "kept": "from the keyring",
            r"CORP\sql": r"typed by CORP\sql",
            "ops": "named",
            "ME": PASSWORD,
        }
        assert sources.find(r"corp\sql") is sources.find(r"CORP\sql", argument=True)  # asked once
    assert asked == [(r"CORP\sql", "argument")] * 2


def test_without_a_terminal_it_says_what_an_argument_can_have(
    monkeypatch: pytest.MonkeyPatch, configured: Configured
) -> None:
    monkeypatch.setattr(providers, "secret_from_terminal", secret_from_terminal)
    monkeypatch.setattr(sys, "stdin", None)
    sources = Credentials(configured(""), environ={"REMOTEJOBS_PASSWORD": PASSWORD})
    with pytest.raises(ConfigurationError, match="are for the user of -Credential only: put it into the keyring"):
        sources.find(r"CORP\sql", argument=True)
