"""What a simulated Windows host has to show: services, processes, events, CIM classes, its name.

Knows how cmdlets are called. Must not know the language. The data are invented; types and members are those that a
Windows host sends for them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from remotejobs.sim.dialect.commands import Cmdlet, cmdlet, simple
from remotejobs.sim.dialect.errors import Refusal
from remotejobs.sim.dialect.prompts import Confirmation
from remotejobs.sim.records import ErrorRecord, NetException
from remotejobs.sim.values import Int64, PSObject, UInt16, UInt32, UInt64, enum, items, to_text, wildcard

_COMMANDS = "Microsoft.PowerShell.Commands."
_SERVICE = ("System.ServiceProcess.ServiceController", "System.ComponentModel.Component", "System.MarshalByRefObject",
    "System.Object")  # fmt: skip
_SERVICES = [  # name, display name, running, start type, what it needs, what needs it
    ("BITS", "Background Intelligent Transfer Service", False, "Manual", ["RpcSs"], []),
    ("Dhcp", "DHCP Client", True, "Automatic", ["NSI", "Afd"], ["NcaSvc"]),
    ("Dnscache", "DNS Client", True, "Automatic", ["nsi", "Afd"], ["NcaSvc"]),
    ("EventLog", "Windows Event Log", True, "Automatic", [], ["Wecsvc"]),
    ("LanmanServer", "Server", True, "Automatic", ["SamSS", "Srv2"], []),
    ("LanmanWorkstation", "Workstation", True, "Automatic", ["Bowser", "MRxSmb20", "NSI"], ["Netlogon"]),
    ("Netlogon", "Netlogon", False, "Manual", ["LanmanWorkstation"], []),
    ("RpcSs", "Remote Procedure Call (RPC)", True, "Automatic", ["RpcEptMapper", "DcomLaunch"], ["BITS", "WinRM"]),
    ("Schedule", "Task Scheduler", True, "Automatic", ["RPCSS", "SystemEventsBroker"], []),
    ("Spooler", "Print Spooler", True, "Automatic", ["RPCSS", "http"], ["Fax"]),
    ("TermService", "Remote Desktop Services", True, "Manual", ["RPCSS"], ["UmRdpService"]),
    ("W32Time", "Windows Time", True, "Automatic", [], []),
    ("Winmgmt", "Windows Management Instrumentation", True, "Automatic", ["RPCSS"], []),
    ("WinRM", "Windows Remote Management (WS-Management)", True, "Automatic", ["RPCSS", "HTTP"], []),
    ("wuauserv", "Windows Update", False, "Manual", ["rpcss"], []),
]
_START_TYPES = {"Automatic": 2, "Manual": 3, "Disabled": 4}
_PROCESSES = [  # name, id, seconds of CPU, working set, handles
    ("csrss", 572, 14.2, 5_304_320, 512), ("explorer", 4120, 91.5, 98_263_040, 1894),
    ("lsass", 712, 203.4, 23_420_928, 1490), ("services", 696, 61.7, 10_485_760, 642),
    ("svchost", 860, 118.9, 26_214_400, 1203), ("System", 4, 1024.0, 155_648, 2210),
    ("wsmprovhost", 4242, 0.9, 71_303_168, 611),
]  # fmt: skip


def service(row: tuple[str, str, bool, str, list[str], list[str]]) -> PSObject:
    """One ServiceController."""
    name, display, running, start, needs, needed = row
    listed = ("System.ServiceProcess.ServiceController[]", "System.Array", "System.Object")
    status = enum("System.ServiceProcess.ServiceControllerStatus", *(("Running", 4) if running else ("Stopped", 1)))
    adapted = {
        "UserName": "LocalSystem", "Description": display, "DelayedAutoStart": False, "BinaryPathName":
        r"C:\Windows\System32\svchost.exe -k NetworkService -p",
        "StartupType": enum(f"{_COMMANDS}ServiceStartupType", start, _START_TYPES[start]),
        "CanPauseAndContinue": False, "CanShutdown": running, "CanStop": running, "DisplayName": display,
        "DependentServices": PSObject(listed, value=list(needed)), "MachineName": ".", "ServiceName": name,
        "ServicesDependedOn": PSObject(listed, value=list(needs)),
        "StartType": enum("System.ServiceProcess.ServiceStartMode", start, _START_TYPES[start]),
        "Status": status, "ServiceType": enum("System.ServiceProcess.ServiceType", "Win32ShareProcess", 32),
        "Site": None, "Container": None,
    }  # fmt: skip
    extended = {"Name": name, "RequiredServices": PSObject(listed, value=list(needs))}
    return PSObject((f"{_SERVICE[0]}#StartupType", *_SERVICE), adapted, extended, text=name)


class _Named(Cmdlet):
    """Something that is found by names with wildcards; a name without any that matches nothing is an error."""

    what = ""

    def all(self) -> list[PSObject]:
        raise NotImplementedError

    async def end(self) -> None:
        known = self.all()
        for name in self.p["Name"] or ["*"]:
            pattern = wildcard(name)
            found = [thing for thing in known if pattern.match(to_text(thing.get(self.key())))]
            for thing in found:
                await self.emit(thing)
            if not found and not set(name) & set("*?["):
                await self.error(self.missing(name))

    def key(self) -> str:
        return "Name"

    async def process(self, item: Any) -> None:
        names = item.get("Name") if isinstance(item, PSObject) else item
        self.p["Name"] = [*(self.p["Name"] or []), *(to_text(n) for n in items(names))]

    def missing(self, name: str) -> ErrorRecord:
        message = self.what.format(name)
        exception = NetException(
            message, (f"{_COMMANDS}{self.exception}", "System.SystemException", "System.Exception", "System.Object")
        )
        record = self.record(message, self.error_id, "ObjectNotFound", "", name)
        record.exception = exception
        return record

    exception = error_id = ""


class _OfServices(_Named):
    what = "Cannot find any service with service name '{}'."
    exception, error_id = "ServiceCommandException", "NoServiceFoundForGivenName"

    def all(self) -> list[PSObject]:
        if self.p["DisplayName"]:
            self.p["Name"] = self.p["DisplayName"]
        return [service(row) for row in _SERVICES]

    def key(self) -> str:
        return "DisplayName" if self.p["DisplayName"] else "Name"


@cmdlet
class _GetService(_OfServices):
    name, clr, aliases = "Get-Service", f"{_COMMANDS}GetServiceCommand", ("gsv",)
    spec = "Name:string[]:0 DisplayName:string[]"


@cmdlet
class _RestartService(_OfServices):
    """It says what it would do, and with -PassThru what was done; the services themselves never change."""

    name, clr = "Restart-Service", f"{_COMMANDS}RestartServiceCommand"
    spec = "Name:string[]:0 DisplayName:string[] Confirm:switch Force:switch PassThru:switch"

    async def begin(self) -> None:
        self._confirmation, self._emit = Confirmation(self), self.emit
        self.emit = self._restarted

    async def _restarted(self, found: Any) -> None:
        target = f"{found.get('DisplayName')} ({found.get('Name')})"
        if await self._confirmation.should_process(target) and self.p["PassThru"]:
            await self._emit(found)


@cmdlet
class _GetProcess(_Named):
    name, clr, aliases = "Get-Process", f"{_COMMANDS}GetProcessCommand", ("gps", "ps")
    spec = "Name:string[]:0 Id:int[]"
    what = 'Cannot find a process with the name "{}". Verify the process name and call the cmdlet again.'
    exception, error_id = "ProcessCommandException", "NoProcessFoundForGivenName"

    def all(self) -> list[PSObject]:
        if self.p["Id"]:
            raise Refusal("Get-Process -Id")
        start = datetime.now(UTC).astimezone() - timedelta(days=3)
        return [self._process(*row, start) for row in _PROCESSES]

    def _process(self, name: str, number: int, cpu: float, memory: int, handles: int, start: datetime) -> PSObject:
        types = (
            "System.Diagnostics.Process",
            "System.ComponentModel.Component",
            "System.MarshalByRefObject",
            "System.Object",
        )
        adapted = {
            "Id": number, "ProcessName": name, "HandleCount": handles, "WorkingSet64": Int64(memory), "SessionId": 0,
            "PriorityClass": enum("System.Diagnostics.ProcessPriorityClass", "Normal", 32), "MachineName": ".",
            "StartTime": start, "TotalProcessorTime": timedelta(seconds=cpu), "HasExited": False, "Responding": True,
        }  # fmt: skip
        extended = {"Name": name, "SI": 0, "Handles": handles, "WS": Int64(memory), "CPU": cpu}
        return PSObject(types, adapted, extended, text=f"{types[0]} ({name})")


@cmdlet
class _GetEventLog(Cmdlet):
    name, clr, spec = "Get-EventLog", f"{_COMMANDS}GetEventLogCommand", "LogName:string:0 Newest:int"

    async def end(self) -> None:
        log = (self.p["LogName"] or "").lower()
        if log not in {"system", "application", "security"}:
            raise Refusal("logs other than System, Application and Security")
        now = datetime.now(UTC).astimezone().replace(microsecond=0)
        host = self.evaluator.session.host.name
        for number in range(min(self.p["Newest"] or 100, 100)):
            moment = now - timedelta(minutes=7 * number)
            adapted = {
                "MachineName": host, "Data": b"", "Index": 5000 - number, "Category": "(0)",
                "CategoryNumber": UInt16(0),
                "EventID": 7036, "EntryType": enum("System.Diagnostics.EventLogEntryType", "Information", 4),
                "Message": f"The {_SERVICES[number % len(_SERVICES)][1]} service entered the running state.",
                "Source": "Service Control Manager", "InstanceId": Int64(1073748860), "TimeGenerated": moment,
                "TimeWritten": moment, "UserName": None, "Site": None, "Container": None,
            }  # fmt: skip
            name = "System.Diagnostics.EventLogEntry"
            types = (f"{name}#{log.title()}/Service Control Manager/1073748860", name, *_SERVICE[1:])
            await self.emit(PSObject(types, adapted, {"EventID": 7036}, text=name))


@cmdlet
class _GetCimInstance(Cmdlet):
    name, aliases, spec = "Get-CimInstance", ("gcim",), "ClassName:string:0"

    async def end(self) -> None:
        host, now = self.evaluator.session.host.name, datetime.now(UTC).astimezone().replace(microsecond=0)
        classes: dict[str, tuple[str, dict[str, Any]]] = {
            "win32_operatingsystem": ("Win32_OperatingSystem", {
                "Caption": "Microsoft Windows Server 2022 Standard", "Version": "10.0.20348", "BuildNumber": "20348",
                "CSName": host, "OSArchitecture": "64-bit", "LastBootUpTime": now - timedelta(days=3),
                "LocalDateTime": now, "FreePhysicalMemory": UInt64(2_621_440),
                "TotalVisibleMemorySize": UInt64(4_193_780),
                "NumberOfProcesses": UInt32(len(_PROCESSES)), "SystemDirectory": r"C:\Windows\system32", "Status": "OK",
            }),
            "win32_computersystem": ("Win32_ComputerSystem", {
                "Name": host, "Domain": "WORKGROUP", "PartOfDomain": False, "Manufacturer": "Simulated",
                "Model": "Virtual Machine", "NumberOfProcessors": UInt32(1), "NumberOfLogicalProcessors": UInt32(2),
                "TotalPhysicalMemory": UInt64(4_294_430_720), "UserName": None,
            }),
        }  # fmt: skip
        known = classes.get((self.p["ClassName"] or "").lower())
        if not known:
            raise Refusal(f"the CIM class {self.p['ClassName']}")
        name, adapted = known
        base = "Microsoft.Management.Infrastructure.CimInstance"
        types = (f"{base}#root/cimv2/{name}", f"{base}#root/cimv2", f"{base}#{name}", base, "System.Object")
        await self.emit(PSObject(types, {**adapted, "PSComputerName": None}, text=f"{name}: {host}"))


@simple("hostname")
def hostname(cmdlet: Cmdlet) -> str:
    """The computer's name."""
    return cmdlet.evaluator.session.host.name


@simple("whoami")
def whoami(cmdlet: Cmdlet) -> str:
    """The account that runs the script, in lower case."""
    host = cmdlet.evaluator.session.host
    return f"{host.name}\\{host.user}".lower()
