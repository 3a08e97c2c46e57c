"""Simulated hosts for tests: started in the test's own loop, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from remotejobs.api.invoke import invoke_command
from remotejobs.api.pipeline import Pipeline
from remotejobs.jobs.job import ChildEnd, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.model import SessionOption, Target
from remotejobs.sim.certificates import CertificateAuthority
from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.faults import FaultScript, parse_faults
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Interpreter, Invocation, Streams
from remotejobs.sim.psrp_host import psrp_shell_factory
from remotejobs.sim.shells import HostInfo, HostSettings, ShellFactories

SIM = ("sim", "sim")
_POWERSHELL = "http://schemas.microsoft.com/powershell/"


@cache
def authority() -> CertificateAuthority:
    """One CA for all tests: making keys takes longer than most of them."""
    return CertificateAuthority()


def ca_file(folder: Path) -> str:
    """Write the CA of the simulated hosts."""
    path = folder / "sim-ca.pem"
    path.write_text(authority().pem)
    return str(path)


@dataclass(frozen=True)
class Writes:
    """An interpreter for which every script is this function: what hostile and tireless hosts send."""

    write: Callable[[Streams], Awaitable[None]]

    def open(self, host: HostInfo) -> Writes:
        return self

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        await self.write(streams)


@asynccontextmanager
async def started(
    faults: dict[str, str],
    *,
    settings: HostSettings | None = None,
    tls: bool = False,
    interpreter: Interpreter | None = None,
    shells: ShellFactories | None = None,
) -> AsyncIterator[dict[str, SimulatedHost]]:
    """Run hosts by name, each with its script of faults ("" for a good one); `shells` are those beside PowerShell's."""
    hosts: dict[str, SimulatedHost] = {}
    factories = {_POWERSHELL: psrp_shell_factory(interpreter or Dialect()), **(shells or {})}
    try:
        for name, script in faults.items():
            host = SimulatedHost(
                name,
                factories,
                settings or HostSettings(allow_unencrypted=True),
                FaultScript(parse_faults(script)),
            )
            await host.start(authority().server_context(name) if tls else None, http=not tls)
            hosts[name] = host
        yield hosts
    finally:
        for host in hosts.values():
            await host.stop()


def targets(hosts: dict[str, SimulatedHost]) -> list[Target]:
    """The hosts as targets."""
    return [
        Target(name, address="127.0.0.1", port=host.https_port or host.http_port, ssl=bool(host.https_port))
        for name, host in hosts.items()
    ]


@dataclass
class Result:
    """What a job came to."""

    job: RemoteJob
    records: list[ReceivedRecord] = field(default_factory=list)
    ends: dict[str, ChildEnd] = field(default_factory=dict)

    def values(self, name: str) -> list[Any]:
        return [r.value for r in self.records if r.computer_name == name and r.stream.name == "Output"]

    def reason(self, name: str) -> str:
        return self.ends[name].outcome.reason.value

    def message(self, name: str) -> str:
        return self.ends[name].outcome.message


async def run(where: list[Target], script: str | Pipeline, **options: Any) -> Result:
    """Run a script to its end and collect everything."""
    settings = {"allow_unencrypted": True, "max_connection_retry_count": 1, **options.pop("option", {})}
    options = {"credential": SIM, "authentication": "Basic", "session_option": SessionOption(**settings), **options}
    result = Result(await invoke_command(where, script, **options))
    async for item in result.job.events():
        if isinstance(item, ReceivedRecord):
            result.records.append(item)
        else:
            result.ends[item.computer_name] = item
    await result.job.wait()
    return result
