"""Small answers that cost much: each was more than its size times a constant once."""

from __future__ import annotations

import pytest

from remotejobs.errors import FaultError
from remotejobs.wsman.about import CONFIG, read_config
from remotejobs.wsman.clixml import values
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import text
from remotejobs.wsman.envelopes import ADDRESSING, SOAP, read_answer
from tests.fuzz.harness import Tracer

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
