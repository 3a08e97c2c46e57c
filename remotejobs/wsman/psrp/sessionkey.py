"""The session key of a runspace pool, and the SecureStrings that it encrypts (MS-PSRP 2.2.2.3 to 2.2.2.5, 2.2.5.1.24).

Knows the three messages of the exchange and how a SecureString is written. Must not know what carries a message, or
where a secret comes from. In a job a SecureString is the name of a secret: its text is filled in for one host at a
time, under the key of that host, in the moment in which it is sent. We offer protocol 2.3, in which each SecureString
is encrypted; 2.4, in which it is clear and the transport alone protects it, is never offered.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakValueDictionary

from remotejobs.errors import ProtocolError, UsageError
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject, SecureString

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC

_BITS, _EXPONENT = 2048, 65537
# PUBLICKEYBLOB (06, version 2, CALG_RSA_KEYX, "RSA1") and SIMPLEBLOB (01, version 2, CALG_AES_256, CALG_RSA_KEYX).
_PUBLIC_BLOB = bytes.fromhex("06020000 00a40000 52534131")
_SESSION_BLOB = bytes.fromhex("01020000 10660000 00a40000")
_AES_BYTES = 32
_BLOCK = 16
_SECURE = re.compile(rb'(<SS(?: N="[^"]*")?)(?: />|>([^<]*)</SS>)')  # in text, `<` is escaped


class SessionKey:
    """The AES key that one host has chosen for one pool."""

    __slots__ = ("__weakref__", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, text: str) -> str:
        """The content of an SS element: AES-256 in CBC mode, no initialization vector, PKCS7, UTF-16-LE, base64."""
        data = text.encode("utf-16-le", "surrogatepass")
        padding = _BLOCK - len(data) % _BLOCK
        encryptor = self._cipher().encryptor()
        return base64.b64encode(encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()).decode()

    def decrypt(self, content: str) -> str:
        """The text of a SecureString from the content of its SS element.

        Raises:
            ProtocolError: It was not encrypted with this key. The message has nothing of the content.
        """
        try:
            decryptor = self._cipher().decryptor()
            data = decryptor.update(base64.b64decode(content, validate=True)) + decryptor.finalize()
            padding = data[-1]
            if not 1 <= padding <= _BLOCK or data[-padding:] != bytes([padding]) * padding:
                raise ValueError
            return data[:-padding].decode("utf-16-le", "surrogatepass")
        except (ValueError, IndexError):
            raise ProtocolError("A SecureString of the host is not encrypted with the key of its session.") from None

    def _cipher(self) -> Cipher[CBC]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        return Cipher(algorithms.AES(self._key), modes.CBC(bytes(_BLOCK)))

    def __repr__(self) -> str:
        return "SessionKey(...)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SessionKey is neither copied nor pickled")


class KeyPair:
    """Our RSA key: hosts are told its public half, and encrypt their session keys with it.

    Attributes:
        public: The payload of PUBLIC_KEY.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: RSAPrivateKey) -> None:
        self._private = private
        numbers = private.public_key().public_numbers()
        blob = _PUBLIC_BLOB + private.key_size.to_bytes(4, "little") + numbers.e.to_bytes(4, "little")
        blob += numbers.n.to_bytes(private.key_size // 8, "little")
        written = base64.b64encode(blob).decode()
        self.public = f'<Obj RefId="0"><MS><S N="PublicKey">{written}</S></MS></Obj>'.encode()

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a key of 2048 bits, as PowerShell does. It takes a tenth of a second or more."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return cls(rsa.generate_private_key(_EXPONENT, _BITS))

    def session_key(self, payload: bytes) -> SessionKey:
        """Read ENCRYPTED_SESSION_KEY.

        Raises:
            ProtocolError: It has no key, or one that is not for us.
        """
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        value = deserialize(payload)
        written = value.get("EncryptedSessionKey") if isinstance(value, PSObject) else None
        try:
            blob = base64.b64decode(written if isinstance(written, str) else "", validate=True)
            if not blob.startswith(_SESSION_BLOB) or len(blob) != len(_SESSION_BLOB) + self._private.key_size // 8:
                raise ValueError
            key = self._private.decrypt(blob[len(_SESSION_BLOB) :][::-1], PKCS1v15())
            if len(key) != _AES_BYTES:
                raise ValueError
        except ValueError:
            raise ProtocolError(
                "The host answered the exchange of keys with something that is no AES-256 key for us. SecureStrings "
                "cannot be sent to it."
            ) from None
        return SessionKey(key)


KEYS: WeakValueDictionary[uuid.UUID, SessionKey] = WeakValueDictionary()
"""The keys of this process by the id of their pool, as long as the jobs live that hold them. They are never stored."""


def secret_names(payload: bytes) -> tuple[str, ...]:
    """The names of the secrets in a payload, in their order.

    Raises:
        UsageError: One of its SecureStrings came from a host.
    """
    found = []
    for match in _SECURE.finditer(payload):
        name = SecureString((match[2] or b"").decode()).name
        if not name:
            raise UsageError("A SecureString cannot be an argument: it is encrypted for the host that it came from.")
        found.append(name)
    return tuple(found)


def filled(payload: bytes, secrets: Mapping[str, Callable[[], str]], key: SessionKey) -> bytes:
    """The payload for one host: each name of a secret replaced by the secret, encrypted for that host."""

    def fill(match: re.Match[bytes]) -> bytes:
        return b"%b>%b</SS>" % (match[1], key.encrypt(secrets[match[2].decode()]()).encode())

    return _SECURE.sub(fill, payload)
