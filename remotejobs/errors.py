"""Every error that leaves this package. Knows words only: no module of the package, no library.

RemoteJobsError
|-- UsageError               what was asked for cannot be done as written (exit code 1)
|   |-- BindingError         a command line that PowerShell would refuse too; has its error id
|   |-- TargetError          a bad computer name, range or server list; says file and line
|   |-- ConfigurationError   a setting, a credential or a file that is missing or refused
|-- TransportError           no answer, or none that can be trusted
|   |-- UnreachableError     name, address, port, reset, TLS
|   |-- TimedOutError        one of our clocks ran out; `clock` in details says which
|   |-- AuthenticationError  the host refused the credential
|   |-- AccessDeniedError    the credential is good, its rights are not
|-- ProtocolError            bytes that break WS-Man, PSRP or CLIXML, or go past a limit of ours
|   |-- FaultError           a WS-Man fault: the host's own words and code
|   |-- LimitError           a size, depth or count past what the job allows
|-- JobError                 a job that does not exist or is in the wrong state
|   |-- LeaseLostError       another process has taken this job over
|-- StoreError               the file of jobs cannot be read or written; nothing stored before is lost
"""

from __future__ import annotations

from typing import Any, ClassVar


class RemoteJobsError(Exception):
    """The one root. `message` is for a tired admin: what happened, on which host, what to do next.

    Args:
        message: One sentence or two, without secrets.
        error_id: PowerShell's FullyQualifiedErrorId where it has one, else `""`.
        details: Plain values for machines; they end up in `to_dict()` and must hold no secret.
    """

    kind: ClassVar[str] = "Error"

    def __init__(self, message: str, *, error_id: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.error_id = error_id
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """Return `kind`, `message`, `error_id` and `details`: the same shape for every error."""
        return {"kind": self.kind, "message": self.message, "error_id": self.error_id, "details": self.details}


class UsageError(RemoteJobsError):
    """What was asked for cannot be done as written."""

    kind = "Usage"


class BindingError(UsageError):
    """A command line that PowerShell's parameter binder would refuse; `error_id` is PowerShell's."""

    kind = "Binding"


class TargetError(UsageError):
    """A computer name, range or server list that cannot be read."""

    kind = "Target"


class ConfigurationError(UsageError):
    """A setting, credential or file that is missing, contradictory or refused."""

    kind = "Configuration"


class TransportError(RemoteJobsError):
    """No answer, or none that can be trusted."""

    kind = "Transport"


class UnreachableError(TransportError):
    """The host could not be reached: name, address, port, reset or TLS."""

    kind = "Unreachable"


class TimedOutError(TransportError):
    """One of our clocks ran out; `details["clock"]` is its name, `details["seconds"]` its setting."""

    kind = "TimedOut"


class AuthenticationError(TransportError):
    """The host refused the credential. Never tried again: accounts get locked out."""

    kind = "AuthenticationFailed"


class AccessDeniedError(TransportError):
    """The host knows the account and refuses it what was asked."""

    kind = "AccessDenied"


class ProtocolError(RemoteJobsError):
    """Bytes that break WS-Man, PSRP or CLIXML."""

    kind = "Protocol"


class FaultError(ProtocolError):
    """A WS-Man fault (MS-WSMV 2.2.4.43). `code` is unsigned and normalised, 0 where the host gave none."""

    kind = "Fault"

    def __init__(self, message: str, *, code: int = 0, subcode: str = "", error_id: str = "", **details: Any) -> None:
        super().__init__(message, error_id=error_id, code=code, subcode=subcode, **details)
        self.code = code
        self.subcode = subcode


class LimitError(ProtocolError):
    """A size, depth or count past what the job allows."""

    kind = "Limit"


class JobError(RemoteJobsError):
    """A job that does not exist, or is in the wrong state for what was asked."""

    kind = "Job"


class LeaseLostError(JobError):
    """Another process has taken this job over: start nothing more."""

    kind = "LeaseLost"


class StoreError(RemoteJobsError):
    """The file of jobs cannot be read or written: full disk, permissions, damage; `details["path"]` is the file."""

    kind = "Store"
