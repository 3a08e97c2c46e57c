"""Answers to Receive: what is read by patterns is what the XML parser would have read; all else is the parser's."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.errors import FaultError, ProtocolError
from remotejobs.wsman.envelopes import ADDRESSING, SHELL, SOAP, WSMAN_MS, read_answer
from remotejobs.wsman.received import Received, _read_element, _read_plain, read_received
from remotejobs.wsman.shells import read_command, read_created
from tests.recordings import RECORDINGS, needs_recordings

ID = "uuid:1B31F9B3-0000-0000-0000-00000000000A"
START = (
    f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" '
    f'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="{SHELL}" xmlns:p="{WSMAN_MS}">'
)
HEADER = (
    f"<s:Header><a:Action>{SHELL}/ReceiveResponse</a:Action><a:MessageID>uuid:2</a:MessageID>"
    f"<p:ActivityId>3</p:ActivityId><a:To>{ADDRESSING}/role/anonymous</a:To><a:RelatesTo>{ID}</a:RelatesTo></s:Header>"
)
STREAM = '<rsp:Stream Name="stdout" CommandId="C0">{}</rsp:Stream>'
STATE = f'<rsp:CommandState CommandId="C0" State="{SHELL}/CommandState/{{}}"></rsp:CommandState>'


def answer(body: str, *, start: str = START, header: str = HEADER) -> bytes:
    return (f"{start}{header}<s:Body><rsp:ReceiveResponse>{body}</rsp:ReceiveResponse></s:Body></s:Envelope>").encode()


def stream(data: bytes) -> str:
    return STREAM.format(b64encode(data).decode())


@given(st.lists(st.binary(max_size=50), max_size=4), st.sampled_from(["", "Running", "Done"]))
def test_what_windows_writes_needs_no_parser(chunks: list[bytes], state: str) -> None:
    data = answer("".join(map(stream, chunks)) + (STATE.format(state) if state else ""))
    expected = Received(b"".join(chunks), state == "Done")
    assert _read_plain(data, ID) == expected
    assert _read_element(read_answer(data, ID)) == expected


# What an attacker, or a server that writes XML another way, may put anywhere.
PIECES = st.sampled_from(
    [
        b"<!--x-->",
        b"<![CDATA[x]]>",
        b"<?x?>",
        b"&amp;",
        b"&#65;",
        b"<x/>",
        b"</s:Body>",
        b"</rsp:Stream>",
        b"<rsp:Stream>",
        f"<a:RelatesTo>{ID}</a:RelatesTo>".encode(),
        b"<a:RelatesTo>x</a:RelatesTo>",
        b'<rsp:Stream Name="stdout" Name="stdout">QUJD</rsp:Stream>',
        b'<rsp:CommandState CommandId="C" State="x"/>',
        b' xmlns:rsp="urn:x"',
        b' CommandId="C"',
        b"\n",
        b"=",
        b"\x00",
        b"\xff",
        b"a",
    ]
)


@given(st.data())
def test_the_patterns_never_read_what_the_parser_would_read_otherwise(data: st.DataObject) -> None:
    original = answer(stream(b"one") + stream(b"two") + STATE.format("Running"))
    at = data.draw(st.integers(0, len(original)))
    gone = data.draw(st.integers(0, 8))
    changed = original[:at] + data.draw(PIECES) + original[at + gone :]
    found = _read_plain(changed, ID)
    if found is not None:
        assert found == _read_element(read_answer(changed, ID))


@pytest.mark.parametrize(
    "data",
    [
        answer(stream(b"x"), start=START.replace(f'"{SHELL}"', '"urn:another"')),
        answer(stream(b"x"), start=START.replace(f'xmlns:a="{ADDRESSING}"', 'xmlns:a="urn:x"')),
        answer(stream(b"x"), start=START.replace('xmlns:p="', 'xmlns:s="')),
        answer(stream(b"x"), header=HEADER.replace(ID, "uuid:other")),
        answer(stream(b"x"), header=HEADER.replace("<a:To>", f"<a:RelatesTo>{ID}</a:RelatesTo><a:To>")),
        answer(stream(b"x") + "<rsp:Other/>"),
        answer(STREAM.format("QUJ\nD")),
        b"",
    ],
)
def test_whatever_differs_is_left_to_the_parser(data: bytes) -> None:
    assert _read_plain(data, ID) is None


def test_lines_in_base64_are_legal() -> None:
    assert read_received(answer(STREAM.format("QU\r\nJD")), ID) == Received(b"ABC", False)


@pytest.mark.parametrize("text", ["%%%%", "QUJ", "QUJD\u00e9"])
def test_bad_base64_is_corruption(text: str) -> None:
    with pytest.raises(ProtocolError, match="base64"):
        read_received(answer(STREAM.format(text)), ID)


def test_another_answer_is_refused() -> None:
    with pytest.raises(ProtocolError, match="ReceiveResponse"):
        read_received(answer("").replace(b"rsp:ReceiveResponse", b"rsp:CommandResponse"), ID)


def recorded() -> list[Path]:
    return sorted((RECORDINGS / "windows").glob("*.yml")) if RECORDINGS else []


@needs_recordings
def test_real_windows_is_read_by_patterns_and_as_the_parser_reads_it() -> None:
    plain = total = 0
    for path in recorded():
        messages: list[dict[str, Any]] = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))[
            "messages"
        ]
        for message in messages:
            response, request = (message.get("response") or "").encode(), message.get("request") or ""
            if b":ReceiveResponse>" not in response or "/powershell/" not in request:
                continue
            asked = re.search(r"MessageID>([^<]+)<", request)
            assert asked
            total += 1
            found = _read_plain(response, asked[1])
            if found is not None:
                plain += 1
                try:
                    assert found == _read_element(read_answer(response, asked[1]))
                except FaultError:
                    raise AssertionError("patterns took a fault for an answer") from None
    assert plain == total > 0


def command_answer(body: str) -> bytes:
    return answer("").replace(
        b"<rsp:ReceiveResponse></rsp:ReceiveResponse>", f"<rsp:CommandResponse>{body}</rsp:CommandResponse>".encode()
    )


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ("<rsp:CommandId>77DF7BB6</rsp:CommandId>", "77DF7BB6"),
        ("<rsp:CommandId> 77DF7BB6\n</rsp:CommandId>", "77DF7BB6"),
        ("<rsp:CommandId>a&amp;b</rsp:CommandId>", "a&b"),
        (f"<rsp:CommandId>{'7' * 129}</rsp:CommandId>", ""),
        ("", ""),
    ],
)
def test_the_id_of_a_command(body: str, given: str) -> None:
    assert read_command(command_answer(body), ID) == given


CREATED = (
    "<x:ResourceCreated><a:Address>http://web01:5985/wsman</a:Address><a:ReferenceParameters>"
    "<w:ResourceURI>http://schemas.microsoft.com/powershell/Microsoft.PowerShell</w:ResourceURI><w:SelectorSet>"
    '<w:Selector Name="ShellId">5D2E</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>'
    f'<rsp:Shell xmlns:rsp="{SHELL}"><rsp:ShellId>77DF</rsp:ShellId><rsp:Owner>WEB01\\ops</rsp:Owner></rsp:Shell>'
)
X = START.replace(" xmlns:w", ' xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" xmlns:w')


@pytest.mark.parametrize(
    ("body", "start", "given"),
    [
        (CREATED, X, "77DF"),
        (CREATED.replace("WEB01", "W\u00c4B01"), X, "77DF"),
        (CREATED.partition("<rsp:Shell ")[0], X, "5D2E"),
        (CREATED.replace("77DF", "77&#x44;F"), X, "77DF"),
        (CREATED.replace("77DF", "7" * 129), X, None),
        (CREATED.replace("x:Res", "a:Res"), START, "77DF"),
        (CREATED, START, None),
        (CREATED.replace("</rsp:Owner>", "</rsp:Other>"), X, None),
    ],
)
def test_the_id_of_a_shell(body: str, start: str, given: str | None) -> None:
    data = answer("", start=start).replace(b"<rsp:ReceiveResponse></rsp:ReceiveResponse>", body.encode())
    if given is None:
        with pytest.raises(ProtocolError):
            read_created(data, ID)
    else:
        assert read_created(data, ID) == given
