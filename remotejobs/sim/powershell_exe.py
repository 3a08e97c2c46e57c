"""powershell.exe in a cmd shell of a simulated host: `powershell -EncodedCommand`, as pywinrm and Ansible run scripts.

Knows that command line, what answers scripts, and text. Must not know WS-Man, or what a script means. Strings, numbers
and what else is one line come as they are, and of other objects their text: the default formatting is not here. Errors
come as CLIXML on standard error, the exit code is 1 where one ended the script.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any
from xml.sax.saxutils import escape

from remotejobs.sim.clixml_parse import from_clixml
from remotejobs.sim.interpreter import Command, HostMethod, Interpreter, Invocation
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.records import ErrorRecord, ScriptError, runtime_exception
from remotejobs.sim.shells import HostInfo, ShellFactory, ShellSink
from remotejobs.sim.values import to_text
from remotejobs.sim.winrs_host import WinrsHost

_ENCODED = re.compile(r"powershell(?:\.exe)? .*-encodedcommand (\S+)\s*", re.IGNORECASE)
_EXIT = re.compile(rb"<I32>6</I32>.*<Obj N=\"mp\".*<I32>(-?\d+)</I32>", re.DOTALL)
_STOPPED = 0xC000013A


def cmd_with_powershell(interpreter: Interpreter) -> ShellFactory:
    """Make cmd shells that know powershell.exe, whose scripts go to `interpreter`."""

    def make(host: HostInfo, sink: ShellSink) -> _Shell:
        return _Shell(host, sink, interpreter)

    return make


class _Shell(WinrsHost):
    """One cmd shell (a Shell)."""

    def __init__(self, host: HostInfo, sink: ShellSink, interpreter: Interpreter) -> None:
        super().__init__(host, sink)
        self._to, self._of, self._interpreter = sink, host, interpreter
        self._scripts: dict[str, asyncio.Task[None]] = {}

    def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
        """Start a script, or what cmd itself knows."""
        script = _script(" ".join([command, *arguments]))
        if script is None:
            super().command(command_id, command, arguments, options)
            return
        self._of.counters.scripts[script] += 1
        self._to.command_state(command_id, "Running", None)
        self._scripts[command_id] = asyncio.get_running_loop().create_task(self._powershell(command_id, script))

    def signal(self, command_id: str, code: str) -> None:
        """End a command."""
        if command_id in self._scripts:
            self._scripts[command_id].cancel()
        else:
            super().signal(command_id, code)

    def close(self) -> None:
        """End all commands."""
        for task in list(self._scripts.values()):
            task.cancel()
        super().close()

    async def _powershell(self, command_id: str, script: str) -> None:
        text = _Text(self._to, command_id, self._encoding)
        try:
            await self._interpreter.open(self._of).run(Invocation(((Command(script),),)), text)
        except ScriptError as error:
            await text.error(error.record)
            text.code = 1
        except asyncio.CancelledError:
            text.code = _STOPPED
        finally:
            del self._scripts[command_id]
        for stream in ("stdout", "stderr"):
            self._to.output(stream, b"", command_id, end=True)
        self._to.command_state(command_id, "Done", text.code)


def _script(line: str) -> str | None:
    """The script that a command line gives to powershell.exe; None where it is another."""
    found = _ENCODED.fullmatch(line)
    try:
        return b64decode(found[1], validate=True).decode("utf-16-le") if found else None
    except ValueError:
        return None


def _value(clixml: str) -> Any:
    return from_clixml(clixml.encode("utf-8", "surrogatepass"), lambda _: "")


class _Text:
    """Streams as text."""

    interactive = False

    def __init__(self, sink: ShellSink, command_id: str, encoding: str) -> None:
        self._sink, self._id, self._encoding = sink, command_id, encoding
        self._said = False
        self.code = 0

    async def output(self, value: Any) -> None:
        """Write a line."""
        while self._sink.full:  # noqa: ASYNC110 - a sink has no events
            await asyncio.sleep(0.01)
        if isinstance(value, list | tuple):
            for each in value:
                await self.output(each)
        elif value is not None:
            self._sink.output("stdout", f"{to_text(value)}\r\n".encode(self._encoding, "replace"), self._id)

    async def error(self, record: ErrorRecord) -> None:
        """Write an error."""
        self._fail(record.message)

    async def text(self, stream: str, message: str) -> None:
        """Write what the console shows of a stream."""
        await self.output(f"{stream.upper()}: {message}")

    async def information(self, record: Any, shown: str | None) -> None:  # noqa: ARG002 - as every answer
        """Write what the console shows."""
        if shown is not None:
            await self.output(shown)

    async def progress(self, record: Any) -> None:
        """Nothing: a bar is no text."""

    async def host_call(self, method: HostMethod, *parameters: Any) -> Any:
        """Nobody answers a prompt."""
        if method is HostMethod.SetShouldExit:
            self.code = parameters[0]
        elif not method.void:
            raise ScriptError(ErrorRecord(runtime_exception("NonInteractive mode.", "Host.HostException"), "ReadHost"))

    async def recorded(self, message_type: int, clixml: str) -> None:
        """Write what a recorded message says."""
        if message_type == MessageType.PIPELINE_OUTPUT:
            await self.output(_value(clixml))
        elif message_type == MessageType.ERROR_RECORD:
            self._fail(to_text(_value(clixml)))
        elif message_type == MessageType.PIPELINE_HOST_CALL and (found := _EXIT.search(clixml.encode())):
            self.code = int(found[1])
        elif message_type == MessageType.PIPELINE_STATE and b'"PipelineState">5<' in clixml.encode():
            self._fail("The script failed.")
            self.code = 1

    async def answer(self, call_id: int) -> None:
        """Nobody answers."""

    async def input(self) -> AsyncIterator[Any]:
        """Nothing."""
        nothing: tuple[Any, ...] = ()
        for each in nothing:
            yield each

    def _fail(self, message: str) -> None:
        words = escape(message).replace("\r\n", "\n").replace("\n", "_x000D__x000A_")
        mark = "" if self._said else "#< CLIXML\r\n"
        self._said = True
        self._sink.output(
            "stderr",
            (
                f'{mark}<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
                f'<S S="Error">{words}_x000D__x000A_</S></Objs>\r\n'
            ).encode(self._encoding, "replace"),
            self._id,
        )
