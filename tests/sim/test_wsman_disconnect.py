"""Disconnecting from shells of a simulated host, finding them again, and what silence does to them."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from lxml import etree

from remotejobs.sim import soap
from remotejobs.sim.counters import Counters
from remotejobs.sim.shells import HostInfo, HostSettings
from remotejobs.sim.wsman import Wsman
from tests.sim.scene import PIPELINE, POOL, Scene, polling, said
from tests.sim.wire import (
    CMD,
    ENUMERATION,
    POWERSHELL,
    SHELL,
    Puppets,
    connected,
    create,
    envelope,
    on_shell,
    receive,
    run,
)


def disconnect(body: str = "<rsp:Disconnect/>", **how: str) -> str:
    return on_shell("Disconnect", POOL, body, resource=POWERSHELL, **how)


def reconnect(**how: str) -> str:
    return on_shell("Reconnect", POOL, resource=POWERSHELL, **how)


def connect(command_id: str = "", **how: str) -> str:
    xml = b64encode(b"connect me").decode("ascii")
    body = f'<rsp:Connect><connectXml xmlns="http://schemas.microsoft.com/powershell">{xml}</connectXml></rsp:Connect>'
    if command_id:
        body = f'<rsp:Connect CommandId="{command_id}"/>'
    return on_shell("Connect", POOL, body, resource=POWERSHELL, **how)


def test_a_disconnected_shell_answers_its_own_client_only_after_reconnect() -> None:
    async def main() -> None:
        async with Scene() as scene, await connected(scene.fleet) as other:
            await scene.pool()
            await scene.pipeline()
            assert (await scene.post(reconnect())).fault == 2150859216
            await polling(scene, receive(POOL, PIPELINE, resource=POWERSHELL), other)
            idle = "<rsp:IdleTimeout>PT90S</rsp:IdleTimeout>"
            body = f"<rsp:Disconnect>{idle}<rsp:BufferMode>Drop</rsp:BufferMode></rsp:Disconnect>"
            assert (await scene.post(disconnect(body))).action == "DisconnectResponse"
            assert (await other.reply()).fault == 2150859230
            shell = await scene.post(on_shell("Get", POOL, resource=SHELL))
            assert [shell.text(name) for name in ("State", "IdleTimeOut", "BufferMode")] == [
                "Disconnected",
                "PT90.000S",
                "Drop",
            ]
            assert (await scene.receive(PIPELINE)).fault == 2150859204
            assert (await scene.post(disconnect())).fault == 2150859204
            assert (await scene.post(reconnect(session="uuid:other"))).fault == 2150859206
            scene.say(b"meanwhile", PIPELINE)
            assert (await scene.post(reconnect())).action == "ReconnectResponse"
            assert said(await scene.receive(PIPELINE)) == b"meanwhile"

    run(main())


def test_another_client_takes_a_disconnected_shell_and_gets_the_last_batch_again() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            await scene.pipeline()
            scene.say(b"seen?", PIPELINE)
            assert said(await scene.receive(PIPELINE)) == b"seen?"
            assert (await scene.post(connect(session="uuid:other"))).fault == 2150859213
            await scene.post(disconnect())
            reply = await scene.post(connect(session="uuid:other"))
            assert reply.action == "ConnectResponse"
            assert reply.text("connectResponseXml") == b64encode(b"connected").decode("ascii")
            assert ("connect", b"connect me") in scene.powershell.last.calls
            assert (await scene.post(connect(PIPELINE, session="uuid:other"))).action == "ConnectResponse"
            assert (await scene.post(connect(POOL, session="uuid:other"))).fault == 2150858843
            scene.say(b"new", PIPELINE)
            assert said(await scene.receive(PIPELINE)) == b"seen?"
            assert said(await scene.receive(PIPELINE)) == b"new"
            assert (await scene.post(disconnect())).fault == 2150859206  # the first client has lost it
            await scene.post(disconnect(session="uuid:other"))
            assert (await scene.post(reconnect())).fault == 2150859206

    run(main())


def test_a_disconnected_shell_can_be_deleted() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            await scene.post(disconnect())
            assert (await scene.post(on_shell("Delete", POOL, resource=POWERSHELL))).status == 200

    run(main())


def test_a_cmd_shell_cannot_be_disconnected() -> None:
    async def main() -> None:
        async with Scene() as scene:
            shell_id = (await scene.post(create())).text("ShellId")
            assert (await scene.post(on_shell("Disconnect", shell_id, "<rsp:Disconnect/>"))).fault == 2150858753

    run(main())


def test_what_runs_is_found_by_enumerating() -> None:
    def commands(shell_id: str) -> str:
        dialect = "http://schemas.dmtf.org/wbem/wsman/1/wsman/SelectorFilter"
        chosen = f'<w:SelectorSet><w:Selector Name="ShellId">{shell_id}</w:Selector></w:SelectorSet>'
        body = f'<n:Enumerate><w:OptimizeEnumeration/><w:Filter Dialect="{dialect}">{chosen}</w:Filter></n:Enumerate>'
        return envelope(f"{ENUMERATION}/Enumerate", body, resource=f"{SHELL}/Command")

    async def main() -> None:
        async with Scene() as scene:
            shells = envelope(
                f"{ENUMERATION}/Enumerate",
                "<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>20</w:MaxElements></n:Enumerate>",
                resource=SHELL,
            )
            assert (await scene.post(shells)).xml.find(".//{*}Items") is None
            await scene.pool()
            await scene.post(create())
            found = (await scene.post(shells)).xml.findall(".//{*}Items/{*}Shell")
            assert [shell.findtext("{*}ResourceUri") for shell in found] == [POWERSHELL, CMD]
            assert (await scene.post(commands(POOL))).xml.find(".//{*}Items") is None
            await scene.pipeline()
            reply = await scene.post(commands(POOL))
            assert (reply.text("CommandId"), reply.text("CommandState")) == (PIPELINE, "Running")
            scene.powershell.last.sink.command_state(PIPELINE, "Done", 0)
            assert (await scene.post(commands(POOL))).xml.find(".//{*}Items") is None
            assert (await scene.post(commands("none"))).fault == 2150858843

    run(main())


def test_a_shell_has_the_name_and_the_buffering_it_was_made_with() -> None:
    async def main() -> None:
        async with Scene() as scene:
            more = "<rsp:BufferMode>Drop</rsp:BufferMode>"
            body = create(POWERSHELL, POOL, more).replace("<rsp:Shell ", '<rsp:Shell Name="nightly &lt;1&gt;" ')
            assert (await scene.post(body)).status == 200
            shell = await scene.post(on_shell("Get", POOL, resource=SHELL))
            assert (shell.text("Name"), shell.text("BufferMode")) == ("nightly <1>", "Drop")

    run(main())


def test_the_end_of_a_command_is_repeated_unless_the_host_is_told_not_to() -> None:
    async def ended(**settings: bool) -> tuple[str, int]:
        async with Scene(**settings) as scene:
            await scene.pool()
            await scene.pipeline()
            scene.say(b"last", PIPELINE)
            scene.powershell.last.sink.command_state(PIPELINE, "Done", 0)
            assert said(await scene.receive(PIPELINE)) == b"last"
            await scene.post(disconnect())
            await scene.post(reconnect())
            reply = await scene.receive(PIPELINE)
            return said(reply).decode() if reply.status == 200 else "", reply.fault if reply.status != 200 else 0

    assert run(ended()) == ("last", 0)
    assert run(ended(replays_end=False)) == ("", 2150858843)


def test_a_receive_may_outlive_its_client() -> None:
    async def main() -> None:
        async with Scene(lingering=True) as scene:
            await scene.pool()
            await scene.pipeline()
            other = await connected(scene.fleet)
            await polling(scene, receive(POOL, PIPELINE, resource=POWERSHELL), other)
            await other.close()
            assert (await scene.receive(PIPELINE)).fault == 2150858802
            assert (await scene.post(connect(session="uuid:other"))).fault == 2150859213
            await scene.post(disconnect())
            await scene.post(reconnect())
            scene.say(b"here", PIPELINE)
            assert said(await scene.receive(PIPELINE)) == b"here"

    run(main())


def test_what_a_dead_client_was_sent_comes_again() -> None:
    async def main() -> None:
        async with Scene(lingering=True) as scene:
            await scene.pool()
            await scene.pipeline()
            other = await connected(scene.fleet)
            await polling(scene, receive(POOL, PIPELINE, resource=POWERSHELL), other)
            await other.close()
            scene.say(b"to nobody", PIPELINE)
            await asyncio.sleep(0)
            assert said(await scene.receive(PIPELINE)) == b"to nobody"

    run(main())


def test_drop_loses_the_oldest_output_while_nobody_is_there() -> None:
    drop = "<rsp:Disconnect><rsp:BufferMode>Drop</rsp:BufferMode></rsp:Disconnect>"

    async def main() -> None:
        async with Scene(buffer_size=16) as scene:
            await scene.pool()
            await scene.pipeline()
            sink = scene.powershell.last.sink
            scene.say(b"123456789012", PIPELINE)
            full = [sink.full]  # these are 16 characters of base64
            scene.say(b"1", PIPELINE)
            assert [*full, sink.full] == [False, True]
            assert said(await scene.receive(PIPELINE)) == b"123456789012|1"
            await scene.post(disconnect(drop))
            scene.say(b"old", PIPELINE)
            scene.say(b"more", PIPELINE)
            assert not sink.full
            assert (await scene.post(connect(session="uuid:other"))).action == "ConnectResponse"
            assert said(await scene.receive(PIPELINE)) == b"123456789012|1"  # it may not have come, and there was room
            assert said(await scene.receive(PIPELINE)) == b"old|more"
            await scene.post(disconnect(drop, session="uuid:other"))
            for word in (b"old", b"new", b"newer", b"newest"):
                scene.say(word, PIPELINE)
            sink.command_state(PIPELINE, "Done", 0)
            assert (await scene.post(connect())).action == "ConnectResponse"
            assert said(await scene.receive(PIPELINE)) == b"newer|newest"

    run(main())


def test_block_makes_the_script_wait() -> None:
    async def main() -> None:
        async with Scene(buffer_size=16) as scene:
            await scene.pool()
            await scene.pipeline()
            await scene.post(disconnect())
            for word in (b"old", b"new", b"newer", b"newest"):
                scene.say(word, PIPELINE)
            assert scene.powershell.last.sink.full
            await scene.post(reconnect())
            assert said(await scene.receive(PIPELINE)) == b"old|new|newer|newest"

    run(main())


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_silence_disconnects_a_powershell_shell_and_then_it_goes_away() -> None:
    async def main() -> None:
        time, puppets, counters = Time(), Puppets(), Counters()
        host = HostInfo(
            "web01", settings=HostSettings(silence_disconnects=60, default_idle_timeout=600), counters=counters
        )
        service = Wsman(host, {f"{soap.POWERSHELL}/": puppets}, time)

        async def post(body: str) -> etree._Element:
            return etree.fromstring((await service.act(soap.read_request(body.encode(), "192.0.2.1"))).body)

        async def seen() -> tuple[str | None, str | None, str | None]:
            shell = (await post(on_shell("Get", POOL, resource=SHELL))).find(".//{*}Body")
            assert shell is not None
            return (
                shell.findtext(".//{*}State"),
                shell.findtext(".//{*}ShellRunTime"),
                shell.findtext(".//{*}ShellInactivity"),
            )

        await post(create(POWERSHELL, POOL))
        time.now += 60
        assert await seen() == ("Connected", "P0DT0H1M0S", "P0DT0H1M0S")
        time.now += 2
        assert await seen() == ("Disconnected", "P0DT0H1M2S", "P0DT0H1M2S")
        await post(reconnect())
        assert await seen() == ("Connected", "P0DT0H1M2S", "P0DT0H0M0S")
        time.now += 601
        fault = (await post(on_shell("Get", POOL, resource=SHELL))).find(".//{*}WSManFault")
        assert fault is not None
        assert fault.get("Code") == "2150858843"
        assert puppets.last.calls[-1] == ("close",)
        assert counters.shells == 0

    run(main())
