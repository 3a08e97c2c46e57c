"""The builder of pipelines: what it puts together, what it refuses, and that its own examples are true."""

from __future__ import annotations

import asyncio
import doctest
from typing import Any

import pytest

from remotejobs.api import pipeline
from remotejobs.api.invoke import invoke_command
from remotejobs.api.pipeline import Pipeline
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.errors import UsageError
from remotejobs.model import InvocationSettings, PipelineCommand, Stream


def test_the_examples_in_its_docstring() -> None:
    result = doctest.testmod(pipeline)
    assert (result.failed, result.attempted > 3) == (0, True)


def test_each_step_is_a_new_pipeline() -> None:
    one = Pipeline().add_command("Get-Item").add_argument("a").add_parameter("-Name:", None)
    two = one.add_script("$_", use_local_scope=True).add_argument([1, 2]).merge_my_results("warning").add_statement()
    three = two.add_statement().add_command("Get-Date").merge_previous_results()
    assert one.commands == (PipelineCommand("Get-Item", arguments=((None, "a"), ("-Name:", None))),)
    script = PipelineCommand("$_", True, ((None, [1, 2]),), True, (Stream.Warning,), end_of_statement=True)
    assert two.commands == (*one.commands, script)
    assert three.commands == (*two.commands, PipelineCommand("Get-Date", merge_previous_results=True))
    assert [str(each) for each in (Pipeline(), one, two, three)] == [
        "",
        "Get-Item",
        "Get-Item | $_",
        "Get-Item | $_; Get-Date",
    ]
    assert Pipeline().add_statement() == Pipeline()


def test_streams_that_are_merged() -> None:
    command = Pipeline().add_script("1")
    every = (Stream.Error, Stream.Warning, Stream.Verbose, Stream.Debug, Stream.Information)
    assert command.merge_my_results().commands[0].merged == every
    assert command.merge_my_results(Stream.Error, "VERBOSE").commands[0].merged == (Stream.Error, Stream.Verbose)
    for wrong in (Stream.Output, "Progress", "nothing"):
        with pytest.raises(UsageError, match="cannot be merged; Error, Warning, Verbose, Debug, Information can"):
            command.merge_my_results("Error", wrong)


@pytest.mark.parametrize(
    "step",
    [
        lambda: Pipeline().add_argument(1),
        lambda: Pipeline().add_parameter("Path", 1),
        lambda: Pipeline().merge_my_results(),
        lambda: Pipeline().merge_previous_results(),
    ],
)
def test_a_command_comes_first(step: Any) -> None:
    with pytest.raises(UsageError, match="A command comes first") as refused:
        step()
    assert refused.value.error_id == "System.InvalidOperationException"


def test_empty_names() -> None:
    with pytest.raises(UsageError, match="name of the command is empty"):
        Pipeline().add_command("")
    with pytest.raises(UsageError, match="name of the parameter is empty"):
        Pipeline().add_command("x").add_parameter("")


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (Pipeline(), {}, "A command comes first"),
        (Pipeline().add_script("1"), {"argument_list": [1]}, "no argument_list or parameters"),
        (Pipeline().add_script("1"), {"parameters": {"a": 1}}, "no argument_list or parameters"),
        (Pipeline().add_script("1").add_argument({1}), {}, "set"),
        (Pipeline().add_script("$using:x"), {}, "using variable"),
        (Pipeline().add_script("dir"), {"shell": "cmd"}, "a Pipeline is for PowerShell"),
        ("dir", {"shell": "cmd", "invocation_settings": InvocationSettings()}, "cmd knows none of them"),
    ],
)
def test_what_cannot_be_run(given: Pipeline | str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        asyncio.run(invoke_command("web01", given, credential=("u", "p"), use_ssl=True, **options))


def test_a_secret_in_it_is_not_shown() -> None:
    held = [Secret("word-1"), {"k": Credential("ops", Secret("word-1"))}]
    pipeline = Pipeline().add_command("x").add_parameter("p", held[0]).add_argument(held)
    assert "word-1" not in f"{pipeline!r} {pipeline} {pipeline.command()!r}"
