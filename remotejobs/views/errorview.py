"""An error as text, in the views of PowerShell's $ErrorView.

Knows error records. Must not know streams or colours. Source: the format of ErrorRecord in PowerShell 7.6, as it prints
what comes from a remote host (semantics 4.13): without the place in the script, which Concise adds here where a script
has more than one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from remotejobs.errors import RemoteJobsError
from remotejobs.views.cells import cell_text

if TYPE_CHECKING:
    from remotejobs.wsman.clixml.records import ErrorRecord, InnerException, InvocationInfo

ERROR_VIEWS = ("ConciseView", "NormalView", "CategoryView", "DetailedView")
"""The values of -ErrorView, the default first."""

_NOT_SPECIFIED = "NotSpecified"
_NATIVE = ("NativeCommandError", "NativeCommandErrorMessage")
_LONGEST_SOURCE = 200  # characters of a script's line
_MOST_INNER = 10  # exceptions inside one another, as Get-Error
_NO_FILE = "at <ScriptBlock>, <No file>: line "
_LINE_END = re.compile("\r\n|\r|\n")

_Pairs = list[tuple[str, "str | _Pairs"]]


def error_text(error: ErrorRecord, view: str, computer_name: str) -> str:
    """Return an error as one of ERROR_VIEWS shows it, in lines parted by newlines.

    Args:
        error: The record.
        view: Its name; case counts.
        computer_name: The host that it is from, for the views that name it.
    """
    if view == "NormalView":
        return normal(error, computer_name)
    if view == "CategoryView":
        return error.category_info
    if view == "DetailedView":
        return "\n".join(_listed(_details(error, computer_name)))
    return "\n".join([_said(error), *_place(error), *_advice(error)])


def concise(error: ErrorRecord) -> str:
    """Return what ConciseView prints of a remote error: `Get-Item: Cannot find path ...`, and what is recommended."""
    return "\n".join([_said(error), *_advice(error)])


def normal(error: ErrorRecord, computer_name: str) -> str:
    """Return what NormalView, the default of Windows PowerShell, prints of a remote error."""
    if error.fully_qualified_error_id in _NATIVE:
        return error.message
    lines = [
        error.message,
        f"+ CategoryInfo          : {error.category_info}",
        f"+ FullyQualifiedErrorId : {error.fully_qualified_error_id}",
    ]
    if computer_name:
        lines.append(f"+ PSComputerName        : {computer_name}")
    return "\n".join(lines)


def reported(error: RemoteJobsError, view: str, *, activity: str, computer_name: str = "") -> str:
    """Return an error of ours, of which no host made a record, as one of ERROR_VIEWS shows it.

    Args:
        error: What happened.
        view: As for `error_text`.
        activity: What was being done.
        computer_name: The host that could not be reached, or was refused by; empty where it is none.
    """
    from remotejobs.wsman.clixml.records import ErrorRecord

    record = ErrorRecord(
        error.message,
        exception_message=error.message,
        fully_qualified_error_id=error.error_id,
        category="OpenError" if computer_name else _NOT_SPECIFIED,
        activity=activity,
        reason="PSRemotingTransportException" if computer_name else type(error).__name__,
        target_name=computer_name,
        target_type="String" if computer_name else "",
    )
    return error_text(record, view, computer_name)


def _said(error: ErrorRecord) -> str:
    """The label is the command, else the category, else the reason; what a program wrote to its stderr has none."""
    if error.fully_qualified_error_id in _NATIVE:
        return error.message
    category = "" if error.category == _NOT_SPECIFIED else error.category
    label = error.activity or category or error.reason
    return f"{label}: {error.message}" if label else error.message


def _advice(error: ErrorRecord) -> Iterator[str]:
    action = error.recommended_action.strip()
    if action:
        yield f"  Recommendation: {action}"


def _place(error: ErrorRecord) -> Iterator[str]:
    """Say where, by ConciseView's rule for local errors: a script of one line needs no telling.

    Write-Error is told of by the stack: it has no place of its own.
    """
    where = error.invocation
    if where is not None and where.script_line_number > 0:
        if where.script_name or where.script_line_number > 1:
            source = where.line.strip()
            if len(source) > _LONGEST_SOURCE:
                source = source[:_LONGEST_SOURCE] + "…"
            file = f"{where.script_name}:" if where.script_name else "line "
            yield f"  at {file}{where.script_line_number}: {source}"
        return
    frame = _LINE_END.split(error.script_stack_trace)[0]
    line = frame.removeprefix(_NO_FILE)
    if line == frame:
        yield from [f"  {frame}"] if frame else []
    elif line != "1":
        yield f"  at line {line}"


def _details(error: ErrorRecord, computer_name: str) -> _Pairs:
    """What Get-Error lists of it; what is empty is left out."""
    exception = _exception(error.exception_type, error.exception_message, error.inner_exceptions[:_MOST_INNER])
    given: _Pairs = [("Message", error.error_details_message), ("RecommendedAction", error.recommended_action)]
    return [
        ("Exception", exception),
        ("TargetObject", _target(error.target)),
        ("CategoryInfo", error.category_info),
        ("FullyQualifiedErrorId", error.fully_qualified_error_id),
        ("ErrorDetails", given),
        ("InvocationInfo", _invocation(error.invocation) if error.invocation else ""),
        ("ScriptStackTrace", error.script_stack_trace),
        ("PSComputerName", computer_name),
    ]


def _exception(kind: str, message: str, inner: Sequence[InnerException]) -> _Pairs:
    pairs: _Pairs = [("Type", kind), ("Message", message)]
    if inner:
        first, *others = inner
        pairs.append(("InnerException", _exception(first.exception_type, first.message, others)))
    return pairs


def _target(value: Any) -> str:
    return "" if value is None else cell_text(value)


def _invocation(where: InvocationInfo) -> _Pairs:
    return [
        ("MyCommand", "" if _LINE_END.search(where.my_command) else where.my_command),  # the text of a whole script
        ("ScriptName", where.script_name),
        ("ScriptLineNumber", str(where.script_line_number or "")),
        ("OffsetInLine", str(where.offset_in_line or "")),
        ("Line", where.line.strip()),
        ("PositionMessage", where.position_message),
        ("InvocationName", where.invocation_name),
    ]


def _listed(pairs: _Pairs, indent: str = "") -> Iterator[str]:
    shown = [(label, kept) for label, value in pairs if (kept := _kept(value))]
    width = max((len(label) for label, _ in shown), default=0)
    for label, value in shown:
        start = f"{indent}{label:<{width}} : "
        if isinstance(value, list):
            yield start.rstrip()
            yield from _listed(value, indent + "    ")
            continue
        for line in _LINE_END.split(value):
            yield start + line
            start = " " * len(start)


def _kept(value: str | _Pairs) -> str | _Pairs:
    return [pair for pair in value if _kept(pair[1])] if isinstance(value, list) else value
