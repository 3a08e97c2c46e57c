"""Nothing that a run writes or shows to other processes holds a password, in any form: every place is searched."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remotejobs import detach

PASSWORD = "Zq7-Tr0ub4dor-&-pä$$"
WRONG = "Yx8-never-accepted-ö"
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


FORMS = {f"{name} of {word}": form for word in (PASSWORD, WRONG) for name, form in forms(word).items()}


def held(content: bytes) -> list[str]:
    return [name for name, form in FORMS.items() if form in content]


class Scene:
    """A folder with a configuration, simulated hosts, a state directory; and all that the commands have printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
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

    def invoke(self, credential: str, *words: str, script: str = "'done'", **environment: str) -> int:
        where = ["invoke", "@servers.txt", "-ScriptBlock", script, "-Credential", credential]
        return self.run(*where, "-LogFile", "steps.log", *words, **environment)

    def search(self, *, also: list[Path] | None = None) -> list[Path]:
        """Look into every file of the folder but the ones that hold the password by their nature."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".password"]
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
    for name, password in (("ops", PASSWORD), ("wrong", WRONG)):
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
        "[credential.command]\nusername = 'ops'\nprovider = 'command'\n"
        f"command = ['{sys.executable}', '-X', 'utf8', '-c', \"{program}\"]\n"
    )
    config.chmod(0o600)
    words = [
        "simulate",
        "web[01-02]",
        "-ServerList",
        "servers.txt",
        "-UserName",
        "ops",
        "-PasswordFile",
        "ops.password",
        "-Authentication",
        "Basic,Negotiate,CredSSP",
    ]
    hosts = subprocess.Popen(
        [sys.executable, "-m", "remotejobs", *words],
        cwd=scene.folder,
        env=scene.environment(),
        stderr=subprocess.PIPE,
    )
    assert hosts.stderr is not None
    assert b"2 simulated hosts" in hosts.stderr.readline()
    assert b"servers.txt" in hosts.stderr.readline()
    listed = scene.folder / "servers.txt"
    listed.write_text(re.sub(r" authentication=\w+", "", listed.read_text()))  # the command line says which
    yield scene
    hosts.send_signal(signal.SIGINT)
    assert hosts.wait(20) == 0
    hosts.stderr.close()


def test_the_search_finds_what_is_there(scene: Scene) -> None:
    for form in FORMS.values():
        assert held(b"before " + form + b" after")
    assert held(base64.b64encode(f"ops:{PASSWORD}".encode()))
    assert held((scene.folder / "ops.password").read_bytes())


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
    import pty

    lines = (scene.folder / "servers.txt").read_text().splitlines()
    listed = [f"{line} credential=ask" for line in lines if line.startswith("web")]
    (scene.folder / "asked.txt").write_text("\n".join(listed))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-X", "utf8", "-m", "remotejobs", "invoke", "@asked.txt", "-ScriptBlock", "'done'"]
    child = subprocess.Popen(
        [*command, "-LogFile", "steps.log"],
        cwd=scene.folder,
        env=scene.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        while b"): " not in seen:
            seen += os.read(ours, 1000)
        os.write(ours, PASSWORD.encode() + b"\n")
        while b"2 completed" not in seen:
            seen += os.read(ours, 1000)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    scene.said.append(seen)
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
