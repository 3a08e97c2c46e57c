"""`remotejob simulate`: start simulated Windows hosts on loopback, for tests, demos and rehearsals.

Knows bound parameters and the simulated hosts. Must not know how a job is run.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remotejobs.auth.credentials import secret_from_environment, secret_from_file
from remotejobs.cli.binder import Bound
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.sim.fleet import CA_FILE, CLIENT_FILE, SERVER_LIST, Fleet, FleetOptions, serve
from remotejobs.sim.shells import HostSettings
from remotejobs.targets.resolve import resolve

_PASSWORD = "sim"  # noqa: S105 - of hosts that do not exist


def run(bound: Bound) -> int:
    """Run the verb until it is interrupted or its time is over."""
    values = bound.values
    names = [target.name for target in resolve(values["ComputerName"], read_stdin=sys.stdin.read).targets]
    ca_file, server_list = Path(values.get("CAFile", CA_FILE)), Path(values.get("ServerList", SERVER_LIST))
    client_file = Path(values.get("ClientCertificateFile", CLIENT_FILE))

    def ready(fleet: Fleet) -> None:
        ca_file.write_text(fleet.ca_pem, encoding="utf-8")
        if "Certificate" in fleet.options.settings.authentication:
            _write_private(client_file, fleet.client_pem())
        # Moved into place whole: who waits for the list must not read half of it.
        part = server_list.with_name(server_list.name + ".part")
        part.write_text(fleet.server_list(ssl=not values.get("Http")), encoding="utf-8")
        os.replace(part, server_list)
        hosts = "host" if len(names) == 1 else "hosts"
        print(f"{len(names):,} simulated {hosts} on 127.0.0.1, user {fleet.options.settings.user}", file=sys.stderr)
        print(f"server list: {server_list}   certificate authority: {ca_file}", file=sys.stderr, flush=True)
        if "Certificate" in fleet.options.settings.authentication:
            print(f"client certificate and key: {client_file}", file=sys.stderr, flush=True)

    try:
        asyncio.run(_serve(names, _options(values), ready, values.get("Duration")))
    except (KeyboardInterrupt, TimeoutError):
        pass
    except OSError as error:
        raise ConfigurationError(f"The simulated hosts cannot be started: {error.strerror or error}.") from None
    return 0


async def _serve(names: list[str], options: FleetOptions, ready: Any, duration: float | None) -> None:
    async with asyncio.timeout(duration):
        await serve(names, options, ready)


def _options(values: Mapping[str, Any]) -> FleetOptions:
    file = values.get("PasswordFile")
    secret = secret_from_file(file) if file else secret_from_environment()
    authentication = tuple(values.get("Authentication") or HostSettings().authentication)
    keytab = values.get("Keytab")
    if "Kerberos" in (values.get("Authentication") or ()) and not keytab:
        raise UsageError("Simulated hosts take Kerberos with the keys of their service principals only: give -Keytab.")
    settings = HostSettings(
        user=values.get("UserName", "sim"),
        password=secret.reveal() if secret else _PASSWORD,
        latency=values.get("Latency") or 0.0,
        authentication=authentication,
        keytab=Path(keytab) if keytab else None,
        lockout_threshold=values.get("LockoutThreshold") or 0,
        allow_unencrypted=bool(values.get("Http")) and "Basic" in authentication,
    )
    powershell = values.get("PowerShell", "auto").lower()
    if powershell not in ("auto", "builtin"):
        os.environ["REMOTEJOBS_PWSH"] = values["PowerShell"]
    answers = values.get("Answers")
    return FleetOptions(
        settings=settings,
        faults=dict(_fault(text) for text in values.get("Fault") or ()),
        http=bool(values.get("Http")),
        answers=Path(answers) if answers else None,
        use_pwsh=powershell != "builtin",
    )


def _write_private(file: Path, data: bytes) -> None:
    """Write what only its owner may read."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)


def _fault(text: str) -> tuple[str, str]:
    name, equals, script = text.partition("=")
    if not equals or not name.strip() or not script.strip():
        raise UsageError(f"{text!r} is not HOST=FAULT, for one web03=reset@Command ('*' is every host).")
    return name.strip(), script.strip()
