"""What the requests of a PSRP client ask for, read from their decoded payloads (MS-PSRP 2.2.2, 2.2.3.11).

Knows values and the members that PowerShell 7 insists on. Must not know pools, pipelines or bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from remotejobs.sim.interpreter import USING, Command, Invocation
from remotejobs.sim.psrp_wire import MessageType
from remotejobs.sim.values import NOTHING, PSObject

AVAILABILITY = {
    MessageType.SET_MAX_RUNSPACES,
    MessageType.SET_MIN_RUNSPACES,
    MessageType.GET_AVAILABLE_RUNSPACES,
    MessageType.RESET_RUNSPACE_STATE,
}
_OUTPUT = 1  # PipelineResultTypes.Output
MERGED = ("Error", "Warning", "Verbose", "Debug", "Information")


class RequestError(ValueError):
    """A request that PowerShell would refuse, or that is not simulated."""


class InitRunspacePool(NamedTuple):
    """INIT_RUNSPACEPOOL: MinRunspaces and MaxRunspaces, and whether the client has a host that shows things."""

    limits: tuple[int, int]
    interactive: bool


class CreatePipeline(NamedTuple):
    """CREATE_PIPELINE.

    Attributes:
        invocation: What to run.
        interactive: The client shows what is written to the host; None leaves it to the pool.
        merged: Streams that go to the output instead.
        internal: A command of PowerShell's own client to the debugger (`__Set-PSDebugMode`), which the server itself
            completes; only these may be nested.
    """

    invocation: Invocation
    interactive: bool | None
    merged: frozenset[str]
    internal: bool


def _member(value: Any, name: str) -> Any:
    found = value.find(name) if isinstance(value, PSObject) else None
    if found is None:
        raise RequestError(f"the property {name} is missing")
    return found[0][found[1]]


def _plain(value: Any) -> Any:
    """The number of an enum, the elements of a list."""
    return value.value if isinstance(value, PSObject) and value.value is not NOTHING else value


def _interactive(host_info: Any) -> bool:
    """A missing flag is false: an empty HostInfo declares a full host."""
    if not isinstance(host_info, PSObject):
        raise RequestError("HostInfo is no object")
    return not host_info.get("_isHostUINull", False)


def init_runspacepool(body: Any) -> InitRunspacePool:
    """Read INIT_RUNSPACEPOOL.

    Raises:
        RequestError: One of its six members is missing, or the counts make no sense.
    """
    for name in ("PSThreadOptions", "ApartmentState", "ApplicationArguments"):
        _member(body, name)
    low, high = _plain(_member(body, "MinRunspaces")), _plain(_member(body, "MaxRunspaces"))
    if not (isinstance(low, int) and isinstance(high, int) and 1 <= low <= high):
        raise RequestError(f"MinRunspaces {low!r} and MaxRunspaces {high!r}")
    return InitRunspacePool((low, high), _interactive(_member(body, "HostInfo")))


def create_pipeline(body: Any) -> CreatePipeline:
    """Read CREATE_PIPELINE.

    Raises:
        RequestError: A member that PowerShell insists on is missing or of another type.
    """
    for name in ("ApartmentState", "RemoteStreamOptions", "AddToHistory", "IsNested"):
        _member(body, name)
    power_shell = _member(body, "PowerShell")
    for name in ("History", "RedirectShellErrorOutputPipe"):
        _member(power_shell, name)
    first = _commands(_member(power_shell, "Cmds"))
    internal = first[0].text.startswith("__") and not first[0].is_script
    if _member(power_shell, "IsNested") and not internal:
        raise RequestError("A nested pipeline is not simulated.")
    extra = _plain(power_shell.get("ExtraCmds")) or []
    statements = [first, *(_commands(_member(s, "Cmds")) for s in extra[1:])]
    merged = frozenset().union(*(_merged(c) for c in _plain(_member(power_shell, "Cmds"))))
    host_info = _member(body, "HostInfo")
    own_host = None if _plain(host_info.get("_useRunspaceHost", False)) else _interactive(host_info)
    invocation = Invocation(tuple(statements), no_input=bool(_member(body, "NoInput")))
    return CreatePipeline(invocation, own_host, merged, internal)


def _commands(listed: Any) -> tuple[Command, ...]:
    commands = _plain(listed)
    if not isinstance(commands, list) or not commands:
        raise RequestError("Cmds is empty")
    return tuple(_command(c) for c in commands)


def _command(body: Any) -> Command:
    for name in ("MergeMyResult", "MergeToResult", "MergePreviousResults"):
        _member(body, name)
    text = _member(body, "Cmd")
    if not isinstance(text, str):
        raise RequestError("Cmd is no string")
    arguments = _plain(_member(body, "Args")) or []
    parameters = []
    for argument in arguments:
        name = _member(argument, "N")
        if name == "":
            raise RequestError("an argument has an empty name")
        value = _member(argument, "V")
        if name and name[0] == "-" and name[-1] != ":" and value is None:
            value = NOTHING  # `-Name` as written: what follows is its value, or it is a switch
        parameters.append((name.lstrip("-").rstrip(":") if name and name != USING else name, value))
    return Command(str(text), bool(_member(body, "IsScript")), tuple(parameters), bool(_member(body, "UseLocalScope")))


def _merged(body: Any) -> set[str]:
    """Streams of one command that are merged into its output; the 2.1 form counts only without MergeError."""
    if body.find("MergeError") is None:
        both = _plain(_member(body, "MergeMyResult")) == 2 and _plain(_member(body, "MergeToResult")) == _OUTPUT
        return {"Error"} if both else set()
    return {stream for stream in MERGED if _plain(body.get(f"Merge{stream}", 0)) == _OUTPUT}


def availability(body: Any) -> tuple[int, int]:
    """Call id and count of a request about runspaces; `ci` is written in either case.

    Raises:
        RequestError: There is no call id.
    """
    call_id = _plain(_member(body, "ci"))
    counts = [_plain(body.get(name, 0)) for name in ("MaxRunspaces", "MinRunspaces") if body.find(name)]
    return int(call_id), int(counts[0]) if counts else 0


def host_response(body: Any) -> tuple[int, Any, PSObject | None]:
    """Call id, result and error (`me`) of a host response.

    Raises:
        RequestError: `ci` or `mi` is missing.
    """
    _member(body, "mi")
    return int(_plain(_member(body, "ci"))), body.get("mr"), body.get("me")
