r"""The account of a simulated host: its password, its lock-out, and what is counted of its logons.

Knows names, passwords and NT status codes (MS-ERREF 2.3.1). Must not know mechanisms or HTTP. A name that a mechanism
has proved by other means, as Kerberos' ticket does, never comes here.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Final

from remotejobs.sim.shells import HostSettings

SUCCESS: Final = 0
LOGON_FAILURE: Final = 0xC000006D
PASSWORD_EXPIRED: Final = 0xC0000071
ACCOUNT_LOCKED_OUT: Final = 0xC0000234
BAD_BINDINGS: Final = 0xC000035B


class Account:
    """The one local account of a host.

    Args:
        settings: Its name and password, and the rules.
    """

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self._failures = 0

    @property
    def nt_hash(self) -> bytes:
        """MD4 of the password: what NTLM proves to know."""
        return _nt_hash(self._settings.password)

    @property
    def password(self) -> str:
        """In clear, as Digest's arithmetic needs it (Windows: stored with reversible encryption)."""
        return self._settings.password

    def named(self, user: str) -> bool:
        r"""True if `user` means this account: case, and what is before `\` or behind `@`, are left aside."""
        name = user.rsplit("\\", 1)[-1].casefold()
        return self._settings.user.casefold() in (name, name.partition("@")[0])

    def has_password(self, password: str) -> bool:
        """True if it is the account's."""
        return hmac.compare_digest(password.encode(), self._settings.password.encode())

    def logon(self, user: str, *, proved: bool) -> int:
        """Decide on one logon.

        Args:
            user: Who they say they are.
            proved: They know the password.

        Returns:
            NT status. Each wrong password brings the lock-out nearer, and a right one does not end it.
        """
        if not self.named(user):
            return LOGON_FAILURE
        threshold = self._settings.lockout_threshold
        if threshold and self._failures >= threshold:
            return ACCOUNT_LOCKED_OUT
        if not proved:
            self._failures += 1
            return LOGON_FAILURE
        if self._settings.password_expired:
            return PASSWORD_EXPIRED
        self._failures = 0
        return SUCCESS


@lru_cache(maxsize=16)
def _nt_hash(password: str) -> bytes:
    from spnego._ntlm_raw.crypto import ntowfv1  # hashlib has MD4 no more

    return ntowfv1(password)
