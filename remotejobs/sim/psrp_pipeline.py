"""One pipeline of a simulated PSRP server: its task, its streams, its host calls (MS-PSRP 3.2.1.4).

Knows messages and the port to the interpreter. Must not know pools beyond what it asks its host for.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol

from remotejobs.sim.clixml_build import to_clixml
from remotejobs.sim.interpreter import HostMethod, Runspace
from remotejobs.sim.psrp_requests import CreatePipeline, RequestError, host_response
from remotejobs.sim.psrp_wire import Message, MessageType
from remotejobs.sim.records import (
    STOPPED,
    ErrorRecord,
    InformationRecord,
    NetException,
    ProgressRecord,
    ScriptError,
    host_call,
    informational,
    payload,
    runtime_exception,
    state,
)
from remotejobs.sim.shells import HostInfo, ShellSink
from remotejobs.sim.values import NOTHING, Int64, PSObject

_INPUT_LIMIT = 64 * 1024 * 1024
_BREATH = 64 * 1024  # bytes after which other hosts get a turn
_END = object()
_STREAMS = {
    "Warning": (MessageType.WARNING_RECORD, HostMethod.WriteWarningLine),
    "Verbose": (MessageType.VERBOSE_RECORD, HostMethod.WriteVerboseLine),
    "Debug": (MessageType.DEBUG_RECORD, HostMethod.WriteDebugLine),
}
_RECORDS = frozenset(
    {
        *(MessageType.PIPELINE_OUTPUT, MessageType.ERROR_RECORD, MessageType.WARNING_RECORD),
        *(MessageType.VERBOSE_RECORD, MessageType.DEBUG_RECORD, MessageType.INFORMATION_RECORD),
        MessageType.PROGRESS_RECORD,
    }
)
_STATES = {"Stopped": 3, "Completed": 4, "Failed": 5}


class PoolSide(Protocol):
    """What a pipeline asks of its pool."""

    host: HostInfo
    sink: ShellSink
    pool_host: bool

    def write(self, kind: int, clixml: str, pipeline_id: uuid.UUID | None, command_id: str | None) -> int:
        """Send one message."""
        ...

    def decode(self, data: bytes) -> Any:
        """Read one value that the client sent."""
        ...

    def acquire(self, pipeline: Pipeline) -> Runspace | None:
        """A runspace, or None: then the pipeline is started when there is one."""
        ...

    def release(self, runspace: Runspace) -> None:
        """Give a runspace back."""
        ...

    def forget(self, command_id: str) -> None:
        """The pipeline has ended."""
        ...


class Pipeline:
    """One pipeline, from Command to its one terminal PIPELINE_STATE. It is the Streams of its interpreter."""

    def __init__(self, host: PoolSide, command_id: str) -> None:
        self.pipeline_id = uuid.UUID(int=0)
        self.ended = False
        self._host = host
        self._command_id = command_id
        self._request: CreatePipeline | None = None
        self._task: asyncio.Task[None] | None = None
        self._runspace: Runspace | None = None
        self._entered = False
        self._input: deque[Any] = deque()
        self._input_size = 0
        self._input_news = asyncio.Event()
        self._calls = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._unpaid = 0

    # What its host calls

    def create(self, request: CreatePipeline, pipeline_id: uuid.UUID) -> None:
        """Take CREATE_PIPELINE and start as soon as there is a runspace."""
        if self._request:
            raise RequestError("a pipeline is created once")
        self.pipeline_id, self._request = pipeline_id, request
        if request.internal:
            self._end("Completed", None)
            return
        self._host.host.counters.scripts[request.invocation.text] += 1
        self.start()

    def start(self) -> None:
        """Run, if there is a runspace."""
        runspace = self._host.acquire(self)
        if runspace:
            self._host.sink.command_state(self._command_id, "Running", None)
            self._task = asyncio.get_running_loop().create_task(self._run(runspace))
            self._runspace = runspace
            self._task.add_done_callback(lambda _: self._release())  # it may be cancelled before it has begun

    def take(self, message: Message) -> None:
        """Take pipeline input or the answer to a host call."""
        if message.type == MessageType.PIPELINE_INPUT:
            self._input_size += len(message.payload)
            if self._input_size > _INPUT_LIMIT:
                raise RequestError(f"more than {_INPUT_LIMIT} bytes of input")
            self._put(self._host.decode(message.payload))
        elif message.type == MessageType.END_OF_PIPELINE_INPUT:
            self._put(_END)
        elif message.type == MessageType.PIPELINE_HOST_RESPONSE:
            call_id, result, error = host_response(self._host.decode(message.payload))
            waiting = self._answers.pop(call_id, None)
            if waiting and not waiting.done():
                self._host.sink.command_state(self._command_id, "Running", None)
                waiting.set_result((result, error))

    def stop(self) -> None:
        """Stop in an orderly way: `finally` blocks run, the last message is the state Stopped."""
        if self._task and self._entered:
            self._task.cancel()
        else:  # still queued: PowerShell says Stopped without a reason
            self._end("Stopped", None)
            self.close()

    def close(self) -> None:
        """End at once and write nothing more."""
        self.ended = True
        if self._task:
            self._task.cancel()

    def fail(self, record: ErrorRecord) -> None:
        """End as Failed from outside."""
        self._end("Failed", record)
        self.close()

    # Streams

    @property
    def interactive(self) -> bool:
        """The client announced a host with a user interface."""
        own = self._request.interactive if self._request else None
        return self._host.pool_host if own is None else own

    async def output(self, value: Any) -> None:
        """Write one object to the output stream; `$null` is an empty message."""
        empty = value is None or value is NOTHING
        await self.recorded(MessageType.PIPELINE_OUTPUT, "" if empty else to_clixml(value))

    async def error(self, record: ErrorRecord) -> None:
        """Write a non-terminating error."""
        await self._record("Error", MessageType.ERROR_RECORD, record.to_object())

    async def text(self, stream: str, message: str) -> None:
        """Write to Warning, Verbose or Debug; a client with a host is told twice, as PowerShell does."""
        kind, method = _STREAMS[stream]
        if await self._record(stream, kind, informational(stream, message)):
            await self.host_call(method, message)

    async def information(self, record: InformationRecord, shown: str | None) -> None:
        """Write an information record."""
        written = await self._record("Information", MessageType.INFORMATION_RECORD, record.to_object())
        if written and shown is not None:
            await self.host_call(HostMethod.WriteLine2, shown)

    async def progress(self, record: ProgressRecord) -> None:
        """Write a progress record."""
        await self.recorded(MessageType.PROGRESS_RECORD, payload(record.to_object()))
        await self.host_call(HostMethod.WriteProgress, Int64(0), record.to_object())

    async def host_call(self, method: HostMethod, *parameters: Any) -> Any:
        """Call the client's host. Without one only SetShouldExit is sent."""
        if not self.interactive and method is not HostMethod.SetShouldExit:
            if method.void:
                return None
            raise ScriptError(_not_interactive(method))
        if not method.void:
            self._calls += 1
        call_id = -100 if method.void else self._calls
        call = payload(host_call(call_id, method, method.name, list(parameters)))
        await self.recorded(MessageType.PIPELINE_HOST_CALL, call)
        return None if method.void else await self._answer(call_id)

    async def recorded(self, message_type: int, clixml: str) -> None:
        """Write one message, once there is room for it. A PIPELINE_STATE is the last one."""
        if self.ended:
            return
        if message_type == MessageType.PIPELINE_STATE:
            self._finish(clixml)
            return
        while self._host.sink.full:  # noqa: ASYNC110 - a sink has no events
            await asyncio.sleep(0.02)
        if message_type in _RECORDS:
            self._host.host.counters.records += 1
        self._unpaid += self._host.write(message_type, clixml, self.pipeline_id, self._command_id)
        if self._unpaid > _BREATH:
            self._unpaid = 0
            await asyncio.sleep(0)

    async def answer(self, call_id: int) -> None:
        """Wait for the answer to a recorded host call; a refusal ends the script as it would end PowerShell's."""
        await self._answer(call_id)

    async def input(self) -> AsyncIterator[Any]:
        """The pipeline input, until its end."""
        while self._request and not self._request.invocation.no_input:
            while not self._input:
                self._input_news.clear()
                await self._input_news.wait()
            item = self._input.popleft()
            if item is _END:
                return
            yield item

    # Inside

    def _put(self, item: Any) -> None:
        self._input.append(item)
        self._input_news.set()

    async def _record(self, stream: str, kind: MessageType, record: PSObject) -> bool:
        """Write to a stream; False when the client wanted it in the output instead."""
        merged = self._request is not None and stream in self._request.merged
        await self.recorded(MessageType.PIPELINE_OUTPUT if merged else kind, payload(record))
        return not merged

    async def _answer(self, call_id: int) -> Any:
        waiting = self._answers[call_id] = asyncio.get_running_loop().create_future()
        self._host.sink.command_state(self._command_id, "Pending", None)
        result, error = await waiting
        if error is not None:
            raise ScriptError(_refused(error))
        return result

    async def _run(self, runspace: Runspace) -> None:
        assert self._request
        self._entered = True
        name, record = "Completed", None
        try:
            await runspace.run(self._request.invocation, self)
        except ScriptError as failed:
            name, record = "Failed", failed.record
        except asyncio.CancelledError:
            name, record = "Stopped", STOPPED
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave a client waiting
            text = f"The simulated host failed: {type(error).__name__}: {error}"
            name, record = "Failed", ErrorRecord(runtime_exception(text), "SimulatedHost", "NotSpecified")
        self._release()
        self._end(name, record)

    def _release(self) -> None:
        if self._runspace:
            runspace, self._runspace = self._runspace, None
            self._host.release(runspace)

    def _end(self, name: str, record: ErrorRecord | None) -> None:
        if not self.ended:
            self._finish(payload(state("PipelineState", _STATES[name], record)))

    def _finish(self, clixml: str) -> None:
        self._host.write(MessageType.PIPELINE_STATE, clixml, self.pipeline_id, self._command_id)
        self.ended = True
        self._host.forget(self._command_id)
        self._host.sink.command_state(self._command_id, "Done", 0)


