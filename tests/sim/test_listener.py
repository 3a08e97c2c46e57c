"""The HTTP side of a simulated host, over real sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from pathlib import Path

import pytest

from remotejobs.errors import ConfigurationError
from remotejobs.sim.certificates import CertificateAuthority
from remotejobs.sim.fleet import CA_FILE, SERVER_LIST, Fleet, FleetOptions
from remotejobs.sim.shells import HostSettings
from remotejobs.targets import inventory
from tests.sim.wire import SHELL, Client, Puppets, command, connected, create, host_of, one_host, receive, run, streams

IDENTIFY = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    "<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)


def logon(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode("ascii")


def test_a_connection_is_kept_alive_and_looks_like_http_sys() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            for _ in range(3):
                reply = await client.post(IDENTIFY)
                assert reply.status == 200
                assert ("Server", "Microsoft-HTTPAPI/2.0") in reply.headers
                assert ("Content-Type", "application/soap+xml;charset=UTF-8") in reply.headers
            assert host_of(fleet).counters.connections == 1

    run(main())


def test_a_request_without_a_logon_gets_one_challenge_for_each_mechanism() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            reply = await client.post(IDENTIFY, logon=None)
            assert (reply.status, reply.body) == (401, b"")
            assert reply.challenges() == ["Negotiate", 'Basic realm="WSMAN"']
            assert host_of(fleet).counters.refused == 0
            assert (await client.post(IDENTIFY)).status == 200

    run(main())


@pytest.mark.parametrize(
    ("token", "accepted"),
    [
        (logon("sim", "sim"), True),
        (logon("SIM", "sim"), True),
        (logon("WEB01\\sim", "sim"), True),
        (logon("sim", "Sim"), False),
        (logon("simon", "sim"), False),
        (logon("sim", ""), False),
        (b64encode(b"sim").decode("ascii"), False),
        ("no base64!", False),
        (b64encode(b"\xff\xfe:sim").decode("ascii"), False),
    ],
)
def test_only_the_account_and_its_password_are_accepted(token: str, accepted: bool) -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            assert (await client.post(IDENTIFY, logon=token)).status == (200 if accepted else 401)
            assert host_of(fleet).counters.refused == (0 if accepted else 1)

    run(main())


def test_the_account_can_be_another() -> None:
    async def main() -> None:
        async with one_host(user="Zoë", password="pass:wörd") as fleet, await connected(fleet) as client:
            assert (await client.post(IDENTIFY, logon=logon("zoë", "pass:wörd"))).status == 200
            assert (await client.post(IDENTIFY)).status == 401

    run(main())


def test_basic_over_http_needs_allow_unencrypted() -> None:
    async def main() -> None:
        async with Fleet(["web01"], FleetOptions(https=False)) as fleet, await connected(fleet) as client:
            reply = await client.post(IDENTIFY)
            assert (reply.status, reply.challenges()) == (401, ["Negotiate"])

    run(main())


def test_https_has_a_certificate_of_the_fleets_authority_for_the_name() -> None:
    async def main() -> None:
        async with Fleet(["web01", "10.1.2.3"]) as fleet:
            tls = ssl.create_default_context(cadata=fleet.ca_pem)
            for name, host in fleet.hosts.items():
                for called in (name, "localhost", "127.0.0.1"):
                    async with await Client.open(host.https_port, tls, called) as client:
                        assert (await client.post(IDENTIFY)).status == 200
                with pytest.raises(ssl.SSLCertVerificationError):
                    await Client.open(host.https_port, tls, "web02")
            with pytest.raises(ssl.SSLCertVerificationError):
                await Client.open(host.https_port, ssl.create_default_context(), "localhost")

    run(main())


def test_a_certificate_is_valid_on_the_day_it_is_made() -> None:
    authority = CertificateAuthority()
    assert authority.issue("web01").count(b"BEGIN CERTIFICATE") == 1
    assert "PRIVATE KEY" not in authority.pem


async def answered(data: bytes) -> bytes:
    """What a host answers to these bytes until it ends the connection, or one answer's head."""
    async with one_host() as fleet, await connected(fleet) as client:
        client.writer.write(data)
        return await client.reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /wsman HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"POST /wsman HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /wsman HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /wsman HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST /wsman HTTP/1.1\r\nContent-Length: ²\r\n\r\n".encode("latin-1"), 400),
        (b"POST /wsman HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /wsman HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", 413),
        (b"POST /wsman\r\n\r\n", 400),
        (b"POST /wsman SMTP\r\n\r\n", 400),
        (b"POST /wsman HTTP/1.1\r\n folded: 1\r\n\r\n", 400),
        (b"POST /wsman HTTP/1.1\r\nX: " + b"x" * 20000, 400),
        (b"POST /wsman HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", 400),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400),
        (b"POST /other HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404),
        (b"GET /wsman HTTP/1.1\r\n\r\n", 405),
        (b"POST /wsman?PSVersion=7.6.5 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 401),
        (b"POST /WSMAN HTTP/1.0\r\nContent-Length: 0\r\n\r\n", 401),
    ],
)
def test_malformed_requests_are_refused_as_http_sys_does(data: bytes, status: int) -> None:
    assert run(answered(data)).startswith(f"HTTP/1.1 {status} \r\n".encode())


def test_a_request_may_come_in_pieces_and_two_at_once() -> None:
    body = IDENTIFY.encode()
    data = b"POST /wsman HTTP/1.1\r\nAuthorization: Basic c2ltOnNpbQ==\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )

    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            for at in range(len(data)):
                client.writer.write(data[at : at + 1])
                await asyncio.sleep(0)
            assert (await client.reply()).status == 200
            client.writer.write(data + data)
            assert [(await client.reply()).status for _ in range(2)] == [200, 200]

    run(main())


