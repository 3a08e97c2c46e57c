"""What a native program writes, as records: lines, code pages, standard error, and what it is given."""

from __future__ import annotations

import codecs
import io
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import UsageError
from remotejobs.model import Stream
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.records import ErrorRecord, error_record, from_clixml
from remotejobs.wsman.pipes import LONGEST, Pipes, codec_of, program_input
from remotejobs.wsman.psrp.runspace import RecordData


def lines(*pieces: bytes, code_page: int = 65001) -> list[str]:
    pipes = Pipes(code_page)
    records = [record for data in pieces for record in pipes.feed([("stdout", data)])]
    records += pipes.feed([], last=True)
    assert [record.object_id for record in records] == list(range(1, len(records) + 1))
    return [deserialize(record.raw) for record in records]


def errors(*pieces: bytes) -> list[ErrorRecord]:
    pipes = Pipes(65001)
    records = [record for data in pieces for record in pipes.feed([("stderr", data)])]
    records += pipes.feed([], last=True)
    assert {record.stream for record in records} <= {Stream.Error}
    return [error_record(record.raw) for record in records]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\r\n", ["a"]),
        (b"a\nb\r\nc\rd", ["a", "b", "c", "d"]),
        (b"\r\n\r\n", ["", ""]),
        (b"10%\r20%\r\rdone\r\r\n", ["10%", "20%", "", "done", ""]),
        (b"a\x0bb\x0cc\x1cd\xc2\x85e\xe2\x80\xa8f\n", ["a\x0bb\x0cc\x1cd\x85e\u2028f"]),
        (b"\x00_x0041_ <&>\n", ["\x00_x0041_ <&>"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"half \xe2\x82", ["half \ufffd"]),
    ],
)
def test_lines_end_as_dotnet_reads_them(written: bytes, read: list[str]) -> None:
    assert lines(written) == read


TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
WRITTEN = st.lists(st.tuples(TEXT, st.sampled_from(["\r\n", "\n", "\r", ""])), max_size=12)


@given(WRITTEN, st.lists(st.integers(0, 400), max_size=12), st.sampled_from([65001, 1200, 932, 437]))
def test_any_cut_gives_the_same_lines(written: list[tuple[str, str]], cuts: list[int], code_page: int) -> None:
    if code_page == 1200:
        code_page = 65001
    whole = "".join(text + end for text, end in written).encode(codec_of(code_page), "replace")
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    expected = [
        line.removesuffix("\n") for line in io.StringIO(whole.decode(codec_of(code_page), "replace"), newline=None)
    ]
    assert lines(*[whole[a:b] for a, b in itertools.pairwise(places)], code_page=code_page) == expected


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8), st.sampled_from([65001, 932, 54936, 1252]))
def test_any_bytes_are_read(data: bytes, cuts: list[int], code_page: int) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    assert lines(*pieces, code_page=code_page) == lines(data, code_page=code_page)


def test_the_streams_do_not_mix() -> None:
    pipes = Pipes(65001)
    records = list(pipes.feed([("stdout", b"o1\no"), ("stderr", b"e\xe2"), ("stdout", b"2\n"), ("pr", b"x\n")]))
    records += pipes.feed([("stderr", b"\x82\xac\n")], last=True)
    said = [(r.stream, r.object_id, str(from_clixml(r.stream, deserialize(r.raw)))) for r in records]
    assert said == [(Stream.Output, 1, "o1"), (Stream.Output, 2, "o2"), (Stream.Error, 3, "e€")]


def test_a_line_has_a_bounded_length() -> None:
    pipes = Pipes(65001)
    got: list[RecordData] = []
    for _ in range(40):
        got += pipes.feed([("stdout", b"x" * 100_000)])
    assert [len(deserialize(r.raw)) for r in got] == [LONGEST] * 3
    got += pipes.feed([("stdout", b"\n")], last=True)
    assert "".join(deserialize(r.raw) for r in got) == "x" * 4_000_000
    assert max(len(deserialize(r.raw)) for r in got) <= LONGEST


def test_records_are_made_as_they_are_taken() -> None:
    records = Pipes(65001).feed([("stdout", b"\n" * 1_000_000)])
    assert next(records).object_id == 1


def test_who_goes_on_numbers_on() -> None:
    assert [r.object_id for r in Pipes(65001, after=7).feed([("stdout", b"a\nb\n")])] == [8, 9]


