from __future__ import annotations

import io
import uuid

import pytest
from lxml import etree

from remotejobs.views.display import display, without_origin
from remotejobs.views.view import view
from remotejobs.wsman.clixml.read import deserialize
from remotejobs.wsman.clixml.values import NO_BASE, PSObject
from tests.recordings import needs_recordings
from tests.views.factory import bag, record
from tests.views.wire import Case, output_cases


def test_a_document_of_the_objects() -> None:
    out = io.StringIO()
    shown = view("Clixml", out, io.StringIO())
    for value in (bag(A=1), "x", None):
        shown.record(record(value, "web01"))
    shown.close()
    root = etree.fromstring(out.getvalue().encode())
    assert etree.QName(root).localname == "Objs"
    first, second, third = (deserialize(etree.tostring(each)) for each in root)
    assert (first["A"], first["PSComputerName"], first["RunspaceId"]) == (1, "web01", uuid.UUID(int=1))
    assert (second.base, second["PSComputerName"], second["RunspaceId"]) == ("x", "web01", uuid.UUID(int=1))
    assert third is None


def test_it_is_whole_without_objects() -> None:
    out = io.StringIO()
    view("clixml", out, io.StringIO()).close()
    assert len(etree.fromstring(out.getvalue().encode())) == 0


def test_a_number_with_its_notes_is_what_export_clixml_writes() -> None:
    out = io.StringIO()
    shown = view("Clixml", out, io.StringIO())
    shown.record(record(5, "web01"))
    shown.close()
    notes = '<S N="PSComputerName">web01</S>'
    notes += f'<G N="RunspaceId">{uuid.UUID(int=1)}</G><B N="PSShowComputerName">true</B>'
    assert out.getvalue().splitlines() == [
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">',
        f'<Obj RefId="0"><I32>5</I32><MS>{notes}</MS></Obj>',
        "</Objs>",
    ]


@needs_recordings
@pytest.mark.parametrize("case", output_cases("cases"), ids=lambda case: case.name)
def test_what_was_received_comes_back_from_the_file(case: Case) -> None:
    out = io.StringIO()
    shown = view("Clixml", out, io.StringIO())
    for item in case.outputs:
        shown.record(record(item.value, "web01"))
    shown.close()
    root = etree.fromstring(out.getvalue().encode())
    assert len(root) == len(case.outputs)
    for element, item in zip(root, case.outputs, strict=True):
        again = deserialize(etree.tostring(element))
        assert again["PSComputerName"] == "web01"
        was = item.value.base if isinstance(item.value, PSObject) else item.value
        if was is not NO_BASE and not isinstance(was, (list, dict)):
            assert again.base == was
        if isinstance(item.value, PSObject):
            item.value.set_origin("web01", uuid.UUID(int=1), show=True)  # as the file has it, inside it too
        assert display(without_origin(again), 100) == display(without_origin(item.value), 100)
