"""What somebody sees of a simulated host whose PowerShell is a process, and one that is not as it should be."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from remotejobs.model import Outcome
from remotejobs.sim.host import SimulatedHost
from remotejobs.sim.pwsh_host import Patience, pwsh_shell_factory
from remotejobs.sim.shells import HostSettings
from remotejobs.states import EndReason
from tests.e2e.hosts import run, targets
from tests.sim.psrp_conversation import in_loop
from tests.sim.test_pwsh_host import STANDIN, STUCK

WAIT = "import sys, time; {}; time.sleep(60)"


async def outcome(command: Sequence[str], patience: Patience = Patience()) -> Outcome:  # noqa: B008
    factories = {"http://schemas.microsoft.com/powershell/": pwsh_shell_factory(command, patience)}
    host = SimulatedHost("web01", factories, HostSettings(allow_unencrypted=True))
    await host.start(None)
    try:
        found = await run(targets({"web01": host}), "'never'")
    finally:
        await host.stop()
    end = found.ends["web01"].outcome
    assert end is not None
    return end


@pytest.mark.parametrize(
    ("script", "patience", "words"),
    [
        (WAIT.format("print('Welcome to WEB01', flush=True)"), Patience(trouble=0.05), "Welcome to WEB01"),
        (WAIT.format("print('No licence.', file=sys.stderr, flush=True)"), Patience(trouble=0.05), "No licence."),
        (
            "import sys; sys.stdin.readline(); print('Bad luck.', file=sys.stderr); sys.exit(7)",
            Patience(),
            "exit code 7",
        ),
        (WAIT.format("0"), Patience(opening=0.2), "has not opened a runspace pool within 0.2 seconds"),
    ],
    ids=["banner", "stderr", "death", "silence"],
)
def test_a_pool_that_does_not_open_says_why(script: str, patience: Patience, words: str) -> None:
    @in_loop
    async def test() -> None:
        end = await outcome((sys.executable, "-c", script), patience)
        assert end.reason is not EndReason.Completed
        assert words in end.message

    test()


@in_loop
async def test_a_script_whose_process_stops_answering_fails_and_says_so() -> None:
    command = (sys.executable, "-c", STUCK.format(command=list(STANDIN)))
    end = await outcome(command, Patience(answer=0.2, ending=1))
    assert end.reason is EndReason.CommandFailed
    assert "PowerShell has not answered for 0.2 seconds." in end.message


@in_loop
async def test_a_process_that_is_as_it_should_be_runs_the_script() -> None:
    assert (await outcome(STANDIN)).reason is EndReason.Completed
