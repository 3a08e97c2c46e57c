from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.views.layout import Column, console_layout, cut_up, list_lines, report_layout, wrap
from remotejobs.views.terminal import cell_width


def table(columns: list[Column], rows: list[list[str]], width: int | None) -> list[str]:
    layout = console_layout(columns, rows, width)
    return [*layout.header(), *map(layout.row, rows)]


def test_columns_by_content_numbers_to_the_right() -> None:
    columns = [Column("Id", right=True), Column("Name")]
    assert table(columns, [["7", "short"], ["123", "longer name"]], 80) == [
        " Id Name",
        " -- ----",
        "  7 short",
        "123 longer name",
    ]


JOB = [Column(name, width) for name, width in
       [("Id", 6), ("Name", 15), ("PSJobTypeName", 15), ("State", 13), ("HasMoreData", 15), ("Location", 20),
        ("Command", 25)]]  # fmt: skip


def test_fixed_columns_are_cut_with_an_ellipsis() -> None:
    row = ["1", "Job1", "RemoteJob", "Failed", "True", "web01,web02,web03,web04", " Get-Service\nWinRM"]
    assert table(JOB, [row], 120)[2] == (
        "1      Job1            RemoteJob       Failed        True            web01,web02,web03,w…  Get-Service…"
    )


def test_a_narrow_table_squeezes_and_then_drops_columns_from_the_right() -> None:
    """As PowerShell shows the job table at 79 columns: Location 10 wide, Command gone."""
    row = ["1", "Job1", "RemoteJob", "Failed", "True", "web01,down1", " 1"]
    assert table(JOB, [row], 79) == [
        "Id     Name            PSJobTypeName   State         HasMoreData     Location",
        "--     ----            -------------   -----         -----------     --------",
        "1      Job1            RemoteJob       Failed        True            web01,dow…",
    ]


def test_a_label_wider_than_its_column_is_broken() -> None:
    assert table([Column("Name", 5), Column("Location", 20)], [["a", "web01"]], 9)[:3] == [
        "Name  Loc",
        "      ati",
        "      on",
    ]


def test_columns_without_a_width_share_the_room() -> None:
    columns = [Column("Name", 20), Column("Capabilities"), Column("Drives")]
    assert table(columns, [["FileSystem", "Filter", "{/}"]], 100)[0] == f"{'Name':20} {'Capabilities':39} Drives"


def test_a_right_column_is_cut_from_the_left() -> None:
    assert table([Column("N", 4, right=True)], [["1234567"]], 80)[2] == "…567"


def test_nothing_is_cut_in_a_pipe() -> None:
    long = "x" * 500
    assert table([Column("Name", 5), Column("Text", 5)], [["abcdefgh", long]], None)[2] == f"abcdefgh {long}"


def test_lines_in_a_cell_become_one_in_a_pipe_and_the_first_on_a_terminal() -> None:
    assert table([Column("M")], [["one\r\ntwo"]], None)[2] == "one two"
    assert table([Column("M", 10)], [["one\r\ntwo"]], 80)[2] == "one…"


def test_a_report_keeps_its_last_column_and_shrinks_the_widest() -> None:
    columns = [Column("Status"), Column("DisplayName"), Column("PSComputerName")]
    rows = [["Running", "Windows Remote Management (WS-Management)", "web01"]]
    layout = report_layout(columns, rows, 50, keep_last=True)
    assert layout.row(rows[0]) == "Running Windows Remote Management … web01"
    assert report_layout(columns, rows, 32, keep_last=True).row(rows[0]) == "Running Windows … web01"
    assert report_layout(columns, rows, 18, keep_last=True).header()[0] == "PSComputerName"
    assert (
        report_layout(columns, rows, None, keep_last=True).row(rows[0])
        == "Running Windows Remote Management (WS-Management) web01"
    )


def test_a_report_without_names_keeps_its_first_column() -> None:
    columns = [Column("Id"), Column("Message")]
    assert report_layout(columns, [["7", "m" * 99]], 20, keep_last=False).row(["7", "m" * 99]) == f"7  {'m' * 16}…"
    assert report_layout(columns, [["7", "m" * 99]], 7, keep_last=False).header() == ["Id", "--"]


def test_wide_characters_take_two_columns() -> None:
    rows = [["漢字", "1"], ["ab", "2"]]
    assert table([Column("K"), Column("N")], rows, 80)[2:] == ["漢字 1", "ab   2"]
    assert table([Column("K", 3), Column("N", 1)], rows, 80)[2] == "漢… 1"


def test_a_list_aligns_and_wraps_between_words() -> None:
    lines = list(list_lines([("n", "1"), ("self", "@{n=1; self=; PSComputerName=localhost; RunspaceId=3281}")], 40))
    assert lines == ["n    : 1", "self : @{n=1; self=;", "       PSComputerName=localhost;", "       RunspaceId=3281}"]


def test_a_list_keeps_lines_and_breaks_long_words() -> None:
    assert list(list_lines([("A", "x" * 10), ("B", "1\n2")], 8)) == ["A : xxxx", "    xxxx", "    xx", "B : 1", "    2"]
    assert list(list_lines([("A", "x" * 1000)], None)) == ["A : " + "x" * 1000]


@given(st.text(st.characters(blacklist_characters="\r\n", codec="utf-8")), st.integers(2, 40))
def test_wrapping_loses_nothing_and_fits(line: str, width: int) -> None:
    pieces = list(wrap(line, width))
    assert "".join(pieces) == line
    assert all(cell_width(piece) <= width for piece in pieces)


@given(
    st.lists(st.tuples(st.text("ab漢 \n", max_size=12), st.text("ab", max_size=30)), min_size=1, max_size=5),
    st.integers(5, 60),
)
def test_no_row_is_wider_than_the_terminal(cells: list[tuple[str, str]], width: int) -> None:
    rows = [list(row) for row in cells]
    columns = [Column("First"), Column("Second")]
    kept = [report_layout(columns, rows, width, keep_last=keep) for keep in (True, False)]
    for layout in [console_layout(columns, rows, width), *kept]:
        assert all(cell_width(line) <= width for line in [*layout.header(), *map(layout.row, rows)])


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_narrowest_terminal_is_survived(width: int) -> None:
    assert table([Column("Name", 8), Column("Value")], [["abc", "def"]], width)


def test_a_long_label_leaves_room_for_the_text() -> None:
    """As ListWriter: the text of each line has ten columns at least."""
    assert list(list_lines([("n" * 50, "some words"), ("b", "x")], 30)) == [
        f"{'n' * 17} : some words",
        f"{'b':17} : x",
    ]


def test_a_long_label_does_not_move_the_others_in_a_pipe() -> None:
    assert list(list_lines([("n" * 5000, "a"), ("b", "x\ny")], None)) == [
        f"{'n' * 5000} : a",
        f"{'b':100} : x",
        f"{'':103}y",
    ]


def test_many_wide_columns_give_way_in_a_pipe() -> None:
    columns = [Column(f"c{number}") for number in range(100)]
    layout = report_layout(columns, [["x" * 500] * 100], None, keep_last=True)
    assert sum(layout.widths) + 99 <= 5000
    assert min(layout.widths) > 8
    assert layout.row([*[""] * 99, "y" * 40]).endswith("y" * 40)


@given(st.text("ab\u0301世", max_size=60), st.integers(1, 9))
def test_pieces_are_no_wider_than_their_column(text: str, width: int) -> None:
    pieces = cut_up(text, width)
    assert "".join(pieces) == text
    assert all(cell_width(piece) <= width or len(piece) == 1 for piece in pieces)
