from __future__ import annotations

import io
import uuid

from lxml import etree

from remotejobs.views.view import view
from remotejobs.wsman.clixml.read import deserialize
from tests.views.factory import bag, record


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
    assert (second, third) == ("x", None)


def test_it_is_whole_without_objects() -> None:
    out = io.StringIO()
    view("clixml", out, io.StringIO()).close()
    assert len(etree.fromstring(out.getvalue().encode())) == 0
