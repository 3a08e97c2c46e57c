r"""What helps against a refusal that its words do not explain: a right that is missing, and the second hop.

Knows user names and error records. Must not know connections. One sentence for a message; `remotejob test` says more.
"""

from __future__ import annotations

import re
from typing import Final

from remotejobs.errors import ProtocolError
from remotejobs.model import JobSpec, Target
from remotejobs.wsman.clixml.records import error_record

_POLICY: Final = (
    r"reg add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System /v LocalAccountTokenFilterPolicy "
    "/t REG_DWORD /d 1 /f"
)
_LARGEST: Final = 64 * 1024  # bytes of an error that is looked at
# What makes an error worth decoding: a share, and what Windows says where a logon was not passed on.
_MARKS: Final = re.compile(rb"\\\\[A-Za-z0-9]|ANONYMOUS LOGON|ADServerDown|8009030[eE]|PSSessionStateBroken")
_SHARE: Final = re.compile(r"\\\\([A-Za-z0-9][\w.-]*)\\")


def no_right(user: str, host: str) -> str:
    r"""What helps an account that a host knows and refuses (Win32 error 5).

    A local administrator other than the built-in one is none in a network logon (UAC). The host does not say so, and it
    concerns local accounts only: `user`, `.\user`, `HOST\user`.

    Args:
        user: As given; empty where nobody has named one.
        host: The target's name.
    """
    domain, slash, _ = user.rpartition("\\")
    local = user and (domain == "." or _is(host, domain) if slash else "@" not in user)
    quoted = "'{}'".format(user.replace("'", "''")) if user else "USER"
    group = f'net localgroup "Remote Management Users" {quoted} /add'
    if not local:
        return f"The account has no right to remote shells there. On the host: {group}"
    return (
        "The account is known there and has no right to a shell: in a network logon UAC takes the rights of local "
        f"administrators away, but for the built-in one. On the host: {_POLICY}. If {user} is no administrator: {group}"
    )


def passes_logon_on(spec: JobSpec, target: Target) -> bool:
    """Whether the host can act as the user towards other hosts: it has got the password, or a ticket for that."""
    mechanism = target.authentication or spec.authentication
    return mechanism.lower() == "credssp" or spec.session_option.delegate


def is_second_hop(raw: bytes, host: str) -> bool:
    """Whether an error of a script is another host's refusal, as it comes when a logon cannot be passed on.

    A refusal by the host itself is none. Cheap for most errors: few have the marks that make it decode one.

    Args:
        raw: CLIXML of an ErrorRecord, or of the state message that holds the one which ended a script.
        host: The target's name.
    """
    if len(raw) > _LARGEST or not _MARKS.search(raw):
        return False
    try:
        error = error_record(raw)
    except ProtocolError:
        return False
    words = f"{error.message} {error.exception_message} {error.target_name}"
    if "ANONYMOUS LOGON" in words or error.exception_type.endswith("ADServerDownException"):
        return True
    if error.fully_qualified_error_id.startswith("AccessDenied,PSSessionStateBroken") or "0x8009030e" in words.lower():
        return True
    denied = error.category == "PermissionDenied" or error.exception_type.endswith("UnauthorizedAccessException")
    return denied and not all(_is(host, share) for share in _SHARE.findall(words))


def _is(host: str, name: str) -> bool:
    """Whether a name is the host's own, with or without a domain."""
    host, name = host.lower(), name.lower()
    return name in (host, "localhost", "127.0.0.1") or name.startswith(f"{host}.") or host.startswith(f"{name}.")
