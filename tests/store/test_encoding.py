"""What is kept as text comes back as it was."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.api.pipeline import Pipeline
from remotejobs.errors import UsageError
from remotejobs.model import (
    MERGEABLE,
    Clocks,
    CmdCommand,
    HostInfo,
    InvocationSettings,
    JobSpec,
    Limits,
    Outcome,
    PipelineCommand,
    RemoteStreamOptions,
    ScriptCommand,
    SessionOption,
    Target,
)
from remotejobs.states import EndReason
from remotejobs.store.encoding import decode_outcome, decode_spec, encode_outcome, encode_spec

# What a command line can hold: half surrogate pairs too, never U+0000.
TEXT = st.text(st.characters(codec=None, exclude_characters="\0"), max_size=20)
SECONDS = st.none() | st.floats(0.1, 1e6)
TARGET = st.builds(
    Target,
    TEXT,
    address=st.none() | TEXT,
    port=st.none() | st.integers(1, 65535),
    ssl=st.none() | st.booleans(),
    application=st.none() | TEXT,
    configuration=st.none() | TEXT,
    authentication=st.none() | TEXT,
    credential=st.none() | TEXT,
    group=st.lists(TEXT, max_size=3).map(tuple),
)
SENT = st.recursive(  # what comes back from CLIXML as it went
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)
PIPELINE_COMMAND = st.builds(
    PipelineCommand,
    TEXT,
    is_script=st.booleans(),
    arguments=st.lists(st.tuples(st.none() | TEXT, SENT), max_size=3).map(tuple),
    use_local_scope=st.none() | st.booleans(),
    merged=st.lists(st.sampled_from(MERGEABLE)).map(tuple),
    merge_previous_results=st.booleans(),
    end_of_statement=st.booleans(),
)
INVOCATION = st.builds(
    InvocationSettings,
    add_to_history=st.booleans(),
    remote_stream_options=st.integers(0, 15).map(RemoteStreamOptions),
    apartment_state=st.sampled_from(["STA", "MTA", "Unknown"]),
    host=st.none() | st.builds(HostInfo, window_title=TEXT, buffer_size=st.tuples(st.integers(), st.integers())),
    application_arguments=st.none() | st.dictionaries(TEXT, SENT, max_size=2),
)
SPEC = st.builds(
    JobSpec,
    st.builds(ScriptCommand, TEXT, commands=st.lists(PIPELINE_COMMAND, max_size=3).map(tuple)),
    st.lists(TARGET, max_size=4).map(tuple),
    name=TEXT,
    throttle_limit=st.integers(-1, 99),
    credential=st.none() | TEXT,
    port=st.none() | st.integers(1, 65535),
    use_ssl=st.booleans(),
    in_disconnected_session=st.booleans(),
    session_names=st.lists(TEXT, max_size=3).map(tuple),
    retry_of=st.none() | st.integers(1, 99),
    session_option=st.builds(
        SessionOption, idle_timeout=SECONDS, ca_file=st.none() | TEXT, output_buffering_mode=st.sampled_from(["Block"])
    ),
    clocks=st.builds(Clocks, connect=SECONDS, total=SECONDS),
    limits=st.builds(Limits, records=st.none() | st.integers(1)),
    invocation_settings=INVOCATION,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner),
    max_leaves=5,
)
OUTCOME = st.builds(
    Outcome,
    st.sampled_from(EndReason),
    message=TEXT,
    error_id=TEXT,
    error_count=st.integers(0),
    failure=st.none() | st.binary(),
    seconds=st.floats(0, 1e9),
    details=st.dictionaries(TEXT, PLAIN, max_size=3),
)


def through_a_file(text: str) -> str:
    return text.encode().decode()  # SQLite keeps UTF-8


@given(SPEC)
def test_a_specification_comes_back(spec: JobSpec) -> None:
    assert decode_spec(through_a_file(encode_spec(spec))) == spec


@given(OUTCOME)
def test_an_outcome_comes_back(outcome: Outcome) -> None:
    assert decode_outcome(through_a_file(encode_outcome(outcome)), outcome.failure) == outcome


SETTINGS = InvocationSettings(
    add_to_history=False,
    remote_stream_options=RemoteStreamOptions.AddInvocationInfoToWarningRecord,
    apartment_state="STA",
    host=HostInfo((1, 2), (3, 4), "", 5, 6, 7),
    application_arguments={"a": [1, {"b": Decimal("1.5")}]},
)


@pytest.mark.parametrize("settings", [SETTINGS, InvocationSettings(host=None), InvocationSettings()])
def test_a_pipeline_and_its_settings_come_back(settings: InvocationSettings) -> None:
    pipeline = (
        Pipeline()
        .add_command("Get-Item", use_local_scope=False)
        .add_parameter("-Path:", ["x", None])
        .add_parameter("Force")
        .merge_my_results("Warning")
        .add_statement()
        .add_script("param($a) $a", use_local_scope=True)
        .add_argument(b"\x00")
        .merge_previous_results()
    )
    spec = JobSpec(pipeline.command(), (Target("a"),), invocation_settings=settings)
    assert decode_spec(through_a_file(encode_spec(spec))) == spec


@pytest.mark.parametrize(
    "command",
    [CmdCommand("dir"), CmdCommand("more & ä", 850, ("a", b"\x00\xff", None)), CmdCommand("more", streamed=True)],
)
def test_a_command_line_comes_back(command: CmdCommand) -> None:
    assert decode_spec(encode_spec(JobSpec(command, (Target("h"),)))).command == command


def test_every_field_of_the_specification_is_kept() -> None:
    def other(value: Any) -> Any:
        if isinstance(value, InvocationSettings):
            return SETTINGS
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changed = {f.name: other(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **changed)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return value + 1
        if isinstance(value, str):
            return value + "x"
        return 7 if value is None else value

    command = ScriptCommand("1", (1,), (("Name", "n"), ("On", True)), (("x", [1]),), (1, None))
    spec = other(JobSpec(command, (Target("a"),)))
    assert decode_spec(encode_spec(spec)) == spec


@pytest.mark.parametrize(
    "value",
    [
        "text \u00fc",
        None,
        True,
        7,
        2**40,
        1.5,
        Decimal("1.25"),
        b"\x00\xff",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        timedelta(seconds=3),
        UUID(int=5),
        [1, "a", None],
        {"a": 1, "b": [2]},
    ],
)
def test_arguments_come_back_as_what_they_are(value: Any) -> None:
    command = ScriptCommand("param($a)", (value, "second"))
    assert decode_spec(encode_spec(JobSpec(command, ()))).command == command


def test_arguments_that_powershell_has_no_room_for_are_refused() -> None:
    with pytest.raises(UsageError):
        encode_spec(JobSpec(ScriptCommand("1", (object(),)), ()))


def test_a_plain_target_is_its_name_and_defaults_are_left_out() -> None:
    assert json.loads(encode_spec(JobSpec(ScriptCommand("1"), (Target("a"),)))) == {
        "command": {"text": "1", "arguments": []},
        "targets": ["a"],
    }


def test_what_a_later_version_wrote_is_passed_over() -> None:
    text = '{"command":{"text":"1","arguments":[]},"targets":[{"name":"a","new":1}],"clocks":{"new":2},"new":[3]}'
    assert decode_spec(text) == JobSpec(ScriptCommand("1"), (Target("a"),))
    assert decode_outcome('{"reason":"New","message":"m"}', None) == Outcome(EndReason.Unknown, "m")
