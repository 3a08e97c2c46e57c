"""Many simulated hosts in one process: started together, listed together, counted together.

Knows names, ports, certificates and what runs in the shells by default. Must not know how a host answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from remotejobs.errors import ConfigurationError
from remotejobs.sim.answers import Answers
from remotejobs.sim.certificates import CertificateAuthority
from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.faults import FaultScript, parse_faults
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.interpreter import Interpreter, InTurn
from remotejobs.sim.listener import HttpAnswer, HttpRequest, Listener, raise_file_limit
from remotejobs.sim.powershell_exe import cmd_with_powershell
from remotejobs.sim.psrp_host import psrp_shell_factory
from remotejobs.sim.pwsh_host import find_pwsh, pwsh_shell_factory
from remotejobs.sim.shells import HostSettings, ShellFactories
from remotejobs.sim.soap import POWERSHELL
from remotejobs.sim.winrs_host import CMD, winrs_shell_factory

SERVER_LIST: Final = "sim-servers.txt"
CA_FILE: Final = "sim-ca.pem"
CLIENT_FILE: Final = "sim-client.pem"
EVERY_HOST: Final = "*"


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """How the hosts of a fleet are.

    Attributes:
        settings: How each behaves.
        faults: Fault scripts by computer name; that of `*` is for all that have none of their own. See sim.faults.
        https, http: On which ports each host listens. Over http a host offers Basic only with
            `settings.allow_unencrypted`, as real ones do.
        answers: Folder of answers; scripts that it does not know go to the built-in dialect.
        use_pwsh: Run scripts in a real PowerShell where one is found (REMOTEJOBS_PWSH, PATH) and no answers are given.
        control: Serve `GET /counters` as JSON on a port of its own, without logon.
        factories: What runs in the shells, by resource URI, instead of all that.
    """

    settings: HostSettings = field(default_factory=HostSettings)
    faults: Mapping[str, str] = field(default_factory=dict)
    https: bool = True
    http: bool = True
    answers: Path | None = None
    use_pwsh: bool = False
    control: bool = False
    factories: ShellFactories | None = None


class Fleet:
    """Simulated hosts, one for each name; listening inside `async with`.

    Args:
        names: Computer names; one that comes twice is one host.
        options: How they are.

    Raises:
        ConfigurationError: A fault script, an answers folder or a name in `faults` is wrong.
    """

    def __init__(self, names: Iterable[str], options: FleetOptions | None = None) -> None:
        self.options = options or FleetOptions()
        names = list(dict.fromkeys(names))
        unknown = sorted(set(self.options.faults) - {EVERY_HOST, *names})
        if unknown:
            raise ConfigurationError(f"Faults are scripted for {unknown[0]!r}, which is no host of this fleet.")
        factories = self.options.factories or default_factories(self.options.answers, use_pwsh=self.options.use_pwsh)
        self._authority = CertificateAuthority() if self.options.https else None
        self.hosts = {name: SimulatedHost(name, factories, self.options.settings, self._faults(name)) for name in names}
        self.control_port = 0
        self._control: Listener | None = None

    async def __aenter__(self) -> Self:
        """Start all hosts."""
        raise_file_limit(4 * len(self.hosts))
        try:
            for name, host in self.hosts.items():
                tls = None
                if self._authority is not None:
                    asked = "Certificate" in self.options.settings.authentication
                    tls = self._authority.server_context(name, client_certificates=asked)
                await host.start(tls, http=self.options.http)
            if self.options.control:
                self._control = Listener(lambda _: _Control(self))
                await self._control.start()
                self.control_port = self._control.port
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all hosts; connections are reset."""
        await self._stop()

    @property
    def ca_pem(self) -> str:
        """The certificate that signed those of the hosts, as PEM; empty without https."""
        return self._authority.pem if self._authority is not None else ""

    def client_pem(self) -> bytes:
        """Return a certificate that the hosts take for their account, with its key, as PEM; empty without https."""
        return self._authority.issue_client(self.options.settings.user) if self._authority is not None else b""

    def server_list(self, *, ssl: bool = True) -> str:
        """Return a server list of the hosts' https ports, or with `ssl` false of their http ports."""
        mechanism = next(iter(self.options.settings.authentication), "Default")
        if mechanism == "Certificate":  # which a client chooses by having one
            mechanism = "Default"
        return "".join(
            f"{name} address=127.0.0.1 port={host.https_port if ssl else host.http_port} ssl={str(ssl).lower()} "
            f"authentication={mechanism}\n"
            for name, host in self.hosts.items()
        )

    def write(self, folder: Path) -> None:
        """Write the server list and the CA's certificate into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SERVER_LIST).write_text(self.server_list(ssl=self.options.https), encoding="utf-8")
        if self.ca_pem:
            (folder / CA_FILE).write_text(self.ca_pem, encoding="ascii")

    def counters(self) -> dict[str, Any]:
        """Return the counters of all hosts by name, as plain values."""
        return {name: host.counters.to_dict() for name, host in self.hosts.items()}

    def _faults(self, name: str) -> FaultScript:
        scripts = self.options.faults
        return FaultScript(parse_faults(scripts.get(name, scripts.get(EVERY_HOST, ""))))

    async def _stop(self) -> None:
        if self._control is not None:
            await self._control.close()
        for host in self.hosts.values():
            await host.stop()


async def serve(names: Iterable[str], options: FleetOptions, on_ready: Callable[[Fleet], None]) -> None:
    """Run hosts until cancelled; `on_ready` is called once all of them listen."""
    async with Fleet(names, options) as fleet:
        on_ready(fleet)
        await asyncio.get_running_loop().create_future()


def default_factories(answers: Path | None = None, *, use_pwsh: bool = False) -> ShellFactories:
    """Return what runs in the shells of a host: cmd, and behind PSRP a real PowerShell, answers or the dialect.

    Raises:
        ConfigurationError: The answers cannot be read.
    """
    pwsh = find_pwsh() if use_pwsh and answers is None else None
    if pwsh is not None:
        cmd, powershell = winrs_shell_factory(), pwsh_shell_factory(pwsh)
    else:
        interpreters: list[Interpreter] = [Answers(answers)] if answers is not None else []
        interpreter = InTurn([*interpreters, Dialect()])
        cmd, powershell = cmd_with_powershell(interpreter), psrp_shell_factory(interpreter)
    return {CMD: cmd, f"{POWERSHELL}/": powershell}


class _Control:
    """The session of one connection to the control port."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        if (request.method, request.path) != ("GET", "/counters"):
            return HttpAnswer(404)
        body = json.dumps(self._fleet.counters()).encode()
        return HttpAnswer(200, body, (("Content-Type", "application/json"),))
