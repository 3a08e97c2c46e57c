"""How a transcript is read and compared: what differs is found, and what is not known is named."""

from __future__ import annotations

import asyncio

import pytest

from remotejobs.sim.dialect.errors import Refusal
from tests.transcripts.client import Client
from tests.transcripts.screen import Line, differences, recorded_lines
from tests.transcripts.world import World

_ERROR = """\
before
Get-Job: SCRIPT.ps1:3
Line |
   3 |  Get-Job -Id 99; 'x'
     |  ~~~~~~~~~~~~~~
     | The command cannot find a job with the job ID 99. Verify the value of
     | the Id parameter and then try the command again.

ssh: connect to host down1 port 22: Connection refused
after
"""
_SAID = (
    "Get-Job: The command cannot find a job with the job ID 99. Verify the value of the Id parameter and then try the"
    " command again."
)


def test_an_error_is_one_line() -> None:
    assert recorded_lines(_ERROR) == [Line("before"), Line(_SAID, error=True), Line("after")]


def test_what_differs_is_found() -> None:
    recorded = [Line("a"), Line("b")]
    assert differences([Line("a"), Line("b")], recorded, loosely=False) == []
    assert differences([Line("a")], recorded, loosely=False) == ["- b"]
    assert differences([Line("a"), Line("b"), Line("c")], recorded, loosely=False) == ["+ c"]
    assert differences([Line("b"), Line("a")], recorded, loosely=False) == ["- a", "- b", "+ b", "+ a"]
    assert differences([Line("a"), Line("b  ")], [Line("a"), Line("  b")], loosely=False) == ["-   b", "+ b  "]


def test_what_only_we_show_may_be_missing_and_nothing_else() -> None:
    recorded = [Line("a"), Line("c")]
    assert differences([Line("a"), Line("b", optional=True), Line("c")], recorded, loosely=False) == []
    assert differences([Line("a"), Line("c"), Line("b", optional=True)], recorded, loosely=False) == []
    assert differences([Line("a", optional=True), Line("c")], recorded, loosely=False) == []


def test_an_error_may_say_what_to_do_and_must_say_all_else() -> None:
    recorded = [Line("Get-Job: No job 99.", error=True)]
    assert differences([Line("Get-Job: No job 99. Look: remotejob get", error=True)], recorded, loosely=False) == []
    assert differences([Line("Get-Job: No job 98.", error=True)], recorded, loosely=False)
    assert differences([Line("Stop-Job: No job 99.", error=True)], recorded, loosely=False)
    assert differences([Line("Get-Job: No job 99. Look.")], [Line("Get-Job: No job 99.")], loosely=False)


@pytest.mark.parametrize(
    ("script", "unknown"),
    [
        ("Get-Volume C", "the command 'Get-Volume'"),
        ("Invoke-Command -HostName web01 { Get-Volume } -AsJob | Wait-Job", "the command 'Get-Volume'"),
        ("Start-Job { 1 } -WorkingDirectory /tmp", "-WorkingDirectory of Start-Job"),
        ("(Get-Job).Foo; $j = Invoke-Command -HostName web01 { 1 } -AsJob; $j.Foo", "the property Foo"),
    ],
)
def test_what_is_not_known_is_named(script: str, unknown: str) -> None:
    async def body() -> str:
        async with World("") as world:
            try:
                await Client(world).run(script)
            except Refusal as refusal:
                return refusal.record.message
            return world.refused.record.message if world.refused else ""

    assert unknown in asyncio.run(asyncio.wait_for(body(), 30))
