"""Simulated hosts that every engine can talk to, and a job on one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from remotejobs.model import ENGINES as ENGINES
from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.faults import FaultScript, parse_faults
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Interpreter
from remotejobs.sim.powershell_exe import cmd_with_powershell
from remotejobs.sim.psrp_host import psrp_shell_factory
from remotejobs.sim.shells import HostSettings
from remotejobs.sim.winrs_host import CMD
from tests.e2e.hosts import authority

POWERSHELL = "http://schemas.microsoft.com/powershell/"


@asynccontextmanager
async def a_host(
    faults: str = "",
    *,
    name: str = "web01",
    tls: bool = False,
    interpreter: Interpreter | None = None,
    **settings: Any,
) -> AsyncIterator[SimulatedHost]:
    """One host, listening."""
    settings.setdefault("allow_unencrypted", True)
    runs = interpreter or Dialect()
    factories = {POWERSHELL: psrp_shell_factory(runs), CMD: cmd_with_powershell(runs)}
    host = SimulatedHost(name, factories, HostSettings(**settings), FaultScript(parse_faults(faults)))
    asked = "Certificate" in host.settings.authentication
    await host.start(authority().server_context(name, client_certificates=asked) if tls else None, http=not tls)
    try:
        yield host
    finally:
        await host.stop()
