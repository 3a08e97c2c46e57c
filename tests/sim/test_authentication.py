"""Logons and sealed messages on the wire of a simulated host: connections, keys, challenges, counters, faults."""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from typing import Any

import pytest
import spnego
from spnego.exceptions import SpnegoError

from remotejobs.errors import ConfigurationError
from remotejobs.sim import sealed
from remotejobs.sim.authentication import MUTUAL
from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.shells import HostSettings
from tests.kdc import Kdc
from tests.sim.wire import Client, Reply, connected, create, envelope, host_of, one_host, run

WRONG = b64encode(b"sim:wrong").decode("ascii")
GET = envelope("http://schemas.xmlsoap.org/ws/2004/09/transfer/Get")


def fleet(faults: str = "", **settings: Any) -> Fleet:
    """A fleet of one host, web01, that wants its messages sealed."""
    behaviour = HostSettings(**{"authentication": ("Negotiate", "CredSSP"), **settings})
    return Fleet(["web01"], FleetOptions(settings=behaviour, faults={"web01": faults} if faults else {}, https=False))


class Caller:
    """A client that logs on with pyspnego."""

    def __init__(self, client: Client, scheme: str = "Negotiate", **how: Any) -> None:
        self.client = client
        self.scheme = scheme
        self.mechanism = {"Negotiate": "SPNEGO"}.get(scheme, scheme)
        protocol = {"Negotiate": "negotiate", "CredSSP": "credssp", "Kerberos": "kerberos"}[scheme]
        how = {"username": "sim", "password": "sim", "hostname": "web01", "protocol": protocol, **how}
        self.context = spnego.client(**how)

    async def step(self, token: bytes | None, body: str = "") -> Reply:
        header = f"Authorization: {self.scheme} {b64encode(token or b'').decode('ascii')}\r\n"
        return await self.client.post(body, logon=None, more=header)

    async def log_on(self, body: str = "") -> Reply:
        """Send tokens until the host has nothing to say; return its last answer."""
        token = self.context.step()
        while True:
            reply = await self.step(token, body)
            words = [value.split(" ") for value in reply.challenges()]
            (scheme, *answer) = words[0] if words else ("",)
            if scheme != self.scheme or not answer:
                return reply
            token = self.context.step(b64decode(answer[0]))
            if self.context.complete and not token:
                return reply

    async def post(self, message: str) -> Reply:
        """Send one sealed message; return the answer with its body unsealed."""
        reply = await self.post_sealed(self.seal(message))
        if not sealed.is_sealed(dict(reply.headers).get("Content-Type", "")):
            return reply
        return reply._replace(body=sealed.unseal(self.context, self.mechanism, reply.body))

    def seal(self, message: str) -> tuple[str, bytes]:
        return sealed.seal(self.context, self.mechanism, message.encode())

    async def post_sealed(self, message: tuple[str, bytes]) -> Reply:
        return await self.client.post(message[1], logon=None, more=f"Content-Type: {message[0]}\r\n")


@pytest.mark.parametrize("scheme", ["Negotiate", "CredSSP"])
def test_a_logon_is_for_the_connection(scheme: str) -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client, await connected(hosts) as other:
            caller = Caller(client, scheme)
            reply = await caller.log_on()
            assert (reply.status, reply.body) == (200, b"")
            for _ in range(3):
                assert (await caller.post(create())).action == "CreateResponse"
            assert (await other.post(create(), logon=None)).status == 401
            assert host_of(hosts).counters.logons == {"sim": 1}

    run(main())


def test_a_message_may_come_with_the_last_token_where_none_needs_to_be_sealed() -> None:
    async def main() -> None:
        async with fleet(allow_unencrypted=True) as hosts, await connected(hosts) as client:
            reply = await Caller(client).log_on(create())
            assert (reply.status, reply.action) == (200, "CreateResponse")
            assert (await client.post(create(), logon=None)).status == 200
            assert host_of(hosts).counters.requests == {"Create": 2}

    run(main())