def test_a_client_that_waits_for_100_is_told_to_go_on() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            assert (await client.post(b"", more="Expect: 100-continue\r\n")).status == 500  # nothing to wait for
            head = b"POST /wsman HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            client.writer.write(head)
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.writer.write(b"hello")
            assert (await client.reply()).status == 401

    run(main())


def test_connection_close_is_honoured() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            reply = await client.post(IDENTIFY, more="Connection: close\r\n")
            assert reply.status == 200
            assert await client.reader.read() == b""

    run(main())


def test_latency_holds_every_answer_back() -> None:
    async def main() -> None:
        async with one_host(latency=0.05) as fleet, await connected(fleet) as client:
            loop = asyncio.get_running_loop()
            begin = loop.time()
            await client.post(IDENTIFY)
            assert loop.time() - begin >= 0.05

    run(main())


def test_the_server_list_is_one_that_targets_can_read() -> None:
    async def main() -> None:
        async with Fleet(["web01", "web02"]) as fleet:
            for tls in (True, False):
                targets = inventory.parse(fleet.server_list(ssl=tls), "list")
                assert [target.name for target in targets] == ["web01", "web02"]
                assert [target.address for target in targets] == ["127.0.0.1"] * 2
                ports = [host.https_port if tls else host.http_port for host in fleet.hosts.values()]
                assert [target.port for target in targets] == ports
                assert [target.ssl for target in targets] == [tls] * 2

    run(main())


def test_the_files_hold_the_list_and_the_authority_and_no_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with Fleet(["web01"]) as fleet:
            folder = tmp_path / "new"
            fleet.write(folder)
            assert sorted(path.name for path in folder.iterdir()) == sorted([SERVER_LIST, CA_FILE])
            assert (folder / CA_FILE).read_text() == fleet.ca_pem
            assert (folder / SERVER_LIST).read_text() == fleet.server_list()

    run(main())


def test_counters_are_told_over_http() -> None:
    async def main() -> None:
        options = FleetOptions(settings=HostSettings(allow_unencrypted=True), control=True, https=False)
        async with Fleet(["web01", "web02"], options) as fleet:
            async with await Client.open(fleet.hosts["web01"].http_port) as client:
                shell = (await client.post(create())).text("ShellId")
                started = (await client.post(command(shell, "echo hi"))).text("CommandId")
                assert streams(await client.post(receive(shell, started)))[0] == ("stdout", b"hi\r\n", False)
                await client.post(IDENTIFY, logon=logon("sim", "wrong"))
                await client.post(receive(shell, "unknown"))
            async with await Client.open(fleet.control_port) as control:
                control.writer.write(b"GET /counters HTTP/1.1\r\n\r\n")
                counters = json.loads((await control.reply()).body)
                control.writer.write(b"GET /else HTTP/1.1\r\n\r\n")
                assert (await control.reply()).status == 404
        assert counters["web01"] == {
            "requests": {"Create": 1, "Command": 1, "Receive": 2},
            "faults": {"2150858843": 1},
            "scripts": {"echo hi": 1},
            "logons": {"sim": 2},
            "logon_failures": {"sim": 1},
            "commands": 1,
            "records": 0,
            "connections": 1,
            "refused": 1,
            "shells": 1,
            "most_shells": 1,
        }
        assert counters["web02"]["connections"] == 0

    run(main())


def test_a_host_tells_its_counters_to_its_own_account() -> None:
    async def main() -> None:
        async with Fleet(["web01"], FleetOptions()) as fleet:
            host = fleet.hosts["web01"]
            tls = ssl.create_default_context(cadata=fleet.ca_pem)
            async with await Client.open(host.https_port, tls, "web01") as client:
                await client.post(create())
                replies = []
                for authorization in ("", f"Authorization: Basic {logon('sim', 'sim')}\r\n"):
                    client.writer.write(f"GET /counters HTTP/1.1\r\n{authorization}\r\n".encode())
                    replies.append(await client.reply())
                client.writer.write(b"POST /counters HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
                replies.append(await client.reply())
            assert [reply.status for reply in replies] == [401, 200, 405]
            assert json.loads(replies[1].body) == host.counters.to_dict()
            assert host.counters.requests == {"Create": 1}

    run(main())


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    puppets = Puppets()

    async def main() -> None:
        async with one_host(factories={f"{SHELL}/cmd": puppets}) as fleet:
            async with await connected(fleet) as client:
                shell = (await client.post(create())).text("ShellId")
                await client.send(receive(shell))
            async with await connected(fleet) as client:
                puppets.last.sink.output("stdout", b"late", None)
                # The Receive of the first connection has ended with it: its output is still there.
                reply = await client.post(receive(shell))
                while reply.fault == 2150858802:  # the host has not seen the end of the first connection yet
                    reply = await client.post(receive(shell))
                assert streams(reply) == [("stdout", b"late", False)]

    run(main())


def test_a_body_that_never_ends_is_not_read() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            client.writer.write(b"POST /wsman HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                for _ in range(200):
                    client.writer.write(b"x" * 65536)
                    await client.writer.drain()
                await client.reader.readexactly(1 << 20)

    run(main())


def test_a_thousand_hosts_start() -> None:
    async def main() -> None:
        names = [f"web{number:04}" for number in range(1000)]
        async with Fleet(names, FleetOptions(http=False)) as fleet:
            tls = ssl.create_default_context(cadata=fleet.ca_pem)
            async with await Client.open(fleet.hosts["web0999"].https_port, tls, "web0999") as client:
                assert (await client.post(IDENTIFY)).status == 200

    run(main())


def test_faults_for_a_host_that_is_not_there_are_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="web02"):
        Fleet(["web01"], FleetOptions(faults={"web02": "reset"}))
