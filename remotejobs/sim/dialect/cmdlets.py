"""The cmdlets of the language itself: Write-*, Where-Object, ForEach-Object, Select-Object and their like.

Knows how cmdlets are called. Must not know Windows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cmp_to_key
from typing import Any

from remotejobs.sim.dialect import operators
from remotejobs.sim.dialect.blocks import BlockStage
from remotejobs.sim.dialect.commands import Cmdlet, cmdlet
from remotejobs.sim.dialect.conversions import format_date, plain, to_bool, to_number
from remotejobs.sim.dialect.errors import EnoughItems, Refusal
from remotejobs.sim.dialect.members import get_property
from remotejobs.sim.interpreter import HostMethod
from remotejobs.sim.records import (
    ErrorCategory,
    ErrorRecord,
    InformationRecord,
    NetException,
    ProgressRecord,
    host_message,
)
from remotejobs.sim.values import Hashtable, PSObject, ScriptBlock, enum, items, to_text, type_names, wildcard

_WRITE_ERROR = (
    "Microsoft.PowerShell.Commands.WriteErrorException",
    "System.SystemException",
    "System.Exception",
    "System.Object",
)
_COMPARISONS = "eq ne gt ge lt le like notlike match notmatch contains notcontains in notin".split()  # noqa: SIM905


async def _apply(cmdlet: Cmdlet, block: ScriptBlock, item: Any) -> list[Any]:
    """The output of a script block with `$_` set, in the scope of its caller as PowerShell has it."""
    found: list[Any] = []

    async def emit(value: Any) -> None:
        found.append(value)

    stage = BlockStage(cmdlet.evaluator, block.block, [], emit, "<ScriptBlock>")
    stage.variables = cmdlet.evaluator.frames[-1].variables
    before = stage.variables.get("_")
    stage.variables["_"] = item
    try:
        await stage.end()
    finally:
        stage.variables["_"] = before
    return found


@cmdlet
class _WriteOutput(Cmdlet):
    name, spec, aliases = "Write-Output", "InputObject:object:0 NoEnumerate:switch", ("echo", "write")

    async def begin(self) -> None:
        if self.p["InputObject"] is not None:
            await self.process(self.p["InputObject"])

    async def process(self, item: Any) -> None:
        for part in [item] if self.p["NoEnumerate"] else items(item):
            await self.emit(part)


class _Text(Cmdlet):
    """Write-Warning, -Verbose, -Debug: one text a record, by position or from the pipeline."""

    spec = "Message:string:0"
    stream = ""
    quiet = "Continue"

    async def begin(self) -> None:
        if self.p["Message"] is not None:
            await self.process(self.p["Message"])

    async def process(self, item: Any) -> None:
        action = self.p.get(f"{self.stream}Action")
        switch = self.p.get(self.stream)
        if switch is not None:
            action = "Continue" if switch else "SilentlyContinue"
        action = action or to_text(self.evaluator.variable(f"{self.stream}Preference", self.quiet))
        if action == "Stop":
            raise Refusal(f"{self.stream}Preference Stop")
        if action == "Continue":
            await self.evaluator.streams.text(self.stream, to_text(item))


@cmdlet
class _WriteWarning(_Text):
    name, stream = "Write-Warning", "Warning"


@cmdlet
class _WriteVerbose(_Text):
    name, stream, quiet = "Write-Verbose", "Verbose", "SilentlyContinue"


@cmdlet
class _WriteDebug(_Text):
    name, stream, quiet = "Write-Debug", "Debug", "SilentlyContinue"


@cmdlet
class _WriteError(Cmdlet):
    name, clr = "Write-Error", "Microsoft.PowerShell.Commands.WriteErrorCommand"
    spec = (
        "Message:string:0 ErrorRecord:object Exception:object Category:string ErrorId:string TargetObject:object "
        "RecommendedAction:string CategoryActivity:string CategoryReason:string CategoryTargetName:string "
        "CategoryTargetType:string"
    )

    async def begin(self) -> None:
        if self.p["Message"] is not None or self.p["ErrorRecord"] or self.p["Exception"]:
            await self.process(self.p["Message"])

    async def process(self, item: Any) -> None:
        record = self._record(to_text(item))
        record.activity = self.p["CategoryActivity"] or "Write-Error"
        action = self.p["RecommendedAction"]
        if action:
            record.details, record.recommended = record.message, action
        if self.evaluator.script:  # in a script the record names the script, not this command
            record.command, record.invocation_name, record.position = self.evaluator.script, "", None
        else:
            record.error_id += f",{self.clr}"
            record.command = record.invocation_name = self.name
            await self.evaluator.report(record, self.p["ErrorAction"] or "")
            return
        await self.error(record)

    def _record(self, message: str) -> ErrorRecord:
        given = self.p["ErrorRecord"]
        if given is not None:
            if not isinstance(given, ErrorRecord):
                raise Refusal("-ErrorRecord with anything but an error record")
            return ErrorRecord(given.exception, given.error_id.split(",")[0], given.category, given.target)
        exception = self.p["Exception"] or NetException(message, _WRITE_ERROR)
        if not isinstance(exception, NetException):
            raise Refusal("-Exception with anything but an exception")
        category = {name.lower(): name for name in ErrorCategory.__members__}.get(
            (self.p["Category"] or "NotSpecified").lower()
        )
        if not category:
            raise Refusal(f"the error category {self.p['Category']}")
        return ErrorRecord(
            exception, self.p["ErrorId"] or exception.types[0], category, self.p["TargetObject"],
            reason=self.p["CategoryReason"], target_name=self.p["CategoryTargetName"],
            target_type=self.p["CategoryTargetType"],
            details=message if self.p["Exception"] is not None and message else None,
        )  # fmt: skip


@cmdlet
class _WriteInformation(Cmdlet):
    name, spec = "Write-Information", "MessageData:object:0 Tags:string[]:1"

    async def begin(self) -> None:
        if self.p["MessageData"] is not None:
            await self.process(self.p["MessageData"])

    async def process(self, item: Any) -> None:
        action = self.p["InformationAction"] or to_text(
            self.evaluator.variable("InformationPreference", "SilentlyContinue")
        )
        if action != "Ignore":
            await self.write(item, tuple(self.p["Tags"] or ()), to_text(item) if action == "Continue" else None)

    async def write(self, data: Any, tags: tuple[str, ...], shown: str | None) -> None:
        host = self.evaluator.session.host
        record = InformationRecord(
            data, self.name, datetime.now(UTC).astimezone(), f"{host.name}\\{host.user}", host.name, tags
        )
        await self.evaluator.streams.information(record, shown)


@cmdlet
class _WriteHost(_WriteInformation):
    name = "Write-Host"
    spec = "Object:object:0 NoNewline:switch Separator:string ForegroundColor:string BackgroundColor:string"

    async def begin(self) -> None:
        if self.p["Object"] is not None:
            await self.process(self.p["Object"])

    async def process(self, item: Any) -> None:
        separator = " " if self.p["Separator"] is None else self.p["Separator"]
        text = separator.join(to_text(part) for part in items(plain(item)))
        message = host_message(
            text, no_newline=bool(self.p["NoNewline"]), foreground=self.p["ForegroundColor"] or "-1",
            background=self.p["BackgroundColor"] or "-1",
        )  # fmt: skip
        await self.write(message, ("PSHOST",), text)


@cmdlet
class _WriteProgress(Cmdlet):
    name = "Write-Progress"
    spec = (
        "Activity:string:0 Status:string:1 Id:int:2 PercentComplete:int SecondsRemaining:int CurrentOperation:string "
        "ParentId:int Completed:switch"
    )

    async def end(self) -> None:
        p = self.p
        await self.evaluator.streams.progress(ProgressRecord(
            p["Activity"] or "", p["Status"] or "Processing", p["Id"] or 0, _or(p["ParentId"], -1),
            _or(p["PercentComplete"], -1), _or(p["SecondsRemaining"], -1), p["CurrentOperation"], bool(p["Completed"]),
        ))  # fmt: skip


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


@cmdlet
class _StartSleep(Cmdlet):
    name, clr, aliases = "Start-Sleep", "Microsoft.PowerShell.Commands.StartSleepCommand", ("sleep",)
    spec = "Seconds:double:0 Milliseconds:int"

    async def end(self) -> None:
        seconds = (self.p["Seconds"] or 0) + (self.p["Milliseconds"] or 0) / 1000
        await self.evaluator.session.sleep(max(0.0, seconds))


@cmdlet
class _GetDate(Cmdlet):
    name, spec = "Get-Date", "Date:datetime:0 Format:string"

    async def end(self) -> None:
        moment = self.p["Date"] or datetime.now(UTC).astimezone()
        if self.p["Format"]:
            await self.emit(format_date(moment, self.p["Format"]))
            return
        hint = enum("Microsoft.PowerShell.Commands.DisplayHintType", "DateTime", 2)
        await self.emit(PSObject((), extended={"DisplayHint": hint}, value=moment))


@cmdlet
class _OutNull(Cmdlet):
    name = "Out-Null"


@cmdlet
class _OutHost(Cmdlet):
    name, aliases = "Out-Host", ("Out-Default", "oh")

    async def process(self, item: Any) -> None:
        if not isinstance(item, str):
            raise Refusal(f"{self.name} of anything but strings")
        await self.evaluator.streams.host_call(HostMethod.WriteLine2, item)


@cmdlet
class _WhereObject(Cmdlet):
    name, aliases = "Where-Object", ("where", "?")
    spec = "FilterScript:object:0 Value:object:1 " + " ".join(f"{c}:switch" for c in (*_COMPARISONS, "not"))

    async def process(self, item: Any) -> None:
        test = self.p["FilterScript"]
        if isinstance(test, ScriptBlock):
            found = await _apply(self, test, item)
            keep = to_bool(found[0] if len(found) == 1 else found)
        else:
            value = get_property(item, to_text(test))
            chosen = [c for c in _COMPARISONS if self.p[c]]
            keep = to_bool(operators.binary(chosen[0], value, self.p["Value"]) if chosen else value)
        if keep is not bool(self.p["not"]):
            await self.emit(item)


@cmdlet
class _ForEachObject(Cmdlet):
    name, aliases = "ForEach-Object", ("foreach", "%")
    spec = "Process:object:0 Begin:block End:block"

    async def begin(self) -> None:
        await self._run(self.p["Begin"], None)

    async def process(self, item: Any) -> None:
        await self.evaluator.breathe()
        if not isinstance(self.p["Process"], ScriptBlock):
            for part in items(get_property(item, to_text(self.p["Process"]))):
                await self.emit(part)
            return
        await self._run(self.p["Process"], item)

    async def end(self) -> None:
        await self._run(self.p["End"], None)

    async def _run(self, block: ScriptBlock | None, item: Any) -> None:
        if block is None:
            return
        stage = BlockStage(self.evaluator, block.block, [], self.emit, "<ScriptBlock>")
        stage.variables = self.evaluator.frames[-1].variables
        before = stage.variables.get("_")
        stage.variables["_"] = item
        try:
            await stage.end()
        finally:
            stage.variables["_"] = before


@cmdlet
class _SelectObject(Cmdlet):
    name, aliases, clr = "Select-Object", ("select",), "Microsoft.PowerShell.Commands.SelectObjectCommand"
    spec = "Property:object:0 ExpandProperty:string First:int Last:int Skip:int Unique:switch"

    async def begin(self) -> None:
        self._seen = 0
        self._kept: list[Any] = []

    async def process(self, item: Any) -> None:
        self._seen += 1
        if self._seen <= (self.p["Skip"] or 0):
            return
        if self.p["Last"] is not None:
            self._kept = [*self._kept, item][-self.p["Last"] :] if self.p["Last"] else []
            return
        first = self.p["First"]
        if first is None or self._seen <= (self.p["Skip"] or 0) + first:
            await self._select(item)
        if first is not None and self._seen >= (self.p["Skip"] or 0) + first:
            raise EnoughItems(self)

    async def end(self) -> None:
        for item in self._kept if self.p["Last"] is not None else ():
            await self._select(item)

    async def _select(self, item: Any) -> None:
        if self.p["Property"] is not None:
            item = await self._bag(item)
        if self.p["Unique"]:
            if any(operators.equal(known, item, cased=True) for known in self._kept):
                return
            self._kept.append(item)
        if not self.p["ExpandProperty"]:
            await self.emit(item)
            return
        name = self.p["ExpandProperty"]
        if isinstance(item, PSObject) and not item.find(name):
            message = f'Property "{name}" cannot be found.'
            await self.error(
                self.record(message, "ExpandPropertyNotFound", "InvalidArgument", "PSArgumentException", item)
            )
            return
        for part in items(get_property(item, name)):
            await self.emit(part)

    async def _bag(self, item: Any) -> PSObject:
        members: dict[str, Any] = {}
        for wanted in items(self.p["Property"]):
            if isinstance(wanted, Hashtable):
                name = next(
                    v for k, v in wanted.items() if "name".startswith(k.lower()) or "label".startswith(k.lower())
                )
                how = next(v for k, v in wanted.items() if "expression".startswith(k.lower()))
                found = await _apply(self, how, item) if isinstance(how, ScriptBlock) else [get_property(item, how)]
                members[to_text(name)] = found[0] if len(found) == 1 else found or None
                continue
            names = item.names() if isinstance(item, PSObject) else ["Length"] if isinstance(item, str) else []
            pattern = wildcard(to_text(wanted))
            for name in [n for n in names if pattern.match(n)] or ([] if "*" in to_text(wanted) else [to_text(wanted)]):
                members[name] = get_property(item, name)
        kind = type_names(item)[0]
        base = "System.Management.Automation.PSCustomObject"
        return PSObject((f"Selected.{kind}", base, "System.Object"), extended=members)


@cmdlet
class _SortObject(Cmdlet):
    name, aliases, spec = "Sort-Object", ("sort",), "Property:object:0 Descending:switch Unique:switch"

    async def begin(self) -> None:
        self._items: list[tuple[list[Any], Any]] = []

    async def process(self, item: Any) -> None:
        keys = []
        for wanted in items(self.p["Property"]) if self.p["Property"] is not None else [None]:
            if isinstance(wanted, ScriptBlock):
                keys.append((await _apply(self, wanted, item) or [None])[0])
            else:
                keys.append(item if wanted is None else get_property(item, to_text(wanted)))
        self._items.append((keys, item))

    async def end(self) -> None:
        def order(first: tuple[list[Any], Any], second: tuple[list[Any], Any]) -> int:
            pairs = (operators.compare(a, b) for a, b in zip(first[0], second[0], strict=True))
            return next((found for found in pairs if found), 0)

        last: Any = None
        for entry in sorted(self._items, key=cmp_to_key(order), reverse=bool(self.p["Descending"])):
            if not self.p["Unique"] or last is None or order(last, entry):
                await self.emit(entry[1])
            last = entry


@cmdlet
class _MeasureObject(Cmdlet):
    name, aliases = "Measure-Object", ("measure",)
    spec = "Property:string:0 Sum:switch Average:switch Maximum:switch Minimum:switch"

    async def begin(self) -> None:
        self._values: list[Any] = []

    async def process(self, item: Any) -> None:
        value = get_property(item, self.p["Property"]) if self.p["Property"] else item
        if value is not None:
            self._values.append(value)

    async def end(self) -> None:
        wanted = any(self.p[name] for name in ("Sum", "Average", "Maximum", "Minimum"))
        numbers = [float(to_number(v)) for v in self._values] if wanted else []
        count, total = len(self._values), sum(numbers)
        members = {
            "Count": count, "Average": total / count if self.p["Average"] and count else None,
            "Sum": total if self.p["Sum"] and count else None,
            "Maximum": max(numbers, default=None) if self.p["Maximum"] else None,
            "Minimum": min(numbers, default=None) if self.p["Minimum"] else None,
            "StandardDeviation": None, "Property": self.p["Property"],
        }  # fmt: skip
        base = "Microsoft.PowerShell.Commands."
        types = (f"{base}GenericMeasureInfo", f"{base}MeasureInfo", "System.Object")
        await self.emit(PSObject(types, adapted=members, text=types[0]))
