"""A process of its own for a job: started so that it survives the terminal and the program that starts it.

Both ends are here: `Starting` for who starts it, the functions for the process itself. Knows processes, pipes and the
log files of workers. Must not know stores, engines or what an order means; a password goes through the pipe and nowhere
else.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remotejobs.config.load import VARIABLE as CONFIG
from remotejobs.config.load import load
from remotejobs.errors import ConfigurationError, JobError
from remotejobs.store.home import log_path, state_directory

READY = "ready"
_START_SECONDS = 60.0  # that a worker may take to say that it is ready
_MOST_BYTES = 16 * 1024 * 1024
_LAST_LINES = 5
_PASSWORD = "REMOTEJOBS_PASSWORD"  # noqa: S105 - the name of the variable
_LOG = "REMOTEJOBS_LOG"
_HOME = "REMOTEJOBS_HOME"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
# Their ends are asked for at each start: on POSIX a process that was never asked for stays as a zombie.
_started: list[subprocess.Popen[bytes]] = []


class Starting:
    """A worker that is being started, or waits for its order. Starting takes a while: it may be begun early.

    Args:
        home: The state directory; where the process lives.

    Raises:
        ConfigurationError: The state directory cannot be written.
        JobError: It cannot be started.
    """

    def __init__(self, home: Path) -> None:
        _started[:] = [process for process in _started if process.poll() is None]
        self._home = home
        # Until it knows its job; then it goes on in the job's own log.
        self._log = home / "logs" / f"starting-{os.getpid()}-{time.monotonic_ns()}.log"
        try:
            self._process = _start(home, self._log)
        except OSError as error:
            if error.filename is not None and str(error.filename).startswith(str(home)):
                raise ConfigurationError(
                    f"The job was not started: {error.filename} cannot be written ({error.strerror or error})."
                ) from None
            raise JobError(
                f"No worker can be started: {error.strerror or error}.", error_id="WorkerNotStarted"
            ) from None

    def order(self, job_id: int, order: Mapping[str, Any], *, seconds: float = _START_SECONDS) -> None:
        """Say what it is to do, and return when it has said that it is ready.

        Args:
            job_id: The job; names its log file.
            order: JSON values, passwords included.
            seconds: That it may take.

        Raises:
            JobError: It ended before it was ready; the message has its last words.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(seconds, process.kill)
        late.daemon = True
        late.start()
        data = json.dumps({**order, "job": job_id, "log": str(self._log)}).encode()
        try:
            with process.stdout:
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(data)
                said = process.stdout.readline().decode(errors="replace").strip()
        finally:
            late.cancel()
        if said == READY:
            if not _started:
                atexit.register(_let_go)
            _started.append(process)
            return
        process.wait()
        raise JobError(self._last_words(job_id, said.removeprefix("error: ")), error_id="WorkerNotStarted")

    def dismiss(self) -> None:
        """There is nothing to do after all. Does nothing once it has its order."""
        process = self._process
        if process.stdin is not None and process.stdout is not None and not process.stdin.closed:
            process.kill()
            process.stdin.close()
            process.stdout.close()
            process.wait()
            with contextlib.suppress(OSError):
                self._log.unlink()

    def _last_words(self, job_id: int, said: str) -> str:
        lines: list[str] = []
        for path in (self._log, log_path(self._home, job_id)):
            with contextlib.suppress(OSError):
                lines += path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        with contextlib.suppress(OSError):
            self._log.unlink()
        words = " / ".join(line.strip() for line in lines[-_LAST_LINES:]) or "without a word"
        return said or f"The worker of job {job_id} ended before it was ready: {words}"


def begin() -> Starting:
    """Begin to start a worker in this user's state directory.

    Raises:
        ConfigurationError: It cannot be used, so no job can be stored.
        JobError: No process can be started.
    """
    return Starting(state_directory())


def settle() -> None:
    """In the worker: the end of the terminal and ^C at it are no business of this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def take_order() -> dict[str, Any]:
    """In the worker: read the order from standard input, to its end.

    Raises:
        JobError: There is none: this process was not started by `Starting`.
    """
    data = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read(_MOST_BYTES)
    _point(0, os.devnull, os.O_RDONLY)
    try:
        order = json.loads(data)
    except ValueError:
        order = None
    del data
    if not isinstance(order, dict):
        raise JobError("A worker is started by remotejob itself, not by hand.")
    return order


def keep_log(home: Path, order: Mapping[str, Any]) -> None:
    """In the worker: from here on what goes wrong is written to the job's own log."""
    with contextlib.suppress(OSError):
        _point(2, log_path(home, int(order["job"])), _APPEND)
        Path(str(order["log"])).unlink()


def answer(line: str) -> None:
    """In the worker: say one line to who has started it, and let go of the pipe."""
    with contextlib.suppress(OSError):
        os.write(1, " ".join(line.split()).encode(errors="replace") + b"\n")
    _point(1, os.devnull, os.O_WRONLY)


def drop_empty_log(home: Path, job_id: int) -> None:
    """In the worker, at its end: a log without a word need not stay."""
    path = log_path(home, job_id)
    with contextlib.suppress(OSError):
        _point(2, os.devnull, os.O_WRONLY)  # Windows keeps what is open
        if not path.stat().st_size:
            path.unlink()


def _let_go() -> None:
    """The program ends before its workers, as it should: subprocess need not warn of that."""
    for process in _started:
        process.returncode = process.poll() or 0


def _start(home: Path, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(mode=0o700, exist_ok=True)
    errors = os.open(log, _APPEND, 0o600)
    try:
        # -P: what lies in the state directory is not to be imported
        command = [sys.executable, "-P", "-m", "remotejobs", "__worker"]
        if sys.platform == "win32":
            flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
            try:
                return _popen(command, home, errors, creationflags=flags | subprocess.CREATE_BREAKAWAY_FROM_JOB)
            except PermissionError:
                # the job object that holds us does not let go: it may end the worker with us
                return _popen(command, home, errors, creationflags=flags)
        else:
            return _popen(command, home, errors, start_new_session=True)
    finally:
        os.close(errors)


def _popen(command: list[str], home: Path, errors: int, **how: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program, found by its interpreter
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=home,
        env=_environment(home),
        close_fds=True,
        **how,
    )


def _environment(home: Path) -> dict[str, str]:
    hidden = {_PASSWORD, *(name.upper() for name in load().secret_variables())}
    environment = {name: value for name, value in os.environ.items() if name.upper() not in hidden}
    environment[_HOME] = str(home.absolute())
    for name in (_LOG, CONFIG):
        if environment.get(name):
            environment[name] = str(
                Path(environment[name]).expanduser().absolute()
            )  # the worker lives in another folder
    package = Path(__file__).parents[1]
    if package.name not in ("site-packages", "dist-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package), environment.get("PYTHONPATH"))))
    return environment


def _point(descriptor: int, path: str | Path, flags: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)
