"""The properties that .NET gives to natural values, by name and in its order.

Knows values of Python and the types that they stand for. Must not know screens or JSON.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from remotejobs.views.cells import WEEKDAYS, long_date
from remotejobs.wsman.clixml.values import PSObject, TimeSpan, Uri, Version, span_ticks

_SECOND = 10_000_000  # ticks
_DAY = 86400 * _SECOND
_PORTS = {"http": 80, "https": 443, "ftp": 21, "ldap": 389, "net.tcp": 808, "ws": 80, "wss": 443}
_OF_ANY_URI = ("OriginalString", "IsAbsoluteUri", "UserEscaped")
_MOST_MILLISECONDS = 922_337_203_685_477.0  # where .NET stops: TimeSpan.MaxValue without its fraction


def with_members(value: Any) -> PSObject | None:
    """Return a point in time, a time span, a Guid, a Version or a Uri as an object; None for all else."""
    if isinstance(value, datetime):
        return PSObject(("System.DateTime",), adapted=_date_time(value))
    if isinstance(value, timedelta):
        return PSObject(("System.TimeSpan",), adapted=time_span(value))
    if isinstance(value, uuid.UUID):
        members = {"Variant": value.bytes[8] >> 4, "Version": value.bytes[6] >> 4, "Guid": str(value)}
        return PSObject(("System.Guid",), adapted=members)
    if isinstance(value, Version):
        return PSObject(("System.Version",), adapted=version(value))
    if isinstance(value, Uri):
        return PSObject(("System.Uri",), adapted=_uri(str(value)))
    return None


def version(value: Version) -> dict[str, int]:
    """The properties of System.Version; a part that is not given is -1."""
    major, minor, build, revision = (*value.parts, -1, -1)[:4]
    low = revision & 0xFFFF
    return {
        "Major": major,
        "Minor": minor,
        "Build": build,
        "Revision": revision,
        "MajorRevision": revision >> 16,
        "MinorRevision": low - 0x10000 if low > 0x7FFF else low,
    }


def time_span(value: timedelta) -> dict[str, Any]:
    """The properties of System.TimeSpan."""
    ticks = span_ticks(value)
    sign = -1 if ticks < 0 else 1

    def part(unit: int, size: int) -> int:  # .NET cuts towards 0
        return sign * (abs(ticks) // unit % size)

    total = float(ticks)
    return {
        "Ticks": ticks,
        "Days": part(_DAY, 10**9),
        "Hours": part(3600 * _SECOND, 24),
        "Milliseconds": part(10_000, 1000),
        "Microseconds": part(10, 1000),
        "Nanoseconds": part(1, 10) * 100,
        "Minutes": part(60 * _SECOND, 60),
        "Seconds": part(_SECOND, 60),
        "TotalDays": total / _DAY,
        "TotalHours": total / (3600 * _SECOND),
        "TotalMilliseconds": max(min(total / 10_000, _MOST_MILLISECONDS), -_MOST_MILLISECONDS),
        "TotalMicroseconds": total / 10,
        "TotalNanoseconds": total * 100,
        "TotalMinutes": total / (60 * _SECOND),
        "TotalSeconds": total / _SECOND,
    }


def _date_time(value: datetime) -> dict[str, Any]:
    tick = getattr(value, "tick", 0)  # of 100 ns, below Python's microsecond
    clock = value.replace(tzinfo=None)
    midnight = datetime(value.year, value.month, value.day, tzinfo=value.tzinfo)
    time = clock - datetime(value.year, value.month, value.day)  # noqa: DTZ001
    kind = "Unspecified" if value.tzinfo is None else "Utc" if value.tzinfo is UTC else "Local"
    return {
        "Date": midnight,
        "Day": value.day,
        "DayOfWeek": WEEKDAYS[value.weekday()],
        "DayOfYear": value.timetuple().tm_yday,
        "Hour": value.hour,
        "Kind": kind,
        "Millisecond": value.microsecond // 1000,
        "Microsecond": value.microsecond % 1000,
        "Nanosecond": tick * 100,
        "Minute": value.minute,
        "Month": value.month,
        "Second": value.second,
        "Ticks": span_ticks(clock - datetime(1, 1, 1)) + tick,  # noqa: DTZ001
        "TimeOfDay": TimeSpan(time.days, time.seconds, time.microseconds, tick=tick),
        "Year": value.year,
        "DateTime": long_date(value),
    }


def _uri(value: str) -> dict[str, Any]:
    """The properties of System.Uri; those that an unfinished one has no answer for are `$null`."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    known = _PORTS.get(parts.scheme, -1)
    absolute = bool(parts.scheme)
    host = parts.hostname or ""
    path = parts.path or ("/" if host else "")
    segments = re.findall("[^/]*/|[^/]+", path)
    user, _, _ = parts.netloc.rpartition("@")
    query, fragment = f"?{parts.query}" if parts.query else "", f"#{parts.fragment}" if parts.fragment else ""
    port = known if port is None else port
    authority = f"[{host}]" if ":" in host else host
    shown = authority if port == known else f"{authority}:{port}"
    return {
        name: member if absolute or name in _OF_ANY_URI else None
        for name, member in {
            "AbsolutePath": path,
            "AbsoluteUri": f"{parts.scheme}://{f'{user}@' if user else ''}{shown}{path}{query}{fragment}",
            "LocalPath": unquote(path),
            "Authority": shown,
            "HostNameType": _host_type(host),
            "IsDefaultPort": port == known,
            "IsFile": parts.scheme == "file",
            "IsLoopback": host in ("localhost", "127.0.0.1", "::1"),
            "PathAndQuery": path + query,
            "Segments": segments,
            "IsUnc": parts.scheme == "file" and bool(host),
            "Host": authority,
            "Port": port,
            "Query": query,
            "Fragment": fragment,
            "Scheme": parts.scheme,
            "OriginalString": value,
            "DnsSafeHost": host,
            "IdnHost": host,
            "IsAbsoluteUri": absolute,
            "UserEscaped": False,
            "UserInfo": user,
        }.items()
    }


def _host_type(host: str) -> str:
    if ":" in host:
        return "IPv6"
    return "IPv4" if re.fullmatch(r"\d+(?:\.\d+){3}", host) else "Dns" if host else "Basic"
