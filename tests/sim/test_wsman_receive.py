"""How output comes out of a simulated host: long polls, acknowledgement, cuts, states and signals."""

from __future__ import annotations

import asyncio

import pytest

from remotejobs.sim import soap
from tests.sim.scene import PIPELINE, POOL, Scene, polling, said
from tests.sim.wire import (
    POWERSHELL,
    SHELL,
    Puppets,
    command,
    connected,
    create,
    on_shell,
    one_host,
    receive,
    run,
    signal,
    state,
    streams,
)

CRTL_C = "powershell/signal/crtl_c"


def test_output_waits_until_it_is_asked_for_and_a_receive_waits_for_output() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            scene.say(b"early")
            assert said(await scene.receive()) == b"early"
            await scene.client.send(receive(POOL, resource=POWERSHELL))
            # A second connection makes sure that the first request has been read.
            async with await connected(scene.fleet) as other:
                while (await other.post(receive(POOL, resource=POWERSHELL, timeout="PT0.01S"))).fault != 2150858802:
                    pass
            scene.say(b"late")
            scene.say(b"later")
            assert said(await scene.client.reply()) == b"late|later"

    run(main())


def test_pool_and_pipelines_have_their_own_output() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            await scene.pipeline()
            scene.say(b"command", PIPELINE)
            scene.say(b"pool")
            assert said(await scene.receive()) == b"pool"
            reply = await scene.receive(PIPELINE.lower())
            assert said(reply) == b"command"
            assert state(reply) == ("", None)

    run(main())


def test_nothing_to_say_is_a_fault_at_the_operation_timeout_and_loses_nothing() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            reply = await scene.receive(timeout="PT0.010S")
            assert (reply.status, reply.fault, reply.subcode) == (500, 2150858793, "w:TimedOut")
            scene.say(b"now")
            assert said(await scene.receive()) == b"now"
        async with Scene(max_timeout=0.01) as scene:
            await scene.pool()
            assert (await scene.receive(timeout="PT180S")).fault == 2150858793

    run(main())


def test_done_comes_with_the_last_output_and_ends_the_command() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            await scene.pipeline()
            sink = scene.powershell.last.sink
            sink.command_state(PIPELINE, "Pending", None)
            scene.say(b"asks", PIPELINE)
            assert state(await scene.receive(PIPELINE)) == ("Pending", None)
            sink.command_state(PIPELINE, "Done", 3)
            scene.say(b"too late", PIPELINE)
            reply = await scene.receive(PIPELINE)
            assert (said(reply), state(reply)) == (b"", ("Done", "3"))
            assert (await scene.receive(PIPELINE)).fault == 2150858843
            # The id may be used again, and Terminate is still answered before that.
            assert (await scene.post(signal(POOL, PIPELINE, resource=POWERSHELL))).status == 200
            assert (await scene.post(signal(POOL, PIPELINE, resource=POWERSHELL))).fault == 2150858843
            await scene.pipeline()

    run(main())


def test_long_output_is_cut_to_what_the_client_takes() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            await scene.pipeline()
            for number in range(8):
                scene.say(bytes([number]) * 32768, PIPELINE)
            scene.powershell.last.sink.command_state(PIPELINE, "Done", 0)
            replies = [await scene.receive(PIPELINE, size=512000) for _ in range(3)]
            assert [len(streams(reply)) for reply in replies[:2]] == [4, 4]
            assert [state(reply)[0] for reply in replies[:2]] == ["", "Done"]
            assert replies[2].fault == 2150858843
            await scene.pipeline()
            for _ in range(4):
                scene.say(b"x" * 32768, PIPELINE)
            assert len(streams(await scene.receive(PIPELINE, size=100000))) == 2
            assert len(streams(await scene.receive(PIPELINE, size=8192))) == 1  # never none

    run(main())


def test_a_cut_ends_an_answer() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            sink = scene.powershell.last.sink
            sink.cut(None)
            scene.say(b"1")
            scene.say(b"2")
            sink.cut(None)
            sink.cut(None)
            scene.say(b"3")
            assert [said(await scene.receive()) for _ in range(2)] == [b"1|2", b"3"]

    run(main())


