"""The job verbs on real jobs in a memory store; what the API does is faked, what it is asked is looked at."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from remotejobs.auth import providers
from remotejobs.auth.credentials import Credential, Secret
from remotejobs.cli import jobs as cli_jobs
from remotejobs.cli.main import main
from remotejobs.clock import ManualClock
from remotejobs.errors import ConfigurationError, JobError, RemoteJobsError
from remotejobs.jobs.job import ChildEnd, ChildJob, RemoteJob
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.jobs.watching import JobStateEvent
from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream, Target
from remotejobs.states import EndReason, JobState
from remotejobs.store.memory import MemoryStore
from remotejobs.wsman.clixml.values import SecureString
from remotejobs.wsman.clixml.write import serialize

COMPLETED = Outcome(EndReason.Completed)
UNREACHABLE = Outcome(EndReason.Unreachable, "web02: no route to host", "NetworkPathNotFound,PSSessionStateBroken")


class Fake:
    """An API on two jobs: 1 (children 2 and 3) called WinRM, and 4 (child 5) called Other."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.calls: list[Any] = []
        self.refuse: dict[int, Exception] = {}
        self.events: list[JobStateEvent] = []
        self.pending: asyncio.Event | None = None
        self.ids = [1, 4]
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        for name, hosts in (("WinRM", ("web01", "web02")), ("Other", ("db01",))):
            targets = tuple(Target(host) for host in hosts)
            row = await self.store.submit(JobSpec(ScriptCommand(" 1 "), targets, name=name))
            epoch = await self.store.lease(row.id, "test")
            for index in range(len(hosts)):
                ledger = self.store.ledger(row.id, index, epoch)
                await ledger.starting()
                await ledger.started("", "")
                await ledger.append([Record(1, Stream.Output, serialize(f"hello {index}"), 1, 0.0)])

    def job(self, job_id: int) -> RemoteJob:
        return RemoteJob(self.store, job_id)

    def submit(self, name: str, hosts: tuple[str, ...], arguments: tuple[Any, ...]) -> None:
        """One more job, of which nothing has begun and that nobody runs."""
        command = ScriptCommand("1", arguments)
        row = asyncio.run(self.store.submit(JobSpec(command, tuple(map(Target, hosts)), name=name)))
        self.ids.append(row.id)

    def lease(self, job_id: int) -> None:
        asyncio.run(self.store.lease(job_id, "test"))

    def end(self, job_id: int, *outcomes: Outcome) -> None:
        async def finish() -> None:
            lease = self.store.job(job_id).lease
            assert lease
            for index, outcome in enumerate(outcomes):
                await self.store.ledger(job_id, index, lease.epoch).finish(outcome)

        asyncio.run(finish())

    async def get_job(self, *, errors: list[RemoteJobsError], **wanted: Any) -> list[RemoteJob | ChildJob]:
        self.calls.append(("get", wanted))
        every: list[RemoteJob | ChildJob] = [self.job(1), self.job(4)]
        found: list[RemoteJob | ChildJob] = []
        for job_id in self.ids:
            found += [self.job(job_id), *self.job(job_id).child_jobs]
        numbers = [number for number in wanted.get("id", ()) if number not in [job.id for job in found]]
        errors += [JobError(f"The command cannot find a job with the job ID {n}.", error_id="NoId") for n in numbers]
        names = [name for name in wanted.get("name", ()) if name not in [job.name for job in found]]
        errors += [JobError(f"The job name {n} was not found.", error_id="NoName") for n in names if "*" not in n]
        if "id" in wanted:
            return [job for job in found if job.id in wanted["id"]]
        if "name" in wanted:
            return [job for job in found if job.name in wanted["name"]]
        return found if wanted.get("include_child_job") else every

    async def receive_job(
        self, jobs: list[RemoteJob | ChildJob], *, idle: Callable[[], None], written: object, **options: Any
    ) -> AsyncIterator[ReceivedRecord | ChildEnd | JobStateEvent]:
        self.calls.append(("receive", [job.id for job in jobs], options))
        for job in jobs:
            for record in job.receive(keep=options["keep"]):
                yield record
            if isinstance(job, RemoteJob):
                for end in job.outcomes:
                    yield end
        for event in self.events:
            yield event
        idle()
        if self.pending:
            await self.pending.wait()

    async def wait_job(self, jobs: list[RemoteJob], **options: Any) -> list[RemoteJob]:
        self.calls.append(("wait", [job.id for job in jobs], options))
        if self.pending:
            await self.pending.wait()
        return [job for job in jobs if job.state.persistent]

    def doing(self, name: str) -> Callable[..., Coroutine[Any, Any, list[str]]]:
        async def work(job: RemoteJob | ChildJob, **options: Any) -> list[str]:
            self.calls.append((name, job.id, options))
            error = self.refuse.get(job.id)
            if error and not options.get("credential"):
                raise error

            return ["web09"] if name == "remove" and error else []

        return work

    async def retry_job(self, job: RemoteJob, **options: Any) -> RemoteJob:
        self.calls.append(("retry", job.id, options))
        if job.id in self.refuse and not options["credential"]:
            raise self.refuse[job.id]
        return self.job(4)


