"""Tickets and Kerberos contexts against a real KDC, and pyspnego's acceptors with the keys that it gave out."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.failures import explain
from remotejobs.auth.kerberos import Tickets, is_address
from remotejobs.auth.negotiate import GssContext
from remotejobs.auth.tokens import Contexts
from remotejobs.errors import AuthenticationError, UnreachableError
from remotejobs.model import Endpoint, SessionOption
from tests.auth.acceptors import HTTP, HTTPS, acceptor, converse, forms, sealer_of, shown_by
from tests.kdc import ENCRYPTION, PASSWORD, REALM, Kdc

ALICE = Credential("alice", Secret(PASSWORD))
AT_REALM = Credential(f"alice@{REALM}", Secret(PASSWORD))
CONFIG = """\
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_canonicalize_hostname = false
    kdc_timesync = 0
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
"""


@pytest.fixture
def realm(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> Kdc:
    """The realm; acceptors of this process have the keys of all its hosts."""
    monkeypatch.setenv("KRB5_KTNAME", str(kdc.keytab))
    return kdc


@pytest.fixture
def contexts() -> Iterator[Contexts]:
    made = Contexts(SessionOption())
    yield made
    made.close()


def tickets_given(kdc: Kdc, user: str = "alice") -> int:
    """How often the KDC was asked for a ticket-granting ticket and gave it, or refused the password."""
    lines = [line for line in kdc.log.splitlines() if "AS_REQ" in line and f"{user}@" in line]
    return sum("ISSUE" in line or "PREAUTH_FAILED" in line for line in lines)


def talk(contexts: Contexts, mechanism: str, who: Credential | None, host: str = "web01", ssl: bool = False) -> Any:
    """Shake hands; return our context and the host's."""
    context = contexts.context(mechanism, who, Endpoint(host, 5985, ssl, server_name=host))
    protocol = "kerberos" if mechanism == "Kerberos" else "negotiate"
    server = acceptor(protocol, host)
    assert len(converse(context, server, protocol)) == 1
    assert server.complete
    return context, server


@pytest.mark.parametrize(
    ("mechanism", "username"),
    [
        ("Kerberos", "alice"),
        ("Kerberos", f"alice@{REALM.lower()}"),
        ("Negotiate", f"alice@{REALM}"),
        ("Default", "remotejobs\\alice"),
    ],
)
def test_messages_go_sealed_both_ways(realm: Kdc, contexts: Contexts, mechanism: str, username: str) -> None:
    context, server = talk(contexts, mechanism, Credential(username, Secret(PASSWORD)))
    assert not context.waits
    assert server.negotiated_protocol == "kerberos"
    sealer = sealer_of(context)
    name = "Kerberos" if mechanism == "Kerberos" else "SPNEGO"
    assert (sealer.protocol, sealer.largest) == (f"application/HTTP-{name}-session-encrypted", 0)
    for size in (0, 1, 16383, 16384, 16385, 200_000):
        message = bytes(at % 251 for at in range(size))
        header, ciphertext, padding = sealer.wrap(message)
        assert (len(header), padding) == (60, 0)
        assert server.unwrap_winrm(header, ciphertext) == message
        answer = server.wrap_winrm(message)
        assert sealer.unwrap(answer.header, answer.data) == message


@pytest.mark.parametrize("kind", ENCRYPTION)
def test_every_kind_of_encryption(realm: Kdc, contexts: Contexts, kind: str) -> None:
    """A message is cut as the buffers of GSS_WrapIOV are."""
    context, server = talk(contexts, "Kerberos", ALICE, host=kind)
    sealer = sealer_of(context)
    assert isinstance(context, GssContext)
    assert context._context is not None
    for size in (1, 15, 16, 17, 2000):
        ours, theirs = sealer.wrap(b"x" * size), context._context.wrap_winrm(b"y" * size)
        assert [len(part) for part in ours[:2]] == [len(theirs.header), len(theirs.data)]
        assert ours[2] == theirs.padding_length
        assert server.unwrap_winrm(*ours[:2]) == b"x" * size
        assert server.unwrap_winrm(theirs.header, theirs.data) == b"y" * size
        answer = server.wrap_winrm(b"z" * size)
        assert sealer.unwrap(answer.header, answer.data) == b"z" * size


