from __future__ import annotations

import pytest

from remotejobs.auth.challenges import offered, parameters, token
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.digest import DigestContext, respond
from remotejobs.errors import AuthenticationError
from remotejobs.model import Endpoint

MUFASA = Credential("Mufasa", Secret("Circle of Life"))
# RFC 7616 3.9.1
CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
ANSWERS = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_examples_of_the_rfc(algorithm: str) -> None:
    (challenge,) = parameters("digest", [CHALLENGE.format(algorithm)])
    said = respond(challenge, MUFASA, "GET", "/dir/index.html", CNONCE, 1)
    (fields,) = parameters("Digest", [said])
    assert fields == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": challenge["nonce"],
        "nc": "00000001",
        "cnonce": CNONCE,
        "qop": "auth",
        "response": ANSWERS[algorithm],
        "opaque": challenge["opaque"],
    }


def test_names_that_are_not_ascii() -> None:
    (challenge,) = parameters("Digest", ['Digest realm="r", qop="auth", nonce="n", charset=UTF-8'])
    said = respond(challenge, Credential("Jäsøn Doe", Secret("x")), "POST", "/wsman", "c", 1)
    assert said.startswith("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, ")  # RFC 7616 3.9.2
    assert said.isascii()


def context(username: str = "admin") -> DigestContext:
    return DigestContext(Credential(username, Secret("secret")), Endpoint("web01", 443, True, server_name="web01"))


def test_the_first_request_asks_and_each_one_counts() -> None:
    auth = context("CORP\\admin")
    steps = auth.steps(None)
    assert next(steps) == ""
    both = [CHALLENGE.format("MD5"), CHALLENGE.format("SHA-256")]
    (fields,) = parameters("Digest", [steps.send([", ".join(both)])])
    assert (fields["algorithm"], fields["nc"], fields["uri"]) == ("SHA-256", "00000001", "/wsman")
    assert fields["username"] == "CORP\\admin"
    with pytest.raises(StopIteration):
        steps.send([])
    (again,) = parameters("Digest", [next(auth.steps(None))])
    assert again["nc"] == "00000002"
    assert again["response"] != fields["response"]


def test_a_stale_nonce_is_replaced_once() -> None:
    auth = context()
    steps = auth.steps(None)
    next(steps)
    steps.send([CHALLENGE.format("MD5")])
    stale = CHALLENGE.format("MD5").replace("7ypf", "next") + ", stale=TRUE"
    (fields,) = parameters("Digest", [steps.send([stale])])
    assert fields["nonce"].startswith("next")
    assert fields["nc"] == "00000001"
    with pytest.raises(StopIteration):
        steps.send([stale])


@pytest.mark.parametrize(
    "challenges",
    [
        ["Negotiate", 'Basic realm="x"'],
        ['Digest realm="x", nonce="y"'],
        ['Digest realm="x", nonce="y", qop="auth-int"'],
        ['Digest realm="x", nonce="y", qop="auth", algorithm=SHA-512-256'],
        ['Digest realm="ä\u2028", nonce="y", qop="auth"'],
        ["Digest"],
        ['Digest realm="' + "\\" * 5000],
        ["a" * 60_000],
        ["Digest " + "a " * 30_000],
        ["Digest" + " " * 60_000 + "a"],
        ["," * 60_000],
    ],
)
def test_what_cannot_be_answered(challenges: list[str]) -> None:
    steps = context().steps(None)
    next(steps)
    with pytest.raises(AuthenticationError, match="web01"):
        steps.send(challenges)


def test_a_host_that_asks_for_nothing() -> None:
    steps = context().steps(None)
    next(steps)
    with pytest.raises(StopIteration):
        steps.send([])


def test_schemes_folded_or_not() -> None:
    folded = ['Negotiate, Basic realm="WSMAN", Kerberos YIIB', "CredSSP"]
    assert offered(folded) == ["Negotiate", "Basic", "Kerberos", "CredSSP"]
    assert token("kerberos", folded) == b"`\x82\x01"
    assert token("Negotiate", folded) is None
    with pytest.raises(ValueError, match="base64"):
        token("Negotiate", ["Negotiate AAAAA"])
