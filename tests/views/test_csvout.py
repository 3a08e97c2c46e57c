from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.views import csvout
from remotejobs.views.view import view
from remotejobs.wsman.clixml.values import PSObject
from tests.views.factory import bag, record


def rendered(*items: tuple[str, object], show: bool = True) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    shown = view("Csv", out, err, show_computer_name=show)
    for host, value in items:
        shown.record(record(value, host))
    shown.close()
    return out.getvalue(), err.getvalue()


def test_objects_as_export_csv_writes_them() -> None:
    out, err = rendered(("web01", bag(A=1, B='say "x"', C=None)), ("web02", bag(b=[1, 2], a=True)))
    assert out == '"A","B","C","PSComputerName"\n"1","say ""x""",,"web01"\n"True","1 2",,"web02"\n'
    assert err == ""


def test_the_first_object_decides_on_the_columns() -> None:
    out, err = rendered(("web01", bag(A=1)), ("web02", bag(A=2, Extra=3)), ("web03", bag(Extra=4)))
    assert out == '"A","PSComputerName"\n"1","web01"\n"2","web02"\n,"web03"\n'
    assert err.startswith("WARNING: [web02] an object has more than the columns of the first one")
    assert err.count("\n") == 1
    assert "Extra" in err


def test_scalars_lists_and_enums_are_values() -> None:
    enum = PSObject(("System.DayOfWeek", "System.Enum"), "Monday", 1)
    out, _ = rendered(("web01", "x"), ("web01", [1, None, 2]), ("web01", enum), show=False)
    assert out == '"Value"\n"x"\n"1"\n"2"\n"Monday"\n'


def test_a_value_in_a_cell_is_what_its_to_string_gives() -> None:
    when, inner = datetime(2026, 11, 20, 15, 4, tzinfo=UTC), bag(n=1)
    out, _ = rendered(("web01", bag(A=1 / 3, B=when, C=inner, D={}, E=timedelta(hours=36), F=[1, None])))
    assert out.splitlines()[1] == (
        '"0.3333333333333333","11/20/2026 3:04:00 PM","@{n=1}","System.Collections.Hashtable","1.12:00:00","1 ","web01"'
    )


def test_formulas_are_disarmed_and_numbers_left_alone() -> None:
    cells = ["=1+1", "+cmd", "-2", "-2.5E+3", "-x", "@sum", "\tx", "1,234", "+1", "a=b"]
    out, _ = rendered(*(("web01", cell) for cell in cells), show=False)
    assert [row[0] for row in csv.reader(io.StringIO(out))][1:] == [
        "'=1+1", "'+cmd", "-2", "-2.5E+3", "'-x", "'@sum", "'\tx", "1,234", "+1", "a=b",
    ]  # fmt: skip


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), min_size=1, max_size=5))
def test_any_text_comes_back(texts: list[str]) -> None:
    out, _ = rendered(*(("web01", bag(Text=text)) for text in texts), show=False)
    read = [row[0] for row in csv.reader(io.StringIO(out, newline=""))][1:]
    assert [text.removeprefix("'") for text in read] == [text.removeprefix("'") for text in texts]


def test_a_header_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's one wide object must not make every later row wide."""
    monkeypatch.setattr(csvout, "MOST_COLUMNS", 3)
    out, err = rendered(("web01", bag(A=1, B=2, C=3, D=4)), ("web02", bag(A=1)))
    assert out.splitlines() == ['"A","B","C","PSComputerName"', '"1","2","3","web01"', '"1",,,"web02"']
    assert "left out: D." in err
