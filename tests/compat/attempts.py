"""One attempt of an engine at a simulated host, with the ports around it kept in lists."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from remotejobs import compose
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.clock import SystemClock
from remotejobs.model import JobSpec, ScriptCommand, SessionOption, Stream, Target
from remotejobs.ports import Attempt, ChildTask, Clock, Ends, HostRunner
from remotejobs.rows import Fresh
from remotejobs.sim.host import SimulatedHost
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import text
from tests.compat.hosts import a_host
from tests.session.fakes import FreeControl, ListLedger


class Run:
    """One attempt at one host."""

    def __init__(
        self,
        engine: str,
        host: SimulatedHost,
        script: str = "'hello'",
        *,
        password: str = "sim",
        credential: Credential | None = None,
        implicit: bool = False,
        name: str = "web01",
        clock: Clock | None = None,
        ends: Ends | None = None,
        **more: Any,
    ) -> None:
        ssl = bool(host.https_port)
        self.target = Target(name, address="127.0.0.1", port=host.https_port or host.http_port, ssl=ssl)
        self.option = {"allow_unencrypted": True, "max_connection_retry_count": 1, **more.pop("option", {})}
        spec = JobSpec(
            ScriptCommand(script),
            (self.target,),
            engine=engine,
            session_option=SessionOption(**self.option),
            **{"authentication": "Basic", **more},
        )
        self.clock = clock or SystemClock()
        self.ledger, self.control = ListLedger(), FreeControl(ends)
        given = {} if implicit else {"": credential or Credential("sim", Secret(password))}
        self.plan = compose._plan(spec, given)
        self.runner: HostRunner = compose._runner(self.plan, self.clock)
        self.attempt: Attempt | None = None

    async def finish(self) -> Attempt:
        start = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        try:
            self.attempt = await self.runner.run(ChildTask(0, self.target, start), self.ledger, self.control)
            await self.runner.cleanup(self.attempt)
            return self.attempt
        finally:
            self.plan.close()

    def of(self, stream: Stream) -> list[str]:
        return [text(deserialize(record.raw)) for record in self.ledger.records if record.stream is stream]

    @property
    def outputs(self) -> list[str]:
        return self.of(Stream.Output)


def ran(engine: str, script: str = "'hello'", faults: str = "", **more: Any) -> tuple[Run, SimulatedHost, Attempt]:
    """Run a script to its end on a host of its own."""

    async def main() -> tuple[Run, SimulatedHost, Attempt]:
        settings = more.pop("settings", {})
        async with asyncio.timeout(30), a_host(faults, tls=more.pop("tls", False), **settings) as host:
            run = Run(engine, host, script, **more)
            attempt = await run.finish()
            return run, host, attempt

    return asyncio.run(main())


@asynccontextmanager
async def running(engine: str, faults: str = "", script: str = "Start-Sleep 60", **more: Any) -> AsyncIterator[Any]:
    """A run that is not over, and its host."""
    async with asyncio.timeout(30), a_host(faults) as host:
        run = Run(engine, host, script, **more)
        task = asyncio.create_task(run.finish())
        yield run, host, task
        await asyncio.wait({task})
