"""Small answers that cost much: each was more than its size times a constant once."""

from __future__ import annotations

import pytest

from remotejobs.errors import FaultError, LimitError
from remotejobs.model import Stream
from remotejobs.views.view import FORMATS
from remotejobs.wsman.about import CONFIG, read_config
from remotejobs.wsman.clixml import values
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import text
from remotejobs.wsman.envelopes import ADDRESSING, SOAP, read_answer
from remotejobs.wsman.psrp import hostcalls
from tests.fuzz.harness import Tracer, measure
from tests.fuzz.screens import MEMORY, shown

_FAULT = 'f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="1"'


def envelope(body: str) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Header><a:RelatesTo xmlns:a="{ADDRESSING}">uuid:1</a:RelatesTo></s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def _refer(ref_id: int, times: int) -> str:
    return f'<Ref RefId="{ref_id}"/>' * times


def test_many_settings_deep_inside() -> None:
    """Each would be asked for its way up."""
    inner = "<c:A>" * 240 + "<c:a/>" * 40_000 + "</c:A>" * 240
    data = envelope(f'<c:Config xmlns:c="{CONFIG}">{inner}</c:Config>')
    Tracer().run(lambda data: read_config(data, "uuid:1"), data, 3_000_000)


def test_faults_inside_of_faults_around_much_text() -> None:
    """Each would be read with all that is inside."""
    levels = 60
    data = envelope(
        f"<s:Fault>{f'<{_FAULT}><f:Message><f:ProviderFault><x>' * levels}{'<a>b</a>' * 40_000}"
        f"{'</x></f:ProviderFault></f:Message></f:WSManFault>' * levels}</s:Fault>"
    )
    with pytest.raises(FaultError):
        read_answer(data, "uuid:1")
    Tracer().run(lambda data: read_answer(data, "uuid:1"), data, 200_000)


def test_lists_that_refer_to_lists() -> None:
    """Doubled with each of them, where a list in an object in an object was written out."""
    levels = [
        f'<Obj RefId="{n}"><Obj RefId="i{n}"><LST>{_refer(n - 1, 2) if n else "<S>x</S>"}</LST>'
        '<MS><S N="a">b</S></MS></Obj></Obj>'
        for n in range(40)
    ]
    value = deserialize(f'<Obj RefId="all"><LST>{"".join(levels)}</LST></Obj>'.encode())
    assert text(value) == " ".join(["System.Collections.ArrayList"] * 40)


def test_one_long_text_referred_to_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_LONGEST_TEXT", 1000)
    long = f'<Obj RefId="1"><ToString>{"x" * 300}</ToString></Obj>'
    value = deserialize(f'<Obj RefId="0"><LST>{long}{_refer(1, 100)}</LST></Obj>'.encode())
    assert text(value) == " ".join(["x" * 300] * 3 + ["…"])


def _lists(levels: int, times: int) -> str:
    inner = "<S>x</S>"
    for number in range(levels):
        inner = f'<Obj RefId="{number}"><LST>{inner}{_refer(number - 1, times - 1) if number else ""}</LST></Obj>'
    return inner


def _named(times: int, ref_id: int) -> str:
    return "".join(f'<Ref N="p{number}" RefId="{ref_id}"/>' for number in range(times))


def _chain(length: int, text: str) -> str:
    """An error whose exception has that many inside, each with the same text."""
    whole = f'<Obj RefId="1"><S>{text}</S></Obj>' + "".join(
        f'<Obj RefId="{n}"><MS><Ref N="Message" RefId="1"/><Ref N="InnerException" RefId="{n - 1}"/></MS></Obj>'
        for n in range(2, length)
    )
    return (
        f'<Obj RefId="0"><MS><Obj N="TargetObject" RefId="x"><LST>{whole}</LST></Obj>'
        f'<Ref N="Exception" RefId="{length - 1}"/><Ref N="ErrorDetails_Message" RefId="1"/></MS></Obj>'
    )


BOMBS = {
    "lists of one list": _lists(9, 6),
    "an object in itself": f'<Obj RefId="0"><MS><S N="a">x</S>{_named(20, 0)}</MS></Obj>',
    "a list of an object in itself": f'<Obj RefId="0"><LST>{_refer(0, 20)}</LST></Obj>',
    "an object in itself behind a comment": f'<Obj RefId="0"><!--{"x" * 20_000}--><MS>{_named(1, 0)}</MS></Obj>',
    "a long text": f'<Obj RefId="0"><MS><Obj N="a" RefId="1"><S>{"x" * 30_000}</S></Obj>{_named(1200, 1)}</MS></Obj>',
    "a long name": f'<Obj><LST><Obj RefId="1"><MS><S N="{"n" * 30_000}"/></MS></Obj>{_refer(1, 1500)}</LST></Obj>',
    "a long label": f'<Obj><MS><S N="{"n" * 30_000}">x</S><S N="b">{"y_x000A_" * 1000}</S></MS></Obj>',
    "addresses": f'<Obj RefId="0"><LST><Obj RefId="1"><URI>http://a/b</URI></Obj>{_refer(1, 90)}</LST></Obj>',
    "causes": _chain(1000, "x" * 60_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_shown_is_bounded(name: str, bomb: str) -> None:
    for how in ("Output", "Output 80", "Error DetailedView", "Information"):
        shown(f"{name} {how}\n{BOMBS[bomb]}".encode())
    measure(shown, f"{name} Output\n{BOMBS[bomb]}".encode(), MEMORY)


def test_texts_for_keys_that_are_lists() -> None:
    keys = f'<Obj N="Key" RefId="2"><LST>{_refer(1, 1000)}</LST></Obj>'
    first = f'<En><Obj N="Key" RefId="1"><S>{"x" * 20_000}</S></Obj><Nil N="Value"/></En>'
    entry = f'<En>{keys}<Nil N="Value"/></En>' + '<En><Ref N="Key" RefId="2"/><Nil N="Value"/></En>' * 1000
    with pytest.raises(LimitError):
        deserialize(f"<Obj><DCT>{first}{entry}</DCT></Obj>".encode())


def test_progress_records_with_one_long_text() -> None:
    record = '<PR><AV>a</AV><AI>0</AI><Ref RefId="1"/><PI>-1</PI><PC>-1</PC><T>Processing</T><SR>-1</SR><SD>s</SD></PR>'
    data = f'<Obj RefId="0"><LST><Obj RefId="1"><S>{"x" * 50_000}</S></Obj>{record * 1000}</LST></Obj>'.encode()
    measure(deserialize, data)


def test_a_host_call_with_one_long_text() -> None:
    """What it writes becomes a record, and is stored."""
    texts = f'<Obj RefId="3"><LST><Obj RefId="4"><S>{"x" * 40_000}</S></Obj>{_refer(4, 1000)}</LST></Obj>'
    data = (
        f'<Obj RefId="0"><MS><I64 N="ci">-100</I64><Obj N="mi" RefId="1"><ToString>WriteLine2</ToString><I32>16</I32>'
        f'</Obj><Obj N="mp" RefId="2"><LST>{texts}</LST></Obj></MS></Obj>'
    ).encode()
    call = hostcalls.read(data)
    assert len(hostcalls.as_record(call, Stream.Information) or b"") < 100 * len(data)
