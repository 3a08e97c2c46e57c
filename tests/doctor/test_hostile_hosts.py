"""Hosts that mean harm: nothing that they send acts on a terminal, gets into a command, or holds us up."""

from __future__ import annotations

import asyncio
import io
import time

import pytest

from remotejobs.clock import ManualClock
from remotejobs.doctor.findings import HostDiagnosis, Verdict
from remotejobs.views.diagnoses import write_diagnoses
from remotejobs.wsman.about import IDENTITY
from remotejobs.wsman.envelopes import SOAP
from tests.doctor.hosts import answering_by, examine, served, winrm
from tests.transport.loopback import Handler, answer, run
from tests.transport.tls_host import server_context

_C1 = "\x9b2J"  # what httptools lets through: CSI in one byte
_CLEAR_SCREEN = "&#x9b;2J\u202e"  # what XML can carry of it


def identifying(vendor: str, version: str = "1") -> Handler:
    body = (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Body><i:IdentifyResponse xmlns:i="{IDENTITY}"><i:ProductVendor>{vendor}'
        f"</i:ProductVendor><i:ProductVersion>{version}</i:ProductVersion></i:IdentifyResponse></s:Body></s:Envelope>"
    ).encode()
    xml = "Content-Type: application/soap+xml"

    def choose(head: bytes) -> bytes:
        if b"WSMANIDENTIFY" in head:
            return answer(body, "200 OK", xml)
        return answer(b"", "401 Unauthorized", f"WWW-Authenticate: {_C1}Basic", f"Server: {_C1}")

    return answering_by(choose)


def printed(found: HostDiagnosis) -> str:
    out = io.StringIO()
    for name in ("Table", "List", "Json", "Jsonl"):
        write_diagnoses(name, [found], out, 80)
    return out.getvalue()


async def examined(handler: Handler, **options: object) -> HostDiagnosis:
    async with served(handler) as target:
        return await examine(target, **options)  # type: ignore[arg-type]


def test_words_of_a_host_do_nothing_on_a_terminal() -> None:
    found = run(examined(identifying(_CLEAR_SCREEN)))
    identify = found.finding("Identify")
    assert identify is not None
    assert identify.verdict is Verdict.Passed
    text = printed(found)
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")


def test_long_words_are_cut() -> None:
    found = run(examined(identifying("A" * 200_000)))
    identify = found.finding("Identify")
    assert identify is not None
    assert len(identify.text) < 600


def test_a_name_in_a_certificate_cannot_get_into_a_command() -> None:
    evil = "x';rm -rf ~;'.example"

    async def scene() -> HostDiagnosis:
        tls = server_context("web02.example", common_name=evil)
        async with served(winrm("Basic"), tls) as target:
            return await examine(target)

    failure = run(scene()).failure
    assert failure is not None
    assert failure.step == "TLS"
    assert not any("rm -rf" in remedy.command for remedy in failure.diagnosis.remedies)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000,
        b"HTTP/1.1 401 Unauthorized\r\n" + b"A" * 300_000,
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1_000_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"\x00" * 5000,
    ],
    ids=["headers", "a long header", "a long body", "an upgrade", "zeros"],
)
def test_too_much_of_anything_ends_the_step(data: bytes) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(3600)

    found = run(examined(flood))
    assert found.failure is not None
    assert found.failure.step == "Listener"


def test_an_answer_that_trickles_for_ever_is_given_up() -> None:
    async def scene() -> HostDiagnosis:
        clock, begun = ManualClock(time.time()), asyncio.Event()

        async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not await reader.read(4096):
                return
            writer.write(b"HTTP/1.1 401 Unauthorized\r\n")
            begun.set()
            while True:
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

        async with served(trickle) as target:
            task = asyncio.create_task(examine(target, clock=clock))
            await begun.wait()
            clock.advance(11)
            return await task

    failure = run(scene()).failure
    assert failure is not None
    assert (failure.step, failure.verdict) == ("Listener", Verdict.Failed)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 99 Foo 2020 99:99:99 GMT",
    ],
)
def test_any_date_is_read_or_left(date: str) -> None:
    offers = ("401 Unauthorized", "WWW-Authenticate: Basic", f"Date: {date}")
    found = run(examined(answering_by(lambda _: answer(b"", *offers))))
    clock = found.finding("Clock")
    assert clock is not None
    assert clock.verdict in (Verdict.NotTried, Verdict.Warning)
    assert "Internal" not in clock.text
