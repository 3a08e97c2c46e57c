"""Every request of the recordings of Windows, put to a simulated host: the answers have the recorded shape.

What runs in the shells is played from the recording, so that all else is compared to the letter: headers, elements,
their order and nesting, streams, states, faults. A second test puts the same requests to the shells as they are.
"""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import yaml
from lxml import etree

from remotejobs.sim.fleet import default_factories
from tests.recorded import recorded
from tests.recordings import RECORDINGS, needs_recordings
from tests.sim.wire import CMD, Client, CmdPuppets, Puppets, Reply, connected, masked, on_shell, one_host, run

pytestmark = needs_recordings
CASES = sorted((RECORDINGS / "windows").glob("*.yml")) if RECORDINGS else []
# Texts that say what a host is, or what time it is, and not what it means.
OF_THE_HOST = {
    *("MessageID", "ActivityId", "Address", "Owner", "ClientIP", "ProcessId", "ShellRunTime", "ShellInactivity"),
    *("MemoryUsed", "Text", "Message", "ProviderFault", "connectResponseXml"),
}


def conversation(path: Path) -> list[dict[str, Any]]:
    messages = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return list(messages["messages"])


def shape(element: etree._Element, *, config: bool) -> tuple[Any, ...]:
    """Name, attributes, text and children, without what belongs to the one host or the one moment."""
    name = etree.QName(element).localname
    attributes = {
        etree.QName(key).localname: masked(str(value)) for key, value in element.attrib.items() if "lang" not in key
    }
    if name == "Variable":
        attributes = dict.fromkeys(attributes, "")  # the recorder lost a backslash of a name
    if name == "WSManFault":
        attributes["Machine"] = ""
    text = masked((element.text or "").strip())
    if name in OF_THE_HOST or config:
        text = ""
    children = [shape(child, config=config) for child in element if etree.QName(child).localname != "ActivityId"]
    return (etree.QName(element).namespace, name, attributes, text, children)


def same_shape(answer: Reply, expected: etree._Element) -> None:
    root = answer.xml
    config = root.find(".//{*}Config") is not None
    for path in ("{*}Header", "{*}Body"):
        ours, theirs = root.find(path), expected.find(path)
        assert ours is not None
        assert theirs is not None
        # Last seen is a matter of the moment; so is whether the service has lost patience.
        theirs_text = re.sub(rb">Disconnected<(?=/rsp:State)", b">Connected<", etree.tostring(theirs))
        ours_text = re.sub(rb">Disconnected<(?=/rsp:State)", b">Connected<", etree.tostring(ours))
        assert shape(etree.fromstring(ours_text), config=config) == shape(etree.fromstring(theirs_text), config=config)


class Stage:
    """Plays the recorded output into the puppets, and maps ids that the host made up."""

    def __init__(self) -> None:
        self.cmd, self.powershell = CmdPuppets(), Puppets()
        self.ids: dict[str, str] = {}
        self.sinks: dict[str, Any] = {}
        self.played: set[tuple[str, str]] = set()

    def mapped(self, request: str) -> str:
        for theirs, ours in self.ids.items():
            request = request.replace(theirs, ours)
        return request

    def learn(self, answer: Reply, expected: etree._Element) -> None:
        """Note the ids in an answer, and which puppet belongs to them."""
        for name in ("Selector", "CommandId"):
            for ours, theirs in zip(
                answer.xml.iterfind(f".//{{*}}{name}"), expected.iterfind(f".//{{*}}{name}"), strict=True
            ):
                assert ours.text
                assert theirs.text
                self.ids[theirs.text] = ours.text
                if name == "Selector":
                    puppets = self.cmd if CMD in answer.body.decode() else self.powershell
                    self.sinks[ours.text] = puppets.last.sink

    def play(self, request: etree._Element, expected: etree._Element) -> None:
        """Before a Receive: say what the recorded answer says, unless it has been said before."""
        response = expected.find(".//{*}ReceiveResponse")
        if response is None:
            return
        shell_id = request.findtext(".//{*}Selector") or ""
        sink = self.sinks[shell_id]
        stream = request.find(".//{*}DesiredStream")
        assert stream is not None
        command_id = stream.get("CommandId")
        for piece in response:
            if etree.QName(piece).localname == "Stream":
                text = piece.text or ""
                if text and len(text) > 60:  # a PSRP fragment: no two are alike
                    if (shell_id, text) in self.played:
                        return
                    self.played.add((shell_id, text))
                sink.output(piece.get("Name"), b64decode(text), command_id, end=piece.get("End") == "true")
            else:
                code = piece.findtext("{*}ExitCode")
                sink.command_state(command_id, piece.get("State", "").rsplit("/", 1)[-1], int(code) if code else None)


