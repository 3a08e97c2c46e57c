"""The simulated hosts' Digest: asked by hand, by requests' own client, and by ours."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from remotejobs.errors import ConfigurationError
from remotejobs.model import Target
from remotejobs.sim.fleet import Fleet, FleetOptions
from remotejobs.sim.shells import HostSettings
from tests.e2e import hosts
from tests.sim.wire import Client, Reply, create, host_of, one_host, run

ALGORITHMS = ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"]


def fleet(**settings: Any) -> Fleet:
    """One host, web01, that has Digest and nothing else."""
    return Fleet(["web01"], FleetOptions(settings=HostSettings(**{"authentication": ("Digest",), **settings})))


async def connection(fleet: Fleet) -> Client:
    context = ssl.create_default_context(cadata=fleet.ca_pem)
    return await Client.open(host_of(fleet).https_port, context, "web01")


class Caller:
    """A client by the letter of RFC 7616, and beside it where a test says so."""

    def __init__(self, reply: Reply, algorithm: str = "MD5-sess") -> None:
        (challenge,) = (each for each in reply.challenges() if f"algorithm={algorithm}," in each)
        self.algorithm, self.stale = algorithm, "stale=true" in challenge
        self.fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        self.key = ""

    def header(self, nc: int = 1, cnonce: str = "c1", password: str = "sim", **other: str) -> str:
        def hashed(text: str) -> str:
            make = hashlib.md5 if self.algorithm.startswith("MD5") else hashlib.sha256
            return make(text.encode()).hexdigest()

        nonce = self.fields["nonce"]
        if not self.key:
            self.key = hashed(f"sim:{self.fields['realm']}:{password}")
            if self.algorithm.endswith("-sess"):
                self.key = hashed(f"{self.key}:{nonce}:{cnonce}")
        response = hashed(f"{self.key}:{nonce}:{nc:08x}:{cnonce}:auth:{hashed('POST:/wsman')}")
        said = {"username": "sim", "uri": "/wsman", "cnonce": cnonce, "response": response, **self.fields, **other}
        quoted = ", ".join(f'{name}="{value}"' for name, value in said.items() if name != "qop")
        return f"Authorization: Digest {quoted}, algorithm={self.algorithm}, nc={nc:08x}, qop=auth\r\n"

    async def post(self, client: Client, nc: int = 1, **how: Any) -> Reply:
        return await client.post(create(), logon=None, more=self.header(nc, **how))


async def challenged(client: Client, algorithm: str = "MD5-sess") -> Caller:
    reply = await client.post("", logon=None)
    assert reply.status == 401
    return Caller(reply, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_logon_and_many_requests(algorithm: str) -> None:
    async def main() -> None:
        async with fleet(digest_algorithms=tuple(ALGORITHMS)) as hosts, await connection(hosts) as client:
            caller = await challenged(client, algorithm)
            for number in (1, 2, 5):
                assert (await caller.post(client, number, cnonce=f"c{number}")).status == 200
            assert host_of(hosts).counters.logons == {"sim": 1}
            assert host_of(hosts).counters.refused == 0

    run(main())


@pytest.mark.parametrize(
    "other",
    [
        {"password": "wrong"},
        {"username": "nobody"},
        {"uri": "/other"},
        {"realm": "other"},
        {"response": ""},
        {"opaque": "other"},
        {"algorithm": "SHA-256"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_wrong_answer_is_refused_and_counted(other: dict[str, str]) -> None:
    async def main() -> None:
        async with fleet() as hosts, await connection(hosts) as client:
            caller = await challenged(client)
            how: dict[str, Any] = dict(other)
            caller.algorithm = how.pop("algorithm", caller.algorithm)
            reply = await caller.post(client, **how)
            assert (reply.status, Caller(reply).stale) == (401, False)
            assert host_of(hosts).counters.refused == 1
            assert not host_of(hosts).counters.logons

    run(main())


def test_what_was_said_once_is_refused_the_second_time() -> None:
    async def main() -> None:
        async with fleet() as hosts, await connection(hosts) as client:
            caller = await challenged(client)
            assert [(await caller.post(client, number)).status for number in (1, 3, 2)] == [200, 200, 401]

    run(main())


def test_a_nonce_that_is_over_or_of_another_connection_is_stale() -> None:
    async def main() -> None:
        async with fleet(digest_nonce_uses=2) as hosts, await connection(hosts) as client:
            caller = await challenged(client)
            assert [(await caller.post(client, number)).status for number in (1, 2)] == [200, 200]
            reply = await caller.post(client, 3)
            assert (reply.status, Caller(reply).stale) == (401, True)
            async with await connection(hosts) as other:
                reply = await Caller(reply).post(other)
                assert (reply.status, Caller(reply).stale) == (401, True)
                assert (await Caller(reply).post(other)).status == 200
                assert not Caller(await other.post("", logon=None)).stale
                caller.key = ""  # a wrong password is no stale nonce
                assert not Caller(await caller.post(other, password="wrong")).stale
            assert host_of(hosts).counters.logons == {"sim": 2}

    run(main())


def test_it_is_there_when_it_is_asked_for_and_over_https_only() -> None:
    async def main() -> None:
        settings = HostSettings(authentication=("Digest", "Basic"), allow_unencrypted=True, folds_challenges=True)
        async with (
            Fleet(["web01"], FleetOptions(settings=settings)) as hosts,
            await Client.open(host_of(hosts).http_port) as client,
            await connection(hosts) as secure,
        ):
            assert (await client.post("", logon=None)).challenges() == ['Basic realm="WSMAN"']
            (folded,) = (await secure.post("", logon=None)).challenges()
            assert re.match(r'Digest realm=.*, Basic realm="WSMAN"$', folded)
        async with one_host(https=True) as hosts, await connection(hosts) as secure:
            assert not [each for each in (await secure.post("", logon=None)).challenges() if "Digest" in each]

    run(main())


def test_an_algorithm_that_there_is_none_of() -> None:
    with pytest.raises(ConfigurationError, match="SHA-1"):
        fleet(digest_algorithms=("SHA-1",))


@pytest.mark.parametrize("algorithm", ALGORITHMS[:3])  # of those that requests has
@pytest.mark.parametrize("password", ["sim", "wrong"])
def test_requests_logs_on(algorithm: str, password: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with fleet(digest_algorithms=(algorithm,)) as hosts:
            (tmp_path / "ca.pem").write_text(hosts.ca_pem)
            host = host_of(hosts)

            def work() -> list[int]:
                with requests.Session() as session:
                    session.auth, session.verify = HTTPDigestAuth("sim", password), str(tmp_path / "ca.pem")
                    session.trust_env = False
                    headers = {"Content-Type": "application/soap+xml;charset=UTF-8"}
                    where = f"https://127.0.0.1:{host.https_port}/wsman"
                    return [session.post(where, create(), headers=headers).status_code for _ in range(3)]

            statuses = await asyncio.to_thread(work)
            assert set(statuses) == {200 if password == "sim" else 401}
            assert bool(host.counters.logons) == (password == "sim")

    run(main())


@pytest.mark.parametrize("algorithms", [*((each,) for each in ALGORITHMS), ("MD5", "SHA-256")], ids="+".join)
@pytest.mark.parametrize("uses", [0, 2])
def test_a_whole_job_of_ours(algorithms: tuple[str, ...], uses: int, tmp_path: Path) -> None:
    async def main() -> None:
        async with fleet(digest_algorithms=algorithms, digest_nonce_uses=uses, user="jäger") as simulated:
            (tmp_path / "ca.pem").write_text(simulated.ca_pem)
            host = host_of(simulated)
            result = await hosts.run(
                [Target("web01", address="127.0.0.1", port=host.https_port, ssl=True)],
                "'x' * 20000; 2",
                authentication="Digest",
                credential=("jäger", "sim"),
                option={"ca_file": str(tmp_path / "ca.pem")},
            )
            assert result.values("web01") == ["x" * 20000, 2], result.ends
            assert host.counters.refused == 0
            # a nonce that is over is followed by another logon, which nobody notices
            assert (host.counters.logons["jäger"] > 1) == bool(uses)

    run(main())
