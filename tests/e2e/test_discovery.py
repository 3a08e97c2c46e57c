"""The client's Enumerate and Pull against a simulated host's: lists that come page by page."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from remotejobs.sim import soap
from remotejobs.sim.shells import HostInfo, HostSettings
from remotejobs.sim.wsman import Wsman
from remotejobs.wsman.discovery import enumerate_all, pull, read_page, shell_of
from remotejobs.wsman.envelopes import SHELL, Request, Requests, Template
from tests.sim.wire import CMD, CmdPuppets, create


@pytest.mark.parametrize("at_a_time", [1, 3, 7, 32_000])
def test_a_host_lists_its_shells_page_by_page(at_a_time: int) -> None:
    async def main() -> None:
        host = HostInfo("web01", settings=HostSettings(max_batch_items=at_a_time))
        service = Wsman(host, {CMD: CmdPuppets()})

        async def ask(data: bytes) -> bytes:
            return (await service.act(soap.read_request(data, "192.0.2.1"))).body

        async def page(request: Request) -> tuple[list[str], str]:
            found = read_page(await ask(request.data), request.message_id)
            return [shell.shell_id for element in found.items if (shell := shell_of(element))], found.context

        made = [str(uuid.uuid4()).upper() for _ in range(7)]
        for shell_id in made:
            await ask(create(shell_id=shell_id).encode())
        template = Template(SHELL, operation_timeout=60.0, locale="en-US", data_locale="en-US")
        requests = Requests(template, "http://web01:5985/wsman", uuid.uuid4())
        seen, context = await page(enumerate_all(requests))
        pages = 1
        while context:
            more, context = await page(pull(requests, context))
            seen += more
            pages += 1
        assert (seen, pages) == (made, -(-7 // at_a_time))

    asyncio.run(main())