@pytest.mark.parametrize("mechanism", ["Kerberos", "Negotiate"])
def test_answers_that_only_plain_unwrap_opens(realm: Kdc, contexts: Contexts, mechanism: str) -> None:
    """As OMI sends them: a whole token of gss_wrap, cut after 60 bytes."""
    context, server = talk(contexts, mechanism, AT_REALM)
    sealer = sealer_of(context)
    for size in (1, 2748, 200_000):
        token = server.wrap(b"x" * size).data
        assert sealer.unwrap(token[:60], token[60:]) == b"x" * size
    answer = server.wrap_winrm(b"as Windows does")
    assert sealer.unwrap(answer.header, answer.data) == b"as Windows does"


def test_messages_out_of_order_or_changed_are_refused(realm: Kdc, contexts: Contexts) -> None:
    context, server = talk(contexts, "Kerberos", ALICE)
    sealer = sealer_of(context)
    sent = [server.wrap_winrm(b"%d" % number) for number in range(4)]
    assert sealer.unwrap(sent[0].header, sent[0].data) == b"0"
    for number in (2, 1, 0):
        with pytest.raises(AuthenticationError) as caught:
            sealer.unwrap(sent[number].header, sent[number].data)
        assert caught.value.__context__ is None
    with pytest.raises(AuthenticationError):
        sealer.unwrap(sent[3].header, sent[3].data[:-1] + bytes([sent[3].data[-1] ^ 1]))


def test_one_ticket_for_all_hosts_of_a_job(realm: Kdc, contexts: Contexts) -> None:
    before = tickets_given(realm)
    with ThreadPoolExecutor(8) as threads:
        made = [contexts.context("Kerberos", ALICE, each) for each in (HTTP, HTTPS) * 20]
        values = list(threads.map(lambda context: next(context.steps(None)), made))
    assert all(value.startswith("Kerberos YI") for value in values)
    assert tickets_given(realm) == before + 1