async def vanish(client: Client, request: etree._Element, expected: etree._Element) -> None:
    """Where the recorded host says that the shell is gone, let it be gone."""
    fault = expected.find(".//{*}WSManFault")
    if fault is not None and fault.get("Code") == "2150858843":
        resource = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
        deleted = await client.post(on_shell("Delete", request.findtext(".//{*}Selector") or "", resource=resource))
        assert deleted.status == 200


@recorded("windows-sim", CASES, lambda path: path.stem)
def test_answers_have_the_recorded_shape(case: Path) -> None:
    stage = Stage()
    factories = {CMD: stage.cmd, "http://schemas.microsoft.com/powershell/": stage.powershell}

    async def main() -> None:
        async with one_host(factories=factories, max_timeout=0.02) as fleet, await connected(fleet) as client:
            for message in conversation(case):
                if "response" not in message:
                    continue  # the connection broke there
                expected = etree.fromstring(message["response"].encode())
                request = stage.mapped(message["request"])
                stage.play(etree.fromstring(request.encode()), expected)
                await vanish(client, etree.fromstring(request.encode()), expected)
                answer = await client.post(request)
                fault = expected.find(".//{*}Fault") is not None
                assert answer.status == (500 if fault else 200)
                relates_to = etree.fromstring(request.encode()).findtext(".//{*}MessageID")
                assert answer.text("RelatesTo") == relates_to
                if not fault:
                    stage.learn(answer, expected)
                expected_text = stage.mapped(etree.tostring(expected).decode())
                same_shape(answer, etree.fromstring(expected_text.encode()))

    run(main())


def test_long_output_is_cut_as_recorded() -> None:
    assert RECORDINGS is not None
    messages = conversation(RECORDINGS / "windows" / "test_client_fetch_file.yml")
    answers = [etree.fromstring(message["response"].encode()) for message in messages]
    expected = [
        [stream.text or "" for stream in answer.iterfind(".//{*}Stream")]
        for answer in answers
        if answer.find(".//{*}CommandState") is not None or len(answer.findall(".//{*}Stream[@CommandId]"))
    ]
    stage = Stage()
    factories = {CMD: stage.cmd, "http://schemas.microsoft.com/powershell/": stage.powershell}

    async def main() -> list[list[str]]:
        seen = []
        async with one_host(factories=factories) as fleet, await connected(fleet) as client:
            for message in messages:
                operation = etree.fromstring(message["request"].encode()).findtext(".//{*}Action", "")
                command = "DesiredStream CommandId" in message["request"]
                if operation.endswith("Receive") and not command:
                    continue
                answer = await client.post(message["request"])
                assert answer.status == 200
                if operation.endswith("Command"):
                    sink, command_id = stage.powershell.last.sink, answer.text("CommandId")
                    for text in [text for batch in expected for text in batch]:
                        sink.output("stdout", b64decode(text), command_id)
                    sink.command_state(command_id, "Done", 0)
                if command:
                    seen.append([stream.text or "" for stream in answer.xml.iterfind(".//{*}Stream")])
        return seen

    assert run(main()) == expected


@recorded("windows-sim", CASES, lambda path: path.stem)
def test_the_shells_as_they_are_let_every_conversation_go_on(case: Path) -> None:
    stage = Stage()

    async def main() -> None:
        async with one_host(factories=default_factories(), max_timeout=0.1) as fleet, await connected(fleet) as client:
            for message in conversation(case):
                expected = etree.fromstring(message.get("response", "<x/>").encode())
                request = etree.fromstring(stage.mapped(message["request"]).encode())
                if not (request.findtext(".//{*}Action") or "").endswith("/Receive"):
                    await vanish(client, request, expected)
                answer = await client.post(etree.tostring(request))
                if (request.findtext(".//{*}Action") or "").endswith("/Receive"):
                    continue  # what a script says, and when, is its own affair
                fault = expected.find(".//{*}WSManFault")
                assert answer.fault == (int(fault.get("Code", "0")) if fault is not None else 0)
                if fault is None and (names := [e.text for e in expected.iterfind(".//{*}CommandId")]):
                    stage.ids.update(zip([n or "" for n in names], [answer.text("CommandId")], strict=True))
                shell = expected.find(".//{*}ResourceCreated//{*}Selector")
                if shell is not None:
                    stage.ids[shell.text or ""] = answer.text("Selector")

    run(main())
