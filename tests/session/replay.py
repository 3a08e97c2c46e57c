"""A Transport that answers with what real servers answered, whatever ids our client makes up."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from remotejobs.clock import SystemClock
from remotejobs.errors import UnreachableError
from remotejobs.model import JobSpec, ScriptCommand, SessionOption, Target
from remotejobs.ports import Attempt, ChildTask, Ends, Lost, NotSent, Reply
from remotejobs.rows import Fresh
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import PsrpRunner
from tests.session.fakes import FreeControl, ListLedger

_ACTION = re.compile(r"Action[^>]*>\s*([^<\s]+)")
_COMMAND = re.compile(r'CommandId="([^"]+)"')
_MESSAGE = re.compile(r"MessageID[^>]*>\s*([^<\s]+)")


def kind_of(request: str) -> str:
    """Create, Receive (of the pool), Receive+ (of a pipeline), Command, Send, Signal, Delete ..."""
    found = _ACTION.search(request)
    assert found
    name = found[1].rpartition("/")[2]
    return f"{name}+" if name == "Receive" and _COMMAND.search(request) else name


@dataclass
class Replay:
    """One recorded conversation: its answers by kind of request, in order."""

    answers: dict[str, deque[Reply | Lost | NotSent]] = field(default_factory=lambda: defaultdict(deque))
    asked: list[str] = field(default_factory=list)

    def add(self, request: str, response: str, status: int = 200) -> None:
        found = _MESSAGE.search(request)
        assert found
        body = response.replace(found[1], "@MESSAGE@")
        self.answers[kind_of(request)].append(Reply(status, body.encode(), "application/soap+xml;charset=UTF-8"))

    def connect(self, _target: object) -> ReplayTransport:
        return ReplayTransport(self)


class ReplayTransport:
    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.closed = False

    async def open(self) -> None:
        self.closed = False

    async def post(self, body: bytes) -> Reply | NotSent | Lost:
        text = body.decode()
        kind = kind_of(text)
        self.replay.asked.append(kind)
        if self.closed:
            return NotSent(UnreachableError("closed", step="tcp"))
        left = self.replay.answers[kind]
        if not left:
            return Lost(UnreachableError(f"the recording has no more answers to {kind}", step="reset"))
        answer = left.popleft()
        if not isinstance(answer, Reply):
            self.closed = True
            return answer
        found = _MESSAGE.search(text)
        assert found
        return answer._replace(body=answer.body.replace(b"@MESSAGE@", found[1].encode()))

    def close(self) -> None:
        self.closed = True


def windows(path: Path) -> Replay:
    """A conversation of recordings/windows."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    replay = Replay()
    for message in yaml.load(path.read_text(), loader)["messages"]:
        if message.get("request") and message.get("response"):
            status = 500 if message.get("transport_error") or "Fault>" in message["response"] else 200
            replay.add(message["request"], message["response"], status)
    return replay


def psrp_omi(path: Path) -> Replay:
    """A conversation of recordings/psrp-omi: the answers to the last pipeline, and to the pool."""
    requests: dict[int, str] = {}
    pairs: list[tuple[str, str, int]] = []
    for line in path.read_text().splitlines():
        message = json.loads(line)
        body = message.get("body") or ""
        if message["dir"] == "c2s" and body:
            requests[message["conn"]] = body
        elif message["dir"] == "s2c" and body and message["conn"] in requests:
            pairs.append((requests.pop(message["conn"]), body, int(message["start"].split()[1])))
    commands = [_COMMAND.search(request) for request, _, _ in pairs if kind_of(request) == "Command"]
    last = commands[-1][1] if commands and commands[-1] else ""
    replay = Replay()
    for request, body, status in pairs:
        found = _COMMAND.search(request)
        if found is None or found[1] == last:
            replay.add(request, body, status)
    return replay


def converse(replay: Replay, ends: Ends | None = None) -> tuple[Attempt, ListLedger]:
    """Run one job of ours against the recorded answers."""
    spec = JobSpec(
        ScriptCommand("whatever"), (Target("h"),), session_option=SessionOption(max_connection_retry_count=0)
    )

    async def main() -> tuple[Attempt, ListLedger]:
        job = prepare(spec, replay.connect, asyncio.Semaphore(1))
        runner = PsrpRunner(job, SystemClock())
        ledger = ListLedger()
        fresh = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        attempt = await runner.run(ChildTask(0, spec.targets[0], fresh), ledger, FreeControl(ends))
        await runner.cleanup(attempt)
        return attempt, ledger

    return asyncio.run(main())
