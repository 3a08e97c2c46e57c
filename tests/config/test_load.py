"""The configuration: which layer counts, and what is refused, with the file and the key in the words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from remotejobs.config.load import Configuration, load, system_file, unknown_variables, user_file
from remotejobs.config.settings import OPTIONS, SETTINGS
from remotejobs.errors import ConfigurationError
from remotejobs.model import Clocks, JobSpec, ScriptCommand, SessionOption

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access control lists, no modes")
OPS = '[credential.ops]\nusername = "ops"\nprovider = "prompt"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def written(path: Path, text: str | bytes, mode: int = 0o644) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def read(folder: Path, user: str | bytes = "", system: str = "", **environment: str) -> Configuration:
    files = {"REMOTEJOBS_CONFIG": str(written(folder / "user.toml", user))}
    return load({**files, **environment}, system=written(folder / "system.toml", system))


def refused(folder: Path, text: str | bytes, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text, **environment)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.message


# refusals


@posix
@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o620, 0o602, 0o777])
@pytest.mark.parametrize("name", ["user.toml", "system.toml"])
def test_a_file_that_others_may_write_is_refused(folder: Path, name: str, mode: int) -> None:
    user, system = written(folder / "user.toml", OPS), written(folder / "system.toml", "")
    (folder / name).chmod(mode)
    with pytest.raises(ConfigurationError, match=f"can be written by others .mode 0{mode:o}.") as caught:
        load({"REMOTEJOBS_CONFIG": str(user)}, system=system)
    assert f"chmod go-w {folder / name}" in caught.value.message


@posix
def test_what_counts_is_the_file_behind_a_link(folder: Path) -> None:
    written(folder / "open.toml", OPS, 0o666)
    (folder / "link.toml").symlink_to(folder / "open.toml")
    with pytest.raises(ConfigurationError, match="written by others"):
        load({"REMOTEJOBS_CONFIG": str(folder / "link.toml")}, system=folder / "none")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    path = written(folder / "user.toml", OPS)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigurationError, match=r"belongs to another user .id 12345."):
        load({"REMOTEJOBS_CONFIG": str(path)}, system=folder / "none")


@pytest.mark.parametrize("key", ["password", "Password", "secret", "pwd"])
def test_a_password_in_the_file_is_refused_and_not_repeated(folder: Path, key: str) -> None:
    message = refused(folder, f'{OPS}{key} = "Tr0ub4dor"\n')
    assert f"user.toml: [credential.ops] {key} is refused: a password does not belong in this file" in message
    assert "Tr0ub4dor" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[defaults]\nuse_tls = true", "[defaults] use_tls is not a setting. Did you mean use_ssl?"),
        ("[defaults]\nUse_SSL = true", "[defaults] Use_SSL is not a setting. Did you mean use_ssl?"),
        ("[default]\nuse_ssl = true", "default is not a section. Did you mean defaults?"),
        ("use_ssl = true", "use_ssl is not a section. There are credential, defaults, retention."),
        ("defaults = 3", "defaults is a number. It is a section: write [defaults]."),
        ("[credential]\nops = 'x'", "[credential] ops is a text. It is a section: write [credential.ops]."),
        (OPS + "provier = 'x'", "[credential.ops] provier is not a key of a credential. Did you mean provider?"),
        (OPS + "path = 'x'", "[credential.ops] path is a key of the provider file, and this one's is prompt."),
        ("[retention]\nage = 3", "[retention] age is not a setting. There are days, size."),
    ],
)
def test_unknown_names_are_errors(folder: Path, text: str, words: str) -> None:
    assert refused(folder, text) == f"{folder / 'user.toml'}: {words}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("use_ssl = 'yes'", "use_ssl is 'yes'. Give true or false."),
        ("use_ssl = 1", "use_ssl is 1. Give true or false."),
        ("port = 0", "port is 0. Give a whole number from 1 to 65535."),
        ("port = 65536", "port is 65536."),
        ("port = '5986'", "port is '5986'."),
        ("port = true", "port is True."),
        ("throttle_limit = 1.5", "throttle_limit is 1.5. Give a whole number from 1"),
        ("throttle_limit = 0", "throttle_limit is 0."),
        ("authentication = 'ntlm'", "authentication is 'ntlm'. Give one of Default, Basic, Negotiate,"),
        ("authentication = 3", "authentication is 3."),
        ("credential = ''", "credential is ''. Give a text."),
        ("credential = ['ops', 'pw']", "credential is a list. Give a text."),
        ("connect_timeout = -1", "connect_timeout is -1. Give seconds,"),
        ("connect_timeout = 'soon'", "connect_timeout is 'soon'."),
        ("connect_timeout = nan", "connect_timeout is nan."),
        ("connect_timeout = inf", "connect_timeout is inf."),
        ("operation_timeout = 'off'", "operation_timeout is 'off'."),
        ("operation_timeout = 0", "operation_timeout is 0."),
        ("idle_timeout = 59", "idle_timeout is 59. Give seconds, at least 60"),
        ("max_connection_retry_count = -1", "max_connection_retry_count is -1."),
        ("output_buffering_mode = 'keep'", "output_buffering_mode is 'keep'. Give one of None, Drop, Block."),
        ("ca_file = 2026-01-01", "ca_file is datetime.date(2026, 1, 1). Give the name of a file."),
    ],
)
def test_wrong_values_are_errors(folder: Path, line: str, words: str) -> None:
    assert refused(folder, f"[defaults]\n{line}").startswith(f"{folder / 'user.toml'}: [defaults] {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("username = 'ops'", "provider is missing. Give one of prompt, keyring, env, file, command, kerberos."),
        ("provider = 'prompt'", "username is missing. Give a text."),
        ("username = 5\nprovider = 'prompt'", "username is a number. Give a text."),
        ("username = 'ops'\nprovider = 'vault'", "provider is a text. Give one of prompt,"),
        ("username = 'ops'\nprovider = 'env'", "variable is missing: the provider env needs it."),
        ("username = 'ops'\nprovider = 'file'", "path is missing: the provider file needs it."),
        ("username = 'ops'\nprovider = 'command'\ncommand = 'pass show ops'", "command is a text. Give the program"),
        ("username = 'ops'\nprovider = 'command'\ncommand = []", "command is a list."),
        ("username = 'ops'\nprovider = 'command'\ncommand = ['a', 1]", "command is a list."),
        ("username = 'ops'\nprovider = 'command'\ncommand = ['a']\ntimeout = 0", "timeout is a number. Give seconds"),
        ("username = 'ops'\nprovider = 'kerberos'\nkeytab = true", "keytab is true or false. Give the name of a file."),
    ],
)
def test_wrong_credentials_are_errors_that_show_no_value(folder: Path, text: str, words: str) -> None:
    assert refused(folder, f"[credential.ops]\n{text}").startswith(f"{folder / 'user.toml'}: [credential.ops] {words}")


def test_names_of_credentials_differ_by_more_than_case(folder: Path) -> None:
    assert "[credential] Ops is there twice" in refused(folder, OPS + OPS.replace("ops]", "Ops]"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[defaults\n", "this is not TOML: Expected ']' at the end of a table declaration (at line 1, column 10)."),
        (b"[defaults]\n# \xff\n", "this is not TOML: it is not UTF-8 text."),
        ("#" * 2_000_000, "is longer than 1 MiB."),
    ],
)
def test_a_file_that_is_no_toml(folder: Path, text: str | bytes, words: str) -> None:
    message = refused(folder, text)
    assert str(folder / "user.toml") in message
    assert message.endswith(words)


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load({"REMOTEJOBS_CONFIG": str(folder)}, system=folder / "none")
    with pytest.raises(
        ConfigurationError, match=r"There is no configuration file .*none, which REMOTEJOBS_CONFIG names"
    ):
        load({"REMOTEJOBS_CONFIG": str(folder / "none")}, system=folder / "none")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REMOTEJOBS_USE_SSL", "yes"),
        ("REMOTEJOBS_PORT", "https"),
        ("REMOTEJOBS_AUTHENTICATION", "ntlm"),
        ("REMOTEJOBS_RETENTION_DAYS", "0"),
    ],
)
def test_a_variable_that_means_nothing_is_an_error(folder: Path, name: str, text: str) -> None:
    assert refused(folder, "", **{name: text}).startswith(f"{name} is '{text}'. Give ")


# layers


def test_what_nobody_has_set_is_as_in_the_model(folder: Path) -> None:
    found = load({"REMOTEJOBS_CONFIG": os.devnull}, system=folder / "none")
    spec, clocks = JobSpec(ScriptCommand(""), ()), Clocks()
    assert {value.source for value in found.values.values()} == {""}
    assert found.given("defaults") == found.given("retention") == {}
    assert SessionOption(**{key: found.values[f"defaults.{key}"].value for key in OPTIONS}) == SessionOption()
    for key in ("authentication", "credential", "use_ssl", "port", "application_name", "throttle_limit"):
        assert found.values[f"defaults.{key}"].value == getattr(spec, key)
    names = {
        "connect_timeout": "connect",
        "auth_timeout": "authenticate",
        "silence_timeout": "silence",
        "timeout": "total",
    }
    for key, name in names.items():
        assert found.values[f"defaults.{key}"].value == getattr(clocks, name)
    assert found.files == ((folder / "none", False),)


def test_the_later_layer_counts_key_by_key(folder: Path) -> None:
    system = "[defaults]\nport = 1\nthrottle_limit = 1\nuse_ssl = true\n[retention]\ndays = 1\n"
    user = "[defaults]\nport = 2\nthrottle_limit = 2\n"
    found = read(folder, user, system, REMOTEJOBS_PORT="3", REMOTEJOBS_RETENTION_SIZE="2GB", REMOTEJOBS_CULTURE=" ")
    assert found.given("defaults") == {"port": 3, "throttle_limit": 2, "use_ssl": True}
    assert found.given("retention") == {"days": 1.0, "size": 2 << 30}
    sources = {name: value.source for name, value in found.values.items() if value.source}
    assert sources == {
        "defaults.port": "REMOTEJOBS_PORT",
        "defaults.throttle_limit": str(folder / "user.toml"),
        "defaults.use_ssl": str(folder / "system.toml"),
        "retention.days": str(folder / "system.toml"),
        "retention.size": "REMOTEJOBS_RETENTION_SIZE",
    }


def test_of_a_credential_the_whole_table_counts(folder: Path) -> None:
    env = '[credential.Ops]\nusername = "old"\nprovider = "env"\nvariable = "OPS"\n'
    system = f'{env}[credential.b]\nusername = "b"\nprovider = "prompt"\n'
    found = read(folder, OPS, system)
    ops = found.credential("OPS")
    assert ops is not None
    assert (ops.name, ops.username, ops.provider, ops.options) == ("ops", "ops", "prompt", {})
    assert ops.source == str(folder / "user.toml")
    assert sorted(found.credentials) == ["b", "ops"]
    assert found.secret_variables() == frozenset()
    assert read(folder, "", system).secret_variables() == {"OPS"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("connect_timeout = '2m'", 120.0),
        ("connect_timeout = 0.5", 0.5),
        ("connect_timeout = '500 ms'", 0.5),
        ("connect_timeout = 'off'", None),
        ("connect_timeout = 0", None),
        ("authentication = 'KERBEROS'", "Kerberos"),
        ("skip_ca_check = true", True),
        ("idle_timeout = '2h'", 7200.0),
    ],
)
def test_what_values_mean(folder: Path, line: str, value: Any) -> None:
    assert read(folder, f"[defaults]\n{line}").given("defaults") == {line.split()[0]: value}


@pytest.mark.parametrize(("text", "value"), [("True", True), ("false", False)])
def test_variables_are_read_as_toml_would(folder: Path, text: str, value: bool) -> None:
    found = read(folder, REMOTEJOBS_USE_SSL=text, REMOTEJOBS_TIMEOUT="1.5", REMOTEJOBS_CREDENTIAL="12345")
    assert found.given("defaults") == {"use_ssl": value, "timeout": 1.5, "credential": "12345"}


def test_files_are_named_from_where_the_configuration_is(folder: Path) -> None:
    text = (
        "[defaults]\nca_file = 'ca.pem'\nca_path = '~/certs'\n"
        "[credential.a]\nusername='a'\nprovider='kerberos'\nkeytab='keys/a.keytab'\nccache='KCM:1000'\n"
        "[credential.b]\nusername='b'\nprovider='command'\ncommand=['~/bin/pw', '~']\n"
    )
    found = read(folder, text)
    home = Path("~").expanduser()
    assert found.given("defaults") == {"ca_file": str(folder / "ca.pem"), "ca_path": str(home / "certs")}
    assert found.credentials["a"].options == {"keytab": str(folder / "keys/a.keytab"), "ccache": "KCM:1000"}
    assert found.credentials["b"].options == {"command": (str(home / "bin/pw"), "~")}


def test_where_the_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *names, **options: "/u")
    monkeypatch.setattr(platformdirs, "site_config_dir", lambda *names, **options: "/s")
    assert user_file({}) == (Path("/u/config.toml"), False)
    assert user_file({"REMOTEJOBS_CONFIG": ""}) == (Path("/u/config.toml"), False)
    for platform, place in (("linux", "/etc/remotejobs"), ("darwin", "/s"), ("win32", "/s")):
        monkeypatch.setattr(sys, "platform", platform)
        assert system_file() == Path(place, "config.toml")


def test_no_file_is_no_error(folder: Path) -> None:
    environment = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    assert load({"REMOTEJOBS_CONFIG": os.devnull, **environment}, system=folder / "a" / "none").credentials == {}


def test_variables_that_look_like_settings(folder: Path) -> None:
    names = {setting.variable: "" for setting in SETTINGS}
    environment = {**names, "REMOTEJOBS_CONFIG": "", "REMOTEJOBS_HOME": "", "REMOTEJOBS_THROTLE_LIMIT": "", "PATH": ""}
    assert unknown_variables(environment, ["REMOTEJOBS_HOME"]) == ["REMOTEJOBS_THROTLE_LIMIT"]
