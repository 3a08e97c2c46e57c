"""Negotiate and CredSSP against pyspnego's own acceptors, in one process."""

from __future__ import annotations

import base64
import io
import logging
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import spnego
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remotejobs.auth import tokens
from remotejobs.auth.credssp import tls_context
from remotejobs.auth.tokens import Contexts
from remotejobs.errors import AuthenticationError, ConfigurationError
from remotejobs.model import SessionOption
from tests.auth.acceptors import (
    HTTP,
    HTTPS,
    PASSWORD,
    SCHEMES,
    USER,
    acceptor,
    accounts,
    converse,
    credential,
    forms,
    one,
    sealer_of,
    shown_by,
)

MECHANISMS = [("Negotiate", "ntlm"), ("Default", "ntlm"), ("Credssp", "credssp")]
BINDING = b"tls-server-end-point:" + bytes(range(32))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    accounts(monkeypatch, tmp_path)


@pytest.mark.parametrize(("mechanism", "protocol"), MECHANISMS)
@pytest.mark.parametrize("username", [USER, f"CORP\\{USER}"])
def test_messages_go_sealed_both_ways(mechanism: str, protocol: str, username: str) -> None:
    context, server = one(mechanism, credential(username=username)), acceptor(protocol)
    assert not context.every_request
    assert not context.waits
    said = converse(context, server, protocol)
    assert len(said) == (2 if protocol == "ntlm" else 5)
    sealer = sealer_of(context)
    assert sealer.largest == (16384 if protocol == "credssp" else 0)
    name = "CredSSP" if protocol == "credssp" else "SPNEGO"
    assert sealer.protocol == f"application/HTTP-{name}-session-encrypted"
    for size in (0, 1, 16383, 16384, 16385, 200_000):
        message = bytes(at % 251 for at in range(size))
        cut = sealer.largest or max(size, 1)
        for piece in [message[at : at + cut] for at in range(0, size, cut)] or [b""]:
            header, ciphertext, padding = sealer.wrap(piece)
            assert padding == 0
            assert len(piece) < 100 or piece[:100] not in header + ciphertext
            assert server.unwrap_winrm(header, ciphertext) == piece
            answer = server.wrap_winrm(piece)
            assert sealer.unwrap(answer.header, answer.data) == piece


def test_credssp_gives_the_host_the_credential() -> None:
    context, server = one("Credssp", credential(username=f"CORP\\{USER}")), acceptor("credssp")
    converse(context, server, "credssp")
    got = server.get_extra_info("client_credential")
    assert (got.domain_name, got.username, got.password) == ("CORP", USER, PASSWORD)


@pytest.mark.parametrize(("mechanism", "protocol"), MECHANISMS[::2])
def test_a_wrong_password_is_refused(mechanism: str, protocol: str) -> None:
    context = one(mechanism, credential("wr0ng-Password"))
    if protocol == "ntlm":
        with pytest.raises(spnego.exceptions.InvalidTokenError):  # the acceptor's: its host says 401
            converse(context, acceptor(protocol), protocol)
    else:
        with pytest.raises(AuthenticationError, match="web01") as caught:
            converse(context, acceptor(protocol), protocol)
        assert caught.value.error_id == "LogonFailure"
        assert caught.value.details["refused"] is True
        assert caught.value.__context__ is None
        shown = "\n".join(shown_by(caught.value))
        assert not [form for form in forms("wr0ng-Password") if form in shown]


@pytest.mark.parametrize(("ours", "theirs", "good"), [(BINDING, BINDING, True), (BINDING[:-1] + b"!", BINDING, False)])
def test_channel_bindings_are_sent(ours: bytes, theirs: bytes, good: bool) -> None:
    context, server = one("Negotiate", credential(), HTTPS), acceptor("ntlm", binding=theirs)
    if good:
        converse(context, server, "ntlm", ours)
        assert server.complete
    else:
        with pytest.raises(spnego.exceptions.BadBindingsError):
            converse(context, server, "ntlm", ours)


@pytest.mark.parametrize(("mechanism", "protocol"), MECHANISMS[::2])
def test_messages_out_of_order_are_refused(mechanism: str, protocol: str) -> None:
    context, server = one(mechanism, credential()), acceptor(protocol)
    converse(context, server, protocol)
    sealer = sealer_of(context)
    first, second = server.wrap_winrm(b"first" * 100), server.wrap_winrm(b"second" * 100)
    with pytest.raises(AuthenticationError):
        sealer.unwrap(second.header, second.data)
    with pytest.raises(AuthenticationError):
        sealer.unwrap(first.header, first.data)


@pytest.mark.parametrize(("mechanism", "protocol"), MECHANISMS[::2])
def test_a_message_that_was_changed_is_refused(mechanism: str, protocol: str) -> None:
    context, server = one(mechanism, credential()), acceptor(protocol)
    converse(context, server, protocol)
    header, data, _ = server.wrap_winrm(b"message" * 100)
    with pytest.raises(AuthenticationError) as caught:
        sealer_of(context).unwrap(header, data[:-1] + bytes([data[-1] ^ 1]))
    assert caught.value.__context__ is None


