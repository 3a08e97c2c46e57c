"""Hosts that are broken in one way each, on loopback, and the examination of one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import formatdate
from typing import Any

from remotejobs import compose
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.clock import ManualClock
from remotejobs.doctor.doctor import STEPS
from remotejobs.doctor.findings import HostDiagnosis
from remotejobs.model import Clocks, JobSpec, ScriptCommand, SessionOption, Target
from remotejobs.sim.shells import HostSettings
from tests.e2e import hosts as simulated
from tests.transport import loopback
from tests.transport.loopback import Handler

SIM = {"": Credential("sim", Secret("sim"))}
ALL = frozenset(step.name for step in STEPS)
OFFERS = ("Negotiate", "Kerberos", 'Basic realm="WSMAN"')

# Gives the port of a host, or its name, and whether it speaks https.
Host = AbstractAsyncContextManager[Target]


async def examine(
    target: Target,
    *,
    authentication: str = "Basic",
    credentials: dict[str, Credential] | None = None,
    steps: frozenset[str] = ALL,
    clock: ManualClock | None = None,
    total: float = 60.0,
    **option: Any,
) -> HostDiagnosis:
    """Examine one host, by a clock that stands still unless the test moves it."""
    spec = JobSpec(
        ScriptCommand("$PSVersionTable"),
        (target,),
        authentication=authentication,
        session_option=SessionOption(**{"allow_unencrypted": True, "max_connection_retry_count": 0, **option}),
        clocks=Clocks(connect=10.0, authenticate=10.0, open=60.0, total=total),
    )
    doctor = compose.doctor(spec, SIM if credentials is None else credentials, clock or ManualClock(time.time()))
    return await doctor.examine(target, steps)


@asynccontextmanager
async def sim(faults: str = "", *, tls: bool = False, **settings: Any) -> AsyncIterator[Target]:
    """A simulated Windows host."""
    settings.setdefault("allow_unencrypted", True)
    async with simulated.started({"web01": faults}, settings=HostSettings(**settings), tls=tls) as hosts:
        yield simulated.targets(hosts)[0]


@asynccontextmanager
async def served(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Target]:
    """A host that says what `handler` does."""
    async with loopback.serving(handler, tls) as endpoint:
        yield Target("web01", address="127.0.0.1", port=endpoint.port, ssl=tls is not None)


@asynccontextmanager
async def named(name: str) -> AsyncIterator[Target]:
    """A host that is only a name."""
    yield Target(name)


@asynccontextmanager
async def unheard(*, ssl: bool = False) -> AsyncIterator[Target]:
    """A port that nobody listens on, and that nobody else can get meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Target("web01", address="127.0.0.1", port=sock.getsockname()[1], ssl=ssl)


def answering(status: str, *headers: str, body: bytes = b"") -> Handler:
    """A handler that gives every request the same answer."""
    return answering_by(lambda _: loopback.answer(body, status, *headers))


def answering_by(choose: Callable[[bytes], bytes]) -> Handler:
    """A handler that answers a request by its head."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = loopback.header(head, "Content-Length")
            await reader.readexactly(int(length or 0))
            writer.write(choose(head))
            await writer.drain()

    return handle


def winrm(*offers: str, ahead: float = 0.0) -> Handler:
    """A handler that asks for a logon, as WinRM does, and lets nobody in."""
    challenges = [f"WWW-Authenticate: {each}" for each in offers]
    return answering("401 Unauthorized", *challenges, f"Date: {formatdate(time.time() + ahead, usegmt=True)}")


def saying(data: bytes) -> Handler:
    """A handler that says the same to everything, and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(data)
        await writer.drain()
        writer.close()

    return handle


class Silent:
    """A handler that reads and never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if data:
                self.asked.set()
