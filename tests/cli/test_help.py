from __future__ import annotations

import pytest

from remotejobs.cli.commands import COMMANDS
from remotejobs.cli.help import EXIT_CODES, overview, verb_help
from remotejobs.cli.parameters import Command
from remotejobs.cli.tables.invoke import INVOKE
from remotejobs.cli.tables.jobs import STOP
from remotejobs.cli.tables.local import HOSTS
from remotejobs.states import EndReason


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_says_everything_in_the_table(command: Command) -> None:
    text = verb_help(command)
    flat = " ".join(text.split())
    for parameter in command.parameters:
        assert f"  -{parameter.name}" in text
        assert " ".join(parameter.help.split()) in flat
        assert all(f"-{alias}" in text for alias in parameter.aliases)
        assert f"--{parameter.kebab_names[0]}" in text
        assert parameter.default in flat
    for example in command.examples:
        assert f"\n    {example.line}\n" in text
    assert all(" ".join(each.split()) in flat for each in command.unlike)
    assert all(f"  {code} " in text for code, _ in EXIT_CODES)


def test_syntax_is_that_of_get_command() -> None:
    text = verb_help(HOSTS)
    assert "\n  remotejob hosts [-ComputerName] <string[]> [-Expand] [-Separator <string>]\n" in text
    assert "\n  remotejob hosts [-ComputerName] <string[]> -Fold\n" in text
    flat = " ".join(verb_help(INVOKE).split())
    assert "remotejob invoke [[-ComputerName] <string[]>] [-ScriptBlock] <scriptblock> [-UseSSL] [-Port <int>]" in flat
    assert "remotejob invoke [-ConnectionUri] <uri[]> [-FilePath] <path> [...]" in flat


def test_lines_are_short_but_for_what_is_to_be_copied() -> None:
    for text in (overview(COMMANDS), *map(verb_help, COMMANDS)):
        lines = text.splitlines()
        assert all(len(line) <= 100 or line.startswith("    remotejob") for line in lines)
        assert not any(line.endswith(" ") for line in lines)


def test_every_exit_code_of_an_end_reason_is_explained() -> None:
    assert {str(reason.exit_code) for reason in EndReason} <= {code for code, _ in EXIT_CODES}


def test_kebab_names() -> None:
    twins = {parameter.name: parameter.kebab_names[0] for parameter in INVOKE.parameters}
    assert twins["UseSSL"] == "use-ssl"
    assert twins["ConnectionUri"] == "connection-uri"
    assert twins["HideComputerName"] == "hide-computer-name"
    assert twins["PasswordFile"] == "password-file"


def test_what_a_verb_does_unlike_its_cmdlet_is_said() -> None:
    assert "\nUNLIKE STOP-JOB\n  A job whose hosts were stopped one by one ends as Stopped;" in verb_help(STOP)
    assert "UNLIKE" not in verb_help(HOSTS)
