"""Secret arguments in a conversation: when keys are exchanged, what a host may do to it, where secrets may not go."""

from __future__ import annotations

import asyncio
import base64
import gc
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from remotejobs.clock import ManualClock
from remotejobs.errors import ConfigurationError
from remotejobs.model import JobSpec, ScriptCommand, SessionOption, Target
from remotejobs.ports import Attempt, ChildTask, Resume
from remotejobs.rows import Fresh, Phase
from remotejobs.session.prepared import prepare
from remotejobs.session.runner import PsrpRunner
from remotejobs.states import EndReason
from remotejobs.wsman.clixml.values import SecureString
from remotejobs.wsman.psrp.sessionkey import KEYS, KeyPair, SessionKey
from tests.session.fakes import FreeControl, ListLedger
from tests.session.scripted import CAPABILITY, ScriptedHost, fault, psrp, received
from tests.wsman.test_sessionkey import RECORDED, recorded_pair

SEKRIT = "P03ZbGoVsUad7s7LcYLDAg=="  # as recorded
NOTHING_YET = 2150858793
KEY = received(psrp(0x10006, RECORDED["encrypted_session_key"], 3))
OPENED = received(
    psrp(0x10002, CAPABILITY, 1), psrp(0x21005, '<Obj RefId="0"><MS><I32 N="RunspaceState">2</I32></MS></Obj>', 2)
)
ASKING = received(psrp(0x10007, "<S></S>", 3)).removeprefix("<rsp:ReceiveResponse>")
HELD: dict[str, Callable[[], str]] = {"ArgumentList[0]": lambda: "sekrit"}


def request(object_id: int) -> bytes:
    return psrp(0x10007, "<S></S>", object_id)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[KeyPair]:
    """Key pairs are the recorded one; how many were made."""
    pairs: list[KeyPair] = []

    def generate() -> KeyPair:
        pairs.append(recorded_pair())
        return pairs[-1]

    monkeypatch.setattr(KeyPair, "generate", generate)
    return pairs


def spec(*targets: Target, secret: bool = True, **more: Any) -> JobSpec:
    arguments = (SecureString("ArgumentList[0]"),) if secret else ()
    return JobSpec(ScriptCommand("1", arguments), targets or (Target("h"),), **{"use_ssl": True, **more})


def finish(
    host: ScriptedHost,
    *,
    count: int = 1,
    start: Fresh | Resume | None = None,
    held: dict[str, Callable[[], str]] | None = None,
    secret: bool = True,
) -> list[Attempt]:
    """Run the script on so many hosts that are all the same one, and turn the clock until they have ended."""
    clock = ManualClock()
    job = prepare(spec(secret=secret), host.connect, asyncio.Semaphore(1), HELD if held is None else held)

    async def one() -> Attempt:
        begin = start or Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
        runner = PsrpRunner(job, clock)
        attempt = await runner.run(ChildTask(0, Target("h"), begin), ListLedger(), FreeControl())
        await runner.cleanup(attempt)
        return attempt

    async def main() -> list[Attempt]:
        tasks = [asyncio.create_task(one()) for _ in range(count)]
        while not all(task.done() for task in tasks):
            pair = job.secrets._pair
            if pair is None or pair.done():  # a thread has no part in this clock
                clock.advance(0.1)
            await asyncio.sleep(0)
        return [task.result() for task in tasks]

    return asyncio.run(asyncio.wait_for(main(), 60))


def sent(host: ScriptedHost, kind: str) -> bytes:
    """The PSRP messages in all requests of a kind."""
    found = re.findall(
        r"<rsp:(?:Arguments|Stream)\b[^>]*>([^<]+)<", "".join(b for b in host.bodies if f"/{kind}<" in b)
    )
    return b"".join(map(base64.b64decode, found))