def test_the_same_receive_again_is_the_same_answer_again() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            scene.say(b"1")
            first = receive(POOL, resource=POWERSHELL, message_id="uuid:1")
            assert said(await scene.post(first)) == b"1"
            scene.say(b"2")
            assert said(await scene.post(first)) == b"1"
            assert said(await scene.receive()) == b"2"  # another one acknowledges
            scene.say(b"3")
            assert said(await scene.receive()) == b"3"

    run(main())


def test_what_was_lost_with_its_connection_comes_again() -> None:
    async def main() -> None:
        puppets = Puppets()
        fleet = one_host("truncate@Receive#2*1", {f"{soap.POWERSHELL}/": puppets})
        async with fleet:
            async with await connected(fleet) as client:
                await client.post(create(POWERSHELL, POOL))
                sink = puppets.last.sink
                sink.output("stdout", b"1", None)
                assert said(await client.post(receive(POOL, resource=POWERSHELL))) == b"1"
                sink.output("stdout", b"2", None)
                with pytest.raises(asyncio.IncompleteReadError):
                    await client.post(receive(POOL, resource=POWERSHELL))
            async with await connected(fleet) as client:
                sink.output("stdout", b"3", None)
                assert said(await client.post(receive(POOL, resource=POWERSHELL))) == b"2"
                assert said(await client.post(receive(POOL, resource=POWERSHELL))) == b"3"

    run(main())


def test_a_cmd_shell_has_no_output_of_its_own() -> None:
    async def main() -> None:
        async with Scene() as scene:
            shell_id = (await scene.post(create())).text("ShellId")
            reply = await scene.post(receive(shell_id))
            assert (reply.fault, reply.text("ProviderFault")) == (87, "The parameter is incorrect. ")
            assert (await scene.post(receive(shell_id, PIPELINE))).fault == 2150858843
            assert (await scene.post(on_shell("Delete", shell_id))).status == 200

    run(main())


@pytest.mark.parametrize(
    ("code", "closes"),
    [
        (CRTL_C, False),
        (CRTL_C.upper(), False),
        ("powershell/signal/ctrl_c", True),
        (f"{SHELL}/signal/Terminate", True),
        (f"{SHELL}/signal/terminate", True),
    ],
)
def test_only_the_misspelt_signal_lets_a_pipeline_end_in_order(code: str, closes: bool) -> None:
    async def main() -> None:
        async with Scene() as scene, await connected(scene.fleet) as other:
            await scene.pool()
            await scene.pipeline()
            await polling(scene, receive(POOL, PIPELINE, resource=POWERSHELL), other)
            assert (await scene.post(signal(POOL, PIPELINE.lower(), code, resource=POWERSHELL))).status == 200
            assert scene.powershell.last.calls[-1] == ("signal", PIPELINE, code)
            scene.say(b"Stopped", PIPELINE)
            reply = await other.reply()
            if closes:
                assert reply.fault == 995
                assert (await scene.receive(PIPELINE)).fault == 2150858843
            else:
                assert said(reply) == b"Stopped"

    run(main())


def test_ctrl_c_in_a_cmd_shell_is_for_the_command() -> None:
    async def main() -> None:
        async with Scene() as scene:
            shell_id = (await scene.post(create())).text("ShellId")
            command_id = (await scene.post(command(shell_id, "x"))).text("CommandId")
            await scene.post(signal(shell_id, command_id, f"{SHELL}/signal/ctrl_c"))
            sink = scene.cmd.last.sink
            sink.command_state(command_id, "Done", 0xC000013A)
            assert state(await scene.post(receive(shell_id, command_id))) == ("Done", "3221225786")
            assert (await scene.post(signal(shell_id, command_id))).status == 200
            assert (await scene.post(receive(shell_id, command_id))).fault == 2150858843

    run(main())


def test_deleting_a_shell_ends_its_receives() -> None:
    async def main() -> None:
        async with Scene() as scene, await connected(scene.fleet) as other:
            await scene.pool()
            await polling(scene, receive(POOL, resource=POWERSHELL), other)
            await scene.post(on_shell("Delete", POOL, resource=POWERSHELL))
            assert (await other.reply()).fault == 995

    run(main())
