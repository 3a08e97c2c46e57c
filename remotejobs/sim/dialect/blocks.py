"""Script blocks and functions as commands: their parameters, their begin, process and end.

Knows the evaluator and the tree. Must not know cmdlets.
"""

from __future__ import annotations

from typing import Any

from remotejobs.sim.dialect import nodes as n
from remotejobs.sim.dialect.conversions import convert, to_bool
from remotejobs.sim.dialect.errors import Failure, Flow, Refusal, failure
from remotejobs.sim.dialect.evaluator import Evaluator
from remotejobs.sim.dialect.scopes import Emit, Frame, Stage
from remotejobs.sim.values import NOTHING

_CALLS = 40  # calls inside calls; PowerShell allows more, Python's stack does not


class BlockStage(Stage):
    """A script block or a function as a command."""

    def __init__(
        self, evaluator: Evaluator, block: n.Block, arguments: list[tuple[str | None, Any]], emit: Emit, name: str
    ) -> None:
        self._evaluator, self._block, self._emit, self._name = evaluator, block, emit, name
        self._arguments = arguments
        self._input: list[Any] = []
        self._fed = False
        self.variables: dict[str, Any] = {}

    async def begin(self) -> None:
        """Bind the arguments, run the begin block."""
        await self._bind()
        await self._run(self._block.begin)

    async def process(self, item: Any) -> None:
        """Run the process block, or keep the item for `$input`."""
        self._fed = True
        if self._block.process is None:
            self._input.append(item)
            return
        self.variables["_"] = item
        await self._run(self._block.process)

    async def end(self) -> None:
        """Run the end block; a process block that got nothing runs once."""
        if self._block.process is not None and not self._fed:
            await self._run(self._block.process)
        self.variables["input"] = self._input
        await self._run(self._block.body)

    async def _run(self, body: list[n.Node]) -> None:
        evaluator = self._evaluator
        if len(evaluator.frames) > _CALLS:
            message = "The script failed due to call depth overflow."
            raise Failure(
                failure(message, "CallDepthOverflow", "InvalidOperation", name="ScriptCallDepthException").record,
                thrown=True,
            )
        evaluator.frames.append(Frame(self._name, self._block.source, self.variables))
        try:
            await evaluator.statements(body, self._emit)
        except Flow as jump:
            if jump.keyword != "return":
                raise
        finally:
            evaluator.frames.pop()

    async def _bind(self) -> None:
        parameters = {p.name.lower(): p for p in self._block.parameters}
        values: dict[str, Any] = {}
        rest: list[Any] = []
        queue = list(self._arguments)
        while queue:
            name, value = queue.pop(0)
            if name is None:
                rest.append(value)
                continue
            key = name.lower()
            matches = [k for k in parameters if k == key] or [k for k in parameters if k.startswith(key)]
            if len(matches) != 1:
                rest.extend([f"-{name}", *([] if value is NOTHING else [value])])
            elif parameters[matches[0]].type == "switch":
                values[matches[0]] = True if value is NOTHING else to_bool(value)
            elif value is not NOTHING:
                values[matches[0]] = value
            elif queue and queue[0][0] is None:
                values[matches[0]] = queue.pop(0)[1]
            else:
                raise Refusal(f"the parameter -{name} without a value")
        for key, parameter in parameters.items():
            if key not in values and rest and parameter.type != "switch":
                values[key] = rest.pop(0)
            elif key not in values and parameter.default:
                self._evaluator.frames.append(Frame(self._name, self._block.source, self.variables))
                values[key] = await self._evaluator.value(parameter.default)
                self._evaluator.frames.pop()
            elif key not in values:
                values[key] = False if parameter.type == "switch" else _default(parameter.type)
            if key in values and parameter.type not in {"", "switch"}:
                values[key] = _transformed(parameter, values[key], self._name)
        self.variables.update(values)
        self.variables["args"] = rest


def _default(type_name: str) -> Any:
    return {"int": 0, "string": "", "bool": False, "double": 0.0}.get(type_name)


def _transformed(parameter: n.Parameter, value: Any, function: str) -> Any:
    try:
        return convert(value, parameter.type)
    except Failure as cause:
        message = f"Cannot process argument transformation on parameter '{parameter.name}'. {cause.record.message}"
        name = "ParameterBindingArgumentTransformationException"
        error_id = "ParameterArgumentTransformationError" + ("" if function == "<ScriptBlock>" else f",{function}")
        raise failure(message, error_id, "InvalidData", name=name) from None