VERBS = ("receive", "wait", "stop", "remove", "disconnect", "connect", "retry")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    functions = {f"{name}_job": getattr(made, f"{name}_job") for name in ("get", "receive", "wait", "retry")}
    functions |= {f"{name}_job": made.doing(name) for name in ("stop", "remove", "disconnect", "connect")}
    for module in (cli_jobs, *(importlib.import_module(f"remotejobs.cli.verbs.{name}") for name in VERBS)):
        for name, function in functions.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, function)
    return made


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


Capture = pytest.CaptureFixture[str]


def test_get_prints_the_table(fake: Fake, capsys: Capture) -> None:
    code, out, err = run(capsys, "get")
    assert (code, err) == (0, "")
    assert [line.split()[:4] for line in out.splitlines()[2:]] == [
        ["1", "WinRM", "RemoteJob", "Running"],
        ["4", "Other", "RemoteJob", "Running"],
    ]
    assert fake.calls == [("get", {})]


def test_get_hands_filters_on(fake: Fake, capsys: Capture) -> None:
    run(capsys, "gjb", "-State", "Failed", "-IncludeChildJob", "-HasMoreData:$false", "-Newest", "3")
    run(capsys, "get", "-Command", "*x*", "-ChildJobState", "Failed", "-After", "2026-01-31")
    (_, first), (_, second) = fake.calls
    assert first == {"state": "Failed", "include_child_job": True, "has_more_data": False, "newest": 3}
    assert second.pop("after").isoformat().startswith("2026-01-31T00:00:00")
    assert second == {"command": ["*x*"], "child_job_state": "Failed"}


def test_what_is_not_found_is_said_and_the_others_are_shown(fake: Fake, capsys: Capture) -> None:
    code, out, err = run(capsys, "get", "4,99,1,1")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["1", "4"]
    assert err == "remotejob get: The command cannot find a job with the job ID 99. [NoId]\n"
    assert run(capsys, "get", "nope*") == (0, "", "")
    assert run(capsys, "get", "nope")[0] == 1


def test_get_as_json_nests_the_children_that_are_listed(fake: Fake, capsys: Capture) -> None:
    _, out, _ = run(capsys, "get", "-IncludeChildJob", "-OutputFormat", "Json")
    assert [(job["id"], [child["id"] for child in job["children"]]) for job in json.loads(out)] == [
        (1, [2, 3]),
        (4, [5]),
    ]


