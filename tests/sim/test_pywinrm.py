"""Unmodified pywinrm against simulated hosts, over http and https."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from winrm import Session
from winrm.exceptions import InvalidCredentialsError, WSManFaultError
from winrm.protocol import Protocol

from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.shells import HostSettings
from tests.sim.wire import host_of, run


def used(
    use: Callable[[Protocol], Any], folder: Path, *, ssl: bool = True, password: str = "sim", faults: str = ""
) -> Any:
    """Let `use` work with one host and return what it returns."""

    async def main() -> Any:
        options = FleetOptions(
            settings=HostSettings(allow_unencrypted=True), faults={"web01": faults} if faults else {}
        )
        async with Fleet(["web01"], options) as fleet:
            ca = folder / "ca.pem"
            ca.write_text(fleet.ca_pem)
            host = host_of(fleet)
            where = f"https://127.0.0.1:{host.https_port}" if ssl else f"http://127.0.0.1:{host.http_port}"
            protocol = Protocol(
                f"{where}/wsman",
                transport="basic",
                username="sim",
                password=password,
                ca_trust_path=str(ca),
                proxy=None,
            )

            def work() -> Any:
                try:
                    return use(protocol)
                finally:
                    protocol.transport.close_session()

            return await asyncio.to_thread(work)

    return run(main())


@pytest.mark.parametrize("ssl", [False, True])
def test_commands(ssl: bool, tmp_path: Path) -> None:
    def use(protocol: Protocol) -> Any:
        shell_id = protocol.open_shell(working_directory="C:\\x", env_vars={"A": "b"}, codepage=65001)
        found = []
        for line, words in (("ipconfig", ["/all"]), ("echo %A% ä && cd && nothing", ())):
            command_id = protocol.run_command(shell_id, line, words)
            found.append(protocol.get_command_output(shell_id, command_id))
            protocol.cleanup_command(shell_id, command_id)
        protocol.close_shell(shell_id)
        return found

    first, second = used(use, tmp_path, ssl=ssl)
    assert b"Windows IP Configuration" in first[0]
    assert first[1:] == (b"", 0)
    assert second[0] == "b ä \r\nC:\\x\r\n".encode()
    assert second[1].startswith(b"'nothing' is not recognized")
    assert second[2] == 1


def test_input(tmp_path: Path) -> None:
    def use(protocol: Protocol) -> Any:
        shell_id = protocol.open_shell()
        command_id = protocol.run_command(shell_id, "more")
        protocol.send_command_input(shell_id, command_id, "typed", end=True)
        output = protocol.get_command_output(shell_id, command_id)
        protocol.close_shell(shell_id)
        return output

    assert used(use, tmp_path) == (b"typed", b"", 0)


def test_a_script_by_its_own_session(tmp_path: Path) -> None:
    def use(protocol: Protocol) -> Any:
        session = Session("web01", auth=("sim", "sim"))
        session.protocol = protocol
        results = [session.run_ps(script) for script in ("1 + 1; 'ä'", "Write-Error 'no'; exit 7", "throw 'boom'")]
        return [
            (result.std_out.decode("cp437"), result.std_err.decode("cp437"), result.status_code) for result in results
        ]

    first, second, third = used(use, tmp_path)
    assert first == ("2\r\nä\r\n", "", 0)
    assert second == ("", "no", 7)
    assert third == ("", "boom", 1)


def test_a_wrong_password(tmp_path: Path) -> None:
    with pytest.raises(InvalidCredentialsError):
        used(lambda protocol: protocol.open_shell(), tmp_path, password="wrong")


def test_faults_are_read_by_their_code(tmp_path: Path) -> None:
    with pytest.raises(WSManFaultError) as caught:
        used(lambda protocol: protocol.open_shell(), tmp_path, faults="quota")
    assert caught.value.wsman_fault_code == 2150859173
    with pytest.raises(WSManFaultError) as caught:
        used(lambda protocol: protocol.open_shell(), tmp_path, faults="wmi-fault:2150859174@Create")
    assert caught.value.wmierror_code == 2150859174
