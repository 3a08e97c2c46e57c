"""The session key of a pool and what it protects: SecureStrings under protocols 2.1 to 2.3 (MS-PSRP 3.1.4.8).

Knows psrpcore's server, which does the cryptography. Must not know pipelines. A pool makes its key at once and tells it
to whoever sends a public key, as PowerShell does.
"""

from __future__ import annotations

import base64
import logging
import re

from psrpcore import PSRemotingCrypto, PSRPPayload, ServerRunspacePool, StreamType

from remotejobs.sim.psrp_wire import Defragmenter, fragments, unpack_message

logging.getLogger("psrpcore").setLevel(logging.CRITICAL + 1)  # its debug lines hold whole messages, secrets included
_SECURE = re.compile(r"(<SS(?: N=\"[^\"]*\")?>)([^<]*)(</SS>)")


class _Pool(ServerRunspacePool):
    @property
    def cipher(self) -> PSRemotingCrypto:
        return self._cipher


class SessionKey:
    """The key of one pool.

    Attributes:
        told: A client has been told it.
    """

    def __init__(self) -> None:
        self.told = False
        self._pool = _Pool()

    def answer(self, public_key: bytes) -> bytes:
        """From a whole PUBLIC_KEY message to the payload of ENCRYPTED_SESSION_KEY.

        Raises:
            ValueError: It is no public key.
        """
        for fragment in fragments(1, public_key, len(public_key) + 64):
            self._pool.receive_data(PSRPPayload(fragment, StreamType.default, None))
        try:
            self._pool.next_event()
        except Exception as error:  # noqa: BLE001 - whatever psrpcore makes of a client's bytes
            raise ValueError(f"no public key: {type(error).__name__}") from None
        self.told = True
        sent = self._pool.data_to_send()
        return unpack_message(Defragmenter().feed(sent.data if sent else b"")[-1], to=1).payload

    def decrypt(self, text: str) -> str:
        """The text of a SecureString from the base64 of an SS element.

        Raises:
            ValueError: It was not encrypted with this key.
        """
        try:
            return str(self._pool.cipher.decrypt(text))
        except Exception as error:  # noqa: BLE001 - whatever the library makes of a client's bytes
            raise ValueError(f"a SecureString that this session's key does not open: {type(error).__name__}") from None

    def seal(self, clixml: str) -> str:
        """Encrypt every SS element of a payload that has them in the clear (base64 of UTF-16, as protocol 2.4 does)."""

        def encrypt(match: re.Match[str]) -> str:
            clear = base64.b64decode(match[2]).decode("utf-16-le", "surrogatepass")
            return match[1] + str(self._pool.cipher.encrypt(clear)) + match[3]

        return _SECURE.sub(encrypt, clixml) if "<SS" in clixml else clixml