def test_receive_of_a_running_job_is_6_and_of_an_ended_one_its_own(fake: Fake, capsys: Capture) -> None:
    code, out, err = run(capsys, "receive", "1")
    assert (code, sorted(out.splitlines())) == (6, ["web01: hello 0", "web02: hello 1"])
    assert "Job 1 is Running, 0 of 2 hosts have ended: remotejob receive 1 -Wait" in err
    fake.end(1, COMPLETED, UNREACHABLE)
    code, out, err = run(capsys, "rcjb", "WinRM")
    assert (code, out) == (3, "")
    assert "[web02] Unreachable: web02: no route to host" in err
    assert "1 completed, 1 unreachable (web02): 2 hosts in" in err


def test_receive_hands_options_on(fake: Fake, capsys: Capture) -> None:
    run(capsys, "receive", "4,1", "web[01-02]", "-Keep", "-NoRecurse", "-FromStart")
    assert fake.calls[-1] == (
        "receive",
        [4, 1],
        {
            "keep": True,
            "wait": False,
            "force": False,
            "location": ["web01", "web02"],
            "no_recurse": True,
            "from_start": True,
            "write_events": False,
        },
    )


def test_the_exit_code_of_some_hosts_is_theirs(fake: Fake, capsys: Capture) -> None:
    fake.end(1, COMPLETED, UNREACHABLE)
    assert run(capsys, "receive", "1", "-Location", "WEB01")[0] == 0
    assert run(capsys, "receive", "1", "-Location", "web02")[0] == 3
    assert run(capsys, "receive", "2")[0] == 0
    assert run(capsys, "receive", "1,4")[0] == 6
    assert run(capsys, "receive", "1,99")[0] == 1


EVENTS = [
    JobStateEvent(1, 2, "Job2", "web01", JobState.Completed, JobState.Running),
    JobStateEvent(1, 1, "WinRM", "web01,web02", JobState.Failed, None),
]


def test_receive_with_jobs_and_events(fake: Fake, capsys: Capture) -> None:
    fake.end(1, COMPLETED, UNREACHABLE)
    fake.events = EVENTS
    words = ("-WriteJobInResults", "-WriteEvents", "-Wait")
    code, out, _ = run(capsys, "receive", "1", *words, "-OutputFormat", "Jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [line["schema"].split(".")[1] for line in lines] == [
        *("job", "record", "record", "outcome", "outcome", "event", "event"),
    ]
    assert [(line["id"], line["state"], line["previous_state"]) for line in lines if "event" in line["schema"]] == [
        (2, "Completed", "Running"),
        (1, "Failed", None),
    ]
    assert fake.calls[-1][2]["write_events"]


def test_events_and_jobs_of_text_go_to_stderr(fake: Fake, capsys: Capture) -> None:
    fake.events = EVENTS
    _, out, err = run(capsys, "receive", "1", "-WriteJobInResults", "-WriteEvents", "-Wait")
    assert sorted(out.splitlines()) == ["web01: hello 0", "web02: hello 1"]
    assert "1      WinRM" in err
    assert "Job2 (web01): Running -> Completed\nWinRM (web01,web02): Failed\n" in err


def test_a_received_job_is_removed_when_it_has_ended(fake: Fake, capsys: Capture) -> None:
    words = ("-Wait", "-AutoRemoveJob")
    run(capsys, "receive", "1", *words)
    assert [call[0] for call in fake.calls] == ["get", "receive"]
    fake.end(1, COMPLETED, COMPLETED)
    assert run(capsys, "receive", "1", *words)[0] == 0
    assert fake.calls[-1][:2] == ("remove", 1)
    code, _, err = run(capsys, "receive", "1", "-Location", "web01", *words)
    assert (code, "[ReceiveJobAutoRemovalError]" in err) == (1, True)


