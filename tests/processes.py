"""Programs that tests run as a user does: simulated hosts that stay up, and a command at a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def simulating(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run `remotejob simulate` with these words, in a folder that then has servers.txt and sim-ca.pem."""
    with subprocess.Popen(
        [sys.executable, "-m", "remotejobs", "simulate", *words, "-ServerList", "servers.txt"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert "simulated hosts" in process.stderr.readline()
            assert "servers.txt" in process.stderr.readline()
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def at_a_terminal(
    command: Sequence[str], *typed: tuple[bytes, str], folder: Path | None = None, **environment: str
) -> tuple[int, bytes]:
    """Run a command at a terminal of its own, which POSIX alone has.

    Args:
        command: The words.
        typed: What is typed, each as soon as its prompt has been seen.
        folder: Where it runs.
        environment: Variables beside ours.

    Returns:
        Its exit code, and all that was shown.
    """
    import pty

    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        for prompt, text in typed:
            while prompt not in seen:
                some = _shown(ours)
                assert some, seen.decode(errors="replace")
                seen += some
            os.write(ours, text.encode() + b"\n")
        while some := _shown(ours):
            seen += some
        return child.wait(20), seen
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def _shown(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # how Linux says that nobody has it open any more
        return b""
