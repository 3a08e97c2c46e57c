"""Secrets in argument_list become names; what is stored of a job has no secret."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.api.arguments import with_values, without_secrets
from remotejobs.api.invoke import invoke_command, retry_job, session_option
from remotejobs.auth.credentials import NO_SECRET, Credential, Secret
from remotejobs.clock import SystemClock
from remotejobs.errors import ConfigurationError, UsageError
from remotejobs.model import InvocationSettings, JobSpec, Outcome, ScriptCommand, Target
from remotejobs.session.prepared import pipelines
from remotejobs.states import EndReason
from remotejobs.store.encoding import decode_spec, encode_spec
from remotejobs.store.memory import MemoryStore
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import OrderedDictionary, PSObject, SecureString, secure_strings
from remotejobs.wsman.psrp.messages import create_pipeline
from remotejobs.wsman.psrp.sessionkey import secret_names

PASSWORD = "Vqx-81-not-to-be-seen"
OPS = Credential("CORP\\ops", Secret(PASSWORD))


def test_each_secret_has_the_name_of_its_place() -> None:
    given = [1, Secret("a"), {"x": [Secret("b"), OPS], "y": ("t", Secret("c"))}, OrderedDictionary(z=Secret("d"))]
    arguments, secrets = without_secrets(given)
    texts = {name: held.secret.reveal() for name, held in secrets.items() if held.secret}
    assert texts == {
        "ArgumentList[1]": "a",
        "ArgumentList[2][0][0]": "b",
        "ArgumentList[2][0][1]=CORP%5Cops": PASSWORD,
        "ArgumentList[2][1][1]": "c",
        "ArgumentList[3][0]": "d",
    }
    assert arguments[:2] == (1, SecureString("ArgumentList[1]"))
    credential = arguments[2]["x"][1]
    assert credential.type_names == ("System.Management.Automation.PSCredential", "System.Object")
    assert credential.to_string == "System.Management.Automation.PSCredential"
    assert credential.adapted == {"UserName": "CORP\\ops", "Password": SecureString("ArgumentList[2][0][1]=CORP%5Cops")}
    assert type(arguments[3]) is OrderedDictionary
    assert isinstance(given[1], Secret)  # what was given stays


def test_a_list_that_holds_itself_does_too_afterwards() -> None:
    given: list[Any] = [Secret("a")]
    given.append(given)
    (copy,), secrets = without_secrets([given])
    assert copy[1] is copy
    assert [*secrets] == ["ArgumentList[0][0]"]


def test_what_cannot_go_up_is_refused_with_its_place() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value, message in (
        ({1}, r"\[0\]: PowerShell cannot be given a Python set"),
        ([1, {"k": 1j}], r"\[0\]\[1\]\[0\]: PowerShell cannot be given a Python complex"),
        (10**5000, r"\[0\]: PowerShell has no room for this int: of thousands of digits"),
        (deep, r"\[0\]\[0\].*: it is nested 50 deep; PowerShell reads 49"),
        (PSObject(extended={"a": deep}), r"\[0\]: A value is nested 50 deep; PowerShell reads 49"),
    ):
        with pytest.raises(UsageError, match="^ArgumentList" + message):
            without_secrets([value])


def test_a_name_is_quoted_whatever_it_is() -> None:
    _, secrets = with_values(ScriptCommand("1"), parameters={"\udce4]": Secret("a"), "a/b": Secret("b")})
    assert [*secrets] == ["Parameters[%ED%B3%A4%5D]", "Parameters[a%2Fb]"]


def test_a_secure_string_of_a_host_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ArgumentList\[0\]\[0\]: a SecureString cannot be an argument"):
        without_secrets([[SecureString("AAAA")]])


def test_a_credential_without_a_password_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ArgumentList\[0\]: the credential ops has no password"):
        without_secrets([Credential("ops", ccache="FILE:/tmp/krb5cc_0")])
    with pytest.raises(UsageError, match=r"ArgumentList\[0\]: it has no password"):
        without_secrets([NO_SECRET])


def test_credentials_behind_the_arguments_are_called_as_the_user_calls_them() -> None:
    arguments, secrets = without_secrets([1, OPS], [("sql", OPS), (r"a=b%5C [ä]", OPS)])
    names = ["ArgumentList[1]=CORP%5Cops", "ArgumentList[2]=sql", "ArgumentList[3]=a%3Db%255C%20%5B%C3%A4%5D"]
    assert [*secrets] == names
    assert [each.adapted["Password"].name for each in arguments[1:]] == names
    assert {each.adapted["UserName"] for each in arguments[1:]} == {OPS.username}
    assert all(held is OPS for held in secrets.values())


@given(st.text(min_size=1, max_size=40), st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_whatever_a_user_is_called_a_stored_name_says_it(user: str, indexes: list[int]) -> None:
    place = "ArgumentList" + "".join(f"[{n}]" for n in indexes)
    named = SecureString.named(place, user)
    payload = create_pipeline(ScriptCommand("1", (named,)))
    assert secret_names(payload) == (named.name,)
    (again,) = secure_strings(deserialize(payload).PowerShell.Cmds[0].Args[0].V)
    assert (again.name, again.place, again.credential) == (named.name, place, user)


def test_an_empty_password_is_one() -> None:
    _, secrets = without_secrets([Secret("")])
    assert secrets["ArgumentList[0]"].secret.reveal() == ""


def test_a_stored_job_has_names_only() -> None:
    arguments, _ = without_secrets([Secret(PASSWORD), OPS, "plain"])
    spec = JobSpec(ScriptCommand("1", arguments), (Target("h"),))
    text = encode_spec(spec)
    assert PASSWORD not in text
    assert decode_spec(text) == spec


@pytest.mark.parametrize(
    "value",
    [
        Secret(PASSWORD),
        OPS,
        [OPS],
        PSObject(extended={"p": Secret(PASSWORD)}),
        SecureString("cAB3AA=="),
        SecureString(""),
    ],
)
def test_a_secret_that_is_not_just_named_is_not_stored(value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        encode_spec(JobSpec(ScriptCommand("1", (value,)), (Target("h"),)))
    assert PASSWORD not in caught.value.message
    assert "cAB3" not in caught.value.message


def refused(*, argument_list: Sequence[Any] = (Secret(PASSWORD),), **options: Any) -> ConfigurationError:
    async def main() -> None:
        await invoke_command(
            ["web01"],
            "1",
            argument_list=argument_list,
            credential=("u", "p"),
            store=MemoryStore(SystemClock()),
            **options,
        )

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(main())
    assert PASSWORD not in repr(caught.value)
    return caught.value


def test_over_clear_http_nothing_is_begun() -> None:
    error = refused(authentication="Basic", session_option=session_option(allow_unencrypted=True))
    assert error.error_id == "SecretOverClearText"


def test_a_retry_needs_the_secrets_again() -> None:
    """They are not in the store, whichever it is."""

    async def main() -> None:
        store = MemoryStore(SystemClock())
        arguments, _ = without_secrets([Secret(PASSWORD)])
        spec = JobSpec(ScriptCommand("1", arguments), (Target("h"),), use_ssl=True, authentication="Basic")
        row = await store.submit(spec)
        epoch = await store.lease(row.id, "test")
        await store.ledger(row.id, 0, epoch).finish(Outcome(EndReason.Unreachable))
        with pytest.raises(ConfigurationError, match=r"takes ArgumentList\[0\], which is a secret") as caught:
            await retry_job(row.id, credential=("u", "p"), store=store)
        assert caught.value.error_id == "SecretArgumentMissing"
        again = await retry_job(row.id, credential=("u", "p"), argument_list=[Secret("x"), 2], store=store)
        command = again.row.spec.command
        assert isinstance(command, ScriptCommand)
        assert command.arguments == (SecureString("ArgumentList[0]"), 2)
        await again.stop()

    asyncio.run(main())


def test_secrets_of_parameters_and_variables_have_names_of_their_own() -> None:
    command, secrets = with_values(
        ScriptCommand("1"),
        [Secret("a")],
        {"-Cred": OPS, "Plain": 1, "ä<&": [Secret("b")]},
        {"$using:x": Secret("c"), "y": 2},
    )
    assert [*secrets] == [
        "ArgumentList[0]",
        "Parameters[Cred]=CORP%5Cops",
        "Parameters[%C3%A4%3C%26][0]",
        "Using[x]",
    ]
    assert [name for name, _ in command.parameters] == ["Cred", "Plain", "ä<&"]
    assert command.using == (("x", SecureString("Using[x]")), ("y", 2))
    spec = JobSpec(command, (Target("a"),))
    assert PASSWORD not in encode_spec(spec)
    assert decode_spec(encode_spec(spec)) == spec
    payload, _ = pipelines(replace(command, text="$using:x"), InvocationSettings())
    assert secret_names(payload) == ("ArgumentList[0]", *[*secrets][1:])
