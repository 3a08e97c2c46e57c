"""From what Kerberos, NTLM and CredSSP report to a sentence for a tired admin.

Knows codes: krb5's, and NTSTATUS. Must not know how a context works, and takes no text from a library: it may hold
anything. `details["refused"]` tells a refused credential (True) from a host or a domain that is not set up (False).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotejobs.errors import AuthenticationError, RemoteJobsError, UnreachableError

USER_UNKNOWN: Final = 6
SERVER_UNKNOWN: Final = 7
# Numbers of krb5_err.et, counted from -1765328384; the first 128 are the KDC's own (RFC 4120 7.5.9).
_FIRST: Final = -1765328384
_CLOCKS: Final = "Here: timedatectl set-ntp true; on the host: w32tm /resync /rediscover"
_REFUSED: Final = {
    1: "The account has expired.",
    USER_UNKNOWN: "The domain knows no such user. Check the name and its realm: USER@REALM.",
    12: "The domain's policy does not let the account log on here and now.",
    18: "The account is disabled, expired or locked out.",
    23: "The password has expired. Change it, then try again.",
    24: "The password is wrong.",
    31: "The password is wrong, or the keytab holds an old key.",
}
_UNREADY: Final = {
    14: "No encryption type is common to the domain, the account and this computer. Allow AES for the account "
    "(msDS-SupportedEncryptionTypes), and look at permitted_enctypes in krb5.conf.",
    32: "The ticket has expired. Run kinit again.",
    33: f"The ticket is not valid yet: the clocks of this computer and the domain differ. {_CLOCKS}",
    35: "The ticket is for another computer than the one that answered. Name the host as its domain does.",
    37: f"The clocks of this computer, the domain and the host are more than 5 minutes apart. {_CLOCKS}",
    41: "The host cannot read the ticket: it is for another computer or another account than the service's. Name the "
    "host as its domain does, and look for a duplicate SPN (setspn -X).",
    130: "The keytab holds no key for this user. List it with: klist -k FILE",
    135: "krb5.conf cannot be read.",
    136: "krb5.conf cannot be read: its format is broken.",
    141: "There is no ticket in the cache. Run kinit, or give -Credential.",
    148: f"The clocks of this computer and the domain are more than 5 minutes apart. {_CLOCKS}",
    179: "The keytab cannot be read.",
    181: "The keytab holds no key for this user. List it with: klist -k FILE",
    193: "The ticket cache cannot be read.",
    194: "The ticket cache may not be read by this user.",
    195: "There is no ticket cache. Run kinit, or give -Credential.",
    199: "The ticket cache cannot be read.",
    221: "The ticket may not be forwarded, so it cannot be delegated. Get it with: kinit -f",
    224: "krb5.conf names no default_realm. Give the user as USER@REALM.",
}
_UNREACHED: Final = {
    154: "No domain controller (KDC) is known for the realm. Check its name, krb5.conf, and the DNS records "
    "_kerberos._tcp.REALM.",
    156: "No domain controller (KDC) of the realm answers. Port 88, TCP and UDP, must be open from here.",
    220: "No domain controller (KDC) of the realm can be found. Check krb5.conf and DNS.",
}
_NTSTATUS: Final = {
    0xC000006D: "The user name or the password is wrong.",
    0xC000006A: "The password is wrong.",
    0xC0000064: "There is no such user.",
    0xC000006E: "The account is restricted: no logon with an empty password, at this hour, or from here.",
    0xC0000071: "The password has expired. Change it, then try again.",
    0xC0000072: "The account is disabled.",
    0xC0000193: "The account has expired.",
    0xC0000224: "The password must be changed before the first logon.",
    0xC0000234: "The account is locked out.",
}
# SEC_E_* and Win32 codes that SSPI reports for the same
_SSPI: Final = {
    0x8009030C: 0xC000006D,  # SEC_E_LOGON_DENIED
}
_SSPI_KRB5: Final = {
    0x80090303: SERVER_UNKNOWN,  # SEC_E_TARGET_UNKNOWN
    0x80090311: 156,  # SEC_E_NO_AUTHENTICATING_AUTHORITY
    0x80090324: 37,  # SEC_E_TIME_SKEW
    0x8009030E: 141,  # SEC_E_NO_CREDENTIALS
    0x80090322: 41,  # SEC_E_WRONG_PRINCIPAL
}


def krb5_code(error: BaseException) -> int:
    """The number of krb5_err.et that `error`, or what it wraps, has; -1 where there is none."""
    found: object = error
    for _ in range(4):
        code = getattr(found, "err_code", None)
        if code is None:
            code = getattr(found, "min_code", None)
        if isinstance(code, int):
            number = (code & 0xFFFFFFFF) - (_FIRST & 0xFFFFFFFF)
            return number if 0 <= number < 256 else -1
        winerror = getattr(found, "winerror", None)
        if isinstance(winerror, int):
            return _SSPI_KRB5.get(winerror & 0xFFFFFFFF, -1)
        found = getattr(found, "base_error", None)
    return -1


def unknown_service(host: str, services: Sequence[str]) -> AuthenticationError:
    """The error for a host that the domain has no service principal for.

    Args:
        host: Host part of the names that were tried.
        services: Their classes.
    """
    names = " nor ".join([f"{service}/{host}" for service in services])
    neither = "neither " if len(services) > 1 else "no "
    return AuthenticationError(
        f"There is no ticket for {host}: the domain knows {neither}SPN {names}. Here: name the host as its domain "
        "does, by its full DNS name, or give -SessionOption SpnName=NAME, or SpnService=CLASS. In the domain: "
        f"setspn -S HOST/{host} COMPUTER",
        error_id="TargetUnknown",
        refused=False,
    )


def explain(error: Exception, mechanism: str, host: str, user: str = "") -> RemoteJobsError:
    """An error of ours for one of a library's; nothing of the library's is in it.

    Args:
        error: What was raised.
        mechanism: PowerShell's name.
        host: The host that was being talked to.
        user: Whose ticket was asked for, where it was that.
    """
    subject = f"No ticket was given for {user}" if user else f"{mechanism} authentication to {host} failed"
    code = krb5_code(error)
    if code == SERVER_UNKNOWN and not user:
        return unknown_service(host, ("host",))
    if code in _REFUSED:
        # what a host says against a ticket is not signed by anybody
        return AuthenticationError(
            f"{subject}. {_REFUSED[code]}", error_id="LogonFailure", refused=bool(user), krb5=code
        )
    if code in _UNREADY:
        return AuthenticationError(
            f"{subject}. {_UNREADY[code]}", error_id="AuthenticationFailed", refused=False, krb5=code
        )
    if code in _UNREACHED:
        return UnreachableError(f"{subject}. {_UNREACHED[code]}", error_id="AuthenticationFailed", step="kdc")
    status = _ntstatus(error)
    if status in _NTSTATUS:
        return AuthenticationError(
            f"{subject}. {_NTSTATUS[status]}", error_id="LogonFailure", refused=True, ntstatus=status
        )
    kind = type(error).__name__
    if kind == "BadBindingsError":
        return AuthenticationError(
            f"{subject}. The host's certificate is not the one that it proves to have: somebody is in between.",
            refused=False,
        )
    what = (
        "The library reports no reason that is known here"
        if user
        else "What the host answered is damaged, or gives no reason that is known here"
    )
    return AuthenticationError(f"{subject}. {what} ({kind}).", refused=False, cause=kind)


def _ntstatus(error: BaseException) -> int:
    found: object = error
    for _ in range(4):
        code = getattr(found, "winerror", None)
        if isinstance(code, int):
            code &= 0xFFFFFFFF
            return _SSPI.get(code, code)
        found = getattr(found, "base_error", None)
    return 0
