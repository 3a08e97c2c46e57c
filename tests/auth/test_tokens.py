from __future__ import annotations

import base64

import pytest

from remotejobs.auth.credentials import Credential, Secret
from remotejobs.auth.tokens import BasicContext, Contexts, refuse_clear_text
from remotejobs.errors import ConfigurationError
from remotejobs.model import Endpoint, SessionOption
from remotejobs.ports import AuthContext

HTTP, HTTPS = Endpoint("web01", 5985, False, server_name="web01"), Endpoint("web01", 5986, True, server_name="web01")


def credential(username: str = "admin", password: str = "secret") -> Credential:
    return Credential(username, Secret(password))


@pytest.mark.parametrize(
    ("username", "password", "header"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
        ("test", "123£", "Basic dGVzdDoxMjPCow=="),  # RFC 7617 section 2.1
        (".\\admin", "a:b", "Basic LlxhZG1pbjphOmI="),
    ],
)
def test_basic(username: str, password: str, header: str) -> None:
    auth: AuthContext = BasicContext(credential(username, password))
    assert (auth.mechanism, auth.every_request) == ("Basic", True)
    steps = auth.steps(None)
    assert next(steps) == header
    with pytest.raises(StopIteration):
        steps.send(("Basic realm=WSMAN",))


def test_basic_carries_a_long_password_in_one_line() -> None:
    header = next(BasicContext(credential(password="x" * 500)).steps(None))
    assert header.isprintable()
    assert base64.b64decode(header[6:]) == b"admin:" + b"x" * 500


def test_basic_carries_no_colon_in_a_name() -> None:
    with pytest.raises(ConfigurationError, match="colon") as caught:
        BasicContext(credential("CORP:admin"))
    assert "secret" not in caught.value.message


def test_a_context_shows_nothing() -> None:
    shown = repr(BasicContext(credential()))
    assert "secret" not in shown
    assert base64.b64encode(b"admin:secret").decode() not in shown


@pytest.mark.parametrize("name", ["Basic", "basic", "BASIC"])
def test_context_by_name(name: str) -> None:
    assert Contexts(SessionOption()).context(name, credential(), HTTPS).mechanism == "Basic"


def test_unknown_mechanism_names_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no authentication mechanism 'Telepathy'.*Basic, Negotiate"):
        Contexts(SessionOption()).context("Telepathy", credential(), HTTPS)


def test_basic_over_clear_http_is_refused_as_powershell_does() -> None:
    with pytest.raises(ConfigurationError) as caught:
        refuse_clear_text("basic", HTTP, allow_unencrypted=False)
    error = caught.value
    assert error.error_id == "801"
    assert error.details["code"] == 801
    for words in ("http://web01:5985/wsman", "-UseSSL", "AllowUnencrypted"):
        assert words in error.message


@pytest.mark.parametrize(
    ("mechanism", "endpoint", "allowed"),
    [("Basic", HTTPS, False), ("Basic", HTTP, True), ("Negotiate", HTTP, False), ("Kerberos", HTTPS, False)],
)
def test_what_is_not_in_clear_is_let_pass(mechanism: str, endpoint: Endpoint, allowed: bool) -> None:
    refuse_clear_text(mechanism, endpoint, allow_unencrypted=allowed)
