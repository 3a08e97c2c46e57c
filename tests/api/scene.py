"""Jobs on simulated hosts, as the tests of the library start them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remotejobs import RemoteJob, SessionOption, Target, invoke_command
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostSettings
from tests.e2e.hosts import SIM

OPTION = SessionOption(allow_unencrypted=True, max_connection_retry_count=0)
OPTIONS: dict[str, Any] = {"credential": SIM, "authentication": "Basic", "session_option": OPTION}
MANY = HostSettings(allow_unencrypted=True, max_shells=100)


async def start(where: Sequence[str | Target], script: str = "'x'", **options: Any) -> RemoteJob:
    """A job on simulated hosts."""
    return await invoke_command(where, script, **{**OPTIONS, **options})


def server_list(folder: Path, hosts: dict[str, SimulatedHost]) -> Path:
    """The hosts as a server list."""
    path = folder / "servers.txt"
    path.write_text("".join(f"{name} address=127.0.0.1 port={host.http_port}\n" for name, host in hosts.items()))
    return path
