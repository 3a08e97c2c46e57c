"""A job comes out of its file as it went in, and out of a file that is not quite one comes an error with its line."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remotejobs.errors import ConfigurationError
from remotejobs.model import (
    APARTMENT_STATES,
    ENGINES,
    Clocks,
    CmdCommand,
    HostInfo,
    InvocationSettings,
    JobSpec,
    Limits,
    Outcome,
    PipelineCommand,
    Record,
    RemoteStreamOptions,
    ScriptCommand,
    SessionOption,
    Stream,
    Target,
)
from remotejobs.rows import Arrival, ChildRow, Fresh, JobRow, Phase, Request
from remotejobs.states import EndReason, JobState
from remotejobs.store import exported
from remotejobs.store.exported import header_lines, last_line, record_line
from remotejobs.store.imported import JobFile, read_job
from tests.store.test_encoding import PLAIN, SECONDS

# Half surrogate pairs too; two halves beside each other would be one character in JSON.
TEXT = st.text(st.characters(codec=None, exclude_categories=["Cs"]), max_size=20) | st.just("half \udc80")
NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
NUMBER = st.integers(0, 2**40)
TIME = st.floats(0, 4e9)
UUIDS = st.uuids(version=4)
TARGET = st.builds(
    Target,
    NAME,
    address=st.none() | NAME,
    port=st.none() | st.integers(1, 65535),
    ssl=st.none() | st.booleans(),
    credential=st.none() | NAME,
    group=st.lists(NAME, max_size=3).map(tuple),
)
PAIRS = st.lists(st.tuples(NAME, st.integers(0, 9)), max_size=2).map(tuple)
SPEC = st.builds(
    JobSpec,
    st.builds(
        ScriptCommand,
        TEXT,
        st.lists(st.integers(0, 99) | NAME, max_size=2).map(tuple),
        parameters=PAIRS,
        using=PAIRS,
        input=st.none() | st.just((1, None)),
        answers=PAIRS,
    )
    | st.builds(
        ScriptCommand, TEXT, commands=st.just((PipelineCommand("x", arguments=((None, 1),), merged=(Stream.Error,)),))
    )
    | st.builds(CmdCommand, NAME, st.integers(0, 65535), st.none() | st.just(("a", b"\x00")), st.booleans()),
    st.just(()),
    name=TEXT,
    throttle_limit=st.integers(-1, 99),
    port=st.none() | st.integers(1, 65535),
    session_names=st.lists(NAME, max_size=2).map(tuple),
    session_option=st.builds(
        SessionOption, idle_timeout=SECONDS, ca_file=st.none() | TEXT, skip_ca_check=st.booleans()
    ),
    clocks=st.builds(Clocks, connect=SECONDS, total=SECONDS),
    limits=st.builds(Limits, records=st.none() | st.integers(1, 99)),
    engine=st.sampled_from(ENGINES),
    invocation_settings=st.builds(
        InvocationSettings,
        st.booleans(),
        st.sampled_from(RemoteStreamOptions),
        st.sampled_from(APARTMENT_STATES),
        st.none() | st.builds(HostInfo, st.just((80, 25)), cursor_size=st.integers(0, 100)),
        st.none() | st.just({"a": [1, "b"]}),
    ),
)
OUTCOME = st.builds(
    Outcome,
    st.sampled_from([reason for reason in EndReason if reason.state.finished]),
    message=TEXT,
    error_id=TEXT,
    error_count=NUMBER,
    failure=st.none() | st.binary(max_size=30),
    seconds=st.floats(0, 1e9),
    details=st.dictionaries(TEXT, PLAIN, max_size=3),
)
LEFT = st.builds(Outcome, st.just(EndReason.Disconnected), TEXT)


@st.composite
def children(draw: st.DrawFn) -> ChildRow:
    child = ChildRow(0, draw(UUIDS), draw(TARGET), Fresh(draw(UUIDS), draw(UUIDS), draw(UUIDS)))
    child.phase = draw(st.sampled_from([Phase.QUEUED, Phase.STARTING, Phase.STARTED, Phase.ENDED]))
    if child.phase is Phase.ENDED:
        child.outcome, child.ended = draw(OUTCOME), draw(TIME)
        child.state = child.outcome.state
    elif child.phase is Phase.STARTED:
        child.state = draw(st.sampled_from([JobState.Running, JobState.Disconnected]))
        child.left = draw(st.none() | LEFT)
    child.began, child.seen = draw(st.none() | TIME), draw(st.none() | TIME)
    child.seq, child.error_count, child.object_id = draw(NUMBER), draw(NUMBER), draw(st.integers(-9, 2**60))
    child.shell_id, child.command_id = draw(st.text("AB-0", max_size=9)), draw(st.text("AB-0", max_size=9))
    child.told, child.stop_requested = draw(st.booleans()), draw(st.booleans())
    return child


@st.composite
def jobs(draw: st.DrawFn) -> tuple[JobRow, list[int | None], list[Arrival]]:
    rows = draw(st.lists(children(), min_size=1, max_size=4))
    spec = replace(draw(SPEC), targets=tuple(child.target for child in rows))
    ended = [index for index, child in enumerate(rows) if child.outcome]
    row = JobRow(
        *(0, "", draw(UUIDS), spec, ",".join(child.target.name for child in rows), rows, draw(TIME), {}),
        ended=draw(TIME) if len(ended) == len(rows) else None,
        last_change=draw(st.none() | st.sampled_from(JobState)),
        ends=draw(st.permutations(ended)),
        notes=tuple(draw(st.lists(TEXT, max_size=2))),
        requests=frozenset(draw(st.sampled_from([(), (Request.STOP,)]))),
    )
    record = st.builds(Record, NUMBER, st.sampled_from(Stream), st.binary(max_size=30), st.integers(-9, 2**60), TIME)
    numbers = sorted(draw(st.sets(st.integers(1, 2**32 - 1), max_size=5)))
    arrivals = [Arrival(number, draw(st.integers(0, len(rows) - 1)), draw(record)) for number in numbers]
    return row, [draw(st.none() | st.integers(1, 9)) for _ in rows], arrivals


def lines_of(row: JobRow, unread: list[int | None], arrivals: list[Arrival]) -> list[str]:
    head = header_lines(row, unread, by="remotejobs", computer="here", now=5.0)
    return [*head, *map(record_line, arrivals), last_line(len(arrivals))]


def packed(lines: list[str]) -> bytes:
    return gzip.compress("".join(lines).encode("latin-1"), 1)


def read(data: bytes) -> tuple[JobFile, list[Arrival]]:
    held = read_job(io.BytesIO(data), "x.rjob")
    return held, [arrival for page in held.pages for arrival in page]


@given(jobs())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_job_comes_back(job: tuple[JobRow, list[int | None], list[Arrival]]) -> None:
    row, unread, arrivals = job
    held, records = read(packed(lines_of(*job)))
    assert (held.row, held.unread, records) == (row, unread, arrivals)
    assert (held.computer, held.exported) == ("here", 5.0)


def test_a_limit_that_was_set_is_carried_along() -> None:
    child = ChildRow(1, uuid.uuid4(), Target("a"), Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4()))
    row = JobRow(0, "", uuid.uuid4(), JobSpec(ScriptCommand("1"), (Target("a"),)), "", [child], 1.0, {})
    row.throttle_limit = 5
    assert read(packed(lines_of(row, [None], [])))[0].row.spec.throttle_limit == 5


def some() -> list[str]:
    """A job of two hosts, one of which has ended, and three records."""
    row = JobRow(0, "", uuid.uuid4(), JobSpec(ScriptCommand("1", (7,)), ()), "", [], 1.0, {})
    for name in ("web01", "web02"):
        start = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        row.children = [*row.children, ChildRow(0, uuid.uuid4(), Target(name, port=99), start)]
    one, two = row.children
    one.state, one.phase, one.outcome, one.ended = JobState.Failed, Phase.ENDED, Outcome(EndReason.Unknown), 3.0
    two.state, two.phase, two.shell_id = JobState.Disconnected, Phase.STARTED, "S"
    row.ends = [0]
    return lines_of(
        row, [2, None], [Arrival(n, 0, Record(n, Stream.Output, b"<I32>1</I32>", n, 4.0)) for n in (1, 2, 3)]
    )


def refused(data: bytes) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(data)
    assert caught.value.message.startswith("x.rjob")
    assert caught.value.details["path"] == "x.rjob"
    return caught.value


def test_it_is_text_that_can_be_read() -> None:
    lines = some()
    assert len(read(packed(lines))[1]) == 3
    assert json.loads(lines[3]) == [1, 0, 1, 1, 1, 4.0, "<I32>1</I32>"]
    assert json.loads(lines[-1]) == {"records": 3}
    assert json.loads(lines[2])["target"] == {"name": "web02", "port": 99}


Change = Callable[[dict[str, Any]], object]
# line from 1, what is done to it, words of the message
FIELDS: list[tuple[int, Change, str]] = [
    (1, lambda head: head.update(children=0), "'children' is out of range"),
    (1, lambda head: head.update(children=10**9), "'children' is out of range"),
    (1, lambda head: head.update(children=True), "'children' is missing or of the wrong kind"),
    (1, lambda head: head.update(began="now"), "time"),
    (1, lambda head: head.update(began=1e300), "time"),
    (1, lambda head: head.update(began=-1), "time"),
    (1, lambda head: head.update(instance_id="x"), "'instance_id' is no random UUID"),
    (1, lambda head: head.update(instance_id=str(uuid.uuid1())), "'instance_id' is no random UUID"),
    (1, lambda head: head.update(computer="\x1b[2J"), "'computer'"),
    (1, lambda head: head.update(notes=[1]), "'notes'"),
    (1, lambda head: head.update(last_change="Done"), "'last_change' is none of NotStarted"),
    (1, lambda head: head.update(extra=1), "not known: 'extra'"),
    (1, lambda head: head.pop("spec"), "'spec' is missing"),
    (1, lambda head: head["spec"].update(password="x"), "not known: 'password'"),
    (1, lambda head: head["spec"].update(targets=["a"]), "targets of its own"),
    (1, lambda head: head["spec"].update(command="1"), "no command"),
    (1, lambda head: head["spec"]["command"].update(text=1), "no script"),
    (1, lambda head: head["spec"]["command"].update(password="x"), "no script"),
    (1, lambda head: head["spec"]["command"].update(shell="bash"), "no script"),
    (1, lambda head: head["spec"].update(command={"shell": "cmd", "text": "x"}), "no script"),
    (1, lambda head: head["spec"].update(command={"shell": "cmd", "text": "x", "code_page": "1"}), "no script"),
    (1, lambda head: head["spec"]["command"].update(streamed=1), "no script"),
    (1, lambda head: head["spec"]["command"].update(input="x"), "no script"),
    (1, lambda head: head["spec"]["command"].update(parameters=[["a"]]), "no script"),
    (1, lambda head: head["spec"]["command"].update(using=[[1, "<S></S>"]]), "no script"),
    (1, lambda head: head["spec"]["command"].update(commands=[{"text": "x"}]), "no script"),
    (1, lambda head: head["spec"]["command"].update(commands=[{"text": 1, "arguments": []}]), "no script"),
    (
        1,
        lambda head: head["spec"]["command"].update(commands=[{"text": "", "arguments": [], "merged": [9]}]),
        "no script",
    ),
    (1, lambda head: head["spec"]["command"].update(arguments=["<!DOCTYPE x>"]), "argument of the script"),
    (1, lambda head: head["spec"]["command"].update(arguments=["<S>\ud800</S>"]), "half a surrogate pair"),
    (1, lambda head: head["spec"].update(port=70000), "'port' of JobSpec"),
    (1, lambda head: head["spec"].update(use_ssl=1), "'use_ssl' of JobSpec"),
    (1, lambda head: head["spec"].update(session_names=[1]), "'session_names' of JobSpec"),
    (1, lambda head: head["spec"].update(clocks={"connect": "1"}), "'connect' of Clocks"),
    (1, lambda head: head["spec"].update(clocks={"connect": -1}), "'connect' of Clocks"),
    (1, lambda head: head["spec"].update(clocks=[]), "is no Clocks"),
    (1, lambda head: head["spec"].update(session_option={"ca_file": 5}), "'ca_file' of SessionOption"),
    (1, lambda head: head["spec"].update(invocation_settings=[]), "is no InvocationSettings"),
    (1, lambda head: head["spec"].update(invocation_settings={"x": 1}), "not known: 'x'"),
    (1, lambda head: head["spec"].update(invocation_settings={"remote_stream_options": 16}), "'remote_stream_options'"),
    (1, lambda head: head["spec"].update(invocation_settings={"application_arguments": 1}), "'application_arguments'"),
    (1, lambda head: head["spec"].update(invocation_settings={"apartment_state": "X"}), "cannot be read"),
    (1, lambda head: head["spec"].update(invocation_settings={"host": 1}), "is no HostInfo"),
    (1, lambda head: head["spec"].update(invocation_settings={"host": {"window_size": ["1", 2]}}), "'window_size'"),
    (1, lambda head: head["spec"].update(invocation_settings={"host": {"window_size": [1, 2, 3]}}), "'window_size'"),
    (1, lambda head: head.update(ended=5.0), ""),
    (2, lambda child: child.update(target=""), "'target'"),
    (2, lambda child: child.update(target="a\nb"), "'target'"),
    (2, lambda child: child.update(target={"name": "a", "address": "\x1b]0;x\x07"}), "'target'"),
    (2, lambda child: child.update(target={"address": "a"}), "'target'"),
    (2, lambda child: child.update(target={"name": "a", "port": 0}), "'port' of Target"),
    (2, lambda child: child.update(start=[]), "'start'"),
    (2, lambda child: child.update(start=[1, 2, 3]), "'start' is no random UUID"),
    (2, lambda child: child.update(state="Running"), "do not fit"),
    (2, lambda child: child.update(phase="STARTED"), "do not fit"),
    (2, lambda child: child.update(phase="CONNECT"), "'phase' is none of QUEUED, STARTING"),
    (2, lambda child: child.pop("ended"), "do not fit"),
    (2, lambda child: child.update(outcome={"reason": "Fine"}), "end reason"),
    (2, lambda child: child.update(outcome={"reason": "Disconnected"}), "do not fit"),
    (2, lambda child: child["outcome"].update(details=[1]), "details"),
    (2, lambda child: child["outcome"].update(details={"a": json.loads("[" * 50 + "]" * 50)}), "details"),
    (2, lambda child: child["outcome"].update(seconds="1"), "'seconds' of Outcome"),
    (2, lambda child: child.update(failure="\ud800"), "'failure'"),
    (2, lambda child: child.update(unread=0), "'unread' is out of range"),
    (2, lambda child: child.pop("order"), "'order'"),
    (3, lambda child: child.update(order=2), "'order'"),
    (3, lambda child: child.update(seq=2**63), "'seq' is out of range"),
    (3, lambda child: child.update(shell_id="\r\n"), "'shell_id'"),
    (3, lambda child: child.update(told=1), "'told'"),
    (3, lambda child: child.update(failure="x"), "not known: 'failure'"),
    (7, lambda end: end.update(records=4), "another number of records than the 3"),
    (7, lambda end: end.update(more=4), "not known: 'more'"),
]


@pytest.mark.parametrize(("number", "change", "words"), FIELDS)
def test_every_field_is_doubted(number: int, change: Change, words: str) -> None:
    lines = some()
    fields = json.loads(lines[number - 1])
    change(fields)
    lines[number - 1] = json.dumps(fields) + "\n"
    error = refused(packed(lines))
    assert words in error.message
    if words:
        assert error.details["line"] == number
    assert "Nothing of it was imported" in error.message


@pytest.mark.parametrize(
    "line",
    [
        '[1,0,1,1,1,4.0,"x"]',  # number again
        '[2,2,1,1,1,4.0,"x"]',
        '[2,-1,1,1,1,4.0,"x"]',
        '[2,0,1,8,1,4.0,"x"]',
        '[2,0,1,0,1,4.0,"x"]',
        '[2,0,-1,1,1,4.0,"x"]',
        '[2,0,1,1,9999999999999999999,4.0,"x"]',
        '[2,0,1,1,true,4.0,"x"]',
        '[2,0,1,1,1,NaN,"x"]',
        '[2,0,1,1,1,"x"]',
        '[2,0,1,1,1,4.0,5,"x"]',
        '[2,0,1,1,1,4.0,"x","y"]',
        '[2,0,1,1,1,4.0,"x"] ',
        '[2,0,1,1,1,4.0,"x',
        '[2,0,1,1,1,4.0,"\\ud800"]',
        '[2,0,1,1,1,4.0,[["x"]]]',
        "[2,0,1,1,1,4.0]",
        '["x"]',
        "[" * 150 + '"x"' + "]" * 150,
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 100_000,
        '{"records":' + "9" * 5000 + "}",
        "null",
        "",
        "\xff",
    ],
)
def test_what_is_no_record_is_refused(line: str) -> None:
    lines = some()
    lines[4] = line + "\n"
    assert refused(packed(lines)).details["line"] == 5


def test_a_file_that_was_cut_off_or_damaged_is_refused_wherever_it_was() -> None:
    lines = some()
    whole = packed(lines)
    for length in range(len(whole)):
        refused(whole[:length])
    for count in range(len(lines)):
        refused(packed(lines[:count]))
    for at in range(10, len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 0x55
        refused(bytes(broken))
    assert "something follows" in refused(packed([*lines, "\n"])).message
    refused(whole + b"more")


@pytest.mark.parametrize(
    "data", [b"", b"SQLite format 3\0", b"\x1f\x8b", gzip.compress(b"{}\n"), gzip.compress(b'{"remotejobs":"store"}\n')]
)
def test_what_is_no_exported_job_is_said_to_be_none(data: bytes) -> None:
    error = refused(data)
    assert "no exported job" in error.message or "cut off" in error.message


def test_a_later_format_is_named() -> None:
    lines = some()
    lines[0] = lines[0].replace('"version":1', '"version":2')
    with pytest.raises(ConfigurationError, match=r"another version of remotejobs .format 2, this one reads 1"):
        read(packed(lines))


def test_a_small_file_that_unpacks_to_a_large_line_takes_no_memory() -> None:
    for start in (b"", b'{"a":"'):
        bomb = gzip.compress(start + b"[]," * (8 * 1024 * 1024), 9)
        tracemalloc.start()
        try:
            assert "is longer than" in refused(bomb).message
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5 * exported.MAX_OBJECT


def test_records_are_held_a_page_at_a_time() -> None:
    lines = some()
    count, raw = 20_000, b"<S>" + b"x" * 1000 + b"</S>"
    records = [record_line(Arrival(n, 0, Record(n, Stream.Output, raw, n, 4.0))) for n in range(1, count + 1)]
    data = packed([*lines[:3], *records, last_line(count)])
    del records
    tracemalloc.start()
    try:
        held = read_job(io.BytesIO(data), "x.rjob")
        assert sum(len(page) for page in held.pages) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_what_would_not_be_read_again_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "MAX_OBJECT", 100)
    monkeypatch.setattr(exported, "MAX_RECORD", 100)
    with pytest.raises(ConfigurationError, match="script and the options"):
        some()
    with pytest.raises(ConfigurationError, match="Record 7"):
        record_line(Arrival(7, 0, Record(1, Stream.Output, b"x" * 100, 1, 1.0)))
