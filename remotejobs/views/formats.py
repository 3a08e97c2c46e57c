"""How PowerShell shows well-known types when nobody says how: its format files, as a table.

Knows type names and property names. Must not know widths of screens or how a table is drawn. Other types have no view:
display.py shows their properties. Source: PowerShell 7.6's default formats; its screen is what a host's objects look
like to Invoke-Command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from remotejobs.model import Stream
from remotejobs.views.cells import bare, cell_text, event_time, short_date, short_time
from remotejobs.views.errorview import concise
from remotejobs.views.layout import Column
from remotejobs.wsman.clixml.records import from_clixml
from remotejobs.wsman.clixml.values import PSObject

_MEGABYTE, _GIGABYTE = 1 << 20, 1 << 30
_MOST = 1e30  # what no size or time reaches; NaN does not either
_DESERIALIZED = "Deserialized."

Source = str | Callable[[PSObject], Any]


class Field(NamedTuple):
    """One column or line: its label, and the property or the function that gives its value."""

    column: Column
    source: Source

    def value(self, target: PSObject) -> Any:
        """Return the value for `target`, None where it has no such property."""
        return value_of(target, self.source)


class TableFormat(NamedTuple):
    """A table; rows with different `group` texts stand under a line of their own."""

    fields: tuple[Field, ...]
    group: Callable[[PSObject], str] | None = None


class ListFormat(NamedTuple):
    """A list of these properties."""

    names: tuple[str, ...]


class TextFormat(NamedTuple):
    """A text; where its property is missing, what the object's ToString() gave.

    `aside` is one that stands among objects of any other kind (PowerShell's OutOfBand).
    """

    source: Source
    aside: bool = False


Format = TableFormat | ListFormat | TextFormat


def find_format(target: PSObject) -> Format | None:
    """Return the view of the first of its type names that has one, `Deserialized.` taken off; None where none has."""
    for name in target.type_names:
        found = _FORMATS.get(name.removeprefix(_DESERIALIZED).lower())
        if found:
            return _UNIX_FILE if found is _FILE and "UnixMode" in target else found
    return None


def property_set(type_names: Sequence[str]) -> tuple[str, ...]:
    """Return the properties that stand for an object of a type without a view (DefaultDisplayPropertySet)."""
    for name in type_names:
        found = _PROPERTY_SETS.get(name.removeprefix(_DESERIALIZED).lower())
        if found:
            return found
    return ()


def value_of(target: PSObject, source: Source) -> Any:
    """Return the property `source`, or what the function `source` makes of `target`."""
    return target.get(source) if isinstance(source, str) else source(target)


def _field(label: str, width: int = 0, source: Source = "", *, right: bool = False) -> Field:
    return Field(Column(label, width, right), source or label)


def _table(*fields: Field, group: Callable[[PSObject], str] | None = None) -> TableFormat:
    return TableFormat(fields, group)


def _list(names: str) -> ListFormat:
    return ListFormat(tuple(names.split()))


def _plain(*names: str) -> TableFormat:
    return TableFormat(tuple(_field(name) for name in names))


def _scaled(name: str, unit: int, places: int = 2) -> Callable[[PSObject], str]:
    def value(target: PSObject) -> str:
        number = target.get(name)
        sane = isinstance(number, (int, float)) and abs(number) < _MOST
        return f"{number / unit:,.{places}f}" if sane else ""

    return value


def _event_time(target: PSObject) -> str:
    time = target.get("TimeGenerated")
    return event_time(time) if isinstance(time, datetime) else cell_text(time)


def _write_time(target: PSObject) -> str:
    time = target.get("LastWriteTime")
    return f"{short_date(time):>10} {short_time(time):>8}" if isinstance(time, datetime) else cell_text(time)


def _unix_write_time(target: PSObject) -> str:
    time = target.get("LastWriteTime")
    return f"{time:%m/%d/%Y %H:%M}" if isinstance(time, datetime) else cell_text(time)


def _length(target: PSObject) -> Any:
    return "" if any(name.endswith("System.IO.DirectoryInfo") for name in target.type_names) else target.get("Length")


def _directory(target: PSObject) -> str:
    path = cell_text(target.get("PSParentPath")) or cell_text(target.get("DirectoryName"))
    return f"    Directory: {path.rpartition('::')[2]}" if path else ""


def _parent(target: PSObject) -> str:
    path = cell_text(target.get("PSParentPath"))
    return f"   PSParentPath: {path}" if path else ""


def _hive(target: PSObject) -> str:
    path = cell_text(target.get("PSParentPath"))
    return f"    Hive: {path.rpartition('::')[2]}" if path else ""


def _usages(target: PSObject) -> Any:
    listed = bare(target.get("EnhancedKeyUsageList"))
    if not isinstance(listed, list):
        return listed
    return [item.get("FriendlyName") if isinstance(item, PSObject) else item for item in listed]


def _provider(target: PSObject) -> str:
    return f"   ProviderName: {cell_text(target.get('ProviderName'))}"


def _command_name(target: PSObject) -> Any:
    return target.get("DisplayName") or target.get("Name")


def _hot_fix_source(target: PSObject) -> Any:
    return target.get("__SERVER") or target.get("CSName") or target.get("PSComputerName")


def _drive_provider(target: PSObject) -> Any:
    provider = target.get("Provider")
    return cell_text(provider.get("Name") if isinstance(provider, PSObject) else provider).rpartition("\\")[2]


def _error(target: PSObject) -> str:
    return concise(from_clixml(Stream.Error, target))


_FILE = _table(
    _field("Mode", 7),
    _field("LastWriteTime", 26, _write_time, right=True),
    _field("Length", 14, _length, right=True),
    _field("Name"),
    group=_directory,
)
_UNIX_FILE = _table(  # what PowerShell on Linux and macOS gives its files
    _field("UnixMode", 10),
    _field("User", 10, right=True),
    _field("Group", 10),
    _field("LastWriteTime", 16, _unix_write_time, right=True),
    _field("Size", 12, right=True),
    _field("Name"),
    group=_directory,
)
_COMMAND = _table(_field("CommandType", 15), _field("Name", 50, _command_name), _field("Version", 10), _field("Source"))
_HOT_FIX = _table(
    _field("Source", 13, _hot_fix_source),
    _field("Description", 16),
    _field("HotFixID", 13),
    _field("InstalledBy", 20),
    _field("InstalledOn", 25),
)
_CIM = "Microsoft.Management.Infrastructure.CimInstance#root/cimv2/"
_WMI = "System.Management.ManagementObject#root\\cimv2\\"
_CORE = "System.Management.Automation."
_COMMANDS = "Microsoft.PowerShell.Commands."

_BY_NAME: dict[str, Format] = {
    "System.ServiceProcess.ServiceController": _table(
        _field("Status", 8), _field("Name", 18), _field("DisplayName", 38)
    ),
    "System.Diagnostics.Process": _table(
        _field("NPM(K)", 7, _scaled("NPM", 1024, 0), right=True),
        _field("PM(M)", 8, _scaled("PM", _MEGABYTE), right=True),
        _field("WS(M)", 10, _scaled("WS", _MEGABYTE), right=True),
        _field("CPU(s)", 10, _scaled("CPU", 1), right=True),
        _field("Id", 7, right=True),
        _field("SI", 3, right=True),
        _field("ProcessName"),
    ),
    "System.Diagnostics.ProcessModule": _table(
        _field("Size(K)", 10, "Size", right=True), _field("ModuleName", 50), _field("FileName")
    ),
    "System.Diagnostics.EventLogEntry": _table(
        _field("Index", 8, right=True),
        _field("Time", 13, _event_time),
        _field("EntryType", 11),
        _field("Source", 20),
        _field("InstanceID", 12, right=True),
        _field("Message"),
    ),
    "System.Diagnostics.Eventing.Reader.EventLogRecord": _table(
        _field("TimeCreated", 26),
        _field("Id", 8, right=True),
        _field("LevelDisplayName", 16),
        _field("Message"),
        group=_provider,
    ),
    "System.IO.FileInfo": _FILE,
    "System.IO.DirectoryInfo": _FILE,
    _WMI + "Win32_QuickFixEngineering": _HOT_FIX,
    _CIM + "Win32_QuickFixEngineering": _HOT_FIX,
    _CIM + "Win32_PingStatus": _table(
        _field("Source", 13, "PSComputerName"),
        _field("Destination", 15, "Address"),
        _field("IPV4Address", 16),
        _field("IPV6Address", 40),
        _field("Bytes", 8, "BufferSize"),
        _field("Time(ms)", 9, "ResponseTime"),
    ),
    "Microsoft.Win32.RegistryKey": _table(_field("Name", 30, "PSChildName"), _field("Property"), group=_hive),
    "System.Diagnostics.FileVersionInfo": _table(
        _field("ProductVersion", 16), _field("FileVersion", 16), _field("FileName")
    ),
    "System.Reflection.Assembly": _table(
        _field("GAC", 6, "GlobalAssemblyCache"), _field("Version", 14, "ImageRuntimeVersion"), _field("Location")
    ),
    "System.Reflection.AssemblyName": _table(_field("Version", 14), _field("Name")),
    "System.Security.Cryptography.X509Certificates.X509Certificate2": _table(
        _field("Thumbprint", 41), _field("Subject", 20), _field("EnhancedKeyUsageList", 0, _usages), group=_parent
    ),
    "System.Net.NetworkCredential": _table(_field("UserName", 50), _field("Domain", 50)),
    _CORE + "SemanticVersion": _table(
        _field("Major", 6),
        _field("Minor", 6),
        _field("Patch", 6),
        _field("PreReleaseLabel", 15),
        _field("BuildLabel", 11),
    ),
    "System.Collections.DictionaryEntry": _table(_field("Name", 30), _field("Value")),
    "System.Version": _table(_field("Major", 6), _field("Minor", 6), _field("Build", 6), _field("Revision", 8)),
    "System.Guid": _plain("Guid"),
    "System.Globalization.CultureInfo": _table(_field("LCID", 16), _field("Name", 16), _field("DisplayName")),
    "System.RuntimeType": _table(
        _field("IsPublic", 8), _field("IsSerial", 8, "IsSerializable"), _field("Name", 40), _field("BaseType")
    ),
    "System.DateTime": TextFormat("DateTime"),
    "System.TimeSpan": _list(
        "Days Hours Minutes Seconds Milliseconds Ticks TotalDays TotalHours TotalMinutes TotalSeconds TotalMilliseconds"
    ),
    "System.AppDomain": _list(
        "FriendlyName Id ApplicationDescription BaseDirectory DynamicDirectory "
        "RelativeSearchPath SetupInformation ShadowCopyFiles"
    ),
    _COMMANDS + "GenericMeasureInfo": _list("Count Average Sum Maximum Minimum Property"),
    _COMMANDS + "TextMeasureInfo": _list("Lines Words Characters Property"),
    _COMMANDS + "GroupInfo": _table(_field("Count", 5, right=True), _field("Name", 25), _field("Group")),
    _COMMANDS + "GroupInfoNoElement": _table(_field("Count", 5, right=True), _field("Name", 25)),
    _COMMANDS + "MatchInfo": TextFormat("Line"),
    _COMMANDS + "FileHashInfo": _table(_field("Algorithm", 15), _field("Hash", 70), _field("Path")),
    _CORE + "AliasInfo": _COMMAND,
    _CORE + "ApplicationInfo": _COMMAND,
    _CORE + "CmdletInfo": _COMMAND,
    _CORE + "ExternalScriptInfo": _COMMAND,
    _CORE + "FilterInfo": _COMMAND,
    _CORE + "FunctionInfo": _COMMAND,
    _CORE + "PathInfo": _plain("Path"),
    _CORE + "PSVariable": _table(_field("Name", 30), _field("Value")),
    _CORE + "ProviderInfo": _table(_field("Name", 20), _field("Capabilities"), _field("Drives")),
    _CORE + "PSDriveInfo": _table(
        _field("Name", 10),
        _field("Used (GB)", 13, _scaled("Used", _GIGABYTE), right=True),
        _field("Free (GB)", 13, _scaled("Free", _GIGABYTE), right=True),
        _field("Provider", 13, _drive_provider),
        _field("Root", 35),
        _field("CurrentLocation"),
    ),
    _CORE + "PSModuleInfo": _table(
        _field("ModuleType", 10), _field("Version", 10), _field("Name", 35), _field("ExportedCommands")
    ),
    _CORE + "WarningRecord": TextFormat("InformationalRecord_Message", aside=True),
    _CORE + "InformationRecord": TextFormat("MessageData", aside=True),
    _CORE + "ErrorRecord": TextFormat(_error, aside=True),
    _CORE + "Job": _table(
        _field("Id", 6),
        _field("Name", 15),
        _field("PSJobTypeName", 15),
        _field("State", 13),
        _field("HasMoreData", 15),
        _field("Location", 20),
        _field("Command", 25),
    ),
}
_CIM_TABLES = {
    "Win32_ComputerSystem": "Name PrimaryOwnerName Domain TotalPhysicalMemory Model Manufacturer",
    "Win32_DiskDrive": "DeviceID Caption Partitions Size Model",
    "Win32_DiskPartition": "Name NumberOfBlocks BootPartition PrimaryPartition Size Index",
    "Win32_LogicalDisk": "DeviceID DriveType ProviderName VolumeName Size FreeSpace",
    "Win32_NetworkAdapter": "DeviceID Name AdapterType ServiceName",
    "Win32_NetworkAdapterConfiguration": "ServiceName DHCPEnabled Index Description",
    "Win32_NTDomain": "DomainName DnsForestName DomainControllerName",
    "Win32_OperatingSystem": "SystemDirectory Organization BuildNumber RegisteredUser SerialNumber Version",
    "Win32_Printer": "Name ShareName SystemName PrinterState PrinterStatus Location",
    "Win32_PrintJob": "JobId Name JobStatus Owner Priority Size Document",
    "Win32_Process": "ProcessId Name HandleCount WorkingSetSize VirtualSize",
    "Win32_Processor": "DeviceID Name Caption MaxClockSpeed SocketDesignation Manufacturer",
    "Win32_Product": "Name Caption Vendor Version IdentifyingNumber",
    "Win32_Service": "ProcessId Name StartMode State Status ExitCode",
    "Win32_UserAccount": "Name Caption AccountType SID Domain",
}
_FORMATS = {name.lower(): found for name, found in _BY_NAME.items()}
_FORMATS |= {(_CIM + name).lower(): _plain(*names.split()) for name, names in _CIM_TABLES.items()}

_PROPERTY_SETS = {
    name.lower(): tuple(names.split())
    for name, names in {
        "System.Diagnostics.Process": "Id Handles CPU SI Name",
        "System.ServiceProcess.ServiceController": "Status Name DisplayName",
        _CIM + "Win32_BIOS": "SMBIOSBIOSVersion Manufacturer Name SerialNumber Version",
        _WMI + "Win32_BIOS": "SMBIOSBIOSVersion Manufacturer Name SerialNumber Version",
    }.items()
}