def test_clear_messages_are_refused_without_a_word() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            caller = Caller(client)
            assert (await caller.log_on()).status == 200
            reply = await client.post(create(), logon=None)
            assert (reply.status, reply.body) == (500, b"")
            assert (await caller.post(create())).status == 200  # the connection is as it was

    run(main())


def test_faults_are_sealed() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            caller = Caller(client)
            await caller.log_on()
            reply = await caller.post_sealed(caller.seal(GET))
            assert reply.status == 500
            assert dict(reply.headers)["Content-Type"].startswith("multipart/encrypted;")
            assert b"Fault" in sealed.unseal(caller.context, "SPNEGO", reply.body)

    run(main())


@pytest.mark.parametrize("scheme", ["Negotiate", "CredSSP"])
def test_messages_of_another_connection_get_400(scheme: str) -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client, await connected(hosts) as other:
            caller, stranger = Caller(client, scheme), Caller(other, scheme)
            await caller.log_on()
            reply = await stranger.post_sealed(caller.seal(create()))
            assert (reply.status, reply.body) == (400, b"")  # there are no keys yet
            await stranger.log_on()
            assert (await stranger.post_sealed(caller.seal(create()))).status == 400
            assert (await other.post(create(), logon=None)).status == 401  # the logon went with its keys
            again = Caller(other, scheme)
            await again.log_on()
            assert (await again.post(create())).status == 200
            assert host_of(hosts).counters.requests == {"Create": 1}

    run(main())


def test_a_message_that_comes_twice_gets_400() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            caller = Caller(client)
            await caller.log_on()
            message = caller.seal(create())
            assert [(await caller.post_sealed(message)).status for _ in range(2)] == [200, 400]

    run(main())


def test_long_messages_of_credssp_are_sealed_in_parts() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            caller = Caller(client, "CredSSP")
            await caller.log_on()
            content_type, body = caller.seal(create(more=f"<rsp:WorkingDirectory>{'x' * 40000}</rsp:WorkingDirectory>"))
            assert content_type.startswith("multipart/x-multi-encrypted;")
            assert body.count(b"\tContent-Type: application/HTTP-CredSSP-session-encrypted\r\n") == 3
            assert (await caller.post_sealed((content_type, body))).status == 200

    run(main())


@pytest.mark.parametrize(
    ("settings", "challenges"),
    [
        ({}, ["Negotiate", 'Basic realm="WSMAN"']),
        ({"authentication": ("Basic", "CredSSP", "Certificate")}, ["CredSSP", 'Basic realm="WSMAN"']),
        ({"allow_unencrypted": False}, ["Negotiate"]),
        ({"folds_challenges": True}, ['Negotiate, Basic realm="WSMAN"']),
        ({"authentication": ("Certificate",)}, []),
    ],
)
def test_challenges(settings: dict[str, Any], challenges: list[str]) -> None:
    async def main() -> None:
        options = FleetOptions(settings=HostSettings(**{"allow_unencrypted": True, **settings}), https=False)
        async with Fleet(["web01"], options) as hosts, await connected(hosts) as client:
            reply = await client.post(create(), logon=None)
            assert (reply.status, reply.challenges()) == (401, challenges)

    run(main())


def test_kerberos_is_offered_where_there_are_keys_for_it(kdc: Kdc) -> None:
    async def main() -> None:
        settings = HostSettings(authentication=("Basic", "Kerberos", "CredSSP", "Negotiate"), keytab=kdc.keytab)
        async with Fleet(["web01"], FleetOptions(settings=settings)) as hosts, await connected(hosts) as client:
            reply = await client.post(create(), logon=None)
            assert reply.challenges() == ["Negotiate", "Kerberos", "CredSSP"]

    run(main())


@pytest.mark.parametrize(
    "authorization", ["Negotiate", "Negotiate !", "Negotiate AAAA", "Digest x", MUTUAL, "Kerberos YA=="]
)
def test_what_is_no_logon_is_refused_and_counted(authorization: str) -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            reply = await client.post("", logon=None, more=f"Authorization: {authorization}\r\n")
            assert (reply.status, reply.challenges()) == (401, ["Negotiate", "CredSSP"])
            assert host_of(hosts).counters.logon_failures == {"": 1}

    run(main())