def test_a_ticket_is_replaced_before_it_ends(realm: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    import krb5

    tickets, now = Tickets(forwardable=False), krb5.timeofday(krb5.init_context())
    first = tickets.cache(ALICE, "web01")
    assert tickets.cache(ALICE, "web01") == first
    life = next(iter(krb5.cc_resolve(krb5.init_context(), first.encode()))).times.endtime - now
    monkeypatch.setattr(krb5, "timeofday", lambda context: now + life - 700)
    assert tickets.cache(ALICE, "web01") == first
    monkeypatch.setattr(krb5, "timeofday", lambda context: now + life - 500)
    assert tickets.cache(ALICE, "web01") != first
    tickets.close()
    assert not list(krb5.cccol_iter(krb5.init_context()))


def test_the_tickets_of_one_host_do_not_lie_in_the_way_of_another(realm: Kdc) -> None:
    import krb5

    tickets, before = Tickets(forwardable=False), tickets_given(realm)
    names = {host: tickets.cache(ALICE, host) for host in ("web01", "web02")}
    assert len(set(names.values())) == 2
    assert tickets_given(realm) == before + 1
    assert tickets.cache(ALICE, "web01") == names["web01"]
    for name in names.values():
        (only,) = krb5.cc_resolve(krb5.init_context(), name.encode())
        assert (only.server.name or b"").startswith(b"krbtgt/")
    tickets.close()


def test_from_a_keytab_and_from_a_cache(realm: Kdc, contexts: Contexts) -> None:
    for who in (
        Credential("alice", keytab=str(realm.alice_keytab)),
        Credential("alice", ccache=realm.ticket()),
        Credential("alice", ccache=realm.ticket().removeprefix("FILE:")),
    ):
        for mechanism in ("Kerberos", "Negotiate"):
            assert contexts.context(mechanism, who, HTTP).waits
            context, server = talk(contexts, mechanism, who)
            assert server.client_principal == f"alice@{REALM}"
            assert not context.waits  # for anything more


def test_a_ticket_from_a_cache_is_renewed(realm: Kdc, tmp_path: Path) -> None:
    import krb5

    realm.admin("modprinc -maxrenewlife 7days alice", f"modprinc -maxrenewlife 7days krbtgt/{REALM}")
    context, file = krb5.init_context(), f"FILE:{tmp_path}/cache"
    options = krb5.get_init_creds_opt_alloc(context)
    krb5.get_init_creds_opt_set_tkt_life(options, 300)
    krb5.get_init_creds_opt_set_renew_life(options, 86400)
    alice = krb5.parse_name_flags(context, b"alice")
    ticket = krb5.get_init_creds_password(context, alice, options, password=PASSWORD.encode())
    source = krb5.cc_resolve(context, file.encode())
    krb5.cc_initialize(context, source, alice)
    krb5.cc_store_cred(context, source, ticket)

    before, tickets = realm.log.count("TGS_REQ"), Tickets(forwardable=False)
    first = tickets.cache(Credential("alice", ccache=file), "web01")  # ends in five minutes: renewed at once
    assert realm.log.count("TGS_REQ") == before + 1
    assert tickets.cache(Credential("alice", ccache=file), "web01") == first
    tickets.close()


@pytest.mark.parametrize("mechanism", ["Default", "NegotiateWithImplicitCredential", "Kerberos"])
def test_the_current_users_tickets(
    realm: Kdc, contexts: Contexts, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuthenticationError, match="kinit"):
        talk(contexts, mechanism, None)
    monkeypatch.setenv("KRB5CCNAME", realm.ticket("bob"))
    _, server = talk(contexts, mechanism, None)
    assert server.client_principal == f"bob@{REALM}"


@pytest.mark.parametrize("mechanism", ["Kerberos", "Negotiate"])
def test_http_is_tried_where_host_is_not_known(realm: Kdc, contexts: Contexts, mechanism: str) -> None:
    name = f"only-http-{mechanism.lower()}"
    realm.admin(f"addprinc -randkey http/{name}", f"ktadd -k {realm.keytab} http/{name}")
    _, server = talk(contexts, mechanism, AT_REALM, name)
    assert server.negotiated_protocol == "kerberos"


def test_another_name_and_service(realm: Kdc) -> None:
    contexts = Contexts(SessionOption(spn_name="web02", spn_service="WSMAN"))
    context = contexts.context("Kerberos", ALICE, Endpoint("10.0.0.7", 5985, False))
    server = acceptor("kerberos", "web02")
    server._service = "WSMAN"
    converse(context, server, "kerberos")
    assert server.complete
    contexts.close()


@pytest.mark.parametrize("delegate", [False, True])
@pytest.mark.parametrize("mechanism", ["Kerberos", "Negotiate"])
def test_delegation_when_asked_for(realm: Kdc, delegate: bool, mechanism: str) -> None:
    import spnego

    contexts = Contexts(SessionOption(delegate=delegate))
    _, server = talk(contexts, mechanism, AT_REALM)
    assert bool(server.context_attr & spnego.ContextReq.delegate) is delegate
    contexts.close()


def test_a_host_that_does_not_prove_itself_gets_nothing(realm: Kdc, contexts: Contexts) -> None:
    context = contexts.context("Kerberos", ALICE, HTTP)
    steps = context.steps(None)
    next(steps)
    with pytest.raises(StopIteration):
        steps.send([])  # a 200 without a token
    with pytest.raises(AuthenticationError, match="without proving its own identity"):
        context.sealer()


def test_an_acceptance_without_proof_seals_nothing(realm: Kdc, contexts: Contexts) -> None:
    """SPNEGO's accept-completed alone (RFC 4178 4.2.2), without Kerberos' own answer in it."""
    context = contexts.context("Negotiate", AT_REALM, HTTP)
    steps = context.steps(None)
    next(steps)
    with pytest.raises(AuthenticationError):
        steps.send([f"Negotiate {base64.b64encode(bytes.fromhex('a1073005a0030a0100')).decode()}"])
    with pytest.raises(AuthenticationError):
        sealer_of(context).wrap(b"secret")


def test_a_forged_proof_is_refused(realm: Kdc, contexts: Contexts) -> None:
    other, _ = talk(contexts, "Kerberos", ALICE)
    assert other.sealer()
    for mechanism in ("Kerberos", "Negotiate"):
        steps = contexts.context(mechanism, AT_REALM, HTTPS).steps(None)
        next(steps)
        token = base64.b64encode(b"\x6f" + bytes(80)).decode()
        with pytest.raises(AuthenticationError) as caught:
            steps.send([f"{mechanism} {token}"])
        assert caught.value.__context__ is None


def test_channel_bindings_are_sent(realm: Kdc, contexts: Contexts) -> None:
    import gssapi

    binding = b"tls-server-end-point:" + bytes(32)
    for ours, good in ((binding, True), (binding + b"!", False)):
        context = contexts.context("Kerberos", ALICE, HTTPS)
        server = acceptor("kerberos", binding=binding)
        if good:
            converse(context, server, "kerberos", ours)
            assert server.complete
        else:
            with suppress(AttributeError):  # pyspnego stumbles over a refusal that gssapi holds back
                converse(context, server, "kerberos", ours)
            with pytest.raises(gssapi.exceptions.BadChannelBindingsError):
                assert not server.complete


# refusals


@pytest.mark.parametrize(
    ("username", "password", "words"),
    [
        ("bob", "wr0ng-Password", "password is wrong"),
        ("nobody", "x", "no such user"),
        ("expired", PASSWORD, "password has expired"),
        ("locked", PASSWORD, "locked out"),
    ],
)
def test_a_refused_credential_is_asked_for_once(
    realm: Kdc, contexts: Contexts, username: str, password: str, words: str
) -> None:
    before, who = len(realm.log), Credential(username, Secret(password))
    for _ in range(20):
        with pytest.raises(AuthenticationError, match=words) as caught:
            next(contexts.context("Kerberos", who, HTTP).steps(None))
        assert caught.value.error_id == "LogonFailure"
        assert caught.value.details["refused"] is True
        shown = "\n".join(shown_by(caught.value))
        assert len(password) < 3 or not [form for form in forms(password) if form in shown]
    asked = [line for line in realm.log[before:].splitlines() if "AS_REQ" in line and f"{username}@" in line]
    assert 1 <= len([line for line in asked if "NEEDED_PREAUTH" not in line]) <= 2


def test_negotiate_does_not_try_a_refused_password_with_ntlm(realm: Kdc, contexts: Contexts) -> None:
    with pytest.raises(AuthenticationError, match="password is wrong"):
        next(contexts.context("Negotiate", Credential(f"bob@{REALM}", Secret("wr0ng")), HTTP).steps(None))


@pytest.mark.parametrize("username", [f"nobody@{REALM}", f"alice@{REALM}"])
def test_negotiate_goes_on_with_ntlm_where_there_is_no_ticket(realm: Kdc, contexts: Contexts, username: str) -> None:
    """No such user in the realm, or no such service: the host may know better."""
    context = contexts.context(
        "Negotiate", Credential(username, Secret(PASSWORD)), Endpoint("unknown", 5985, False, server_name="unknown")
    )
    assert next(context.steps(None)).startswith("Negotiate TlRMTVNTUAAB")


@pytest.mark.parametrize("mechanism", ["Kerberos", "Negotiate"])
def test_a_library_without_buffers(
    realm: Kdc, contexts: Contexts, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    """As on macOS: GSSAPI without GSS_WrapIOV, of which WinRM's framing was made."""
    from spnego import _gss

    context, server = talk(contexts, mechanism, AT_REALM)
    answer = server.wrap_winrm(b"answer")
    for name in ("GSSIOV", "wrap_iov", "unwrap_iov"):
        monkeypatch.delattr(_gss, name)
    sealer = sealer_of(context)
    header, ciphertext, _ = sealer.wrap(b"message")
    assert server.unwrap(header + ciphertext).data == b"message"
    assert sealer.unwrap(answer.header, answer.data) == b"answer"


@pytest.mark.parametrize("username", ["alice", ".\\alice", "OTHER\\alice", "alice@other.test"])
def test_negotiate_asks_no_kdc_for_others(realm: Kdc, contexts: Contexts, username: str) -> None:
    context = contexts.context("Negotiate", Credential(username, Secret(PASSWORD)), HTTP)
    assert not context.waits
    assert next(context.steps(None)).startswith("Negotiate TlRMTVNTUAAB")


def test_kerberos_never_becomes_ntlm(realm: Kdc, contexts: Contexts) -> None:
    endpoint = Endpoint("unknown", 5985, False, server_name="unknown")
    with pytest.raises(AuthenticationError, match=r"SPN host/unknown nor http/unknown.*setspn -S HOST/u") as caught:
        next(contexts.context("Kerberos", ALICE, endpoint).steps(None))
    assert caught.value.error_id == "TargetUnknown"
    assert caught.value.details["refused"] is False
    assert caught.value.__context__ is None


@pytest.mark.parametrize("host", ["10.0.0.1", "fe80::1%eth0", "::1"])
def test_an_address_has_no_service_name(realm: Kdc, contexts: Contexts, host: str) -> None:
    assert is_address(host)
    endpoint = Endpoint(host, 5985, False, server_name=host)
    for mechanism, who in (("Kerberos", ALICE), ("Default", None)):
        with pytest.raises(AuthenticationError, match="IP addresses") as caught:
            next(contexts.context(mechanism, who, endpoint).steps(None))
        assert (caught.value.error_id, caught.value.details["refused"]) == ("CannotUseIPAddress", False)
    context = contexts.context("Negotiate", AT_REALM, endpoint)
    assert not context.waits
    assert next(context.steps(None)).startswith("Negotiate TlRMTVNTUAAB")


def test_no_kdc(kdc: Kdc, contexts: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "krb5.conf"
    config.write_text(CONFIG.format(realm=REALM, port=1))
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    for username, words in ((f"alice@{REALM}", "answers. Port 88"), ("alice@NOWHERE.TEST", "is known for the realm")):
        with pytest.raises(UnreachableError, match=words) as caught:
            next(contexts.context("Kerberos", Credential(username, Secret(PASSWORD)), HTTP).steps(None))
        assert caught.value.details["step"] == "kdc"
    value = next(contexts.context("Negotiate", AT_REALM, HTTP).steps(None))
    assert value.startswith("Negotiate TlRMTVNTUAAB")


@pytest.mark.parametrize("mechanism", ["Kerberos", "Negotiate"])
@pytest.mark.parametrize(
    ("code", "words"), [(None, "another computer"), (37, "5 minutes apart"), (24, "wrong"), (99, "reason")]
)
def test_what_the_host_says_against_a_ticket(
    kdc: Kdc, contexts: Contexts, mechanism: str, code: int | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gssapi

    monkeypatch.setenv("KRB5_KTNAME", str(kdc.alice_keytab))  # not the host's own key
    steps = contexts.context(mechanism, AT_REALM, HTTP).steps(None)
    refusal = gssapi.SecurityContext(usage="accept").step(base64.b64decode(next(steps).split()[1]))
    assert refusal is not None
    assert b"\xa6\x03\x02\x01\x23" in refusal  # KRB-ERROR, error-code 35
    if code is not None:
        refusal = refusal.replace(b"\xa6\x03\x02\x01\x23", b"\xa6\x03\x02\x01" + bytes([code]))
    with pytest.raises(AuthenticationError, match=words) as caught:
        steps.send([f"{mechanism} {base64.b64encode(refusal).decode()}"])
    assert caught.value.details["refused"] is False
    assert caught.value.__context__ is None


@pytest.mark.parametrize("code", [-1765328347, -1765328236, -1765328370, -1765328160, -1765328352])
def test_what_is_not_set_up_is_no_refusal(code: int) -> None:
    class Error(Exception):
        err_code = code

    error = explain(Error(), "Kerberos", "web01", "alice")
    assert error.message.startswith("No ticket was given for alice. ")
    assert "not known here" not in error.message
    assert error.details["refused"] is False


def test_broken_keytabs_and_caches(realm: Kdc, contexts: Contexts, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage" * 100)
    for who in (
        Credential("alice", keytab=str(garbage)),
        Credential("alice", keytab=str(tmp_path / "missing")),
        Credential("bob", keytab=str(realm.alice_keytab)),
        Credential("alice", ccache=str(garbage)),
        Credential("alice", ccache=str(tmp_path / "missing")),
        Credential("alice", ccache="NONSENSE:x"),
    ):
        with pytest.raises(AuthenticationError, match=r"alice|bob|cache") as caught:
            next(contexts.context("Kerberos", who, HTTP).steps(None))
        assert caught.value.__context__ is None
        assert caught.value.details["refused"] is False
