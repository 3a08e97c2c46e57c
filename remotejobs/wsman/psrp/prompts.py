"""What a script asks its user, and the answers that it was given in advance (PSHostUserInterface, MS-PSRP 2.2.3.17).

Knows the prompts, what each is called, and how PowerShell's console reads what is typed there. Must not know who gave
the answers, nor a secret: it is a SecureString that names one. A question comes from a host, which may be hostile: what
is not meant for it by its name never gets a secret, and what is shown of it is short and harmless in a shell.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from remotejobs.wsman.clixml.values import Char, PSObject, SecureString, text
from remotejobs.wsman.psrp.hostcalls import HostCall, items

READ_LINE, READ_SECURE_LINE, PROMPT, CHOICE, READ_KEY, CHOICES = 11, 12, 23, 26, 46, 56
CREDENTIALS = frozenset({24, 25})  # PromptForCredential1 and 2: caption, message, user name, target, ...
_LIST = ("System.Collections.ArrayList", "System.Object")
_STRING, _SECURE = "System.String", "System.Security.SecureString"
_PSCREDENTIAL = "System.Management.Automation.PSCredential"
_SECRET = (_SECURE, _PSCREDENTIAL)
_TRUTHS = ("System.Boolean", "System.Management.Automation.SwitchParameter")
_KEY_INFO = "System.Management.Automation.Host.KeyInfo"
_UNSAID = ("", "Enter your credentials.")  # the message of Get-Credential without one
_LONGEST_NAME = 1000  # characters of a question that are looked at
_LONGEST_SHOWN = 60  # and of one that is shown for use in a command
_LONGEST_SAID = 200  # and of one, or of its answer, in the note that it was answered
_MOST_SHOWN = 10  # fields or choices
_UNSAFE = re.compile(r"[^\w .:;!?()\[\]/\\@+#-]")  # in quotes of some shell, or in a list of ours


class _Field(NamedTuple):
    """One thing that is asked for: the names under which it is, and the .NET type that is wanted."""

    names: tuple[str, ...]
    kind: str


class _Given:
    """The answers under one name, in turn: the last one stays."""

    def __init__(self, name: str) -> None:
        # as in -like, but a bracket is a bracket
        wild = fnmatch.translate(name.replace("[", "[[]")) if {"*", "?"} & {*name} else ""
        self.pattern = re.compile(wild) if wild else None
        self.values: list[Any] = []
        self.used = 0

    @property
    def left(self) -> list[Any]:
        return self.values[self.used :] or self.values[-1:]


class Answers:
    """What a script's questions are answered with, on one host.

    Args:
        given: Questions and their answers. A question is the name of a field (`Name` of `Read-Host Name` and of a
            parameter), the message or the caption of a choice, the message of a credential prompt or the user that it
            asks for; `Read-Host`, `Read-Host -AsSecureString`, `Get-Credential`, `ReadKey` where nothing is said. Upper
            and lower case are the same, `*` and `?` stand for any text and any character. An empty name is for every
            choice that has such a label or hot key.
        begun: Another process may have answered some already: where it was in turn is not known.
    """

    def __init__(self, given: Sequence[tuple[str, Any]], *, begun: bool = False) -> None:
        self._words = [text(value) for name, value in given if not name]
        self._given: dict[str, _Given] = {}
        for name, value in given:
            if name:
                key = _key(name)
                self._given.setdefault(key, _Given(key)).values.append(value)
        if begun:
            self._given = {key: each for key, each in self._given.items() if len(each.values) == 1}

    def reply(self, call: HostCall) -> tuple[Any, str] | None:
        """The result of a call, and what a user should be told that was answered; None where no answer fits.

        A SecureString in the result is the name of a secret.
        """
        if call.method in (CHOICE, CHOICES):
            return self._chosen(call)
        asked = _fields(call)
        found = [self._found(field) for field in asked]
        if not found or None in found:
            return None
        results: dict[str, Any] = {}
        said: list[str] = []
        for field, (given, value, words) in zip(asked, filter(None, found), strict=True):
            given.used += 1
            results[field.names[0]] = value
            said.append(f"{_said(field.names[0])}: {words}")
        return results if call.method == PROMPT else value, ", ".join(said[:_MOST_SHOWN])

    def _found(self, field: _Field) -> tuple[_Given, Any, str] | None:
        for given, by_name in self._of(field.names):
            fitting = _fitting(field.kind, given.left, by_name=by_name)
            if fitting is not None:
                return given, *fitting
        return None

    def _of(self, names: Iterable[str]) -> Iterator[tuple[_Given, bool]]:
        """The answers to a question of these names: those by its very name first."""
        keys = [key for name in names if (key := _key(name))]
        yield from ((self._given[key], True) for key in keys if key in self._given)
        for given in self._given.values():
            if given.pattern and any(given.pattern.match(key) for key in keys):
                yield given, False

    def _chosen(self, call: HostCall) -> tuple[Any, str] | None:
        caption, message, labels, default = _choices(call)
        several = call.method == CHOICES
        picked: list[int] = []
        for given, _ in self._of((message, caption)):
            typed = [text(value) for value in (given.left if several else given.left[:1])]
            usual = [n for n in default if 0 <= n < len(labels)] if typed == [""] else []  # just Enter
            picked = usual or [n for word in typed if (n := _pick(labels, word)) is not None]
            if picked:
                given.used += 1
                break
        picked = picked or [n for word in self._words if (n := _pick(labels, word)) is not None]
        if not picked:
            return None
        picked = list(dict.fromkeys(picked)) if several else picked[:1]
        words = f"{', '.join(_said(_plain(labels[n])) for n in picked)}, to: {_said(message or caption)}"
        return (PSObject(_LIST, base=list(picked)) if several else picked[0]), words


def advice(call: HostCall) -> str:
    """How to answer a question the next time, in a few words of a command line; empty where that cannot be done."""
    if call.method in (CHOICE, CHOICES):
        labels = [_UNSAFE.sub("?", _plain(label)[:_LONGEST_SHOWN]) for label in _choices(call)[2][:_MOST_SHOWN]]
        return f"-Answer LABEL, one of {', '.join(labels)}" if labels else ""
    fields = _fields(call)[:_MOST_SHOWN]
    plain = [f"{_shown(field.names[0])}=..." for field in fields if field.kind not in _SECRET]
    secret = [f"{_exact(field.names[0])}=CREDENTIAL" for field in fields if field.kind in _SECRET]
    ways = [(name, ",".join(each)) for name, each in (("-Answer", plain), ("-AnswerCredential", secret)) if each]
    return " ".join(f"{name} '{each}'" for name, each in ways)


def _fields(call: HostCall) -> list[_Field]:
    """What a call asks for, but for choices; nothing where it is no question that can be answered."""
    if call.method == READ_LINE:
        return [_Field(("Read-Host",), _STRING)]
    if call.method == READ_SECURE_LINE:
        return [_Field(("Read-Host -AsSecureString",), _SECURE)]
    if call.method == READ_KEY:
        return [_Field(("ReadKey",), _KEY_INFO)]
    if call.method in CREDENTIALS:
        message, user = (text(one).strip() for one in (*call.parameters, "", "", "")[1:3])
        names = ("Get-Credential",) if not user and message in _UNSAID else (user or message, message)
        return [_Field(names, _PSCREDENTIAL)]
    if call.method != PROMPT or len(call.parameters) < 3:
        return []
    return [
        _Field((text(field.get("name")), text(field.get("label"))), text(field.get("parameterTypeFullName")))
        for field in items(call.parameters[2])
        if isinstance(field, PSObject)
    ]


def _fitting(kind: str, values: list[Any], *, by_name: bool) -> tuple[Any, str] | None:
    """The answer as the type that is wanted, and what to say of it."""
    value = values[0]
    password = value.get("Password") if isinstance(value, PSObject) else value
    if isinstance(password, SecureString):
        if not by_name or kind not in _SECRET or (kind == _PSCREDENTIAL and password is value):
            return None
        called = password.credential
        if kind == _PSCREDENTIAL:
            return value, f"the credential {called}"
        return password, f"the password of {called}" if called else "a secret"
    if kind in _SECRET:
        return None
    said = _said(text(value))
    if kind == _KEY_INFO:
        key = _key_info(text(value))
        return None if key is None else (key, said)
    if kind in _TRUTHS:
        truth = {"true": True, "false": False}.get(text(value).strip().lower().removeprefix("$"))
        return None if truth is None else (truth, said)
    if kind.endswith("[]"):
        return PSObject(_LIST, base=values), ", ".join(_said(text(each)) for each in values)
    return text(value) if kind == _STRING else value, said


def _key_info(typed: str) -> PSObject | None:
    """A key as ReadKey gives it: the one that types this character, or Enter."""
    typed = "\r" if typed.lower() in ("", "enter") else typed
    if len(typed) != 1 or ord(typed) > 0xFFFF:
        return None
    code = ord(typed.upper()) if typed.isascii() and (typed.isalnum() or typed in " \r") else 0
    members = {"virtualKeyCode": code, "character": Char(typed), "controlKeyState": 0, "keyDown": True}
    return PSObject(extended=members)


def _choices(call: HostCall) -> tuple[str, str, list[str], list[int]]:
    """Caption, message, labels, and what Enter alone would choose."""
    caption, message, choices, default = (*call.parameters, "", "", None, None)[:4]
    if isinstance(default, PSObject) and "mae" in default:
        default = default.get("mae")
    numbers = [default] if isinstance(default, int) else items(default)
    labels = [text(choice.get("label")) for choice in items(choices) if isinstance(choice, PSObject)]
    return text(caption), text(message), labels, [int(n) for n in numbers if isinstance(n, int)]


def _pick(labels: Sequence[str], typed: str) -> int | None:
    """The choice that is meant by what is typed: a label, else a hot key, in any case (as the console does)."""
    wanted = typed.strip().casefold()
    if not wanted:
        return None
    for number, label in enumerate(labels):
        if _plain(label).casefold() == wanted:
            return number
    for number, label in enumerate(labels):
        if label.partition("&")[2][:1].strip().casefold() == wanted:
            return number
    return None


def _plain(label: str) -> str:
    """`Yes to All` of `Yes to &All`."""
    return label.replace("&", "", 1).strip()


def _key(name: str) -> str:
    """A name as it is compared: the colon that the console puts behind it does not count."""
    return " ".join(name[:_LONGEST_NAME].split()).rstrip(": ").casefold()


def _said(words: str) -> str:
    """Something of a host's, short, on one line, and without what a terminal would obey."""
    line = " ".join(words[: 2 * _LONGEST_SAID].split())
    line = "".join([c if c.isprintable() else "?" for c in line])
    return line if len(line) <= _LONGEST_SAID else f"{line[:_LONGEST_SAID]}..."


def _shown(name: str) -> str:
    """A name that can be pasted into a command: whatever a shell could take otherwise is a wildcard."""
    name = " ".join(name[: _LONGEST_SHOWN + 1].split()).rstrip(": ")
    return f"{_UNSAFE.sub('?', name[:_LONGEST_SHOWN])}{'*' if len(name) > _LONGEST_SHOWN else ''}" or "*"


def _exact(name: str) -> str:
    """The same for a secret, where there are no wildcards."""
    shown = _shown(name)
    return shown if shown == " ".join(name.split()).rstrip(": ") else "QUESTION"
