"""The body of Get winrm/config: the settings of a host's service, in the recorded shape (cfg:Config).

Knows names and defaults. Must not know who asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remotejobs.sim.shells import HostSettings
from remotejobs.sim.soap import CONFIG

_AUTH = {"Basic": "true", "Digest": "true", "Kerberos": "true", "Negotiate": "true", "Certificate": "true"}
_PORTS = {"HTTP": "5985", "HTTPS": "5986"}


def config(settings: HostSettings) -> str:
    """Return `cfg:Config`."""
    unencrypted = "true" if settings.allow_unencrypted else "false"
    tree: dict[str, Any] = {
        "MaxEnvelopeSizekb": settings.max_envelope_size // 1024,
        "MaxTimeoutms": round(settings.max_timeout * 1000),
        "MaxBatchItems": 32000,
        "MaxProviderRequests": 4294967295,
        "Client": {
            "NetworkDelayms": 5000,
            "URLPrefix": "wsman",
            "AllowUnencrypted": "false",
            "Auth": _AUTH | {"CredSSP": "false"},
            "DefaultPorts": _PORTS,
            "TrustedHosts": "",
        },
        "Service": {
            "RootSDDL": "O:NSG:BAD:P(A;;GA;;;BA)(A;;GR;;;IU)S:P(AU;FA;GA;;;WD)(AU;SA;GXGW;;;WD)",
            "MaxConcurrentOperations": 4294967295,
            "MaxConcurrentOperationsPerUser": settings.max_operations,
            "EnumerationTimeoutms": 240000,
            "MaxConnections": 300,
            "MaxPacketRetrievalTimeSeconds": 120,
            "AllowUnencrypted": unencrypted,
            "Auth": {
                "Basic": "true",
                "Kerberos": "true",
                "Negotiate": "true",
                "Certificate": "false",
                "CredSSP": "false",
                "CbtHardeningLevel": "Relaxed",
            },
            "DefaultPorts": _PORTS,
            "IPv4Filter": "*",
            "IPv6Filter": "*",
            "EnableCompatibilityHttpListener": "false",
            "EnableCompatibilityHttpsListener": "false",
            "CertificateThumbprint": "",
            "AllowRemoteAccess": "true",
        },
        "Winrs": {
            "AllowRemoteShellAccess": "true",
            "IdleTimeout": round(settings.default_idle_timeout * 1000),
            "MaxConcurrentUsers": 2147483647,
            "MaxShellRunTime": 2147483647,
            "MaxProcessesPerShell": 2147483647,
            "MaxMemoryPerShellMB": 2147483647,
            "MaxShellsPerUser": settings.max_shells,
        },
    }
    return f'<cfg:Config xmlns:cfg="{CONFIG}">{_elements(tree)}</cfg:Config>'


def _elements(tree: Mapping[str, Any]) -> str:
    return "".join(
        f"<cfg:{name}>{_elements(value) if isinstance(value, Mapping) else value}</cfg:{name}>"
        for name, value in tree.items()
    )
