"""The built-in dialect as an interpreter: a demo and a test double, not a PowerShell.

Knows the port and the parts of the dialect. It says what it does not know and never guesses. It knows literals, strings
with expansion and escapes, here-strings, variables, param and $args, arrays, ranges, hashtables, [pscustomobject], the
arithmetic, comparison, logical, string and format operators, casts, members of strings, numbers, dates and tables;
if, switch, for, foreach, while, do, try, throw, return, exit, break, continue; functions and script blocks;
pipelines over the cmdlets of cmdlets.py, prompts.py and windows.py; 2>$null.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from contextlib import aclosing
from typing import Any

from remotejobs.sim.dialect import cmdlets, prompts, windows
from remotejobs.sim.dialect.blocks import BlockStage
from remotejobs.sim.dialect.commands import resolve
from remotejobs.sim.dialect.conversions import plain
from remotejobs.sim.dialect.errors import Failure, Flow, Refusal
from remotejobs.sim.dialect.evaluator import Evaluator
from remotejobs.sim.dialect.host import HostObject, host_object
from remotejobs.sim.dialect.members import TypeName
from remotejobs.sim.dialect.nodes import Source
from remotejobs.sim.dialect.parser import parse
from remotejobs.sim.dialect.scopes import Emit, Frame, Session, Sleep, Stage
from remotejobs.sim.identity import version_table
from remotejobs.sim.interpreter import USING, Command, HostMethod, Invocation, Streams
from remotejobs.sim.records import Position, ScriptError
from remotejobs.sim.shells import HostInfo

_KNOWN = (cmdlets, prompts, windows)  # importing them makes their cmdlets known


class Dialect:
    """The interpreter of the built-in dialect.

    Args:
        sleep: What Start-Sleep does, with its seconds.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep

    def open(self, host: HostInfo) -> DialectRunspace:
        """A fresh runspace."""
        return DialectRunspace(host, self._sleep)


class DialectRunspace:
    """One runspace: variables and functions stay from one pipeline to the next."""

    def __init__(self, host: HostInfo, sleep: Sleep = asyncio.sleep) -> None:
        environment = {
            "COMPUTERNAME": host.name, "USERNAME": host.user, "USERDOMAIN": host.name, "OS": "Windows_NT",
            "PROCESSOR_ARCHITECTURE": "AMD64", "SYSTEMROOT": r"C:\Windows", "WINDIR": r"C:\Windows",
            "SYSTEMDRIVE": "C:",
            "TEMP": rf"C:\Users\{host.user}\AppData\Local\Temp", "USERPROFILE": rf"C:\Users\{host.user}",
        }  # fmt: skip
        self._session = Session(host, environment, sleep=sleep)
        self._session.variables.update(
            {
                "true": True, "false": False, "null": None, "error": [], "psversiontable": version_table("2.3"),
                "pid": 4242, "psedition": "Core", "iswindows": True, "islinux": False, "ismacos": False,
                "home": rf"C:\Users\{host.user}", "erroractionpreference": "Continue", "warningpreference": "Continue",
                "verbosepreference": "SilentlyContinue", "debugpreference": "SilentlyContinue",
                "informationpreference": "SilentlyContinue", "progresspreference": "Continue", "psscriptroot": "",
                "host": host_object(),
            }
        )  # fmt: skip

    async def run(self, invocation: Invocation, streams: Streams) -> None:
        """Run one pipeline; `exit N` tells the client's host N, as PowerShell does."""
        evaluator = Evaluator(self._session, streams, resolve, BlockStage)
        try:
            for statement in invocation.statements:
                await self._statement(evaluator, statement, invocation, streams)
        except Flow as jump:
            if jump.keyword == "exit":
                code = jump.value if type(jump.value) is int else 0
                await streams.host_call(HostMethod.SetShouldExit, code)
        except RecursionError:
            raise Refusal("scripts nested this deep") from None

    async def _statement(
        self, evaluator: Evaluator, statement: tuple[Command, ...], invocation: Invocation, streams: Streams
    ) -> None:
        async def emit(value: Any) -> None:
            if isinstance(value, TypeName):
                raise Refusal(f"the type [{value}] as an object")
            if isinstance(value, HostObject):
                raise Refusal("$Host as an object")
            await streams.output(value)

        blocks = [parse(command.text) if command.is_script else None for command in statement]
        evaluator.script = statement[0].text if statement[0].is_script else ""
        stages: list[Stage] = []
        out: Emit = emit
        top = Frame("<ScriptBlock>", Source(""), self._session.variables)
        evaluator.frames = [top]
        for command, block in reversed(list(zip(statement, blocks, strict=True))):
            arguments = [pair for pair in command.parameters if pair[0] != USING]
            for _, told in (pair for pair in command.parameters if pair[0] == USING):
                for key, value in plain(told).items():
                    evaluator.using[b64decode(key).decode("utf-16-le")] = value
            if block:
                stage = BlockStage(evaluator, block, arguments, out, "<ScriptBlock>")
                if not command.local_scope:
                    stage.variables = self._session.variables
            else:
                word = Position(0, 0, "", "")
                found = evaluator.command(command.text, arguments, out, word, word)
                stages.insert(0, found)
                out = found.process
                continue
            stages.insert(0, stage)
            out = stage.process
        evaluator.frames = []
        try:
            async with aclosing(streams.input()) as feed:  # type: ignore[type-var]
                await evaluator.pump(stages, None, None if invocation.no_input else feed)
        except Failure as failed:
            raise ScriptError(failed.record) from None