def test_standard_error_is_what_powershell_makes_of_it() -> None:
    """Recorded: native-stderr-many."""
    first, second, empty = errors(b"e1 <&>\r\ne2\r\n\r\n")
    assert (first.message, first.fully_qualified_error_id) == ("e1 <&>", "NativeCommandError")
    assert first.category_info == "NotSpecified: (e1 <&>:String) [], RemoteException"
    assert (first.exception_type, first.target) == ("System.Management.Automation.RemoteException", "e1 <&>")
    assert (second.message, second.fully_qualified_error_id) == ("e2", "NativeCommandErrorMessage")
    assert (second.category_info, second.target) == ("NotSpecified: (:) [], RemoteException", None)
    assert empty.exception_message == ""


def test_braces_in_an_error_are_text() -> None:
    assert errors(b"{said} {0} {\n")[0].message == "{said} {0} {"


OBJS = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">{}</Objs>'


def test_what_powershell_writes_to_a_pipe_is_what_it_says() -> None:
    progress = '<Obj S="progress" RefId="0"><TN RefId="0"><T>x</T></TN><MS><I64 N="SourceId">1</I64></MS></Obj>'
    said = (
        '<S S="Error">first and_x000D__x000A_</S><S S="Error">second_x000D__x000A_</S><S S="warning">careful</S>'
        '<S S="Error">cut </S><S S="Error">in two</S>'
    )
    written = "#< CLIXML\r\n" + OBJS.format(progress + said)
    pipes = Pipes(65001)
    records = [*pipes.feed([("stderr", written.encode())]), *pipes.feed([], last=True)]
    got = [(r.stream, str(from_clixml(r.stream, deserialize(r.raw)))) for r in records]
    assert got == [
        (Stream.Error, "first and"),
        (Stream.Error, "second"),
        (Stream.Warning, "careful"),
        (Stream.Error, "cut in two"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        OBJS.format("<S S='Error'>not announced</S>"),
        "#< CLIXML\n<Objs cut",
        "#< CLIXML\nplain",
        '#< CLIXML\n<!DOCTYPE x [<!ENTITY y "z">]><Objs >&y;</Objs>',
        "#< CLIXML\n<Objs ><!DOCTYPE x></Objs>",
    ],
)
def test_what_only_looks_like_it_is_a_line(written: str) -> None:
    assert [error.message for error in errors(written.encode())] == [written.removeprefix("#< CLIXML\n")]


@given(st.text(max_size=80))
def test_no_clixml_of_a_host_breaks_it(content: str) -> None:
    errors(b"#< CLIXML\n" + OBJS.format(content).encode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("code_page", "codec"),
    [
        (65001, "utf-8"), (437, "cp437"), (850, "cp850"), (932, "cp932"), (936, "gbk"), (1252, "cp1252"),
        (54936, "gb18030"), (20127, "ascii"), (28591, "iso8859-1"), (28605, "iso8859-15"), (20866, "koi8-r"),
    ],
)  # fmt: skip
def test_code_pages(code_page: int, codec: str) -> None:
    assert codec_of(code_page) == codecs.lookup(codec).name


@pytest.mark.parametrize("code_page", [0, 1, 99999, 28600 + 7])
def test_a_code_page_that_there_is_not(code_page: int) -> None:
    with pytest.raises(UsageError, match="code page"):
        codec_of(code_page)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("ä", b"\x84\r\n"),
        ("€", b"?\r\n"),
        (b"\x00\xff", b"\x00\xff"),
        (None, b""),
        (5, b"5\r\n"),
        (True, b"True\r\n"),
        (["a", 1.5, None], b"a\r\n1.5\r\n"),
        ("", b"\r\n"),
    ],
)
def test_input_is_lines_of_the_code_page(value: Any, data: bytes) -> None:
    assert program_input(437)(value) == data


def test_input_is_cut_to_size_and_has_an_end() -> None:
    assert list(Pipes.feeding([b"abc", b"defg"], 3, last=False)) == [b"abc", b"def", b"g"]
    assert list(Pipes.feeding([b"abc"], 3, last=True)) == [b"abc", b""]
    assert list(Pipes.feeding([], 3, last=True)) == [b""]
    assert list(Pipes.feeding([], 3, last=False)) == []


def test_what_powershell_says_without_an_end_is_bounded() -> None:
    said = '<Objs xmlns="http://schemas.microsoft.com/powershell/2004/04"><S S="Error">{}</S></Objs>'
    block = f"#< CLIXML\n{said.format('x' * 600_000)}\n".encode()
    assert [len(error.message) for error in errors(*[block] * 3)] == [1_200_000, 600_000]
