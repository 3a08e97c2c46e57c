"""Disconnect, Reconnect, Connect and finding shells: what we send beside what was recorded, and reading the answers."""

from __future__ import annotations

import base64
import re
import uuid
from typing import Any

import pytest
import yaml
from lxml import etree

from remotejobs.errors import FaultError, LimitError, ProtocolError
from remotejobs.wsman import discovery
from remotejobs.wsman.envelopes import POWERSHELL, SHELL, Request, Requests, Template
from remotejobs.wsman.psrp.fragments import Defragmenter, fragments
from remotejobs.wsman.psrp.messages import read_message
from remotejobs.wsman.psrp.runspace import PoolState, Runspace
from remotejobs.wsman.shells import PowerShellShell, read_connected
from tests.recordings import RECORDINGS, needs_recordings

SHELL_ID, COMMAND_ID, SESSION_ID = uuid.UUID(int=0xA1), uuid.UUID(int=0xB2), uuid.UUID(int=0xC3)
NS = (
    'xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
    'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" '
    'xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration" '
    f'xmlns:rsp="{SHELL}"'
)
_MESSAGE = re.compile(r"RelatesTo[^>]*>([^<]+)<")


def requests(resource: str = f"{POWERSHELL}/Microsoft.PowerShell") -> Requests:
    return Requests(Template(resource), "http://h:5985/wsman", SESSION_ID)


def our_shell() -> PowerShellShell:
    return PowerShellShell(requests(), str(SHELL_ID).upper())


def runspace(after: int | None = 0) -> Runspace:
    return Runspace(SHELL_ID, COMMAND_ID, b"", b"", max_object=10_000_000, after=after)


def answer(body: str) -> bytes:
    head = "<s:Header><a:RelatesTo>m</a:RelatesTo></s:Header>"
    return f"<s:Envelope {NS}>{head}<s:Body>{body}</s:Body></s:Envelope>".encode()


def recorded(name: str) -> list[tuple[str, str]]:
    """Requests and answers of a recording."""
    assert RECORDINGS is not None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    messages = yaml.load((RECORDINGS / "windows" / f"{name}.yml").read_text(), loader)["messages"]
    return [(m["request"], m["response"]) for m in messages if m.get("request") and m.get("response")]


def of_kind(name: str, kind: str) -> list[tuple[str, str]]:
    return [pair for pair in recorded(name) if re.search(rf"Action[^>]*>[^<]*/{kind}<", pair[0])]


def shape(request: str | bytes) -> tuple[Any, ...]:
    """What a request asks, without ids and texts of the one conversation."""
    root = etree.fromstring(request.encode() if isinstance(request, str) else request)
    header, body = root[0], root[1]

    def tree(element: etree._Element) -> tuple[Any, ...]:
        text = (element.text or "").strip()
        text = "#" if re.fullmatch(r"[0-9A-F-]{36}|[A-Za-z0-9+/=]{100,}", text) else text
        return (element.tag, sorted(element.attrib), text, [tree(child) for child in element])

    kept = [e for e in header if etree.QName(e).localname in ("Action", "ResourceURI", "SelectorSet", "OptionSet")]
    options = [
        (o.get("Name"), o.get("MustComply"), o.text) for e in kept for o in e if etree.QName(o).localname == "Option"
    ]
    selectors = [o.get("Name") for e in kept for o in e if etree.QName(o).localname == "Selector"]
    texts = {etree.QName(e).localname: (e.text or "").strip() for e in kept if not len(e)}
    return texts, options, selectors, [tree(child) for child in body]


