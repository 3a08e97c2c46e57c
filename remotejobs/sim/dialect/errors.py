"""How a script of the dialect ends other than by its end: errors, refusals, and the jumps of the language.

Knows records. Must not know the tree or the cmdlets.
"""

from __future__ import annotations

from typing import Any

from remotejobs.sim.records import ErrorRecord, NetException, Position, ScriptError, runtime_exception
from remotejobs.sim.values import PSObject


class Failure(ScriptError):  # noqa: N818 - the word for one that can be caught
    """A terminating error that a script can catch.

    Attributes:
        thrown: It ends the script when nothing catches it (`throw`, ErrorAction Stop). Others end their statement only:
            outside of try they are written to the error stream and the next statement runs.
    """

    def __init__(self, record: ErrorRecord, *, thrown: bool = False) -> None:
        super().__init__(record)
        self.thrown = thrown


class Refusal(ScriptError):  # noqa: N818
    """Something that the dialect does not know. No script can catch it: a wrong answer must not be silent."""

    def __init__(self, what: str, position: Position | None = None) -> None:
        message = (
            f"The built-in dialect of this simulated host does not know {what}. PowerShell itself runs every script: "
            "put pwsh on the PATH or its path into REMOTEJOBS_PWSH."
        )
        exception = runtime_exception(message, "PSNotImplementedException")
        super().__init__(ErrorRecord(exception, "SimulatedDialect", "NotImplemented", position=position))


class Flow(Exception):  # noqa: N818 - a jump, not an error
    """break, continue, return or exit on its way to where it ends."""

    def __init__(self, keyword: str, value: Any = None) -> None:
        super().__init__(keyword)
        self.keyword = keyword
        self.value = value


class EnoughItems(Exception):  # noqa: N818 - a jump, not an error
    """Select-Object -First has what it wants: the commands before it end."""

    def __init__(self, stage: object) -> None:
        super().__init__()
        self.stage = stage


def failure(
    message: str,
    error_id: str = "RuntimeException",
    category: str = "InvalidOperation",
    target: Any = None,
    name: str = "",
) -> Failure:
    """A runtime error of the language itself; `name` is the exception's class where it is not RuntimeException."""
    return Failure(ErrorRecord(runtime_exception(message, name), error_id, category, target))


def wrapped(message: str, inner_type: str, inner: str, category: str = "NotSpecified", name: str = "") -> Failure:
    """A .NET exception inside a RuntimeException, as arithmetic gives it."""
    bases = {"System.DivideByZeroException": ("System.ArithmeticException",)}.get(inner_type, ())
    cause = NetException(inner, (inner_type, *bases, "System.SystemException", "System.Exception", "System.Object"))
    outer = runtime_exception(message, name)
    outer.inner = cause
    return Failure(ErrorRecord(outer, "RuntimeException", category))


def parse_failure(message: str, error_id: str, position: Position, *, incomplete: bool) -> ScriptError:
    """A script that PowerShell's parser refuses; at the end of an unfinished script the message stands alone."""
    name = "IncompleteParseException" if incomplete else "ParseException"
    text = message if incomplete else f"{position.message()}\n{message}"
    parse = runtime_exception(text, "ParseException")
    types = (f"System.Management.Automation.{name}", *parse.types) if incomplete else parse.types
    kind = ("System.Management.Automation.Language.ParseError[]", "System.Array", "System.Object")
    errors = None if incomplete else PSObject(kind, value=[text])
    exception = NetException(text, types, first={"Errors": errors, "Message": text})
    return ScriptError(ErrorRecord(exception, error_id, "ParserError", position=None if incomplete else position))