@pytest.mark.parametrize("verb", ["receive", "wait"])
def test_an_interrupt_leaves_the_job_running_and_says_so(
    verb: str, fake: Fake, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never(asyncio.Event):
        async def wait(self) -> Any:
            task = asyncio.current_task()
            assert task
            task.cancel()
            await asyncio.sleep(0)

    fake.pending = Never()
    with pytest.raises(asyncio.CancelledError):
        main([verb, "1", "-Timeout", "60"] if verb == "wait" else [verb, "1", "-Wait"])
    shown = capsys.readouterr()
    assert "goes on: remotejob" in shown.err
    if verb == "receive":
        assert "web01: hello 0" in shown.out


def test_wait_lists_what_ended_and_nothing_at_the_time_out(fake: Fake, capsys: Capture) -> None:
    code, out, err = run(capsys, "wait", "1", "-Timeout", "5")
    assert (code, out) == (6, "")
    assert err == "Not ended after 5 s: remotejob get 1 shows how far it is.\n"
    assert fake.calls[-1] == ("wait", [1], {"any": False, "timeout": 5.0, "force": False})
    fake.end(1, COMPLETED, UNREACHABLE)
    code, out, _ = run(capsys, "wjb", "4,1", "-Any", "-OutputFormat", "Jsonl")
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (3, [1])
    assert fake.calls[-1] == ("wait", [4, 1], {"any": True, "timeout": None, "force": False})
    assert run(capsys, "wait", "nope*") == (0, "", "")


def test_stop_prints_nothing_unless_asked(fake: Fake, capsys: Capture) -> None:
    assert run(capsys, "stop", "1,2") == (0, "", "")
    assert fake.calls[-2:] == [("stop", 1, {"credential": {}}), ("stop", 2, {"credential": {}})]
    assert "WinRM" in run(capsys, "spjb", "WinRM", "-PassThru")[1]


def test_what_if(fake: Fake, capsys: Capture) -> None:
    assert run(capsys, "stop", "1", "-WhatIf") == (
        0,
        (
            'What if: Performing the operation "Stop" on target "Remote Command:  1 , associated with a job that has an'
            ' ID of "1".".\n'
        ),
        "",
    )
    assert "associated with the job that has" in run(capsys, "remove", "1", "-wi")[1]
    assert {call[0] for call in fake.calls} == {"get"}


def test_one_that_cannot_be_removed_does_not_keep_the_others(fake: Fake, capsys: Capture) -> None:
    fake.refuse[1] = JobError("not finished", error_id="JobObjectNotFinishedCannotBeRemoved")
    code, _, err = run(capsys, "remove", "1,4")
    assert code == 1
    assert err == "remotejob remove: not finished [JobObjectNotFinishedCannotBeRemoved]\n"
    assert fake.calls[-1] == ("remove", 4, {"force": False, "credential": {}})


def test_remove_by_age(fake: Fake, capsys: Capture) -> None:
    assert run(capsys, "remove", "-Before", "2026-01-01", "-Force")[0] == 0
    assert list(fake.calls[0][1]) == ["before"]
    assert fake.calls[1] == ("remove", 1, {"force": True, "credential": {}})


def test_a_child_is_not_removed_by_its_name(fake: Fake, capsys: Capture) -> None:
    code, _, err = run(capsys, "remove", "Job2")
    assert (code, "[JobWithSpecifiedNameNotFound]" in err) == (1, True)
    assert "remove" not in [call[0] for call in fake.calls]


def missing(*names: str) -> ConfigurationError:
    return ConfigurationError("needs a credential", error_id="CredentialMissing", credentials=list(names))


@pytest.fixture
def password(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("s3cr3t\n")
    return str(file)


@pytest.mark.parametrize("verb", ["connect", "stop", "remove"])
def test_a_password_is_found_when_it_is_needed(verb: str, fake: Fake, capsys: Capture, password: str) -> None:
    fake.refuse[1] = missing("")
    assert run(capsys, verb, "1", "-Credential", "ops", "-PasswordFile", password)[0] == 0
    given: Mapping[str, Any] = fake.calls[-1][2]["credential"]
    assert (given[""].username, given[""].secret.reveal()) == ("ops", "s3cr3t")


def test_named_credentials_bring_their_user(fake: Fake, capsys: Capture, password: str) -> None:
    fake.refuse[1] = missing("adm", "dba")
    assert run(capsys, "connect", "1", "-PasswordFile", password)[0] == 0
    assert {name: each.username for name, each in fake.calls[-1][2]["credential"].items()} == {
        "adm": "adm",
        "dba": "dba",
    }


def test_without_a_user_it_says_what_to_give(fake: Fake, capsys: Capture) -> None:
    fake.refuse[1] = missing("")
    code, _, err = run(capsys, "connect", "1")
    assert (code, err) == (1, "remotejob connect: needs a credential [CredentialMissing]\n")


def test_connect_says_once_what_several_hosts_said(fake: Fake, capsys: Capture) -> None:
    said = [("web01", "No.", "Id"), ("web02", "No.", "Id"), ("web03", "Other.", "")]
    failed = [{"target": name, "message": words, "error_id": error_id} for name, words, error_id in said]
    fake.refuse[1] = JobError("", error_id="PSSessionConnectFailed", failed=failed, waiting=["web04"])
    code, out, err = run(capsys, "connect", "1", "-Timeout", "5")
    assert (code, "WinRM" in out) == (3, True)
    assert err.splitlines()[:3] == [
        "remotejob connect: [web[01-02]] No. [Id]",
        "remotejob connect: [web03] Other.",
        "remotejob connect: [web04] has not been connected yet: remotejob get 1 -IncludeChildJob",
    ]
    assert fake.calls[-1][2]["timeout"] == 5
    fake.refuse[1] = JobError("", error_id="PSSessionConnectFailed", failed=[], waiting=["web04"])
    assert run(capsys, "connect", "1", "-Timeout", "-1")[0] == 6
    assert fake.calls[-1][2]["timeout"] is None


def test_errors_in_the_view_that_is_asked_for(fake: Fake, capsys: Capture) -> None:
    failed = [{"target": "web01", "message": "No.", "error_id": "Id"}]
    fake.refuse[1] = JobError("", error_id="PSSessionConnectFailed", failed=failed, waiting=[])
    assert "+ PSComputerName        : web01" in run(capsys, "connect", "1", "-ErrorView", "Normal")[2].splitlines()
    fake.refuse[1] = JobError("Runs.", error_id="Busy")
    for verb in ("retry", "connect"):
        code, _, err = run(capsys, verb, "1", "-ErrorView", "Detailed")
        assert (code, err.count("FullyQualifiedErrorId : Busy")) == (1, 1)


def test_connect_names_the_hosts_that_wait_for_a_slot(fake: Fake, capsys: Capture) -> None:
    lease = fake.store.job(1).lease
    assert lease
    asyncio.run(fake.store.ledger(1, 1, lease.epoch).disconnected())
    code, _, err = run(capsys, "connect", "1")
    assert (code, err.splitlines()[0]) == (0, "Job 1: web02 is connected when others have ended (-ThrottleLimit).")


def test_disconnect_and_connect_print_the_job(fake: Fake, capsys: Capture) -> None:
    assert "WinRM" in run(capsys, "disconnect", "1")[1]
    code, out, err = run(capsys, "connect", "1")
    assert (code, "WinRM" in out, err) == (0, True, "Job 1 is already run by test.\n")
    assert [call[:2] for call in fake.calls if call[0] != "get"] == [("disconnect", 1), ("connect", 1)]


def test_retry_hands_states_and_reasons_on_and_prints_the_new_job(fake: Fake, capsys: Capture) -> None:
    code, out, _ = run(capsys, "retry", "1", "-State", "stopped,Unreach,TimedOut")
    assert (code, "Other" in out) == (0, True)
    assert fake.calls[-1] == (
        "retry",
        1,
        {"state": ["Stopped", "Unreachable", "TimedOut"], "answers": [], "credential": {}, "as_job": True},
    )


def test_retry_asks_for_the_users_of_all_hosts(fake: Fake, capsys: Capture, password: str) -> None:
    fake.refuse[1] = ConfigurationError("[web01] needs a credential", error_id="CredentialMissing")
    assert run(capsys, "retry", "1")[0] == 1
    assert run(capsys, "retry", "1", "-Credential", "ops", "-PasswordFile", password)[0] == 0
    assert fake.calls[-1][2]["credential"][""].username == "ops"


def secret(*names: str) -> ConfigurationError:
    secrets = {SecureString.named(f"ArgumentList[{n}]", name).name: name for n, name in enumerate(names)}
    return ConfigurationError("takes a secret", error_id="SecretArgumentMissing", secrets=secrets)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Users whose passwords were asked for at the terminal; nobody knows that of `gone`."""
    users: list[str] = []

    def ask(username: str, *_: str, **__: str) -> Secret:
        users.append(username)
        if username == "gone":
            raise ConfigurationError("No password was given for gone.")
        return Secret(f"typed by {username}")

    monkeypatch.setattr(providers, "secret_from_terminal", ask)
    monkeypatch.setattr(providers, "_secret_from_keyring", lambda *_: None)
    return users


def test_what_a_script_takes_is_asked_for_after_who_connects(
    fake: Fake, capsys: Capture, monkeypatch: pytest.MonkeyPatch, typed: list[str]
) -> None:
    errors: list[ConfigurationError] = [missing("ops"), secret(r"CORP\sql", "ops")]
    given: list[Mapping[str, Credential]] = []

    async def retry_job(job: RemoteJob, *, credential: Mapping[str, Credential], **_: Any) -> RemoteJob:
        given.append(credential)
        if errors:
            raise errors.pop(0)
        return fake.job(4)

    monkeypatch.setattr(importlib.import_module("remotejobs.cli.verbs.retry"), "retry_job", retry_job)
    assert run(capsys, "retry", "1", "-Credential", "ops")[0] == 0
    assert [[*each] for each in given] == [
        [],
        [""],
        ["", r"ArgumentList[0]=CORP%5Csql", "ArgumentList[1]=ops"],
    ]
    assert given[-1][""] is given[-1]["ArgumentList[1]=ops"]
    assert typed == ["ops", r"CORP\sql"]


@pytest.mark.parametrize("names", [("",), ("ops", "")])
def test_a_secret_of_nobody_cannot_be_asked_for(
    fake: Fake, capsys: Capture, typed: list[str], names: tuple[str, ...]
) -> None:
    fake.refuse[1] = secret(*names)
    code, _, err = run(capsys, "retry", "1")
    assert (code, err) == (1, "remotejob retry: takes a secret [SecretArgumentMissing]\n")
    assert typed == []


def test_connect_gives_what_scripts_need_that_have_yet_to_begin(fake: Fake, capsys: Capture, typed: list[str]) -> None:
    names = [SecureString.named(f"ArgumentList[{n}]", user) for n, user in enumerate(("sql", "gone", ""))]
    fake.submit("Secret", ("web01", "web02"), tuple(names))
    fake.clock.advance(3600)  # whoever should have run it never came
    code, _, err = run(capsys, "connect", "6")
    assert (code, typed) == (0, ["sql", "gone"])
    assert [*fake.calls[-1][2]["credential"]] == ["ArgumentList[0]=sql"]
    then = "Hosts of job 6 that have not begun end NotStarted."
    assert err.splitlines() == [
        f"WARNING: No password was given for gone. {then}",
        f"WARNING: ArgumentList[2] of the script is a secret, and secrets are not stored. {then}",
    ]
    fake.lease(6)
    run(capsys, "connect", "6")
    assert fake.calls[-1][2]["credential"] == {}  # who runs it has them


def test_remove_says_which_hosts_did_not_answer(fake: Fake, capsys: Capture, password: str) -> None:
    fake.refuse[1] = missing("")
    code, _, err = run(capsys, "remove", "1", "-Force", "-Credential", "ops", "-PasswordFile", password)
    assert (code, "may still run there: web09" in err) == (0, True)


def test_a_terminal_gets_its_width(fake: Fake, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["get", "1"]) == 0
    assert screen.getvalue().splitlines()[2] == (
        "1      WinRM           RemoteJob       Running       True            web01,web…"
    )
