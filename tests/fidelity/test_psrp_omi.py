"""PowerShell's own client and Microsoft's own server: our client reads every answer, our hosts answer every request."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lxml import etree

from remotejobs.sim.fleet import default_factories
from tests.fidelity.exchanges import Exchange, omi, read_all, same_as_sent
from tests.recorded import recorded
from tests.recordings import RECORDINGS
from tests.session.replay import psrp_omi
from tests.sim.wire import connected, one_host

CONVERSATIONS = sorted((RECORDINGS / "psrp-omi").glob("*.jsonl")) if RECORDINGS else []
_NOTHING_YET = 2150858793


@recorded("psrp-omi", CONVERSATIONS, lambda path: path.stem)
def test_every_answer_is_read(case: Path) -> None:
    read_all(omi(case))


@recorded("psrp-omi", CONVERSATIONS, lambda path: path.stem)
def test_our_client_ends_as_the_pipeline_did(case: Path) -> None:
    """Our client is given the answers that the recorded one had to its last pipeline."""
    exchanges = omi(case)
    commands = [exchange.command_id for exchange in exchanges if exchange.operation == "Command"]
    if case.name.startswith("raw-") or not commands:
        return  # requests of a hand; or refused before a pipeline
    came = read_all(exchanges).get(commands[-1], [])
    same_as_sent(psrp_omi(case), exchanges, came)


@recorded("psrp-omi", CONVERSATIONS, lambda path: path.stem)
def test_our_hosts_let_it_go_on(case: Path) -> None:
    if not case.name.startswith("raw-"):  # requests of a hand: only the answers are of interest
        asyncio.run(gone_through(omi(case)))


async def gone_through(asked: list[Exchange]) -> None:
    """Send each request; what was said when, by a script, is its own affair."""
    over: set[str] = set()
    async with (
        asyncio.timeout(20),
        one_host(factories=default_factories(), max_timeout=0.01) as fleet,
        await connected(fleet) as client,
    ):
        for exchange in asked:
            if exchange.status > 200 or (exchange.operation == "Receive" and exchange.command_id in over):
                continue  # what the recorded server refused has done nothing there
            answer = await client.post(exchange.request)
            assert answer.text("RelatesTo") == exchange.message_id
            if exchange.status == 0:
                continue  # nobody knows what the answer would have been
            if exchange.operation == "Receive":
                assert answer.fault in (0, _NOTHING_YET), answer.body
                if b"CommandState/Done" in answer.body:
                    over.add(exchange.command_id)
                continue
            assert answer.status == 200, answer.body
            recorded_body = etree.fromstring(exchange.answer.encode()).find("{*}Body")
            assert recorded_body is not None
            body = answer.xml.find("{*}Body")
            assert body is not None
            ours, theirs = [[etree.QName(e).localname for e in each][:1] for each in (body, recorded_body)]
            assert ours == theirs