def test_keys_are_exchanged_before_the_script_is_sent() -> None:
    host = ScriptedHost().on("Receive", OPENED, KEY)
    (attempt,) = finish(host)
    assert attempt.outcome.reason is EndReason.Completed
    assert host.asked == ["Create", "Receive", "Send", "Receive", "Command", "Receive+", "Delete"]
    assert RECORDED["public_key"].encode() in sent(host, "Send")
    assert f'<SS N="V">{SEKRIT}</SS>'.encode() in sent(host, "Command")
    assert "sekrit" not in "".join(host.bodies)


def test_without_a_secret_nothing_more_is_sent(made: list[KeyPair]) -> None:
    host = ScriptedHost()
    finish(host, secret=False)
    assert host.asked == ["Create", "Receive", "Command", "Receive+", "Delete"]
    assert made == []


def test_one_key_pair_is_made_for_all_hosts(made: list[KeyPair]) -> None:
    host = ScriptedHost().on("Receive", *[OPENED] * 5, *[KEY] * 5)
    assert [a.outcome.reason for a in finish(host, count=5)] == [EndReason.Completed] * 5
    assert len(made) == 1


def test_keys_are_forgotten_with_the_job() -> None:
    pool, key = uuid.uuid4(), SessionKey(bytes(32))
    job = prepare(spec(), ScriptedHost().connect, asyncio.Semaphore(1), HELD)
    job.secrets.fill(job.pipeline, pool, key)
    assert KEYS[pool] is key
    del job, key
    gc.collect()
    assert pool not in KEYS


def test_a_host_may_ask_for_our_public_key() -> None:
    key = received(psrp(0x10006, RECORDED["encrypted_session_key"], 4))
    host = ScriptedHost().on("Receive", OPENED.replace("</rsp:ReceiveResponse>", ASKING), key)
    (attempt,) = finish(host, secret=False)
    assert attempt.outcome.reason is EndReason.Completed
    assert host.asked == ["Create", "Receive", "Send", "Receive", "Command", "Receive+", "Delete"]


def test_a_host_that_asks_as_we_tell_it_is_told_once() -> None:
    host = ScriptedHost().on(
        "Receive", OPENED, received(request(3)), received(psrp(0x10006, RECORDED["encrypted_session_key"], 4))
    )
    (attempt,) = finish(host)
    assert attempt.outcome.reason is EndReason.Completed
    assert host.asked.count("Send") == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([received(*map(request, range(3, 12)))], "more than 8 times"),
        ([received(psrp(0x10006, "<S></S>", 3))], "no AES-256 key for us"),
        (
            [received(psrp(0x10006, '<Obj RefId="0"><MS><S N="EncryptedSessionKey">AAAA</S></MS></Obj>', 3))],
            "no AES-256",
        ),
        ([received(psrp(0x10006, "garbage", 3))], "not CLIXML"),
        ([received(done=True)], "closed the runspace in the exchange of keys"),
        (
            [received(psrp(0x21005, '<Obj RefId="0"><MS><I32 N="RunspaceState">5</I32></MS></Obj>', 3))],
            "exchange of keys",
        ),
        ([fault(5)], "because 5"),
    ],
)
def test_what_a_host_answers_instead_ends_it_and_no_secret_is_sent(answers: list[str], words: str) -> None:
    host = ScriptedHost().on("Receive", OPENED, *answers)
    (attempt,) = finish(host)
    assert attempt.outcome.reason in (EndReason.Unreachable, EndReason.AccessDenied)
    assert words in attempt.outcome.message
    assert attempt.phase is Phase.OPEN
    assert "Command" not in host.asked
    assert host.asked[-1] == "Delete"


def test_a_host_that_never_answers_ends_by_the_clock() -> None:
    host = ScriptedHost().on("Receive", OPENED)
    host.default["Receive"] = fault(NOTHING_YET)
    (attempt,) = finish(host)
    assert attempt.outcome.reason is EndReason.TimedOutConnect
    assert attempt.outcome.message.startswith("The host did not answer the exchange of keys")
    assert "Command" not in host.asked


