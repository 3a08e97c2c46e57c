"""Unmodified pypsrp and pywinrm: one whole conversation of each with the host web01."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pypsrp.exceptions import AuthenticationError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from requests_credssp.exceptions import AuthenticationException
from winrm.exceptions import InvalidCredentialsError
from winrm.protocol import Protocol

from remotejobs.sim.host import SimulatedHost

REFUSED = (AuthenticationError, AuthenticationException, InvalidCredentialsError)
SCRIPT, OUTPUT = "1 + 1; 'x' * 20000", [2, "x" * 20000]  # more than one part of CredSSP's


@pytest.fixture(scope="module")
def leftovers() -> Iterator[None]:
    """Refused in the middle, the libraries leave a socket in a cycle of exceptions: no other test is to find it."""
    gc.disable()
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
    gc.enable()


def pypsrp(
    host: SimulatedHost,
    auth: str,
    *,
    ca: str = "",
    username: str | None = "sim",
    password: str | None = "sim",
    **more: Any,
) -> None:
    """Run SCRIPT with pypsrp: over https with the file of an authority in `ca`, over http without."""
    wsman = WSMan(
        "127.0.0.1",
        port=host.https_port if ca else host.http_port,
        ssl=bool(ca),
        auth=auth,
        username=username,
        password=password,
        cert_validation=ca or True,  # type: ignore[arg-type]
        no_proxy=True,
        negotiate_hostname_override="web01",
        **more,
    )
    with wsman, RunspacePool(wsman) as pool:
        shell = PowerShell(pool)
        shell.add_script(SCRIPT)
        assert shell.invoke() == OUTPUT


def pywinrm(
    host: SimulatedHost,
    transport: Any,
    *,
    ca: str = "",
    username: str = "sim",
    password: str = "sim",
    **more: Any,
) -> None:
    """Run `echo hi` with pywinrm: over https with the file of an authority in `ca`, over http without."""
    protocol = Protocol(
        f"https://127.0.0.1:{host.https_port}/wsman" if ca else f"http://127.0.0.1:{host.http_port}/wsman",
        transport=transport,
        username=username,
        password=password,
        ca_trust_path=ca,
        proxy=None,
        kerberos_hostname_override="web01",
        **more,
    )
    try:
        shell_id = protocol.open_shell()
        command_id = protocol.run_command(shell_id, "echo hi")
        assert protocol.get_command_output(shell_id, command_id) == (b"hi\r\n", b"", 0)
        protocol.cleanup_command(shell_id, command_id)
        protocol.close_shell(shell_id)
    finally:
        protocol.transport.close_session()
