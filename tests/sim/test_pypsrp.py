"""Unmodified pypsrp against simulated hosts, over http and https."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pypsrp.client import Client
from pypsrp.complex_objects import ObjectMeta, PSCredential
from pypsrp.exceptions import AuthenticationError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import Process, SignalCode, WinRS
from pypsrp.wsman import WSMan

from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.shells import HostSettings
from tests.sim.wire import host_of, run


def used(
    use: Callable[[WSMan], Any], folder: Path, *, ssl: bool = True, faults: str = "", password: str = "sim", **more: Any
) -> tuple[Any, SimulatedHost]:
    """Let `use` work with one host; return what it returns, and the host."""

    async def main() -> tuple[Any, SimulatedHost]:
        settings = HostSettings(allow_unencrypted=True, **more)
        options = FleetOptions(settings=settings, faults={"web01": faults} if faults else {})
        async with Fleet(["web01"], options) as fleet:
            ca = folder / "ca.pem"
            ca.write_text(fleet.ca_pem)
            host = host_of(fleet)
            wsman = WSMan(
                "127.0.0.1",
                port=host.https_port if ssl else host.http_port,
                ssl=ssl,
                auth="basic",
                username="sim",
                password=password,
                encryption="never",
                cert_validation=str(ca) if ssl else True,  # type: ignore[arg-type]
                no_proxy=True,
            )

            def work() -> Any:
                with wsman:
                    return use(wsman)

            return await asyncio.to_thread(work), host

    return run(main())


@pytest.mark.parametrize("ssl", [False, True])
def test_a_script(ssl: bool, tmp_path: Path) -> None:
    def use(wsman: WSMan) -> tuple[Any, ...]:
        with RunspacePool(wsman) as pool:
            shell = PowerShell(pool)
            shell.add_script("1 + 1; 'two'; Write-Warning 'three'; Write-Error 'four'")
            output = shell.invoke()
            return (
                output,
                [str(w) for w in shell.streams.warning],
                [str(e) for e in shell.streams.error],
                shell.had_errors,
            )

    found, host = used(use, tmp_path, ssl=ssl)
    assert found[0] == [2, "two"]
    assert found[1] == ["three"]
    assert "four" in found[2][0]
    assert host.counters.commands == 1
    assert host.counters.shells == 0


def test_long_output_and_input(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> Any:
        with RunspacePool(wsman) as pool:
            shell = PowerShell(pool)
            shell.add_script("$input")
            return shell.invoke(["x" * 300_000, "y"])  # type: ignore[arg-type]

    found, _ = used(use, tmp_path)
    assert found == ["x" * 300_000, "y"]


def test_a_script_that_waits_outlives_operation_timeouts(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> Any:
        with RunspacePool(wsman) as pool:
            shell = PowerShell(pool)
            shell.add_script("Start-Sleep -Milliseconds 300; 'done'")
            return shell.invoke()

    found, host = used(use, tmp_path, max_timeout=0.1)
    assert found == ["done"]
    assert host.counters.faults[2150858793] >= 1


def test_disconnect_and_connect_from_another_client(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> Any:
        pool = RunspacePool(wsman)
        pool.open()
        shell = PowerShell(pool)
        shell.add_script("Start-Sleep -Milliseconds 100; 'still here'")
        shell.begin_invoke()
        pool.disconnect()
        wsman.session_id = str(uuid.uuid4())  # another client
        (found,) = RunspacePool.get_runspace_pools(wsman)
        found.connect()
        (again,) = found.create_disconnected_power_shells()
        output = again.connect()  # type: ignore[no-untyped-call]
        found.close()
        return output

    found, host = used(use, tmp_path)
    assert found == ["still here"]
    assert host.counters.requests["Connect"] == 2


@pytest.mark.parametrize("ssl", [False, True])
def test_a_cmd_shell(ssl: bool, tmp_path: Path) -> None:
    def use(wsman: WSMan) -> Any:
        with WinRS(wsman, environment={"A": "b"}, working_directory="C:\\x") as shell:
            process = Process(shell, "cmd.exe", ["/c", "echo", "%A%", "&&", "cd", "&&", "exit", "7"])
            process.invoke()
            reader = Process(shell, "more")
            reader.begin_invoke()
            reader.send(b"typed", end=True)
            reader.end_invoke()
            reader.signal(SignalCode.CTRL_C)
            return process.stdout, process.stderr, process.rc, reader.stdout

    found, _ = used(use, tmp_path, ssl=ssl)
    assert found == (b"b \r\nC:\\x\r\n", b"", 7, b"typed")


def test_its_client_class(tmp_path: Path) -> None:
    async def main() -> None:
        async with Fleet(["web01"], FleetOptions(settings=HostSettings(allow_unencrypted=True))) as fleet:

            def work() -> None:
                with Client(
                    "127.0.0.1",
                    port=host_of(fleet).http_port,
                    ssl=False,
                    auth="basic",
                    username="sim",
                    password="sim",
                    encryption="never",
                    no_proxy=True,
                ) as client:
                    assert client.execute_cmd("echo hi") == ("hi\r\n", "", 0)

            await asyncio.to_thread(work)

    run(main())


def test_a_wrong_password_is_an_authentication_error(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> Any:
        RunspacePool(wsman).open()

    with pytest.raises(AuthenticationError):
        used(use, tmp_path, password="wrong")
    with pytest.raises(AuthenticationError):
        used(use, tmp_path, faults="wrong-password")


def test_faults_are_read_by_their_code(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> list[int | None]:
        codes: list[int | None] = []
        for _ in range(2):
            try:
                RunspacePool(wsman).open()
            except WSManFaultError as fault:
                codes.append(fault.code)
        return codes

    found, _ = used(use, tmp_path, faults="quota*1, fault:2150858843@Create#2*1")
    assert found == [2150859173, 2150858843]


def test_the_envelope_size_of_the_host_is_found(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> int:
        wsman.update_max_payload_size()
        return wsman.max_envelope_size

    assert used(use, tmp_path, max_envelope_size=300 * 1024)[0] == 300 * 1024


def test_secure_strings_and_credentials_after_an_exchange_of_keys(tmp_path: Path) -> None:
    def use(wsman: WSMan) -> Any:
        with RunspacePool(wsman) as pool:
            pool.exchange_keys()
            shell = PowerShell(pool)
            shell.add_script("param($s, $c) $s.Length; $c.UserName; $c.GetNetworkCredential().Password; $s")
            shell.add_argument(pool.serialize("sekrit ä", ObjectMeta("SS")))
            shell.add_argument(PSCredential(username="ops", password="pässword"))  # type: ignore[no-untyped-call]
            return shell.invoke()

    found, _ = used(use, tmp_path)
    assert found == [8, "ops", "pässword", "sekrit ä"]