def test_a_script_whose_secrets_are_not_there_is_not_begun() -> None:
    host = ScriptedHost()
    (attempt,) = finish(host, held={})
    assert (attempt.outcome.reason, host.asked, host.opened) == (EndReason.NotStarted, [], 0)
    assert attempt.outcome.message == (
        "Not begun: The script takes ArgumentList[0], which is a secret; secrets are not stored, and it was not given."
    )


def test_a_script_that_has_begun_is_found_again_without_its_secrets(made: list[KeyPair]) -> None:
    ids = Fresh(uuid.uuid4(), uuid.uuid4(), uuid.uuid4())
    resume = Resume(ids, str(ids.shell_id), str(ids.command_id), started=True, seq=0, object_id=0)
    host = ScriptedHost()
    (attempt,) = finish(host, start=resume, held={})
    assert attempt.outcome.reason is EndReason.Completed
    assert "Command" not in host.asked
    assert made == []


@pytest.mark.parametrize(
    ("target", "mechanism", "allow_unencrypted", "refused"),
    [
        (Target("h"), "Basic", True, True),
        (Target("h"), "Basic", False, True),
        (Target("h"), "digest", False, True),
        (Target("h"), "Certificate", False, True),
        (Target("h"), "Negotiate", True, True),
        (Target("h"), "Negotiate", False, False),
        (Target("h"), "Default", False, False),
        (Target("h"), "Kerberos", False, False),
        (Target("h"), "Credssp", False, False),
        (Target("h", ssl=True), "Basic", True, False),
        (Target("h", authentication="Basic"), "Kerberos", False, True),
        (Target("h", authentication="Kerberos"), "Basic", False, False),
    ],
)
def test_a_secret_does_not_go_over_clear_http(
    target: Target, mechanism: str, allow_unencrypted: bool, refused: bool
) -> None:
    option = SessionOption(allow_unencrypted=allow_unencrypted)
    job = spec(Target("good", ssl=True), target, use_ssl=False, authentication=mechanism, session_option=option)
    plain = spec(target, use_ssl=False, authentication=mechanism, session_option=option, secret=False)
    prepare(plain, ScriptedHost().connect, asyncio.Semaphore(1))
    if refused:
        with pytest.raises(ConfigurationError, match=r"\[h\] An argument or answer is a secret") as caught:
            prepare(job, ScriptedHost().connect, asyncio.Semaphore(1), HELD)
        assert caught.value.error_id == "SecretOverClearText"
    else:
        prepare(job, ScriptedHost().connect, asyncio.Semaphore(1), HELD)


def test_a_job_whose_secrets_are_missing_is_refused_in_words() -> None:
    job = prepare(spec(), ScriptedHost().connect, asyncio.Semaphore(1))
    with pytest.raises(ConfigurationError, match="Give all arguments again") as caught:
        job.secrets.require()
    assert caught.value.details["secrets"] == {"ArgumentList[0]": ""}
    prepare(spec(), ScriptedHost().connect, asyncio.Semaphore(1), HELD).secrets.require()


def test_whose_password_is_missing_is_said() -> None:
    names = [SecureString.named("ArgumentList[1]", r"CORP\sql"), SecureString.named("ArgumentList[2]")]
    command = ScriptCommand("1", (7, *names))
    job = prepare(JobSpec(command, (Target("h"),), use_ssl=True), ScriptedHost().connect, asyncio.Semaphore(1), HELD)
    with pytest.raises(ConfigurationError) as caught:
        job.secrets.require()
    assert caught.value.message.startswith(
        r"The script takes the password of CORP\sql (ArgumentList[1]), ArgumentList[2], which are secrets; secrets are "
        "not stored, and they were not given. No host was asked to run it."
    )
    assert caught.value.details["secrets"] == {"ArgumentList[1]=CORP%5Csql": r"CORP\sql", "ArgumentList[2]": ""}
