"""A host that says what a test has it say, below HTTP: the Transport port, answered by a table."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from remotejobs.errors import UnreachableError
from remotejobs.ports import Lost, NotSent, Reply
from remotejobs.wsman.psrp.fragments import fragments
from tests.session.replay import kind_of

Answer = str | Reply | Lost | NotSent | Callable[[str], Awaitable["Answer"]]
_MESSAGE = re.compile(r"MessageID>([^<]+)<")
_NS = (
    'xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
    'xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell" '
    'xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"'
)
CAPABILITY = (
    '<Obj RefId="0"><MS><Version N="protocolversion">2.3</Version><Version N="PSVersion">2.0</Version>'
    '<Version N="SerializationVersion">1.1.0.1</Version></MS></Obj>'
)


def lost() -> Lost:
    return Lost(UnreachableError("The connection was reset.", step="reset"))


def not_sent() -> NotSent:
    return NotSent(UnreachableError("The connection was closed while it was idle.", step="reset"))


def fault(code: int) -> str:
    return (
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text>because</s:Text></s:Reason>"
        f'<s:Detail><f:WSManFault Code="{code}"><f:Message>because {code}</f:Message></f:WSManFault></s:Detail>'
        "</s:Fault>"
    )


def psrp(kind: int, xml: str, object_id: int) -> bytes:
    header = (1).to_bytes(4, "little") + kind.to_bytes(4, "little") + bytes(32)
    return next(fragments(object_id, header + b"\xef\xbb\xbf" + xml.encode(), 100_000))


def output(text: str, object_id: int) -> bytes:
    return psrp(0x41004, f"<S>{text}</S>", object_id)


def pipeline_state(state: int, object_id: int) -> bytes:
    return psrp(0x41006, f'<Obj RefId="0"><MS><I32 N="PipelineState">{state}</I32></MS></Obj>', object_id)


def received(*data: bytes, done: bool = False) -> str:
    streams = "".join(f'<rsp:Stream Name="stdout">{base64.b64encode(piece).decode()}</rsp:Stream>' for piece in data)
    state = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done"
    end = f'<rsp:CommandState State="{state}"/>' if done else ""
    return f"<rsp:ReceiveResponse>{streams}{end}</rsp:ReceiveResponse>"


def shell(state: str = "Connected") -> str:
    return f"<rsp:Shell><rsp:ShellId>{uuid.uuid4()}</rsp:ShellId><rsp:State>{state}</rsp:State></rsp:Shell>"


def connected() -> str:
    data = psrp(0x10002, CAPABILITY, 4) + psrp(
        0x2100B, '<Obj RefId="0"><MS><I32 N="MinRunspaces">1</I32></MS></Obj>', 5
    )
    return (
        '<rsp:ConnectResponse><connectResponseXml xmlns="http://schemas.microsoft.com/powershell">'
        f"{base64.b64encode(data).decode()}</connectResponseXml></rsp:ConnectResponse>"
    )


class ScriptedHost:
    """Answers each kind of request with what is queued for it, else as a good host does."""

    def __init__(self) -> None:
        self.queued: dict[str, deque[Answer]] = defaultdict(deque)
        self.asked: list[str] = []
        self.bodies: list[str] = []
        self.opened = 0
        self.open_errors: deque[UnreachableError] = deque()
        self.default: dict[str, Answer] = {
            "Create": f"<rsp:Shell><rsp:ShellId>{str(uuid.uuid4()).upper()}</rsp:ShellId></rsp:Shell>",
            "Receive": received(
                psrp(0x10002, CAPABILITY, 1),
                psrp(0x21005, '<Obj RefId="0"><MS><I32 N="RunspaceState">2</I32></MS></Obj>', 2),
            ),
            "Command": "<rsp:CommandResponse/>",
            "Receive+": received(output("hello", 3), pipeline_state(4, 4), done=True),
            "Send": "<rsp:SendResponse/>",
            "Signal": "<rsp:SignalResponse/>",
            "Disconnect": "",
            "Reconnect": "",
            "Connect": connected(),
            "Get": shell(),
            "Delete": "",
        }

    def on(self, kind: str, *answers: Answer) -> ScriptedHost:
        self.queued[kind].extend(answers)
        return self

    def connect(self, _target: object) -> ScriptedConnection:
        return ScriptedConnection(self)


class ScriptedConnection:
    def __init__(self, host: ScriptedHost) -> None:
        self._host = host
        self._open = False
        self._waiting: asyncio.Future[Answer] | None = None

    async def open(self) -> None:
        if self._host.open_errors:
            raise self._host.open_errors.popleft()
        self._host.opened += 1
        self._open = True

    async def post(self, body: bytes) -> Reply | NotSent | Lost:
        if not self._open:
            return not_sent()
        host, text = self._host, body.decode()
        kind = kind_of(text)
        host.asked.append(kind)
        host.bodies.append(text)
        answer = host.queued[kind].popleft() if host.queued[kind] else host.default[kind]
        if callable(answer):
            work = asyncio.ensure_future(answer(text))
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait([work, self._waiting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                work.cancel()
            answer = lost() if self._waiting.done() else work.result()
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, Lost | NotSent):
            self._open = False
            return answer
        found = _MESSAGE.search(text)
        assert found
        assert isinstance(answer, str)
        status = 500 if "s:Fault" in answer else 200
        envelope = (
            f"<s:Envelope {_NS}><s:Header><a:RelatesTo>{found[1]}</a:RelatesTo></s:Header>"
            f"<s:Body>{answer}</s:Body></s:Envelope>"
        )
        return Reply(status, envelope.encode(), "application/soap+xml;charset=UTF-8")

    def close(self) -> None:
        self._open = False
        if self._waiting and not self._waiting.done():
            self._waiting.set_result("")