def test_a_logon_can_begin_anew_on_the_same_connection() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            abandoned = Caller(client)
            assert (await abandoned.step(abandoned.context.step())).status == 401
            assert (await Caller(client, password="wrong").log_on()).status == 401
            for scheme in ("CredSSP", "Negotiate"):
                caller = Caller(client, scheme)
                assert (await caller.log_on()).status == 200
                assert (await caller.post(create())).status == 200
            counters = host_of(hosts).counters
            assert (counters.logons, counters.logon_failures) == ({"sim": 2}, {"sim": 1})

    run(main())


def test_a_locked_account_refuses_the_right_password_too() -> None:
    async def main() -> None:
        both = ("Basic", "Negotiate")
        async with (
            fleet(allow_unencrypted=True, authentication=both, lockout_threshold=2) as hosts,
            await connected(hosts) as client,
        ):
            assert (await client.post(create(), logon=WRONG)).status == 401
            assert (await client.post(create())).status == 200  # and the count begins anew
            assert (await Caller(client, password="wrong").log_on()).status == 401
            assert (await Caller(client, password="wrong").log_on()).status == 401
            assert (await Caller(client).log_on()).status == 401
            assert (await client.post(create())).status == 401
            assert host_of(hosts).counters.refused == 5

    run(main())


@pytest.mark.parametrize("rule", [{"password_expired": True}, {"lockout_threshold": 1}])
def test_credssp_says_why(rule: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with fleet(**rule) as hosts, await connected(hosts) as client:
            if "lockout_threshold" in rule:
                with pytest.raises(SpnegoError):
                    await Caller(client, "CredSSP", password="wrong").log_on()
            with pytest.raises(SpnegoError) as caught:
                await Caller(client, "CredSSP").log_on()
            status = getattr(caught.value.base_error, "winerror", 0)
            assert status == (0xC0000071 if "password_expired" in rule else 0xC0000234)

    caplog.set_level(logging.DEBUG)
    run(main())
    assert not [record for record in caplog.records if record.name.startswith("spnego")]


@pytest.mark.parametrize("scheme", ["Negotiate", "CredSSP"])
def test_wrong_password_as_a_scripted_fault(scheme: str) -> None:
    async def main() -> None:
        async with fleet("wrong-password*1") as hosts, await connected(hosts) as client:
            assert (await Caller(client, scheme).log_on()).status == 401
            assert host_of(hosts).counters.logon_failures == {"sim": 1}
            caller = Caller(client, scheme)
            assert (await caller.log_on()).status == 200
            assert (await caller.post(create())).status == 200

    run(main())


def test_scripted_faults_keep_the_keys_in_step() -> None:
    async def main() -> None:
        faults = "html@Create*1, fault:5@Create*1, oversize:10@Create#3*1"
        async with fleet(faults) as hosts, await connected(hosts) as client:
            caller = Caller(client)
            await caller.log_on()
            replies = [await caller.post(create()) for _ in range(4)]
            assert replies[0].body.startswith(b"<!DOCTYPE html>")
            assert replies[1].fault == 5
            assert [reply.action for reply in replies[2:]] == ["CreateResponse", "CreateResponse"]
            assert b"<s:Body>          <" in replies[2].body

    run(main())


def test_anonymous_identify_needs_neither_logon_nor_seal() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connected(hosts) as client:
            identify = (
                '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
                'xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><s:Header/>'
                "<s:Body><i:Identify/></s:Body></s:Envelope>"
            )
            assert (await client.post(identify, logon=None, more="WSMANIDENTIFY: unauthenticated\r\n")).status == 200

    run(main())


@pytest.mark.parametrize("settings", [{"authentication": ("NTLM",)}, {"channel_binding": "Sometimes"}])
def test_settings_that_nobody_knows(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"is no mechanism|is one of"):
        one_host(**settings)
