"""What a script asks, and which answer it gets: as the console reads what is typed, and never a secret by chance."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import Char, Int64, PSObject, SecureString
from remotejobs.wsman.psrp import hostcalls
from remotejobs.wsman.psrp.hostcalls import HostCall
from remotejobs.wsman.psrp.messages import MessageType
from remotejobs.wsman.psrp.prompts import Answers, advice
from remotejobs.wsman.psrp.sessionkey import secret_names
from tests.recordings import needs_recordings
from tests.wsman.psrp_recordings import recorded, walk

CALL, RESPONSE = MessageType.PIPELINE_HOST_CALL, MessageType.PIPELINE_HOST_RESPONSE
STRING, SECURE = "System.String", "System.Security.SecureString"
PSCREDENTIAL = "System.Management.Automation.PSCredential"
PASSWORD = SecureString.named("Answers[Pin]", "sql")
CREDENTIAL = PSObject((PSCREDENTIAL,), PSCREDENTIAL, adapted={"UserName": "CORP\\sql", "Password": PASSWORD})
CONFIRM = ["&Yes", "Yes to &All", "&No", "No to A&ll", "&Suspend"]
QUESTION = 'Are you sure you want to perform this action?\nPerforming the operation "Restart-Service" on target "x".'


def field(name: str, kind: str = STRING, label: str = "") -> PSObject:
    return PSObject(extended={"name": name, "label": label, "parameterTypeFullName": kind})


def prompt(*fields: PSObject) -> HostCall:
    return HostCall(1, 23, "Prompt", ["", "", [*fields]])


def choice(
    *labels: str, default: Any = 0, caption: str = "Confirm", message: str = QUESTION, several: bool = False
) -> HostCall:
    options = [PSObject(extended={"label": label, "helpMessage": ""}) for label in labels or CONFIRM]
    name, number = ("PromptForChoiceMultipleSelection", 56) if several else ("PromptForChoice", 26)
    return HostCall(1, number, name, [caption, message, options, default])


def credential(user: str = "", message: str = "Enter your credentials.") -> HostCall:
    return HostCall(1, 25, "PromptForCredential2", ["PowerShell credential request", message, user, "", 3, 1])


READ_LINE, READ_SECURE = HostCall(1, 11, "ReadLine", []), HostCall(1, 12, "ReadLineAsSecureString", [])


def answer(call: HostCall, *given: tuple[str, Any]) -> Any:
    found = Answers(given).reply(call)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("typed", "picked"),
    [
        ("Yes", 0), ("yes", 0), ("Y", 0), ("y", 0), ("a", 1), ("Yes to All", 1), ("YES TO ALL", 1), ("n", 2), ("No", 2),
        ("l", 3), ("s", 4), (" Suspend ", 4), ("?", None), ("", None), ("Ye", None), ("&Yes", None), ("0", None),
    ],
)  # fmt: skip
def test_a_choice_is_made_as_at_the_console(typed: str, picked: int | None) -> None:
    assert answer(choice(), ("", typed)) == picked
    assert answer(choice(), ("Confirm", typed)) == (0 if not typed else picked)


def test_a_label_goes_before_a_hot_key() -> None:
    assert answer(choice("&Y or else", "Y"), ("", "y")) == 1
    assert answer(choice("no key&", "& blank"), ("", "&")) is None


def test_a_word_is_for_every_choice_that_has_it_and_for_nothing_else() -> None:
    answers = Answers([("", "Continue"), ("", "Y")])
    for _ in range(3):
        assert answers.reply(choice())[0] == 0  # type: ignore[index]
        assert answers.reply(choice("&Continue", "&Yes"))[0] == 0  # type: ignore[index]
    for call in (prompt(field("Y")), READ_LINE, READ_SECURE, credential(), choice("&Retry", "A&bort")):
        assert answers.reply(call) is None


@pytest.mark.parametrize(
    ("default", "several", "picked"),
    [(2, False, 2), (-1, False, None), (9, False, None), (None, False, None), ([1, 3], True, [1, 3]),
     (PSObject(extended={"mae": [1, 3], "mal": [2]}), True, [1, 3]), ([], True, None)],
)  # fmt: skip
def test_just_enter_takes_the_default(default: Any, several: bool, picked: Any) -> None:
    found = answer(choice(default=default, several=several), ("Confirm", ""))
    assert (found.base if isinstance(found, PSObject) else found) == picked


def test_several_choices() -> None:
    asked = choice("&Red", "&Green", "&Blue", several=True, caption="Colours", message="Which?")
    for words in ([("", "Blue"), ("", "r"), ("", "Blue")], [("which?", "Blue"), ("Which?", "r")]):
        found = answer(asked, *words)
        assert (found.type_names[0], found.base) == ("System.Collections.ArrayList", [2, 0])
    assert answer(asked, ("", "Pink")) is None


def test_fields_are_answered_by_name() -> None:
    both = prompt(field("Name"), field("Reason", label="Why"))
    assert answer(both, ("name", "web01"), ("WHY", "patch")) == {"Name": "web01", "Reason": "patch"}
    assert answer(both, ("Name", "web01")) is None
    assert answer(prompt(field("Enter the name: ")), ("enter  the name", 7)) == {"Enter the name: ": "7"}
    assert answer(prompt(field("Name")), ("Na*", "first"), ("Name", "exact")) == {"Name": "exact"}
    assert answer(prompt(field("Is [it] ok?")), ("is [it] *?", "y")) == {"Is [it] ok?": "y"}
    assert answer(prompt(field("t")), ("[it]", "y")) is None
    assert answer(READ_LINE, ("Read-Host", "line")) == "line"
    assert answer(prompt(), ("*", "x")) is None


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("System.Int32", "5", "5"), ("System.Int32", 5, 5), ("System.Boolean", "$true", True),
        ("System.Boolean", False, False), ("System.Boolean", "perhaps", None),
        ("System.Management.Automation.SwitchParameter", "TRUE", True), ("", "x", "x"), (STRING, True, "True"),
        (SECURE, "plain", None), (PSCREDENTIAL, "plain", None),
    ],
)  # fmt: skip
def test_an_answer_is_what_the_field_wants(kind: str, value: Any, result: Any) -> None:
    found = answer(prompt(field("F", kind)), ("F", value))
    assert found == (None if result is None else {"F": result})
    assert found is None or type(found["F"]) is type(result)


def test_answers_to_one_question_come_in_turn_and_the_last_one_stays() -> None:
    answers = Answers([("n", "a"), ("N", "b")])
    assert [answers.reply(prompt(field("n")))[0]["n"] for _ in range(3)] == ["a", "b", "b"]  # type: ignore[index]
    array = answer(prompt(field("n", "System.String[]")), ("n", "a"), ("n", "b"))["n"]
    assert (array.type_names[0], array.base) == ("System.Collections.ArrayList", ["a", "b"])


def test_a_prompt_that_is_refused_uses_nothing_up() -> None:
    answers = Answers([("n", "a"), ("n", "b")])
    assert answers.reply(prompt(field("n"), field("m"))) is None
    assert answers.reply(prompt(field("n")))[0] == {"n": "a"}  # type: ignore[index]


def test_who_takes_a_script_over_does_not_know_whose_turn_it_is() -> None:
    answers = Answers([("n", "a"), ("n", "b"), ("m", "c")], begun=True)
    assert answers.reply(prompt(field("n"))) is None
    assert answers.reply(prompt(field("m")))[0] == {"m": "c"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("typed", "code", "character"),
    [
        ("a", 65, "a"),
        ("Z", 90, "Z"),
        ("Enter", 13, "\r"),
        ("", 13, "\r"),
        (" ", 32, " "),
        ("5", 53, "5"),
        ("ä", 0, "ä"),
    ],
)
def test_keys(typed: str, code: int, character: str) -> None:
    key = answer(HostCall(1, 46, "ReadKey", [4]), ("readkey", typed))
    assert key.extended == {"virtualKeyCode": code, "character": character, "controlKeyState": 0, "keyDown": True}
    assert type(key["character"]) is Char


@pytest.mark.parametrize("typed", ["ab", "\U0001f600"])
def test_what_is_no_key(typed: str) -> None:
    assert answer(HostCall(1, 46, "ReadKey", [4]), ("ReadKey", typed)) is None


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_answer_the_question_of_their_name() -> None:
    assert answer(prompt(field("Pin", SECURE)), ("pin", PASSWORD)) == {"Pin": PASSWORD}
    assert answer(prompt(field("Pin", SECURE)), ("pin", CREDENTIAL)) == {"Pin": PASSWORD}
    assert answer(prompt(field("Pin", PSCREDENTIAL)), ("pin", CREDENTIAL)) == {"Pin": CREDENTIAL}
    assert answer(READ_SECURE, ("read-host -assecurestring", PASSWORD)) == PASSWORD
    for name in ("corp\\SQL", "Enter your credentials."):
        assert answer(credential("CORP\\sql"), (name, CREDENTIAL)) == CREDENTIAL
    assert answer(credential(message="For db01"), ("for db01", CREDENTIAL)) == CREDENTIAL
    assert answer(credential(), ("get-credential", CREDENTIAL)) == CREDENTIAL
    for call in (credential("u"), credential(message="For db01")):  # what they ask for has a name
        for name in ("Get-Credential", "PowerShell credential request"):
            assert answer(call, (name, CREDENTIAL)) is None


@pytest.mark.parametrize("secret", [PASSWORD, CREDENTIAL])
@pytest.mark.parametrize("name", ["*", "?in", "P*", "Pin2", "Pi", "Yes", "Read-Host*", "Read-Host"])
@pytest.mark.parametrize(
    "call",
    [prompt(field("Pin", SECURE)), prompt(field("Pin", PSCREDENTIAL)), READ_SECURE, credential("u"), choice("&Yes")],
    ids=lambda call: call.name,
)
def test_no_other_question_gets_one(secret: Any, name: str, call: HostCall) -> None:
    found = answer(call, (name, secret))
    assert found is None


@given(
    name=st.sampled_from(["Pin", "*", "P?n", "pin:"]),
    asked=st.text(max_size=6) | st.sampled_from(["Pin", "PIN", "*", "p?n"]),
    kind=st.sampled_from([STRING, SECURE, PSCREDENTIAL, "System.Object", "System.String[]", ""]),
    method=st.sampled_from([11, 12, 23, 24, 25, 26, 46, 56]),
)
def test_a_secret_goes_only_where_it_is_kept_one(name: str, asked: str, kind: str, method: int) -> None:
    """Whatever a host asks: as a SecureString, and under the very name."""
    fields: Any = [field(asked, kind)]
    call = HostCall(1, method, "M", [asked, asked, fields if method == 23 else asked, 0])
    if method in (26, 56):
        call = choice(asked, caption=asked, message=asked, several=method == 56)
    found = Answers([(name, CREDENTIAL), ("", "x")]).reply(call)
    if found is not None:
        sent = hostcalls.respond(call, found[0])
        assert b"CORP" not in sent or method in (23, 24, 25)
        if secret_names(sent):
            assert asked.strip().rstrip(": ").casefold() == name.rstrip(":").casefold() or method in (24, 25)
            assert method in (24, 25) or kind in (SECURE, PSCREDENTIAL)
        assert b">sql<" not in sent


def test_what_is_said_of_an_answer_has_no_secret_and_is_short() -> None:
    said = [
        Answers([(name, value)]).reply(call)[1]  # type: ignore[index]
        for name, value, call in [
            ("Pin", PASSWORD, prompt(field("Pin", SECURE))),
            ("u", CREDENTIAL, credential("u")),
            ("n*", "v" * 999, prompt(field("n" * 999))),
            ("Confirm", "y", choice(message="a\r\nb\x1b[2J" + "c" * 999)),
        ]
    ]
    assert said[:2] == ["Pin: the password of sql", "u: the credential sql"]
    assert max(map(len, said)) < 450
    assert "".join(said).isprintable()


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (prompt(field("Name")), "-Answer 'Name=...'"),
        (prompt(field("Name: "), field("Pin", SECURE)), "-Answer 'Name=...' -AnswerCredential 'Pin=CREDENTIAL'"),
        (prompt(field("It's, ok")), "-Answer 'It?s? ok=...'"),
        (prompt(field("It's", SECURE)), "-AnswerCredential 'QUESTION=CREDENTIAL'"),
        (prompt(field("n" * 99)), f"-Answer '{'n' * 60}*=...'"),
        (prompt(field("")), "-Answer '*=...'"),
        (choice(), "-Answer LABEL, one of Yes, Yes to All, No, No to All, Suspend"),
        (choice("a`b", "$(c)"), "-Answer LABEL, one of a?b, ?(c)"),
        (credential("CORP\\sql"), "-AnswerCredential 'CORP\\sql=CREDENTIAL'"),
        (credential(), "-AnswerCredential 'Get-Credential=CREDENTIAL'"),
        (credential(message="For db01"), "-AnswerCredential 'For db01=CREDENTIAL'"),
        (HostCall(1, 25, "P", []), "-AnswerCredential 'Get-Credential=CREDENTIAL'"),
        (READ_LINE, "-Answer 'Read-Host=...'"),
        (READ_SECURE, "-AnswerCredential 'Read-Host -AsSecureString=CREDENTIAL'"),
        (HostCall(1, 46, "ReadKey", [4]), "-Answer 'ReadKey=...'"),
        (HostCall(1, 9, "EnterNestedPrompt", []), ""),
        (HostCall(1, 23, "Prompt", ["", "", 5]), ""),
        (HostCall(1, 26, "PromptForChoice", []), ""),
    ],
)
def test_a_refusal_says_how_to_answer(call: HostCall, words: str) -> None:
    assert advice(call) == words


@given(st.text(max_size=80), st.sampled_from([STRING, SECURE]))
def test_what_is_to_be_pasted_does_nothing_else(name: str, kind: str) -> None:
    words = advice(prompt(field(name, kind)))
    assert re.fullmatch(r"-Answer(Credential)? '[^'‘’‚‛`$\"=,\r\n\x00-\x1f]*=(\.\.\.|CREDENTIAL)'", words)


@pytest.mark.parametrize("parameters", [[], [None] * 9, [5, 5, 5, 5], ["", "", [1, None, PSObject()], "x"], [[[]]]])
@pytest.mark.parametrize("method", [11, 12, 23, 24, 25, 26, 46, 56, 0, 999])
def test_odd_calls_do_no_harm(method: int, parameters: list[Any]) -> None:
    call = HostCall(1, method, "M", parameters)
    answers = Answers([("", "Y"), ("*", "x"), ("Read-Host", "y"), ("ReadKey", "z")])
    found = answers.reply(call)
    deserialize(hostcalls.refuse(call, advice(call)) if found is None else hostcalls.respond(call, found[0]))


# -- the wire --------------------------------------------------------------------------------------------------------


def recorded_answers() -> list[tuple[str, bytes, PSObject]]:
    """Calls of real servers and what they were answered: name of the recording, call, answer."""
    found = []
    for conversation in recorded("handmade"):
        for guid, packets in conversation.pipelines.items():
            calls = {deserialize(one.data)["ci"]: one.data for one in walk(b"".join(packets)) if one.type == CALL}
            sent = [deserialize(one.data) for one in walk(conversation.requests.get(guid, b"")) if one.type == RESPONSE]
            answers = [one for one in sent if "mr" in one and one["ci"] in calls]
            found += [(conversation.name, calls[one["ci"]], one) for one in answers]
    return found


def as_given(call: HostCall, result: Any) -> list[tuple[str, Any]]:
    """What a user would have given for this result."""
    if isinstance(result, dict):
        return list(result.items())
    if call.method == 26:
        labels = [one["label"] for one in hostcalls.items(call.parameters[2])]
        return [("", labels[result].replace("&", ""))]
    if call.method == 46:
        return [("ReadKey", result["character"])]
    if call.method == 25:
        members = {**result.adapted, "Password": SecureString.named("Answers[x]")}
        credential = PSObject(result.type_names, result.type_names[0], adapted=members)
        return [(call.parameters[2] or call.parameters[1], credential)]
    if call.method == 12:
        return [("Read-Host -AsSecureString", SecureString.named("Answers[x]"))]
    return [("Read-Host", result)]


@needs_recordings
def test_answers_have_the_form_that_powershell_took() -> None:
    seen = set()
    for name, asked, taken in recorded_answers():
        call, result = hostcalls.read(asked), taken["mr"]
        if call.method not in (11, 12, 23, 25, 26, 46, 56):
            continue
        found = Answers(as_given(call, result)).reply(call)
        assert found, (name, call)
        ours = deserialize(hostcalls.respond(call, found[0]))
        assert list(ours.extended) == list(taken.extended) == ["mr", "ci", "mi"]
        assert ours["ci"] == taken["ci"] == Int64(call.call_id)
        assert (ours["mi"].base, ours["mi"].type_names) == (taken["mi"].base, taken["mi"].type_names)
        same(ours["mr"], result)
        seen.add(call.method)
    assert seen >= {11, 12, 23, 25, 26, 46}


def same(ours: Any, taken: Any) -> None:
    """The same type, members and values; what is encrypted differs."""
    assert type(ours) is type(taken)
    if isinstance(ours, PSObject):
        assert (ours.type_names, ours.to_string) == (taken.type_names, taken.to_string)
        assert (list(ours.adapted), list(ours.extended)) == (list(taken.adapted), list(taken.extended))
        for name in [*ours.adapted, *ours.extended]:
            same(ours[name], taken[name])
    elif not isinstance(ours, SecureString):
        assert ours == taken
