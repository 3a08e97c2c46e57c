"""Nothing that a run writes or shows to other processes holds a password, in any form: every place is searched."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remotejobs import detach
from tests.processes import at_a_terminal, simulating

PASSWORD = "Zq7-Tr0ub4dor-&-pä$$"
WRONG = "Yx8-never-accepted-ö"
HOP = "Wv9-für-the-next-host"
MECHANISMS = ("Basic", "Negotiate", "Credssp")
PROC = Path("/proc/self/environ").exists()
SLEEPS = "'begun'; Start-Sleep 120; 'not reached'"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")


def forms(password: str) -> dict[str, bytes]:
    """What must not be found, by a name for the message."""
    from spnego._ntlm_raw.crypto import ntowfv1

    narrow, wide, hashed = password.encode(), password.encode("utf-16-le"), ntowfv1(password)
    found = {"plain": narrow, "UTF-16": wide, "UTF-16 big-endian": password.encode("utf-16-be"), "NT hash": hashed}
    found |= {"NT hash in hex": hashed.hex().encode(), "NT hash in HEX": hashed.hex().upper().encode()}
    found |= {"JSON": json.dumps(password)[1:-1].encode(), "repr": repr(narrow)[2:-1].encode()}
    for name, data in (("plain", narrow), ("UTF-16", wide), ("NT hash", hashed)):
        for shift in range(3):
            found[f"base64 of {name}, {shift}"] = base64.b64encode(b"\0" * shift + data)[4 if shift else 0 : -4]
    return found


FORMS = {f"{name} of {word}": form for word in (PASSWORD, WRONG, HOP) for name, form in forms(word).items()}


def held(content: bytes) -> list[str]:
    return [name for name, form in FORMS.items() if form in content]


class Scene:
    """A folder with a configuration, simulated hosts, a state directory; and all that the commands have printed."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        self.folder = folder
        self.home = home or folder / "home"
        self.said: list[bytes] = []

    def environment(self, **more: str) -> dict[str, str]:
        own = {"REMOTEJOBS_HOME": str(self.home), "REMOTEJOBS_CONFIG": "config.toml", "NO_COLOR": "1"}
        return {**os.environ, **own, **more}

    def run(self, *words: str, program: str = "", **environment: str) -> int:
        """Run one command to its end; with `program` a Python text that runs the same main()."""
        start = ["-c", program] if program else ["-m", "remotejobs"]
        done = subprocess.run(
            [sys.executable, *start, *words],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        self.said += [done.stdout, done.stderr]
        return done.returncode

    def at_a_terminal(self, *words: str, typed: str, **environment: str) -> bytes:
        """Run a command that asks for one password."""
        start = [sys.executable, "-X", "utf8", "-m", "remotejobs", *words, "-LogFile", "steps.log"]
        code, seen = at_a_terminal(start, (b"): ", typed), folder=self.folder, **self.environment(**environment))
        self.said.append(seen)
        assert code == 0, seen
        return seen

    def invoke(self, credential: str, *words: str, script: str = "'done'", **environment: str) -> int:
        where = ["invoke", "@servers.txt", "-ScriptBlock", script, "-Credential", credential]
        return self.run(*where, "-LogFile", "steps.log", *words, **environment)

    def search(self, folder: Path | None = None, *, also: list[Path] | None = None) -> list[Path]:
        """Look into every file of the folder but the ones that hold the password by their nature."""
        files = [path for path in (folder or self.folder).rglob("*") if path.is_file() and path.suffix != ".password"]
        for path in [*files, *(also or [])]:
            assert not held(path.read_bytes()), path
        assert not held(b"\n".join(self.said)), b"\n".join(self.said).decode(errors="replace")
        return files

    def workers(self) -> list[int]:
        """Every process that lives in this state directory."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if b"__worker" in (place / "cmdline").read_bytes() and (place / "cwd").resolve() == self.home:
                    found.append(int(place.name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("leaks"))
    for name, password in (("ops", PASSWORD), ("wrong", WRONG), ("hop", HOP)):
        path = scene.folder / f"{name}.password"
        path.write_text(password, encoding="utf-8")
        path.chmod(0o600)
    config = scene.folder / "config.toml"
    program = "import pathlib; print(pathlib.Path('ops.password').read_text('utf-8'))"
    config.write_text(
        "[defaults]\nauthentication = 'Basic'\nuse_ssl = true\nca_file = 'sim-ca.pem'\nmax_connection_retry_count = 0\n"
        "[credential.file]\nusername = 'ops'\nprovider = 'file'\npath = 'ops.password'\n"
        "[credential.wrong]\nusername = 'ops'\nprovider = 'file'\npath = 'wrong.password'\n"
        "[credential.env]\nusername = 'ops'\nprovider = 'env'\nvariable = 'OPS_PW'\n"
        "[credential.ask]\nusername = 'ops'\nprovider = 'prompt'\n"
        "[credential.hop]\nusername = 'CORP\\hop'\nprovider = 'file'\npath = 'hop.password'\n"
        "[credential.envhop]\nusername = 'hop@corp.test'\nprovider = 'env'\nvariable = 'HOP_PW'\n"
        "[credential.command]\nusername = 'ops'\nprovider = 'command'\n"
        f"command = ['{sys.executable}', '-X', 'utf8', '-c', \"{program}\"]\n"
    )
    config.chmod(0o600)
    words = ["web[01-02]", "-UserName", "ops", "-PasswordFile", "ops.password"]
    words += ["-Authentication", "Basic,Negotiate,CredSSP"]
    with simulating(scene.folder, *words, environment=scene.environment()):
        listed = scene.folder / "servers.txt"
        listed.write_text(re.sub(r" authentication=\w+", "", listed.read_text()))  # the command line says which
        yield scene


def test_the_forms_of_a_password_are_found(scene: Scene) -> None:
    for form in FORMS.values():
        assert held(b"before " + form + b" after")
    assert held(base64.b64encode(f"ops:{PASSWORD}".encode()))
    assert held((scene.folder / "ops.password").read_bytes())


def test_a_script_that_prints_its_secret_is_found_out(tmp_path: Path, scene: Scene) -> None:
    """The search looks where it should: what is known to be in the store, on the screen and in /proc is found there."""
    loud = Scene(scene.folder, tmp_path / "loud")
    script = "param($c) $c.GetNetworkCredential().Password"
    assert loud.invoke("file", "-ArgumentCredential", "hop", script=script) == 0, loud.said
    assert held(loud.said[0])
    loud.said.clear()
    with pytest.raises(AssertionError, match=r"jobs\.db"):
        loud.search(loud.home)
    for path in loud.home.rglob("jobs.db*"):
        path.unlink()
    loud.search(loud.home)
    if PROC:
        waits = [sys.executable, "-c", "print(flush=True); input()"]
        with subprocess.Popen(waits, env={"HOP_PW": HOP}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()  # its environment is in /proc only a moment after it was started
            with pytest.raises(AssertionError, match="environ"):
                loud.search(loud.home, also=[Path(f"/proc/{child.pid}/environ")])
            child.kill()


@pytest.mark.parametrize("name", ["file", "env", "command"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_run_in_the_foreground(scene: Scene, name: str, mechanism: str) -> None:
    assert scene.invoke(name, "-Authentication", mechanism, OPS_PW=PASSWORD) == 0, scene.said
    assert b"web01: done" in scene.said[-2]
    assert {"steps.log", "jobs.db"} <= {path.name for path in scene.search()}


def test_a_user_with_the_variable(scene: Scene) -> None:
    assert scene.invoke("ops", REMOTEJOBS_PASSWORD=PASSWORD) == 0
    assert scene.invoke("ops", "-PasswordFile", "ops.password") == 0
    scene.search()


def test_a_prompt_once_for_a_name_and_without_echo(scene: Scene) -> None:
    lines = (scene.folder / "servers.txt").read_text().splitlines()
    listed = [f"{line} credential=ask" for line in lines if line.startswith("web")]
    (scene.folder / "asked.txt").write_text("\n".join(listed))
    seen = scene.at_a_terminal("invoke", "@asked.txt", "-ScriptBlock", "'done'", typed=PASSWORD)
    assert seen.count(b"Password for ops (ask): ") == 1
    assert seen.count(b": done") == 2
    scene.search()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_on_every_way(scene: Scene, mechanism: str) -> None:
    assert scene.invoke("wrong", "-Authentication", mechanism) == 3
    assert b"AuthenticationFailed" in scene.said[-1]
    assert scene.invoke("ops", "-Authentication", mechanism, REMOTEJOBS_PASSWORD=WRONG) == 3
    scene.search()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_worker_and_the_file_of_an_exported_job(scene: Scene, mechanism: str) -> None:
    words = ["-JobName", "Hold", "-Authentication", mechanism]
    assert scene.invoke("env", *words, script=SLEEPS, OPS_PW=PASSWORD, REMOTEJOBS_PASSWORD=WRONG) == 0
    until(lambda: scene.run("receive", "Hold", "-Keep") == 6 and scene.said[-2].count(b"begun") == 2)
    if PROC:
        workers = scene.workers()
        assert workers
        places = [Path(f"/proc/{pid}/{name}") for pid in workers for name in ("cmdline", "environ")]
        assert b"REMOTEJOBS_HOME" in places[1].read_bytes()
        assert not any(b"OPS_PW" in place.read_bytes() for place in places)
        assert {"jobs.db-wal", "steps.log"} <= {path.name for path in scene.search(also=places)}
    assert scene.run("disconnect", "Hold") == 0
    assert scene.run("connect", "Hold", "-Credential", "file") == 0, scene.said[-1]
    if PROC:
        until(lambda: bool(scene.workers()))
        scene.search(also=[Path(f"/proc/{pid}/environ") for pid in scene.workers()])
    assert scene.run("disconnect", "Hold") == 0
    assert scene.run("connect", "Hold", OPS_PW=PASSWORD) == 0, scene.said[-1]
    assert scene.run("disconnect", "Hold") == 0
    assert scene.run("connect", "Hold", "-Credential", "ops", REMOTEJOBS_PASSWORD=PASSWORD) == 0, scene.said[-1]
    assert scene.run("stop", "Hold") == 0
    assert scene.run("get", "Hold", "-OutputFormat", "List", "-IncludeChildJob") == 0
    assert scene.run("export", "Hold", "-Path", "hold.jobs") == 0, scene.said[-1]
    assert "hold.jobs" in {path.name for path in scene.search()}
    assert scene.run("remove", "Hold") == 0
    (scene.folder / "hold.jobs").unlink()


TAKES = (
    'param($n, $a, [pscredential]$b) "$n $($a.UserName) $($b.UserName) $($b.GetNetworkCredential().Password.Length)"'
)
TAKEN = rb"7 CORP\hop hop@corp.test %d" % len(HOP)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_credentials_for_the_script(scene: Scene, mechanism: str) -> None:
    words = ["-Authentication", mechanism, "-ArgumentList", "7", "-ArgumentCredential", "hop,envhop"]
    assert scene.invoke("file", *words, script=TAKES, HOP_PW=HOP) == 0, scene.said[-1]
    assert sorted(scene.said[-2].splitlines()) == [b"web01: " + TAKEN, b"web02: " + TAKEN]
    scene.search()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_credentials_for_the_script_of_a_worker(scene: Scene, mechanism: str) -> None:
    job = f"Hop{mechanism}"
    words = ["-JobName", job, "-Authentication", mechanism, "-ArgumentList", "7"]
    words += ["-ArgumentCredential", "hop,envhop", "-ThrottleLimit", "1"]
    script = f"{TAKES}; {SLEEPS}"
    assert scene.invoke("env", *words, script=script, OPS_PW=PASSWORD, HOP_PW=HOP) == 0, scene.said[-1]
    until(lambda: scene.run("receive", job, "-Keep") == 6 and scene.said[-2].count(b"begun") == 1)
    if PROC:
        places = [Path(f"/proc/{pid}/{name}") for pid in scene.workers() for name in ("cmdline", "environ")]
        assert b"REMOTEJOBS_HOME" in places[1].read_bytes()
        assert {"jobs.db-wal", "steps.log"} <= {path.name for path in scene.search(also=places)}
    assert scene.run("stop", job) == 0
    assert scene.run("export", job, "-Path", "hop.jobs") == 0, scene.said[-1]
    assert scene.run("retry", job, "-Credential", "file") == 1
    assert b"there is no password for hop@corp.test: the environment variable HOP_PW is not set" in scene.said[-1]
    assert scene.run("retry", job, "-Credential", "file", HOP_PW=HOP) == 0, scene.said[-1]
    again = scene.said[-2].splitlines()[-1].split()[0].decode()
    until(lambda: scene.run("receive", again, "-Keep") == 6 and scene.said[-2].count(b"begun") == 1)
    assert scene.said[-2].splitlines()[0] == b"web01: " + TAKEN
    assert scene.run("stop", again) == 0
    assert "hop.jobs" in {path.name for path in scene.search()}
    assert scene.run("remove", "-Name", job) == 0
    (scene.folder / "hop.jobs").unlink()


def test_a_script_is_not_given_the_password_of_who_connects(scene: Scene) -> None:
    script = "param($c) $c.GetNetworkCredential().Password.Length"
    words = ["invoke", "@servers.txt,!web02", "-ScriptBlock", script, "-Credential", "ops"]
    hop = [*words, "-ArgumentCredential", r"CORP\hop"]
    assert scene.run(*hop, REMOTEJOBS_PASSWORD=PASSWORD) == 1
    assert b"-PasswordFile and REMOTEJOBS_PASSWORD are for the user of -Credential only" in scene.said[-1]
    assert scene.run(*hop, "-PasswordFile", "ops.password") == 1
    seen = scene.at_a_terminal(*hop, typed=HOP, REMOTEJOBS_PASSWORD=PASSWORD)
    assert rb"Password for CORP\hop (argument): " in seen
    assert b"web01: %d\r\n" % len(HOP) in seen
    assert scene.run(*words, "-ArgumentCredential", "ops", REMOTEJOBS_PASSWORD=PASSWORD) == 0, scene.said[-1]
    assert scene.said[-2] == b"web01: %d\n" % len(PASSWORD)  # one user has one password
    scene.search()


def test_a_credential_for_the_script_does_not_go_over_clear_http(scene: Scene) -> None:
    words = ["-ConnectionUri", "http://127.0.0.1:1/wsman", "-ScriptBlock", "1", "-Credential", "file"]
    words += ["-ArgumentCredential", "hop", "-SessionOption", "AllowUnencrypted"]
    assert scene.run("invoke", *words) == 1
    assert b"An argument or answer is a secret, and over http://127.0.0.1:1/wsman nothing" in scene.said[-1]
    scene.search()


def test_a_worker_with_a_wrong_password(scene: Scene) -> None:
    assert scene.invoke("wrong", "-JobName", "Wrong", OPS_PW=PASSWORD) == 0
    scene.run("wait", "Wrong")
    assert scene.run("receive", "Wrong") == 3
    scene.search()


@pytest.mark.parametrize("debug", [True, False])
def test_an_internal_error_that_holds_the_password(scene: Scene, debug: bool) -> None:
    program = (
        "import sys, remotejobs.compose as compose\n"
        "from remotejobs.cli.main import main\n"
        "async def start(spec, credentials, **more):\n"
        "    password = next(iter(credentials.values())).secret.reveal()\n"
        "    raise RuntimeError(password, password.encode('utf-16-le'), credentials)\n"
        "compose.start = start\n"
        "sys.exit(main())"
    )
    words = ["invoke", "@servers.txt", "-ScriptBlock", "1", "-Credential", "file", "-NoStore"]
    assert scene.run(*words, *(["-Debug"] if debug else []), program=program) == 1
    assert (b"Traceback" in scene.said[-1]) is debug
    assert b"internal error, RuntimeError: ('***', " in scene.said[-1]
    scene.search()


def test_the_configuration_is_shown_without_secrets(scene: Scene) -> None:
    assert scene.run("config", OPS_PW=PASSWORD) == 0
    assert scene.run("config", "-OutputFormat", "Json", REMOTEJOBS_PASSWORD=PASSWORD) == 0
    assert b"ops.password" in scene.said[-2]
    scene.search()


def test_what_a_worker_inherits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[credential.e]\nusername = 'e'\nprovider = 'env'\nvariable = 'OPS_PW'\n")
    (tmp_path / "config.toml").chmod(0o600)
    for name, value in {
        "REMOTEJOBS_CONFIG": "config.toml",
        "OPS_PW": PASSWORD,
        "REMOTEJOBS_PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(name, value)
    inherited = detach._environment(tmp_path / "home")
    assert inherited["REMOTEJOBS_CONFIG"] == str(tmp_path / "config.toml")
    assert PASSWORD not in inherited.values()


def until(seen: Callable[[], bool]) -> None:
    """Wait for something in another process, a minute at most."""
    for _ in range(600):
        if seen():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come")
