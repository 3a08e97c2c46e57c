from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

from remotejobs.errors import FaultError, LimitError, ProtocolError
from remotejobs.wsman import shells
from remotejobs.wsman.envelopes import (
    SHELL,
    SOAP,
    TRANSFER,
    WSMAN,
    Requests,
    Template,
    option,
    option_set,
    read_answer,
    selector_set,
)
from remotejobs.wsman.faults import Means, meaning, normalise
from remotejobs.wsman.received import read_received
from tests.recordings import RECORDINGS, needs_recordings

NS = {"s": SOAP, "w": WSMAN, "rsp": SHELL}
URL = "https://web01:5986/wsman?PSVersion=5&x=<>"


def requests() -> Requests:
    template = Template("http://schemas.microsoft.com/powershell/A&B", operation_timeout=20)
    return Requests(template, URL, uuid.UUID(int=5))


def envelope(body: str, relates_to: str | None = "uuid:1", extra: str = "") -> bytes:
    related = f"<a:RelatesTo>{relates_to}</a:RelatesTo>" if relates_to else ""
    return (
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="{WSMAN}" '
        f'xmlns:rsp="{SHELL}" xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault">'
        f"<s:Header>{related}{extra}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def fault(detail: str = "", subcode: str = "w:InternalError", reason: str = "why") -> str:
    return (
        f"<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{reason}</s:Text></s:Reason><s:Detail>{detail}</s:Detail></s:Fault>'
    )


def test_a_request_is_well_formed_and_escaped() -> None:
    request = requests().request(
        f"{TRANSFER}/Get",
        "<x/>",
        selectors=selector_set(**{"Na<me": "a&b"}),
        options=option_set(option("o", "<v>", must_comply=True)),
    )
    root = etree.fromstring(request.data)
    assert root.findtext(".//{*}To") == URL
    assert root.findtext(".//{*}ResourceURI") == "http://schemas.microsoft.com/powershell/A&B"
    assert root.findtext(".//{*}MessageID") == request.message_id
    assert root.findtext(".//{*}OperationTimeout") == "PT20.000S"
    assert root.findtext(".//{*}SessionId") == "uuid:" + str(uuid.UUID(int=5)).upper()
    selector = root.find(".//{*}Selector")
    assert selector is not None
    assert (selector.get("Name"), selector.text) == ("Na<me", "a&b")
    chosen = root.find(".//{*}Option")
    assert chosen is not None
    assert (chosen.get("Name"), chosen.get("MustComply"), chosen.text) == ("o", "true", "<v>")
    # OMI answers 500 to a Delete with the OptionSet first.
    names = [etree.QName(e).localname for e in root[0]]
    assert names.index("SelectorSet") < names.index("OptionSet")


def test_every_request_has_its_own_id() -> None:
    made = requests()
    assert len({made.request("a").message_id for _ in range(100)}) == 100


def test_a_payload_fills_the_envelope_and_never_overflows() -> None:
    made = requests()
    shell = shells.PowerShellShell(made, str(uuid.uuid4()).upper())
    for size in (153600, 512000, 8192):
        made.envelope_size = size
        payload = bytes(made.payload_size)
        for request in (
            shell.create(payload, protocol="2.3", no_profile=True, idle_timeout=7200),
            shell.command(str(uuid.uuid4()), payload),
            shell.send(payload, str(uuid.uuid4())),
        ):
            assert size * 0.7 < len(request.data) + 2048
            assert len(request.data) <= size


def test_the_answer_to_another_request_is_refused() -> None:
    with pytest.raises(ProtocolError, match="another request"):
        read_answer(envelope("<x/>", "uuid:2"), "uuid:1")
    with pytest.raises(ProtocolError, match="RelatesTo"):
        read_answer(envelope("<x/>", None), "uuid:1")
    assert read_answer(envelope("<x/>", "UUID:AbC"), "uuid:aBc").tag == "x"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<html><body>502</body></html>", "web page"),
        (b"<!doctype html><html>", "web page"),
        (b"\x00\x01garbage", "something else than WinRM"),
        (b"<a/>", "not a SOAP envelope"),
        (envelope("<x/>")[:-20], "not XML"),
        (envelope("<x/>").decode().encode("utf-16"), "not XML"),
    ],
)
def test_what_is_not_soap_is_said_to_be(data: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        read_answer(data, "uuid:1")


def test_entities_are_not_even_looked_at() -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE l [<!ENTITY a0 "xxxxxxxxxx">{laughs}]>'.encode() + envelope("&a11;")
    with pytest.raises(LimitError):
        read_answer(bomb, "uuid:1")
    with pytest.raises(ProtocolError):
        read_answer(b"<!--" + b"x" * 10_000 + b"-->" + bomb, "uuid:1")
    declared = b"<!--" + b"x" * 10_000 + b"--><!DOCTYPE l>" + envelope("<x/>")
    with pytest.raises(LimitError):
        read_answer(declared, "uuid:1")


def test_depth_is_limited() -> None:
    deep = "<x>" * 10_000 + "</x>" * 10_000
    with pytest.raises(ProtocolError, match="not XML"):
        read_answer(envelope(deep), "uuid:1")


def test_a_fault_wins_over_the_status() -> None:
    detail = '<f:WSManFault Code="2150858793" Machine="m"><f:Message>no output\n yet</f:Message></f:WSManFault>'
    with pytest.raises(FaultError, match="no output yet") as caught:
        read_answer(envelope(fault(detail, "w:TimedOut")), "uuid:1")
    assert meaning(caught.value).means is Means.NOTHING_YET


def test_the_innermost_fault_is_the_cause() -> None:
    detail = (
        '<f:WSManFault Code="5"><f:Message><f:ProviderFault provider="p"><f:WSManFault Code="2150858843">'
        "<f:Message>gone</f:Message></f:WSManFault></f:ProviderFault></f:Message></f:WSManFault>"
    )
    with pytest.raises(FaultError, match="gone") as caught:
        read_answer(envelope(fault(detail)), "uuid:1")
    assert (caught.value.code, meaning(caught.value).means) == (2150858843, Means.GONE)


def test_a_wmi_error_is_read_too() -> None:
    detail = (
        '<p:MSFT_WmiError xmlns:p="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError">'
        "<p:Message>too many</p:Message><p:MessageID>HRESULT 0x803381a6</p:MessageID>{}</p:MSFT_WmiError>"
    )
    for code in ("<p:error_Code>2150859174</p:error_Code>", ""):
        with pytest.raises(FaultError, match="too many") as caught:
            read_answer(envelope(fault(detail.format(code))), "uuid:1")
        assert meaning(caught.value).means is Means.QUOTA


def test_a_fault_without_a_code_is_told_by_its_subcode() -> None:
    with pytest.raises(FaultError) as caught:
        read_answer(envelope(fault(subcode="wsman:TimedOut"), None), "uuid:1")
    assert meaning(caught.value).means is Means.NOTHING_YET


def test_codes_come_in_three_dresses() -> None:
    assert normalise(-2144108503) == 2150858793
    assert normalise(0x80070005) == 5
    assert normalise(2150858843) == 2150858843


def test_a_hostile_reason_is_tamed() -> None:
    with pytest.raises(FaultError) as caught:
        read_answer(envelope(fault(reason="a&#x9b;31m&#x202e;" + "b" * 100_000)), "uuid:1")
    assert len(caught.value.message) <= 2000
    assert caught.value.message.isprintable()


def recorded(folder: str, pattern: str) -> list[Path]:
    return sorted((RECORDINGS / folder).glob(pattern)) if RECORDINGS else []


def soap_answers() -> list[Path]:
    """OMI's answers but the few without SOAP in them: refused logons and empty bodies."""
    heads = {path: path.read_bytes().partition(b"\r\n\r\n")[0] for path in recorded("omi", "*-resp.txt")}
    return [path for path, head in heads.items() if head.startswith(b"HTTP/1.1 200") or b"soap+xml" in head]


def conversations(path: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    messages: list[dict[str, Any]] = yaml.load(path.read_text(), loader)["messages"]
    return messages


@needs_recordings
@pytest.mark.parametrize("path", recorded("windows", "*.yml"), ids=lambda p: p.stem)
def test_answers_of_real_windows_are_read(path: Path) -> None:
    read = 0
    for message in conversations(path):
        if not message.get("response") or not message.get("request"):
            continue
        found = re.search(r"MessageID>([^<]+)<", message["request"])
        assert found
        try:
            answer = read_answer(message["response"].encode(), found[1])
        except FaultError as error:
            assert error.code
            assert error.message
        else:
            if answer.tag == f"{{{SHELL}}}ReceiveResponse":
                read_received(message["response"].encode(), found[1])
        read += 1
    assert read


@needs_recordings
@pytest.mark.parametrize("path", soap_answers(), ids=lambda p: p.stem)
def test_answers_of_omi_are_read_or_refused_in_words(path: Path) -> None:
    body = path.read_bytes().partition(b"\r\n\r\n")[2]
    request = path.with_name(path.name.replace("-resp.txt", "-req.xml"))
    found = re.search(rb"MessageID[^>]*>\s*([^<\s]+)", request.read_bytes())
    try:
        read_answer(body, found[1].decode() if found else "")
    except FaultError as error:
        assert error.message
        assert error.subcode
    except ProtocolError as error:
        assert "RelatesTo" in error.message or "empty" in error.message, error.message
