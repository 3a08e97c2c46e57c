"""The exchange of keys and what it protects: recorded from PowerShell, read by another library, fed with garbage."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given
from hypothesis import strategies as st
from psrpcore import PSRemotingCrypto

from remotejobs.errors import ProtocolError, UsageError
from remotejobs.model import ScriptCommand
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import PSObject, SecureString, secure_strings
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.psrp.messages import create_pipeline
from remotejobs.wsman.psrp.sessionkey import KeyPair, SessionKey, filled, secret_names

_FILE = Path(__file__).parents[1] / "data" / "psrp" / "session-key.json"
RECORDED: dict[str, Any] = json.loads(_FILE.read_text())
KEY = SessionKey(bytes.fromhex(RECORDED["session_key"]))
NAME = SecureString("ArgumentList[0]")


@cache
def recorded_pair() -> KeyPair:
    """The client's key of the recording."""
    n, d, e = int(RECORDED["n"], 16), int(RECORDED["d"], 16), 65537
    p, q = rsa.rsa_recover_prime_factors(n, e, d)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, n)
    )
    return KeyPair(numbers.private_key())


def encrypted(key: bytes, head: str = "010200001066000000a40000") -> bytes:
    """ENCRYPTED_SESSION_KEY for the key of the recording."""
    data = recorded_pair()._private.public_key().encrypt(key, PKCS1v15())
    return message(base64.b64encode(bytes.fromhex(head) + data[::-1]).decode())


def message(text: str) -> bytes:
    return f'<Obj RefId="0"><MS><S N="EncryptedSessionKey">{text}</S></MS></Obj>'.encode()


def test_what_powershell_was_told_and_answered() -> None:
    pair = recorded_pair()
    assert pair.public == RECORDED["public_key"].encode()
    key = pair.session_key(RECORDED["encrypted_session_key"].encode())
    _, sekrit, credential, empty = map(lambda text: deserialize(text.encode()), RECORDED["output"])  # noqa: C417
    assert [key.decrypt(each.wire) for each in (sekrit, credential.Password, empty)] == ["sekrit", "sekrit", ""]
    assert [key.encrypt(text) for text in ("sekrit", "")] == [sekrit.wire, empty.wire]


def test_our_own_key_is_one_of_2048_bits() -> None:
    pair = KeyPair.generate()
    blob = base64.b64decode(deserialize(pair.public).PublicKey)
    assert (len(blob), blob[12:16].hex(), blob[16:20].hex()) == (276, "00080000", "01000100")
    assert KeyPair.generate().public != pair.public


@given(st.text(st.characters(codec=None)))
def test_texts_come_back_and_another_library_reads_them(text: str) -> None:
    content = KEY.encrypt(text)
    assert KEY.decrypt(content) == text
    if not any("\ud800" <= c <= "\udfff" for c in text):
        other = PSRemotingCrypto()
        other.register_key(bytes.fromhex(RECORDED["session_key"]))
        assert other.decrypt(content) == text


@pytest.mark.parametrize(
    "answer",
    [
        encrypted(bytes(16)),
        encrypted(bytes(33)),
        encrypted(b""),
        encrypted(bytes(32), "0102000010660000"),
        encrypted(bytes(32), "010200001066000000240000"),
        message(""),
        message("garbage"),
        message(base64.b64encode(bytes(268)).decode()),
        message(base64.b64encode(bytes.fromhex("010200001066000000a40000") + b"\xff" * 256).decode()),
        b"<S></S>",
        b"<Nil/>",
        b'<Obj RefId="0"><MS><I32 N="EncryptedSessionKey">1</I32></MS></Obj>',
        b"no CLIXML",
    ],
)
def test_an_answer_that_is_no_key_for_us_is_refused(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        recorded_pair().session_key(answer)


@given(st.one_of(st.text(max_size=40), st.binary(max_size=70).map(lambda data: base64.b64encode(data).decode())))
def test_garbage_for_a_secure_string_is_a_protocol_error_without_its_content(content: str) -> None:
    try:
        KEY.decrypt(content)
    except ProtocolError as error:
        assert error.message == "A SecureString of the host is not encrypted with the key of its session."


def test_secrets_are_filled_in_wherever_they_are_and_nowhere_else() -> None:
    held = {"ArgumentList[0]": lambda: "<&]]>\0ä", "ArgumentList[1]": lambda: ""}
    credential = PSObject(("T",), adapted={"UserName": "u", "Password": SecureString("ArgumentList[1]")})
    arguments = [NAME, [{'a"b<': credential}], "<SS>ArgumentList[0]</SS>"]
    payload = create_pipeline(ScriptCommand("'<SS>ArgumentList[0]</SS>'", tuple(arguments)))
    assert secret_names(payload) == ("ArgumentList[0]", "ArgumentList[1]")
    command = deserialize(filled(payload, held, KEY)).PowerShell.Cmds[0]
    first, second, third = (each.V for each in command.Args)
    assert KEY.decrypt(first.wire) == "<&]]>\0ä"
    assert KEY.decrypt(second[0]['a"b<'].Password.wire) == ""
    assert command.Cmd == f"'{third}'" == "'<SS>ArgumentList[0]</SS>'"


@pytest.mark.parametrize("wire", ["", "AAAA", KEY.encrypt("x"), "Argument"])
def test_a_secure_string_of_a_host_is_no_name(wire: str) -> None:
    with pytest.raises(UsageError, match="it came from"):
        secret_names(serialize([SecureString(wire)]))


def test_a_payload_without_secrets_stays_as_it_is() -> None:
    payload = create_pipeline(ScriptCommand("1", ("x",)))
    assert secret_names(payload) == ()
    assert filled(payload, {}, KEY) == payload


def test_secure_strings_are_found_in_any_depth() -> None:
    inner: list[Any] = [SecureString("a")]
    inner.append(inner)
    value = PSObject(base={"k": inner}, adapted={"p": SecureString("b")}, extended={"e": [(PSObject(), inner)][0][1]})
    assert sorted(each.wire for each in secure_strings(value)) == ["a", "b"]


def test_only_who_has_the_key_reads_a_secure_string() -> None:
    received = SecureString(KEY.encrypt("sekrit"))
    with pytest.raises(UsageError, match="keys are not stored"):
        received.reveal()
    received.unlock(KEY.decrypt)
    assert received.reveal() == "sekrit"
    for other in (copy.deepcopy(received), pickle.loads(pickle.dumps(received))):
        assert other == received
        with pytest.raises(UsageError):
            other.reveal()
    assert "sekrit" not in f"{received!r} {received} {KEY!r}"
    with pytest.raises(TypeError):
        copy.copy(KEY)


def test_without_secrets_nothing_of_cryptography_is_imported() -> None:
    code = (
        "import sys; from remotejobs import model; from remotejobs.wsman.psrp import messages, runspace, sessionkey;"
        "sessionkey.secret_names(messages.create_pipeline(model.ScriptCommand('1', ('x',))));"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
