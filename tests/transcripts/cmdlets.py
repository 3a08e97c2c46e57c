"""PowerShell's own commands that transcripts use beside those of jobs: sessions, sleep, formats.

Must not know jobs, but for their values.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from remotejobs.sim.dialect.commands import Cmdlet
from remotejobs.sim.dialect.conversions import format_date
from remotejobs.sim.dialect.errors import Refusal
from remotejobs.sim.dialect.members import get_property
from remotejobs.sim.values import PSObject, ScriptBlock, items, to_text
from tests.transcripts.screen import CONSOLE, Formatted, Screen, Text
from tests.transcripts.values import SessionValue

# What PowerShell has on Windows only, where the recorded one did not run.
_WINDOWS_ONLY = ("disconnect-pssession", "connect-pssession", "receive-pssession", "suspend-job", "resume-job")


class NewSession(Cmdlet):
    """New-PSSession: here each job opens its own, so it is a host; they come as they opened."""

    name, spec = "New-PSSession", "HostName:string[]:0 ComputerName:string[]"

    async def end(self) -> None:
        world = self.evaluator.world  # type: ignore[attr-defined]
        for host in world.raced(self.p["HostName"] or self.p["ComputerName"] or ()):
            await self.emit(SessionValue(host))


class StartSleep(Cmdlet):
    """Start-Sleep of the one who waits."""

    name, spec = "Start-Sleep", "Seconds:double:0 Milliseconds:int"

    async def end(self) -> None:
        world = self.evaluator.world  # type: ignore[attr-defined]
        await world.passes((self.p["Seconds"] or 0) + (self.p["Milliseconds"] or 0) / 1000)


class RemoveSession(Cmdlet):
    """Remove-PSSession: the shell of each job is its own, and gone with it."""

    name, spec = "Remove-PSSession", "Session:object:0"


class GetDate(Cmdlet):
    """Get-Date: what time it is in the world."""

    name, spec = "Get-Date", "Format:string"

    async def end(self) -> None:
        now = datetime.fromtimestamp(self.evaluator.world.clock.time(), UTC)  # type: ignore[attr-defined]
        await self.emit(format_date(now, self.p["Format"]) if self.p["Format"] else now)


class MeasureCommand(Cmdlet):
    """Measure-Command: how much time passed in the world."""

    name, spec = "Measure-Command", "Expression:block:0"

    async def end(self) -> None:
        clock = self.evaluator.world.clock  # type: ignore[attr-defined]
        began = clock.time()
        await self.evaluator.collect(self.p["Expression"].block.body)
        await self.emit(timedelta(seconds=clock.time() - began))


class GetCommand(Cmdlet):
    """Get-Command of what PowerShell has on Windows only, where the recorded one did not run."""

    name, spec = "Get-Command", "Name:string[]:0"

    async def end(self) -> None:
        for name in self.p["Name"] or ():
            if name.lower() not in _WINDOWS_ONLY:
                raise Refusal(f"Get-Command {name}", self.position)


class GroupObject(Cmdlet):
    """Group-Object by a property or a script block."""

    name, spec = "Group-Object", "Property:object:0 NoElement:switch"

    async def begin(self) -> None:
        self._groups: dict[str, list[Any]] = {}

    async def process(self, item: Any) -> None:
        by = self.p["Property"]
        if isinstance(by, ScriptBlock):
            key = await self.evaluator.applied(by, item)  # type: ignore[attr-defined]
        else:
            key = item if by is None else get_property(item, to_text(by))
        self._groups.setdefault(to_text(key), []).append(item)

    async def end(self) -> None:
        for name, found in self._groups.items():
            members = {"Count": len(found), "Name": name, "Group": found}
            await self.emit(PSObject(("Microsoft.PowerShell.Commands.GroupInfo", "System.Object"), members))


class Format(Cmdlet):
    """Format-Table and Format-List."""

    name, spec, kind = "Format-", "Property:object:0 AutoSize:switch HideTableHeaders:switch", ""

    async def begin(self) -> None:
        self._items: list[Any] = []

    async def process(self, item: Any) -> None:
        names = [to_text(name) for name in items(self.p["Property"])] if self.p["Property"] else []
        if names and names != ["*"]:
            item = PSObject(extended={name: get_property(item, name) for name in names})
        self._items.append(item)

    async def end(self) -> None:
        if self.p["HideTableHeaders"]:
            raise Refusal("-HideTableHeaders", self.position)
        await self.emit(Formatted(self.kind, self._items))


class FormatTable(Format):
    """Format-Table."""

    name, kind = "Format-Table", "table"


class FormatList(Format):
    """Format-List."""

    name, kind = "Format-List", "list"


class OutString(Cmdlet):
    """Out-String."""

    name, spec = "Out-String", "Width:int Stream:switch"

    async def begin(self) -> None:
        self._screen = Screen(self.p["Width"] or CONSOLE)

    async def process(self, item: Any) -> None:
        self._screen.show(item)

    async def end(self) -> None:
        await self.emit(Text(self._screen.lines))


# With PowerShell's aliases.
CMDLETS: dict[str, type[Cmdlet]] = {
    "new-pssession": NewSession, "nsn": NewSession, "start-sleep": StartSleep, "sleep": StartSleep,
    "remove-pssession": RemoveSession, "rsn": RemoveSession, "get-date": GetDate, "measure-command": MeasureCommand,
    "get-command": GetCommand, "group-object": GroupObject, "group": GroupObject, "format-table": FormatTable,
    "ft": FormatTable, "format-list": FormatList, "fl": FormatList, "out-string": OutString, "oss": OutString,
}  # fmt: skip
