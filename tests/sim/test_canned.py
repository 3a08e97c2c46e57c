"""Canned hosts: good enough for unmodified clients, with every id where it belongs."""

from __future__ import annotations

import asyncio
import ssl
import struct
import subprocess
import sys
import uuid
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from remotejobs.sim import canned
from remotejobs.sim.canned import CannedHosts
from remotejobs.sim.canned_answers import prebuild
from remotejobs.sim.psrp_wire import Defragmenter, Message, MessageType, fragments, pack_message, unpack_message
from tests.kdc import PASSWORD, REALM, Kdc
from tests.sim.wire import POWERSHELL, Client, Reply, command, create, on_shell, receive, run, signal, state, streams

POOL = uuid.UUID("0f0e0d0c-0b0a-0908-0706-050403020100")
PIPELINE = uuid.UUID("11111111-0b0a-0908-0706-050403020199")


def opening(pool: uuid.UUID) -> str:
    """Create with a real first message."""
    first = b"".join(fragments(1, pack_message(MessageType.SESSION_CAPABILITY, pool, None, b"<Obj/>", to=2)))
    text = b64encode(first).decode("ascii")
    return create(POWERSHELL, str(pool).upper()).replace(">AAAA<", f">{text}<")


def messages(*replies: Reply) -> list[Message]:
    joiner = Defragmenter()
    return [
        unpack_message(raw, to=1) for reply in replies for _, data, _ in streams(reply) for raw in joiner.feed(data)
    ]


def conversation(objects: int, pool_answers: int = 2) -> None:
    async def main() -> None:
        server = await canned.serve(CannedHosts(prebuild(objects, pool_answers=pool_answers)))
        async with server, await Client.open(server.sockets[0].getsockname()[1]) as client:
            shell_id, command_id = str(POOL).upper(), str(PIPELINE).upper()
            reply = await client.post(opening(POOL))
            assert (reply.status, reply.text("ShellId")) == (200, shell_id)
            pool = [await client.post(receive(shell_id, resource=POWERSHELL)) for _ in range(pool_answers)]
            assert [message.type for message in messages(*pool)] == [
                MessageType.SESSION_CAPABILITY,
                MessageType.APPLICATION_PRIVATE_DATA,
                MessageType.RUNSPACEPOOL_STATE,
            ]
            assert [message.pool_id for message in messages(*pool)] == [uuid.UUID(int=0), POOL, POOL]
            reply = await client.post(command(shell_id, "", "AAAA", command_id=command_id, resource=POWERSHELL))
            assert reply.text("CommandId") == command_id
            batches: list[Reply] = []
            while not batches or state(batches[-1])[0] != "Done":
                batches.append(await client.post(receive(shell_id, command_id, resource=POWERSHELL)))
                assert len(batches[-1].body) < 200_000
                assert {element.get("CommandId") for element in batches[-1].xml.iter("{*}Stream")} == {command_id}
            output = messages(*batches)
            assert [message.type for message in output[:-1]] == [MessageType.PIPELINE_OUTPUT] * objects
            assert output[-1].type == MessageType.PIPELINE_STATE
            assert {(message.pool_id, message.pipeline_id) for message in output} == {(POOL, PIPELINE)}
            ids = [struct.unpack_from(">Q", data)[0] for reply in [*pool, *batches] for _, data, _ in streams(reply)]
            assert ids == list(range(1, objects + 5))
            assert (await client.post(receive(shell_id, command_id, resource=POWERSHELL))).fault == 2150858843
            assert (await client.post(signal(shell_id, command_id, resource=POWERSHELL))).action == "SignalResponse"
            reply = await client.post(
                on_shell("Delete", shell_id, resource=POWERSHELL, message_id="uuid:" + command_id)
            )
            assert (reply.action, reply.text("RelatesTo")) == ("DeleteResponse", "uuid:" + command_id)
            assert (await client.post(receive(shell_id, resource=POWERSHELL))).fault == 2150858843

    run(main())


def test_one_object() -> None:
    conversation(1)


def test_many_objects_take_several_answers() -> None:
    conversation(200)


def test_the_pool_may_open_in_one_answer() -> None:
    conversation(1, pool_answers=1)


def test_without_the_logon_there_is_a_challenge() -> None:
    async def main() -> None:
        server = await canned.serve(CannedHosts(prebuild(1)))
        async with server, await Client.open(server.sockets[0].getsockname()[1]) as client:
            reply = await client.post(opening(POOL), logon=None)
            assert (reply.status, reply.challenges()) == (401, ["Negotiate", "CredSSP", 'Basic realm="WSMAN"'])
            assert (await client.post(opening(POOL))).status == 200

    run(main())


