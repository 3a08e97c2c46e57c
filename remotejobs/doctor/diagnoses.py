"""From a failure to its likely cause and the command that helps, on the host or here.

Knows errors, HTTP statuses and fault codes; diagnoses.toml has the words. Must not know connections or steps: it is
given the error, and the name of the step where it happened.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from remotejobs.doctor.findings import Diagnosis, Remedy
from remotejobs.errors import AccessDeniedError, AuthenticationError, FaultError, RemoteJobsError, TimedOutError
from remotejobs.wsman.faults import meaning


@cache
def _table() -> dict[str, Any]:
    """diagnoses.toml, which says what is in it."""
    return tomllib.loads(files(__package__).joinpath("diagnoses.toml").read_text(encoding="utf-8"))


# Failures that their error id tells best.
_BY_ID = {
    "801": "clear-text",
    "CannotUseIPAddress": "ip-address",
    "ClientKerberosDisabled": "no-kerberos",
    "TargetUnknown": "spn",
}


class About(NamedTuple):
    """What the sentences and commands of the table may name."""

    name: str
    address: str
    port: int
    ssl: bool
    mechanism: str
    user: str = ""
    scheme: str = ""
    spn: str = ""
    offered: str = ""


def diagnose(step: str, error: RemoteJobsError, about: About) -> Diagnosis:
    """The likely cause of `error` in `step`; empty, but for the error id, where none is known."""
    return look_up(about, *_keys(step, error), error_id=error.error_id)


def look_up(about: About, *keys: str, error_id: str = "") -> Diagnosis:
    """The diagnosis of the first of `keys` that the table has."""
    table, transport = _table(), "https" if about.ssl else "http"
    for key in keys:
        row = table.get(f"{key}/{about.mechanism}") or table.get(f"{key}/{transport}") or table.get(key)
        if row is not None:
            row = table[row["like"]] if "like" in row else row
            words = _words(about)
            remedies = [each.format(**words).split(": ", 1) for each in row["do"]]
            cause = row["cause"].format(**words)
            return Diagnosis(cause, tuple(Remedy(where, command) for where, command in remedies), error_id)
    return Diagnosis(error_id=error_id)


def _keys(step: str, error: RemoteJobsError) -> Iterator[str]:
    details = error.details
    if isinstance(error, TimedOutError):
        yield from (f"{step}.silence", "tcp" if step == "Port" else "silence")
        return
    if details.get("guard"):
        yield "guard"
    if isinstance(error, FaultError):
        yield from (f"fault.{error.error_id}", f"fault.{meaning(error).means.name}")
    if isinstance(error, AccessDeniedError) and step != "Listener":
        yield "denied"
    if error.error_id in _BY_ID:
        yield _BY_ID[error.error_id]
    if "krb5" in details:
        yield f"krb5.{details['krb5']}"
    if isinstance(error, AuthenticationError) and details.get("refused", True):
        yield "http.401"
    status = details.get("status")
    if status and not isinstance(error, FaultError):
        yield from (f"http.{status}", "http.other")
    where = details.get("step")
    if where:
        yield from (f"{where}.{details.get('reason', '')}", f"{where}")
    yield step


def _words(about: About) -> dict[str, object]:
    user = about.user or "USER"
    account = user.rpartition("\\")[2].partition("@")[0]
    return {
        **about._asdict(),
        "user": user if user.isalnum() else "'{}'".format(user.replace("'", "''")),
        "account": account,
        "short": about.name.partition(".")[0],
        "offered": about.offered or "CERTIFICATE.NAME",
        "usual_port": 5986 if about.ssl else 5985,
    }
