"""How cmdlets are found and their parameters bound.

Knows the evaluator. Must not know any one cmdlet. A command of an approved verb, or without a verb, that is not here
may exist on a real host: it is refused. Any other name is PowerShell's CommandNotFoundException.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from remotejobs.sim.dialect.conversions import convert, plain, to_bool
from remotejobs.sim.dialect.errors import Failure, Refusal, failure
from remotejobs.sim.dialect.evaluator import Evaluator
from remotejobs.sim.dialect.scopes import Emit, Stage
from remotejobs.sim.records import ErrorRecord, Position, runtime_exception
from remotejobs.sim.values import NOTHING, ScriptBlock, is_array, to_text

_VERBS = re.compile(
    "(add|approve|assert|backup|block|build|checkpoint|clear|close|compare|complete|compress|confirm|connect|"
    "convert|convertfrom|convertto|copy|debug|deny|deploy|disable|disconnect|dismount|edit|enable|enter|exit|expand|"
    "export|find|foreach|format|get|grant|group|hide|import|initialize|install|invoke|join|limit|lock|measure|merge|"
    "mount|move|new|open|optimize|out|ping|pop|protect|publish|push|read|receive|redo|register|remove|rename|repair|"
    "request|reset|resize|resolve|restart|restore|resume|revoke|save|search|select|send|set|show|skip|sort|split|start|"
    "step|stop|submit|suspend|switch|sync|tee|test|trace|unblock|undo|uninstall|unlock|unprotect|unpublish|unregister|"
    "update|use|wait|watch|where|write)-",
    re.IGNORECASE,
)
_COMMON = "ErrorAction:action WarningAction:action InformationAction:action Verbose:switch Debug:switch"
_SHORT = {"ea": "ErrorAction", "wa": "WarningAction", "infa": "InformationAction", "vb": "Verbose", "db": "Debug"}
_ACTIONS = {a.lower(): a for a in ("Continue", "SilentlyContinue", "Stop", "Ignore")}
_STREAM_NUMBERS = {"2": "ErrorAction", "3": "WarningAction", "6": "InformationAction"}


class Cmdlet(Stage):
    """A cmdlet in a pipeline.

    Attributes:
        name: Its name.
        clr: The .NET class, the second part of its error ids.
        spec: Parameters: `Name:type`, with `:0` and on for those that may be given by position.
        aliases: Other names.
        p: The bound parameters, by name; None where not given.
    """

    name: ClassVar[str]
    clr: ClassVar[str] = ""
    spec: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(self, evaluator: Evaluator, emit: Emit, position: Position) -> None:
        self.evaluator = evaluator
        self.emit = emit
        self.position = position
        self.p: dict[str, Any] = {}

    def bind(self, arguments: list[tuple[str | None, Any]]) -> None:
        """Bind arguments to parameters by name, unique beginnings of names, and position."""
        types = {name: kind for name, kind, *_ in _parameters(self.spec)}
        free = [name for name, _, *position in _parameters(self.spec) if position]
        self.p = dict.fromkeys(types)
        queue = list(arguments)
        positional: list[Any] = []
        while queue:
            name, value = queue.pop(0)
            if name is None:
                positional.append(value)
                continue
            key = self._named(name, list(types))
            if types[key] == "switch":
                self.p[key] = True if value is NOTHING else to_bool(value)
                continue
            if value is NOTHING:
                if not queue or queue[0][0] is not None:
                    message = f"Missing an argument for parameter '{key}'."
                    raise self.failed(message, "MissingArgument", "InvalidArgument", "ParameterBindingException")
                value = queue.pop(0)[1]
            self.p[key] = self._converted(key, types[key], value)
            free = [f for f in free if f != key]
        for value in positional:
            if not free:
                message = f"A positional parameter cannot be found that accepts argument '{to_text(value)}'."
                raise self.failed(
                    message, "PositionalParameterNotFound", "InvalidArgument", "ParameterBindingException"
                )
            key = free.pop(0)
            self.p[key] = self._converted(key, types[key], value)

    def _named(self, name: str, known: list[str]) -> str:
        name = _SHORT.get(name.lower(), name)
        exact = [k for k in known if k.lower() == name.lower()]
        matches = exact or [k for k in known if k.lower().startswith(name.lower())]
        if len(matches) != 1:
            raise Refusal(f"the parameter -{name} of {self.name}", self.position)
        return matches[0]

    def _converted(self, key: str, kind: str, value: Any) -> Any:
        if kind == "object" or (kind == "block" and isinstance(value, ScriptBlock)):
            return plain(value) if is_array(plain(value)) else value
        if kind == "block":
            raise Refusal(f"-{key} of {self.name} that is no script block", self.position)
        if kind == "action":
            found = _ACTIONS.get(to_text(value).lower())
            if not found:
                raise Refusal(f"-{key} {to_text(value)}", self.position)
            return found
        try:
            found = convert(value, kind)
        except Failure as cause:
            message = f"Cannot bind parameter '{key}'. {cause.record.message}"
            raise self.failed(
                message, "CannotConvertArgumentNoMessage", "InvalidArgument", "ParameterBindingException"
            ) from None
        return found.value if kind.endswith("[]") and not isinstance(found, (list, bytes)) else found

    def silence(self, streams: set[str]) -> None:
        """`2>$null` and its kin: as if the action were SilentlyContinue."""
        if not streams <= {*_STREAM_NUMBERS, "1", "*"}:
            raise Refusal("redirection of these streams", self.position)
        for number, parameter in _STREAM_NUMBERS.items():
            if streams & {number, "*"}:
                self.p[parameter] = "SilentlyContinue"

    def record(self, message: str, error_id: str, category: str, exception: str, target: Any = None) -> ErrorRecord:
        """An error record of this cmdlet."""
        return ErrorRecord(
            runtime_exception(message, exception), f"{error_id},{self.clr}", category, target,
            activity=self.name, command=self.name, invocation_name=self.name, position=self.position,
        )  # fmt: skip

    def failed(self, message: str, error_id: str, category: str, exception: str, target: Any = None) -> Failure:
        """A terminating error of this cmdlet."""
        return Failure(self.record(message, error_id, category, exception, target))

    async def error(self, record: ErrorRecord) -> None:
        """Write a non-terminating error."""
        record.stack = "\n".join(f"at {f.name}, <No file>: line {f.line}" for f in reversed(self.evaluator.frames))
        await self.evaluator.report(record, self.p.get("ErrorAction") or "")


def _parameters(spec: str) -> list[list[str]]:
    return [part.split(":") for part in f"{spec} {_COMMON}".split()]


CMDLETS: dict[str, type[Cmdlet]] = {}


def cmdlet(kind: type[Cmdlet]) -> type[Cmdlet]:
    """Make a cmdlet known by its name and its aliases."""
    for name in (kind.name, *kind.aliases):
        CMDLETS[name.lower()] = kind
    return kind


def simple(name: str, *aliases: str) -> Callable[[Callable[[Cmdlet], Any]], Any]:
    """A cmdlet without parameters or input: `function` gives its one output."""

    def make(function: Callable[[Cmdlet], Any]) -> Any:
        async def end(self: Cmdlet) -> None:
            await self.emit(function(self))

        kind = type(function.__name__, (Cmdlet,), {"name": name, "aliases": aliases, "end": end})
        cmdlet(kind)
        return function

    return make


def resolve(
    evaluator: Evaluator,
    name: str,
    arguments: list[tuple[str | None, Any]],
    emit: Emit,
    position: Position,
    word: Position,
) -> Stage:
    """The stage of a cmdlet.

    Raises:
        Refusal: A command that a real host may have.
        Failure: A command that nobody has (CommandNotFoundException).
    """
    kind = CMDLETS.get(name.lower())
    if kind:
        stage = kind(evaluator, emit, position)
        stage.bind(arguments)
        return stage
    if not re.match(r"[A-Za-z]+-\w", name) or _VERBS.match(name):
        raise Refusal(f"the command '{name}'", position)
    message = (
        f"The term '{name}' is not recognized as a name of a cmdlet, function, script file, or executable program.\n"
        "Check the spelling of the name, or if a path was included, verify that the path is correct and try again."
    )
    found = failure(message, "CommandNotFoundException", "ObjectNotFound", name, "CommandNotFoundException")
    found.record.exception.own = {"CommandName": name}
    found.record.position, found.record.invocation_name = word, name
    raise found