@needs_recordings
def test_our_requests_are_those_that_windows_has_answered() -> None:
    name = "test_psrp_disconnect_runspaces"
    resource = f"{POWERSHELL}/Microsoft.PowerShell"
    ours = our_shell()
    assert shape(ours.disconnect(idle_timeout=None, buffer_mode="None").data) == shape(
        of_kind(name, "Disconnect")[0][0]
    )
    assert shape(ours.reconnect().data) == shape(of_kind(name, "Reconnect")[0][0])
    connecting = ours.connect(runspace().connecting(100_000), protocol="2.3")
    assert shape(connecting.data) == shape(of_kind(name, "Connect")[0][0])
    assert shape(ours.delete().data) == shape(of_kind(name, "Delete")[0][0])
    assert resource in connecting.data.decode()
    shells, commands, _ = of_kind(name, "Enumerate")
    assert shape(discovery.enumerate_all(requests(SHELL)).data) == shape(shells[0])
    asked = discovery.enumerate_all(requests(discovery.COMMANDS), str(SHELL_ID).upper())
    assert shape(asked.data) == shape(commands[0])
    asked = discovery.get_shell(requests(SHELL), str(SHELL_ID).upper())
    assert shape(asked.data) == shape(of_kind("test_psrp_is_alive_state_disconnected", "Get")[0][0])


@needs_recordings
def test_connect_says_what_the_recorded_client_said() -> None:
    (request, _), *_ = of_kind("test_psrp_disconnect_runspaces", "Connect")
    found = re.search(r"<connectXml[^>]*>([^<]+)<", request)
    assert found

    def messages(data: bytes) -> list[tuple[int, bytes]]:
        return [read_message(blob) for _, blob in Defragmenter(100_000).feed(data)]

    theirs = [(kind, text.replace(b" />", b"/>")) for kind, text in messages(base64.b64decode(found[1]))]
    assert messages(runspace().connecting(100_000)) == theirs


@needs_recordings
def test_recorded_answers_to_connect() -> None:
    for _, response in of_kind("test_psrp_disconnect_runspaces", "Connect"):
        related = _MESSAGE.search(response)
        assert related
        client = runspace()
        client.connected(read_connected(response.encode(), related[1]))
        assert (client.version, client.pool_state) == ("2.3", PoolState.Opened)


@needs_recordings
def test_recorded_lists_of_shells() -> None:
    pairs = of_kind("test_psrp_disconnect_runspaces", "Enumerate")
    pages = []
    for _, response in pairs:
        related = _MESSAGE.search(response)
        assert related
        pages.append(discovery.read_page(response.encode(), related[1]))
    shells = [discovery.shell_of(item) for item in pages[0].items]
    assert len(shells) == 2
    assert pages[0].context == ""
    for shell in shells:
        assert shell is not None
        assert shell.disconnected
        assert (shell.idle_timeout, shell.buffer_mode) == (7200.0, "Block")
        assert shell.resource_uri.startswith(POWERSHELL)
        assert shell.owner.endswith("vagrant")
    assert pages[1].items == []


@needs_recordings
def test_recorded_signs_of_life() -> None:
    states = []
    for name in ("test_psrp_is_alive_state_disconnected", "test_psrp_is_alive_invalid_selectors"):
        for _, response in of_kind(name, "Get"):
            related = _MESSAGE.search(response)
            assert related
            try:
                shell = discovery.read_shell(response.encode(), related[1])
                states.append((shell.state, shell.idle_timeout, shell.run_time))
            except FaultError as fault:
                states.append((str(fault.code), None, None))
    assert states[0] == ("Connected", 60.0, 0.0)
    assert states[1] == ("Disconnected", 60.0, 62.0)
    assert states[3] == ("2150858843", None, None)


def test_settings_of_disconnecting() -> None:
    ours = our_shell()
    body = ours.disconnect(idle_timeout=90, buffer_mode="Drop").data.decode()
    settings = "<rsp:IdleTimeout>PT90.000S</rsp:IdleTimeout><rsp:BufferMode>Drop</rsp:BufferMode>"
    assert f"<rsp:Disconnect>{settings}</rsp:Disconnect>" in body
    created = ours.create(
        b"x", protocol="2.3", no_profile=False, idle_timeout=90, buffer_mode="Block", name='a "b" <c>'
    ).data.decode()
    assert "<rsp:IdleTimeOut>PT90.000S</rsp:IdleTimeOut><rsp:BufferMode>Block</rsp:BufferMode>" in created
    assert etree.fromstring(created.encode()).find(".//{*}Shell").get("Name") == 'a "b" <c>'  # type: ignore[union-attr]


