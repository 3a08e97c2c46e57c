"""Requests and answers of a cmd shell: command lines, the recorded shapes, and hostile answers."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from remotejobs.errors import FaultError, ProtocolError, UsageError
from remotejobs.wsman.envelopes import Request, Requests, Template
from remotejobs.wsman.winrs import CMD, CTRL_C, LONGEST_LINE, CmdShell, command_line, quoted, read_output

RSP = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
ID = "1E1D5E5F-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("/all", "/all"),
        ("C:\\x", "C:\\x"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a&b", '"a&b"'),
        ("C:\\a b\\", '"C:\\a b\\\\"'),
        ('say "hi"', '^"say \\^"hi\\^"^"'),
        ('a\\"b', '^"a\\\\\\^"b^"'),
        ("%PATH%", '^"^%PATH^%^"'),
        ('a" & del x', '^"a\\^" ^& del x^"'),
        ("ä,b;c=d", '"ä,b;c=d"'),
    ],
)
def test_arguments_are_quoted_for_cmd_and_for_the_program(argument: str, written: str) -> None:
    assert quoted(argument) == written


def as_cmd_reads(line: str) -> str:
    """What cmd hands to a program: outside of quotes ^ goes and leaves the next character without a meaning."""
    out, inside, at = "", False, 0
    while at < len(line):
        c = line[at]
        if c == '"':
            inside = not inside
        elif not inside:
            assert c not in "&|<>()", f"{line}: {c} has a meaning"
            if c == "^":
                at += 1
                c = line[at]
        out += c
        at += 1
    return out


def as_programs_read(line: str) -> list[str]:
    """CommandLineToArgvW behind the program's name."""
    words: list[str] = []
    word, inside, begun, at = "", False, False, 0
    while at < len(line):
        slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
        at += slashes
        c = line[at : at + 1]
        if c == '"':
            word, begun = word + "\\" * (slashes // 2), True
            if slashes % 2:
                word += '"'
            else:
                inside = not inside
        elif c in (" ", "\t", "") and not inside:
            word += "\\" * slashes
            if begun or word:
                words.append(word)
            word, begun = "", False
        else:
            word += "\\" * slashes + c
        at += 1
    if begun or word:
        words.append(word)
    return words


ARGUMENT = st.text(st.sampled_from("ab \\\"&|<>^()%!'`,;=@\t/ä$*?~"), max_size=12)


@given(st.lists(ARGUMENT, max_size=4))
def test_a_program_gets_its_arguments_whatever_they_are(arguments: list[str]) -> None:
    line = command_line("tool.exe", arguments)
    assert not re.search(r"%[^%^]+%", line), "a variable would be put in"
    assert as_programs_read(as_cmd_reads(line)) == ["tool.exe", *arguments]


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("dir\ncd", [], "several"),
        ("dir", ["a\r\nb"], "several"),
        ("dir \x00", [], "control"),
        ("dir", ["\x1a"], "control"),
        ("dir", ["\ud800"], "control"),
        ("x" * (LONGEST_LINE + 1), [], "8,192"),
        ("x", ["y" * LONGEST_LINE], "8,193"),
    ],
)
def test_what_cmd_would_not_run_is_refused(text: str, arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        command_line(text, arguments)


def test_the_ends_of_a_line_are_not_part_of_it() -> None:
    assert command_line("\r\necho x \n") == "echo x "
    assert len(command_line("x" * LONGEST_LINE)) == LONGEST_LINE


def shell() -> CmdShell:
    return CmdShell(Requests(Template(CMD), "http://h:5985/wsman", uuid.UUID(int=1)), ID)


def body_of(request: Request) -> etree._Element:
    root = etree.fromstring(request.data)
    assert root.findtext(".//{*}ResourceURI") == CMD
    return root[1][0]


def options_of(request: Request) -> dict[str, str]:
    return {str(o.get("Name")): o.text or "" for o in etree.fromstring(request.data).iter("{*}Option")}


def test_create() -> None:
    request = shell().create(code_page=437, no_profile=True, idle_timeout=60)
    body = body_of(request)
    assert [(child.tag.removeprefix(RSP), child.text) for child in body] == [
        ("InputStreams", "stdin"),
        ("OutputStreams", "stdout stderr"),
        ("IdleTimeOut", "PT60.000S"),
    ]
    assert body.get("ShellId") == ID
    assert options_of(request) == {"WINRS_CODEPAGE": "437", "WINRS_NOPROFILE": "TRUE"}
    plain = shell().create(code_page=65001, no_profile=False, idle_timeout=None)
    assert len(body_of(plain)) == 2
    assert options_of(plain) == {"WINRS_CODEPAGE": "65001"}


def test_command_receive_signal() -> None:
    request = shell().command(ID, 'echo <a> & "b"')
    line = body_of(request)
    assert (line.get("CommandId"), [(c.tag, c.text) for c in line]) == (ID, [(f"{RSP}Command", 'echo <a> & "b"')])
    assert options_of(request) == {"WINRS_CONSOLEMODE_STDIN": "FALSE", "WINRS_SKIP_CMD_SHELL": "FALSE"}
    wanted = body_of(shell().receive(ID))[0]
    assert (wanted.get("CommandId"), wanted.text) == (ID, "stdout stderr")
    signal = body_of(shell().signal(ID, CTRL_C))
    assert (signal.get("CommandId"), signal[0].text) == (ID, CTRL_C)


def test_no_bytes_are_the_end_of_input() -> None:
    some, none = (body_of(shell().send(data, ID))[0] for data in (b"ab", b""))
    assert (some.text, some.get("End"), some.get("Name")) == ("YWI=", None, "stdin")
    assert (none.text, none.get("End"), none.get("CommandId")) == (None, "true", ID)


def answer(body: str) -> bytes:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:rsp="' + RSP[1:-1] + '" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><a:RelatesTo>uuid:1</a:RelatesTo>'
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def done(exit_code: str) -> str:
    state = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done"
    told = f'<rsp:CommandState State="{state}">{exit_code}</rsp:CommandState>'
    return f"<rsp:ReceiveResponse>{told}</rsp:ReceiveResponse>"


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("<rsp:ExitCode>0</rsp:ExitCode>", 0),
        ("<rsp:ExitCode> 3 </rsp:ExitCode>", 3),
        ("<rsp:ExitCode>3221225786</rsp:ExitCode>", -1073741510),
        ("<rsp:ExitCode>4294967295</rsp:ExitCode>", -1),
        ("<rsp:ExitCode>-5</rsp:ExitCode>", -5),
        ("<rsp:ExitCode>x</rsp:ExitCode>", -1),
        ("", -1),
    ],
)
def test_exit_codes(written: str, code: int) -> None:
    assert read_output(answer(done(written)), "uuid:1") == ([], True, code)


def test_pieces_come_in_their_order() -> None:
    body = (
        '<rsp:ReceiveResponse><rsp:Stream Name="stdout">YQ==</rsp:Stream><rsp:Stream Name="stderr">Y\n g==</rsp:Stream>'
        '<rsp:Stream Name="stdout" End="true"/><rsp:Stream Name="stdout">Yw==</rsp:Stream></rsp:ReceiveResponse>'
    )
    pieces = [("stdout", b"a"), ("stderr", b"b"), ("stdout", b"c")]
    assert read_output(answer(body), "uuid:1")[:2] == (pieces, False)


@pytest.mark.parametrize(
    "data",
    [
        answer("<rsp:SendResponse/>"),
        answer('<rsp:ReceiveResponse><rsp:Stream Name="stdout">!</rsp:Stream></rsp:ReceiveResponse>'),
        answer("<rsp:ReceiveResponse/>").replace(b"uuid:1", b"uuid:2"),
        answer("<s:Fault/>"),
        b"",
        b"<html>",
    ],
)
def test_other_answers_are_errors(data: bytes) -> None:
    with pytest.raises((ProtocolError, FaultError)):
        read_output(data, "uuid:1")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_output(data, "uuid:1")
