"""A host whose shells are puppets, and one connection to it: what the tests of its WS-Man service share."""

from __future__ import annotations

from typing import Any, Self

from remotejobs.sim import soap
from tests.sim.wire import (
    CMD,
    POWERSHELL,
    Client,
    CmdPuppets,
    Puppets,
    Reply,
    command,
    connected,
    create,
    one_host,
    receive,
    streams,
)

POOL = "0F0E0D0C-0B0A-0908-0706-050403020100"
PIPELINE = "11111111-0B0A-0908-0706-050403020100"


class Scene:
    """A host with puppets in its shells, and one connection to it."""

    def __init__(self, **settings: Any) -> None:
        self.powershell, self.cmd = Puppets(), CmdPuppets()
        factories = {CMD: self.cmd, f"{soap.POWERSHELL}/": self.powershell}
        self.fleet = one_host(factories=factories, **settings)

    async def __aenter__(self) -> Self:
        await self.fleet.__aenter__()
        self.client = await connected(self.fleet)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.fleet.__aexit__(None, None, None)

    async def post(self, body: str) -> Reply:
        return await self.client.post(body)

    async def pool(self) -> str:
        reply = await self.post(create(POWERSHELL, POOL))
        assert reply.status == 200
        return reply.text("ShellId")

    async def pipeline(self, command_id: str = PIPELINE) -> str:
        reply = await self.post(command(POOL, "", "AAAA", command_id=command_id, resource=POWERSHELL))
        assert reply.status == 200
        return reply.text("CommandId")

    async def receive(self, command_id: str = "", **how: Any) -> Reply:
        return await self.post(receive(POOL, command_id, resource=POWERSHELL, **how))

    def say(self, data: bytes, command_id: str | None = None) -> None:
        self.powershell.last.sink.output("stdout", data, command_id)


def said(reply: Reply) -> bytes:
    assert reply.status == 200, reply.body
    return b"|".join(data for _, data, _ in streams(reply))


async def polling(scene: Scene, request: str, client: Client) -> None:
    """Send a Receive on a connection of its own, and come back when it waits at the host."""
    await client.send(request)
    command_id = PIPELINE if PIPELINE in request else ""
    while (await scene.receive(command_id, timeout="PT0.01S")).fault != 2150858802:
        pass