@pytest.mark.parametrize(
    ("mechanism", "encryption"),
    [("ntlm", "auto"), ("negotiate", "never"), ("credssp", "auto"), ("kerberos", "auto"), ("basic", "never")],
)
def test_pypsrp_logs_on_to_canned_hosts(mechanism: str, encryption: str, kdc: Kdc) -> None:
    user: dict[str, Any] = {"username": f"alice@{REALM}", "password": PASSWORD}
    if mechanism != "kerberos":
        user = {"username": "sim", "password": "sim"}

    def work(port: int) -> int:
        wsman = WSMan(
            "127.0.0.1",
            port=port,
            ssl=False,
            auth=mechanism,
            encryption=encryption,
            no_proxy=True,
            negotiate_hostname_override="web01",
            **user,
        )
        with wsman, RunspacePool(wsman) as pool:
            shell = PowerShell(pool)
            shell.add_script("1")
            return len(shell.invoke())

    async def main() -> None:
        server = await canned.serve(CannedHosts(prebuild(3), keytab=kdc.keytab))
        async with server:
            assert await asyncio.to_thread(work, server.sockets[0].getsockname()[1]) == 3

    run(main())


def test_latency_and_requests_in_pieces() -> None:
    async def main() -> None:
        server = await canned.serve(CannedHosts(prebuild(1), 0.05))
        async with server, await Client.open(server.sockets[0].getsockname()[1]) as client:
            loop = asyncio.get_running_loop()
            begin = loop.time()
            body = opening(POOL).encode()
            head = f"POST /wsman HTTP/1.1\r\ncontent-length: {len(body)}\r\nAUTHORIZATION: Basic c2ltOnNpbQ==\r\n\r\n"
            data = head.encode() + body
            for at in range(0, len(data), 100):
                client.writer.write(data[at : at + 100])
                await asyncio.sleep(0)
            assert (await client.reply()).status == 200
            assert loop.time() - begin >= 0.05

    run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_unmodified_pypsrp_in_a_process_of_its_own(tls: bool, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    words = [sys.executable, "-m", "remotejobs.sim.canned", "--objects", "3"]
    process = subprocess.Popen(
        [*words, *(["--ssl", "--ca-file", str(ca)] if tls else [])], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        wsman = WSMan(
            "127.0.0.1",
            port=port,
            ssl=tls,
            auth="basic",
            username="sim",
            password="sim",
            encryption="never",
            cert_validation=str(ca) if tls else True,  # type: ignore[arg-type]
            no_proxy=True,
        )
        with wsman, RunspacePool(wsman) as pool:
            shell = PowerShell(pool)
            shell.add_script("Get-Service")
            services = shell.invoke()
            assert [service.adapted_properties["ServiceName"] for service in services] == [
                f"Service{number:03}" for number in range(3)
            ]
            assert not shell.had_errors
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_unmodified_pywinrm() -> None:
    import winrm

    process = subprocess.Popen(
        [sys.executable, "-m", "remotejobs.sim.canned", "--objects", "3"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        session = winrm.Session(
            f"http://127.0.0.1:{port}/wsman", auth=("sim", "sim"), transport="plaintext", ca_trust_path=None
        )
        answer = session.run_cmd("sc", ["query"])
        assert (answer.status_code, answer.std_err) == (0, b"")
        assert [line.split()[0] for line in answer.std_out.splitlines()] == [
            b"Service000",
            b"Service001",
            b"Service002",
        ]
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    from remotejobs.sim.certificates import CertificateAuthority

    authority = CertificateAuthority()
    (tmp_path / "server.pem").write_bytes(authority.issue("canned"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    async def main() -> None:
        server = await canned.serve(CannedHosts(prebuild(1)), tls=context)
        trust = ssl.create_default_context(cadata=authority.pem)
        async with server, await Client.open(server.sockets[0].getsockname()[1], trust, "canned") as client:
            assert (await client.post(opening(POOL))).status == 200

    run(main())


def test_services_are_as_long_as_real_ones() -> None:
    (stream, *_) = prebuild(2).batches[0].split(b"</rsp:Stream>")
    assert 1000 < len(b64decode(stream.rsplit(b">", 1)[1])) < 3000
