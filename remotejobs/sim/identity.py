"""What a simulated host says it is. Knows values only."""

from __future__ import annotations

from typing import Any

from remotejobs.sim.values import Hashtable, PSObject, Version

PS_VERSION = "7.6.5"


def version_table(protocol: str) -> Hashtable:
    """`$PSVersionTable` of a simulated host: PowerShell 7 on Windows Server 2022, whose manners the dialect has."""
    compatible = PSObject(
        ("System.Version[]", "System.Array", "System.Object"),
        value=[Version(v) for v in ("1.0", "2.0", "3.0", "4.0", "5.0", "5.1", "6.0", "7.0")],
    )
    entries: dict[str, Any] = {
        "PSVersion": Version(PS_VERSION), "PSEdition": "Core", "GitCommitId": PS_VERSION,
        "OS": "Microsoft Windows 10.0.20348", "Platform": "Win32NT", "PSCompatibleVersions": compatible,
        "PSRemotingProtocolVersion": Version(protocol), "SerializationVersion": Version("1.1.0.1"),
        "WSManStackVersion": Version("3.0"),
    }  # fmt: skip
    return Hashtable(iter(entries.items()))
