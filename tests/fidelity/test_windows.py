"""Windows of every age: each answer is read, each message of PSRP, each record."""

from __future__ import annotations

from pathlib import Path

from remotejobs.sim.psrp_wire import MessageType
from tests.fidelity.exchanges import read_all, same_as_sent, windows
from tests.recorded import recorded
from tests.recordings import RECORDINGS
from tests.session import replay

CONVERSATIONS = sorted((RECORDINGS / "windows").glob("*.yml")) if RECORDINGS else []


@recorded("windows", CONVERSATIONS, lambda path: path.stem)
def test_every_answer_is_read(case: Path) -> None:
    read_all(windows(case))


@recorded("windows", CONVERSATIONS, lambda path: path.stem)
def test_our_client_ends_as_the_pipeline_did(case: Path) -> None:
    """Our client is given the answers that the recorded one had, where that ran one pipeline."""
    exchanges = windows(case)
    came = read_all(exchanges)
    keys = any(message.type == MessageType.PUBLIC_KEY_REQUEST for message in came.pop("", []))
    pipelines = [messages for messages in came.values() if messages]
    if len(pipelines) == 1 and not keys:  # else a cmd shell, none, several; or a key that only that client could read
        (messages,) = pipelines
        same_as_sent(replay.windows(case), exchanges, messages)