def test_the_nt_hash_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from spnego._ntlm_raw import crypto

    computed: list[int] = []
    real = getattr(crypto, "md4")  # noqa: B009 - not exported

    def counted(data: bytes) -> bytes:
        computed.append(1)
        return bytes(real(data))

    monkeypatch.setattr(crypto, "md4", counted)
    contexts, who = Contexts(SessionOption()), credential()
    for number in range(1000):
        endpoint = HTTP if number % 2 else HTTPS
        assert next(contexts.context("Negotiate", who, endpoint).steps(None)).startswith("Negotiate TlRMTVNTUAAB")
    assert len(computed) == 1
    contexts.close()
    next(contexts.context("Negotiate", who, HTTP).steps(None))
    assert len(computed) == 2


def test_nothing_is_sealed_before_the_host_has_proved_itself() -> None:
    context = one("Negotiate", credential())
    next(context.steps(None))
    with pytest.raises(AuthenticationError, match="web01 has accepted without proving"):
        context.sealer()


@pytest.mark.parametrize("dropped", [0x10, 0x20, 0x80000, 0x20000000])
def test_weak_encryption_is_refused(dropped: int) -> None:
    context, server = one("Negotiate", credential()), acceptor("ntlm")
    steps = context.steps(None)
    challenge = bytearray(server.step(base64.b64decode(next(steps).split()[1])))
    flags = int.from_bytes(challenge[20:24], "little") & ~dropped
    challenge[20:24] = flags.to_bytes(4, "little")
    steps.send([f"Negotiate {base64.b64encode(challenge).decode()}"])
    with pytest.raises(AuthenticationError, match="weak or no encryption"):
        context.sealer()


