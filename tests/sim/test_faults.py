"""Scripted faults: the language, and what each does on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from remotejobs.errors import ConfigurationError
from remotejobs.sim import faults, soap
from remotejobs.sim.faults import FaultScript, parse_faults
from remotejobs.sim.shells import HostSettings
from tests.sim.wire import (
    POWERSHELL,
    SHELL,
    Client,
    Puppets,
    command,
    connected,
    create,
    host_of,
    on_shell,
    one_host,
    receive,
    run,
    streams,
)

POOL = "0F0E0D0C-0B0A-0908-0706-050403020100"
GET = on_shell("Get", POOL, resource=SHELL)
CREATE = create(POWERSHELL, POOL)
DELETE = on_shell("Delete", POOL, resource=POWERSHELL)


def next_receive() -> str:
    """A Receive of its own: the same message again would ask for the same answer again."""
    return receive(POOL, resource=POWERSHELL)


# The language


def test_every_fault_is_documented() -> None:
    assert faults.__doc__ is not None
    for name in faults.NAMES:
        assert f"| `{name}" in faults.__doc__, name


def test_a_script_is_read() -> None:
    script = parse_faults(" slow:2.5,status:503@Create*2\treset@receive#3 quota ")
    assert [(f.name, f.argument, f.operation, f.first, f.left) for f in script] == [
        ("slow", 2.5, "", 1, None),
        ("status", 503, "Create", 1, 2),
        ("reset", 0, "Receive", 3, None),
        ("quota", 0, "Create", 1, None),
    ]


@pytest.mark.parametrize(
    "text",
    ["explode", "reset@Fly", "status", "status:x", "status:1.2.3", "reset:3", "reset*", "reset#2", "reset@Create#",
     "@Create", "wrong-password@Create", "refuse@Get", "RESET", "reset@Create@Get", "slow:-1"],
)  # fmt: skip
def test_what_is_no_script_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_faults(text)


@given(st.text(max_size=60))
def test_any_text_is_a_script_or_an_error(text: str) -> None:
    try:
        parse_faults(text)
    except ConfigurationError as error:
        assert error.message


def test_faults_are_spent_one_request_at_a_time() -> None:
    script = FaultScript(parse_faults("reset@Create#2*2, slow:1, stall@Get"))
    assert [[f.name for f in script.take("Create")] for _ in range(4)] == [[], ["reset"], ["reset"], []]
    assert [[f.name for f in script.take("")] for _ in range(2)] == [["slow"], ["slow"]]


# The wire

Play = Callable[[Client, Puppets], Awaitable[None]]


def played(script: str, play: Play, *, opened: bool = True) -> None:
    """Play against a host with this script, after Create where `opened`."""
    puppets = Puppets()

    async def main() -> None:
        fleet = one_host(script, {f"{soap.POWERSHELL}/": puppets})
        async with fleet, await connected(fleet) as client:
            if opened:
                assert (await client.post(CREATE)).status == 200
            await play(client, puppets)

    run(main())


def test_refuse_closes_the_port() -> None:
    async def main() -> None:
        async with one_host("refuse", https=True) as fleet:
            for port in (host_of(fleet).http_port, host_of(fleet).https_port):
                assert port
                with pytest.raises(ConnectionRefusedError):
                    await Client.open(port)

    run(main())


def test_wrong_password_refuses_the_right_one() -> None:
    async def play(client: Client, _: Puppets) -> None:
        assert [(await client.post(GET)).status for _ in range(3)] == [401, 401, 500]

    played("wrong-password*2", play, opened=False)


def test_slow_answers_come_late() -> None:
    async def play(client: Client, _: Puppets) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert (await client.post(GET)).status == 200
        assert loop.time() - begin >= 0.05

    played("slow:0.05@Get", play)


@pytest.mark.parametrize(("fault", "acted"), [("reset", False), ("reset-after", True)])
def test_reset_breaks_the_connection(fault: str, acted: bool) -> None:
    puppets = Puppets()

    async def main() -> None:
        async with one_host(f"{fault}@Command", {f"{soap.POWERSHELL}/": puppets}) as fleet:
            async with await connected(fleet) as client:
                await client.post(CREATE)
                with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                    await client.post(command(POOL, "", "AAAA", resource=POWERSHELL))
            assert host_of(fleet).counters.commands == int(acted)

    run(main())


@pytest.mark.parametrize(("fault", "acted"), [("stall", False), ("stall-after", True)])
def test_stall_never_answers(fault: str, acted: bool) -> None:
    async def play(client: Client, puppets: Puppets) -> None:
        await client.send(command(POOL, "", "AAAA", resource=POWERSHELL))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reply()
        assert len(puppets.last.calls) == 1 + acted

    played(f"{fault}@Command", play)


def test_statuses() -> None:
    async def play(client: Client, _: Puppets) -> None:
        replies = [await client.post(CREATE) for _ in range(3)]
        assert [(reply.status, reply.body == b"") for reply in replies] == [(503, True), (503, True), (200, False)]

    played("status:503@Create*2", play, opened=False)


def test_a_fault_without_an_operation_comes_before_the_logon() -> None:
    async def play(client: Client, _: Puppets) -> None:
        reply = await client.post(GET, logon=None)
        assert (reply.status, reply.body[:15]) == (200, b"<!DOCTYPE html>")
        assert dict(reply.headers)["Content-Type"].startswith("text/html")

    played("html", play, opened=False)


def test_garbage_is_no_http() -> None:
    async def play(client: Client, _: Puppets) -> None:
        await client.send(GET)
        assert not (await client.reader.read()).startswith(b"HTTP")

    played("garbage", play, opened=False)


def test_truncate_ends_in_the_middle_of_the_answer() -> None:
    async def play(client: Client, _: Puppets) -> None:
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await client.post(GET)
        assert caught.value.expected is not None
        assert 0 < len(caught.value.partial) < caught.value.expected

    played("truncate@Get", play)


def test_faults_of_ws_man() -> None:
    async def play(client: Client, _: Puppets) -> None:
        reply = await client.post(CREATE)
        assert (reply.status, reply.fault, reply.subcode) == (500, 1115, "w:InternalError")
        reply = await client.post(CREATE)
        assert (reply.fault, reply.text("error_Code")) == (0, "2150859174")
        reply = await client.post(CREATE)
        assert (reply.fault, reply.subcode) == (2150859173, "w:QuotaLimit")
        assert reply.text("RelatesTo").startswith("uuid:")
        assert (await client.post(CREATE)).status == 200

    played("fault:1115@Create*1, wmi-fault:2150859174@Create#2*1, quota*1", play, opened=False)


def test_a_reboot_loses_shells_and_connections() -> None:
    puppets = Puppets()

    async def main() -> None:
        async with one_host("reboot:0.1@Receive*1", {f"{soap.POWERSHELL}/": puppets}) as fleet:
            async with await connected(fleet) as first, await connected(fleet) as other:
                await first.post(CREATE)
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await first.post(next_receive())
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await other.post(GET)
            assert puppets.last.calls[-1] == ("close",)
            while True:  # while it is down, connections are reset
                try:
                    async with await connected(fleet) as client:
                        assert (await client.post(GET)).fault == 2150858843
                        break
                except (ConnectionError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.01)

    run(main())


def test_oversize_is_more_than_the_client_asked_for() -> None:
    async def play(client: Client, _: Puppets) -> None:
        reply = await client.post(GET)
        assert len(reply.body) > 1_000_000
        assert reply.text("ShellId") == POOL

    played("oversize:1000000@Get", play)


def test_endless_does_not_end() -> None:
    async def play(client: Client, puppets: Puppets) -> None:
        puppets.last.sink.output("stdout", b"1", None)
        await client.send(next_receive())
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert b"Content-Length" not in head
        body = await client.reader.readexactly(5_000_000)
        assert b"<rsp:Stream" in body
        assert b"0\r\n\r\n" not in body

    played("endless@Receive", play)


def test_an_entity_bomb_is_small_and_goes_off_in_a_careless_parser() -> None:
    async def play(client: Client, _: Puppets) -> None:
        body = (await client.post(GET)).body
        assert len(body) < 10_000
        with pytest.raises(etree.XMLSyntaxError, match=r"amplification|entity"):
            etree.fromstring(body)

    played("entity-bomb@Get", play)


def test_answers_can_be_spoilt() -> None:
    async def play(client: Client, puppets: Puppets) -> None:
        sink = puppets.last.sink

        async def said() -> list[bytes]:
            for data in (b"1", b"2"):
                sink.output("stdout", data, None)
            return [data for _, data, _ in streams(await client.post(next_receive()))]

        assert await said() == [b"1", b"1", b"2", b"2"]
        assert await said() == [b"2", b"1"]
        assert await said() == [b"1", b"2"]
        assert await said() == [b"1", b"2"]  # the third answer once more
        assert await said() == [b"1", b"2", b"1", b"2"]
        sink.output("stdout", b"3", None)
        reply = await client.post(next_receive())
        assert reply.text("Stream") == "*not base64*"
        reply = await client.post(receive(POOL, resource=POWERSHELL, timeout="PT0.01S", message_id="uuid:mine"))
        assert reply.text("RelatesTo") not in ("", "uuid:mine")

    script = "duplicate@Receive*1, out-of-order@Receive#2*1, replay@Receive#3*1, bad-base64@Receive#6*1"
    played(f"{script}, wrong-relatesto@Receive#7*1", play)


def test_deleting_works_whatever_else_does_not() -> None:
    async def play(client: Client, _: Puppets) -> None:
        assert (await client.post(GET)).status == 500
        assert (await client.post(DELETE)).status == 200

    played("status:500@Get", play)


def test_faults_that_are_settings_of_the_host() -> None:
    script = FaultScript(parse_faults("silence:2.5, no-replay linger"))
    settings = script.settings(HostSettings(max_shells=3))
    assert settings == HostSettings(max_shells=3, silence_disconnects=2.5, replays_end=False, lingering=True)
    assert FaultScript().settings(HostSettings()) == HostSettings()
    assert script.take("Receive") == script.take("") == []
    for wrong in ("silence", "no-replay:1", "linger@Receive"):
        with pytest.raises(ConfigurationError):
            parse_faults(wrong)