def _not_interactive(method: HostMethod) -> ErrorRecord:
    """PowerShell's refusal of a prompt where the client has no host (HostFunctionNotImplemented)."""
    if method is HostMethod.Prompt:
        message = (
            "A command that prompts the user failed because the host program or the command type does not support user "
            "interaction. The host was attempting to request confirmation with the following message: "
        )
    else:
        message = (
            "The host program or the command type does not support user interaction. Try a host program that supports "
            "user interaction, such as the PowerShell Console, and remove prompt-related commands from command types "
            "that do not support user interaction."
        )
    exception = runtime_exception(message, "Host.HostException")
    return ErrorRecord(exception, "HostFunctionNotImplemented", "NotImplemented")


def _refused(error: PSObject) -> ErrorRecord:
    """What a script gets when the client answers a host call with an error: a RemoteException with its id."""
    exception = error.get("Exception")
    message = exception.get("Message", "") if isinstance(exception, PSObject) else str(exception or "")
    own = {"SerializedRemoteException": message, "SerializedRemoteInvocationInfo": None}
    head = runtime_exception(message, "RemoteException")
    remote = NetException(message, head.types, own)
    return ErrorRecord(
        remote,
        str(error.get("FullyQualifiedErrorId") or ""),
        "NotImplemented",
        reason=str(error.get("ErrorCategory_Reason") or "RemoteException"),
    )