def test_commands_are_asked_for_one_by_one() -> None:
    ours = our_shell()
    assert f'<rsp:Reconnect CommandId="{COMMAND_ID}"/>' in ours.reconnect(str(COMMAND_ID)).data.decode()
    asked = ours.connect_command(str(COMMAND_ID)).data.decode()
    assert f'<rsp:Connect CommandId="{COMMAND_ID}"/>' in asked
    assert "OptionSet" not in asked
    assert read_connected(answer("<rsp:ConnectResponse/>"), "m") == b""


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<rsp:CommandResponse/>",
        f'<rsp:ConnectResponse><connectResponseXml xmlns="{POWERSHELL}">?</connectResponseXml></rsp:ConnectResponse>',
    ],
)
def test_odd_answers_to_connect(body: str) -> None:
    with pytest.raises(ProtocolError):
        read_connected(answer(body), "m")


def page(inner: str, kind: str = "Enumerate") -> discovery.Page:
    return discovery.read_page(answer(f"<n:{kind}Response>{inner}</n:{kind}Response>"), "m")


def test_pages_go_on_by_their_context() -> None:
    item = "<rsp:Command><rsp:CommandId>X</rsp:CommandId><rsp:CommandState>Running</rsp:CommandState></rsp:Command>"
    first = page(f"<n:EnumerationContext>c&amp;1</n:EnumerationContext><w:Items>{item}</w:Items>")
    assert first.context == "c&1"
    assert [discovery.command_of(i) for i in first.items] == [discovery.CommandInfo("X", "", "Running")]
    asked: Request = discovery.pull(requests(SHELL), first.context)
    assert "<n:EnumerationContext>c&amp;1</n:EnumerationContext>" in asked.data.decode()
    last = page(f"<n:EnumerationContext>c</n:EnumerationContext><n:Items>{item}</n:Items><n:EndOfSequence/>", "Pull")
    assert (last.context, len(last.items)) == ("", 1)


def test_hostile_lists() -> None:
    with pytest.raises(LimitError):
        page(f"<w:Items>{'<rsp:Shell/>' * (discovery.MAX_ITEMS + 1)}</w:Items>")
    with pytest.raises(LimitError):
        page(f"<n:EnumerationContext>{'c' * 5000}</n:EnumerationContext>")
    with pytest.raises(ProtocolError):
        discovery.read_page(answer("<n:Other/>"), "m")
    with pytest.raises(ProtocolError):
        discovery.read_shell(answer("<rsp:Shell/>"), "m")
    odd = (
        f"<rsp:Shell><rsp:ShellId>{'A' * 9000}</rsp:ShellId><rsp:Owner>a&#10;b&#x202e;</rsp:Owner>"
        "<rsp:IdleTimeOut>PT99999999999999999999S</rsp:IdleTimeOut><rsp:ShellRunTime>P</rsp:ShellRunTime></rsp:Shell>"
        "<rsp:Shell/><rsp:Command/><x/>"
    )
    items = page(f"<w:Items>{odd}</w:Items>").items
    shell = discovery.shell_of(items[0])
    assert shell is not None
    assert len(shell.shell_id) == 256
    assert (shell.owner, shell.idle_timeout, shell.run_time) == ("a b ", None, None)
    assert [discovery.shell_of(item) for item in items[1:]] == [None, None, None]


def blob(text: str) -> bytes:
    return (1).to_bytes(4, "little") + (0x41004).to_bytes(4, "little") + bytes(32) + text.encode()


def test_a_stream_taken_up_in_the_middle_of_an_object() -> None:
    cut = list(fragments(9, blob("<S>" + "x" * 90 + "</S>"), 60))
    stream = Defragmenter(10_000, after=8)
    assert stream.feed(b"".join(cut[1:])) == []
    assert stream.headless == 1
    (whole,) = stream.feed(next(fragments(11, b"next", 60)))
    assert whole == (11, b"next")
    with pytest.raises(ProtocolError):  # from here on it is a stream like any other
        stream.feed(list(fragments(12, blob("y" * 90), 60))[1])


def test_what_is_stored_already_is_no_loss() -> None:
    cut = list(fragments(8, blob("<S>" + "x" * 90 + "</S>"), 60))
    stream = Defragmenter(10_000, after=8)
    assert stream.feed(b"".join(cut[1:])) == []
    assert stream.headless == 0