def test_naming_mechanisms_imports_no_library() -> None:
    code = (
        "import sys; from remotejobs.auth import tokens; from remotejobs.model import Endpoint, SessionOption; "
        "from remotejobs.auth.credentials import Credential, Secret; made = tokens.Contexts(SessionOption()); "
        "[made.context(name, Credential('a', Secret('b')), Endpoint('web01', 5986, True))"
        " for name in ('Basic', 'Negotiate', 'Credssp', 'Digest')]; made.close(); "
        "print([name for name in ('spnego', 'gssapi', 'krb5', 'cryptography', 'ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_spnego_is_not_heard() -> None:
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        for mechanism, protocol in MECHANISMS:
            converse(one(mechanism, credential()), acceptor(protocol), protocol)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert not heard.getvalue()


# hostile hosts


def play(context: Any, protocol: str, answer: Any) -> tuple[int, BaseException | None]:
    """Let `answer` make the host's tokens from its real ones; return the number of steps and how it ended."""
    server, scheme = acceptor(protocol), SCHEMES[protocol]
    steps, count = context.steps(None), 0
    try:
        value = next(steps)
        while count < 60:
            count += 1
            try:
                real = server.step(base64.b64decode(value.split()[1])) or b""
            except Exception:  # the acceptor no longer understands; a hostile host goes on
                real = b""
            value = steps.send([f"{scheme} {base64.b64encode(answer(real)).decode()}"])
    except StopIteration:
        return count, None
    except Exception as error:
        return count, error
    return 60, None


@pytest.mark.parametrize(("mechanism", "protocol"), MECHANISMS[::2])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tokens_that_were_tampered_with(mechanism: str, protocol: str, data: st.DataObject) -> None:
    def tampered(real: bytes) -> bytes:
        kind = data.draw(st.sampled_from(["real", "garbage", "cut", "flipped", "longer"]))
        if kind == "garbage":
            return data.draw(st.binary(max_size=200))
        if kind == "cut":
            return real[: data.draw(st.integers(0, len(real)))]
        if kind == "flipped" and real:
            at = data.draw(st.integers(0, len(real) - 1))
            return real[:at] + bytes([real[at] ^ data.draw(st.integers(1, 255))]) + real[at + 1 :]
        return real + b"\0" * 100 if kind == "longer" else real

    context = one(mechanism, credential())
    count, error = play(context, protocol, tampered)
    assert count <= 12
    assert error is None or type(error) is AuthenticationError
    if error is not None:
        assert error.__context__ is None
        shown = "\n".join(shown_by(error))
        assert not [form for form in forms(PASSWORD) if form in shown]


@pytest.mark.parametrize(("mechanism", "protocol"), MECHANISMS[::2])
def test_an_endless_handshake_ends(mechanism: str, protocol: str) -> None:
    first: list[bytes] = []

    def again(real: bytes) -> bytes:
        first.append(real)
        return first[0]

    count, _ = play(one(mechanism, credential()), protocol, again)
    assert count <= 12


@pytest.mark.parametrize(("mechanism", "scheme"), [("Negotiate", "Negotiate"), ("Credssp", "CredSSP")])
@pytest.mark.parametrize(
    "value", ["{} !!!!", "{} AAAA", "{} " + "A" * 200_000, "{} TlRMTVNTUAACAAAA", "{} FgMD"], ids=lambda v: v[:20]
)
def test_garbage_is_an_error_of_ours(mechanism: str, scheme: str, value: str) -> None:
    steps = one(mechanism, credential()).steps(None)
    next(steps)
    try:
        steps.send([value.format(scheme)])
    except StopIteration:
        assert "!!!!" in value  # no token at all
    except AuthenticationError as error:
        assert "web01" in error.message
        assert error.details["refused"] is False
    else:
        pytest.fail("went on")


def test_a_tls_end_inside_credssp_is_an_end() -> None:
    """pyspnego alone would read nothing for ever here, and keep it all."""
    from spnego._credssp import _create_tls_context

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    host = _create_tls_context("accept").context.wrap_bio(incoming, outgoing, server_side=True)
    steps = one("Credssp", credential()).steps(None)
    value = next(steps)
    shaken = False
    with pytest.raises(AuthenticationError):
        for _ in range(5):
            incoming.write(base64.b64decode(value.split()[1]))
            with suppress(ssl.SSLError):
                if shaken:
                    host.unwrap()
                else:
                    host.do_handshake()
                    shaken = True
            value = steps.send([f"CredSSP {base64.b64encode(outgoing.read()).decode()}"])
    assert shaken


def test_old_credssp_is_refused() -> None:
    """Versions before 5 can be relayed (CVE-2018-0886)."""
    from spnego._credssp_structures import TSRequest

    context, server = one("Credssp", credential()), acceptor("credssp")
    with pytest.MonkeyPatch.context() as patch:
        real = TSRequest.pack

        def older(request: Any) -> bytes:
            if request.nego_tokens and request.nego_tokens[0].nego_token[:1] == b"\xa1":  # the acceptor's
                request.version = 4
            return real(request)

        patch.setattr(TSRequest, "pack", older)
        with pytest.raises(AuthenticationError):
            converse(context, server, "credssp")


def test_credssp_uses_new_tls() -> None:
    assert tls_context().context.minimum_version is ssl.TLSVersion.TLSv1_2


# what is offered


@pytest.mark.parametrize("challenges", [["Kerberos", 'Basic realm="WSMAN"'], ['Kerberos, Basic realm="WSMAN"']])
def test_a_host_that_does_not_offer_it(challenges: list[str]) -> None:
    steps = one("Negotiate", credential()).steps(None)
    next(steps)
    with pytest.raises(AuthenticationError, match=r"web01 does not offer Negotiate.*Kerberos, Basic") as caught:
        steps.send(challenges)
    assert caught.value.details["refused"] is False


@pytest.mark.parametrize("challenges", [[], ["Negotiate"], ['negotiate, Basic realm="WSMAN"']])
def test_no_token_is_a_verdict(challenges: list[str]) -> None:
    steps = one("Negotiate", credential()).steps(None)
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(challenges)


# checks before anything is sent


@pytest.mark.parametrize("name", ["Basic", "Digest", "Credssp"])
def test_some_need_a_password(name: str) -> None:
    from remotejobs.auth.credentials import Credential

    for who in (None, Credential("ops@CORP.TEST", keytab="/etc/ops.keytab")):
        with pytest.raises(ConfigurationError, match=f"{name} authentication needs") as caught:
            one(name, who, HTTPS)
        assert caught.value.error_id == "CredentialMissing"


def test_an_implicit_credential_is_not_given() -> None:
    with pytest.raises(ConfigurationError, match="leave -Credential out"):
        one("NegotiateWithImplicitCredential", credential())


def test_a_client_certificate_alone() -> None:
    context = one("Default", None, HTTPS, certificate_file="cert.pem")
    assert (context.mechanism, context.every_request, context.sealer()) == ("Certificate", True, None)
    assert list(context.steps(None)) == ["http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"]
    with pytest.raises(ConfigurationError, match="https"):
        one("Default", None, HTTP, certificate_file="cert.pem")
    assert one("Default", credential(), HTTPS, certificate_file="cert.pem").mechanism == "Negotiate"


def test_digest_is_for_https() -> None:
    with pytest.raises(ConfigurationError, match="-UseSSL"):
        one("Digest", credential(), HTTP, allow_unencrypted=True)


def test_without_the_extra_kerberos_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remotejobs.auth.kerberos.available", lambda: False)
    for name, who in (("Kerberos", credential()), ("Default", None)):
        with pytest.raises(ConfigurationError, match=r"pip install remotejobs\[kerberos\]"):
            one(name, who)


def test_windows_negotiates_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, dict[str, Any]]] = []

    class Context:
        negotiated_protocol = None

        def step(self) -> bytes:
            return b"token"

    def client(credentials: Any, **settings: Any) -> Context:
        asked.append((credentials, settings))
        return Context()

    monkeypatch.setattr(tokens, "_SSPI", True)
    monkeypatch.setattr(spnego, "client", client)
    for who in (credential(), None):
        context = one("Default", who)
        assert context.waits
        assert next(context.steps(None)) == "Negotiate dG9rZW4="
    (password, settings), (nobody, _) = asked
    assert isinstance(password[0], spnego.Password)
    assert nobody is None
    assert (settings["protocol"], settings["hostname"], settings["service"]) == ("negotiate", "web01", "host")
