from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest

from remotejobs.model import Stream
from remotejobs.states import EndReason
from remotejobs.views.view import View, view
from remotejobs.wsman.clixml.values import PSObject
from tests.views.factory import (
    Terminal,
    bag,
    end,
    error,
    informational,
    raw_record,
    record,
    service,
    written_to_host,
)


class Screen:
    """A text view with what it wrote."""

    def __init__(self, *, width: int | None = None, names: Sequence[str] = (), show: bool = True) -> None:
        self.out = Terminal() if width else io.StringIO()
        self.err = Terminal() if width else io.StringIO()
        self.view: View = view(
            "text", self.out, self.err, terminal_width=width, computer_names=names, show_computer_name=show
        )

    def feed(self, *items: tuple[str, Any]) -> list[str]:
        for host, value in items:
            self.view.record(record(value, host))
        self.view.close()
        return self.out.getvalue().splitlines()


def test_each_line_is_prefixed_by_its_host() -> None:
    assert Screen().feed(("web01", "a\nb"), ("web02", 5), ("web01", "")) == [
        "web01: a",
        "web01: b",
        "web01:",
        "web02: 5",
    ]


def test_names_are_aligned_on_a_terminal() -> None:
    screen = Screen(width=80, names=["db2", "web01"])
    assert screen.feed(("db2", "x"), ("web01", "y")) == ["db2:   x", "web01: y"]


def test_hide_computer_name() -> None:
    assert Screen(show=False).feed(("web01", "a"), ("web02", bag(A=1))) == ["a", "", "A", "-", "1"]


def test_rows_of_one_host_share_a_header_and_no_origin_is_shown() -> None:
    assert Screen().feed(("web01", bag(A=1, B="x")), ("web02", bag(A=9, B="z")), ("web01", bag(A=2, B="yy"))) == [
        "web01: A B", "web01: - -", "web01: 1 x", "web01: 2 yy", "web02: A B", "web02: - -", "web02: 9 z",
    ]  # fmt: skip


def test_what_a_host_sent_first_decides_whatever_others_send_between() -> None:
    screen = Screen()
    for host, value in (
        ("web01", service("Running", "a", "A")),
        ("web02", bag(A=1)),
        ("web01", bag(A=1)),
        ("web01", service("Stopped", "b", "B")),
    ):
        screen.view.record(record(value, host))
        screen.view.flush()
    assert screen.out.getvalue().splitlines() == [
        "web01: Status   Name               DisplayName", "web01: ------   ----               -----------",
        "web01: Running  a                  A",
        "web02: A", "web02: -", "web02: 1",
        "web01: A : 1",
        "web01:", "web01: Status   Name               DisplayName",
        "web01: ------   ----               -----------", "web01: Stopped  b                  B",
    ]  # fmt: skip


def test_a_table_goes_on_after_a_flush_while_rows_fit() -> None:
    screen = Screen()
    for value in ("abc", "d", "longer than before"):
        screen.view.record(record(bag(Name=value), "web01"))
        screen.view.flush()
    assert screen.out.getvalue().splitlines() == [
        "web01: Name", "web01: ----", "web01: abc", "web01: d",
        "web01:", "web01: Name", "web01: ----", "web01: longer than before",
    ]  # fmt: skip


def test_nothing_is_held_past_a_bound() -> None:
    screen = Screen()
    for number in range(300):
        screen.view.record(record(number, "web01"))
    assert len(screen.out.getvalue().splitlines()) == 256


def test_the_end_of_a_host_writes_what_it_sent() -> None:
    screen = Screen()
    screen.view.record(record("last words", "web01"))
    screen.view.outcome(end("web01"))
    assert screen.out.getvalue() == "web01: last words\n"


def test_objects_come_before_the_error_that_followed_them() -> None:
    together = io.StringIO()
    shared = view("Text", together, together)
    shared.record(record("before", "web01"))
    shared.record(record(error(), "web01", Stream.Error))
    shared.record(record("after", "web01"))
    shared.close()
    assert together.getvalue().splitlines() == [
        "web01: before",
        "[web01] Get-Item: Cannot find path '/nope'.",
        "web01: after",
    ]


def test_write_host_goes_among_the_objects() -> None:
    screen = Screen()
    for value, stream in [
        ("a", Stream.Output),
        (written_to_host("one ", no_new_line=True), Stream.Information),
        (written_to_host("line"), Stream.Information),
        (written_to_host("cut", no_new_line=True), Stream.Information),
        ("b", Stream.Output),
        (written_to_host("open", no_new_line=True), Stream.Information),
    ]:
        screen.view.record(record(value, "web01", stream))
    screen.view.close()
    assert screen.out.getvalue().splitlines() == [f"web01: {line}" for line in ("a", "one line", "cut", "b", "open")]
    assert screen.err.getvalue() == ""


def test_other_information_goes_to_stderr() -> None:
    screen = Screen()
    screen.view.record(record(PSObject(extended={"MessageData": "i", "Tags": []}), "web01", Stream.Information))
    screen.view.close()
    assert (screen.out.getvalue(), screen.err.getvalue()) == ("", "INFORMATION: [web01] i\n")


def test_a_terminal_is_not_at_the_mercy_of_a_host() -> None:
    assert Screen(width=80).feed(("web01", "\x1b[2Jx\ry\u202ez")) == ["web01: ␛[2Jx", "web01: y\ufffdz"]
    assert Screen().feed(("web01", "\x1b[31mred\x1b[0m")) == ["web01: \x1b[31mred\x1b[0m"]


def test_half_a_character_can_be_written_anywhere() -> None:
    assert Screen().feed(("web01", "x\ud83d")) == ["web01: x\ufffd"]


def test_a_list_wraps_behind_the_prefix() -> None:
    value = bag(A="word " * 20, B=2, C=3, D=4, E=5)
    lines = Screen(width=40).feed(("web01", value))
    assert all(len(line) <= 40 and line.startswith("web01: ") for line in lines)


def test_nothing_is_cut_in_a_pipe() -> None:
    name = "d" * 300
    assert Screen().feed(("web01", service("Running", "a", name)))[2].endswith(name)
    assert Screen(width=79).feed(("web01", service("Running", "a", name)))[2].endswith("…")


def test_blank_lines_around_a_text_are_left_out_behind_a_name() -> None:
    assert Screen().feed(("web01", "\nA\n-\n\n1\n\n")) == ["web01: A", "web01: -", "web01:", "web01: 1"]


def test_a_record_that_cannot_be_read_is_said_and_passed_over() -> None:
    screen = Screen()
    screen.view.record(raw_record(b"<Obj", "web01"))
    assert screen.feed(("web01", "fine")) == ["web01: fine"]
    assert screen.err.getvalue().startswith("WARNING: [web01] a record of stream Output is unreadable: ")


def test_ends() -> None:
    screen = Screen()
    screen.view.outcome(end("web01"))
    screen.view.outcome(end("web07", EndReason.Unreachable, "No route to host."))
    screen.view.close()
    assert screen.err.getvalue() == "[web07] Unreachable: No route to host.\n"


@pytest.mark.parametrize("stream", [Stream.Warning, Stream.Verbose, Stream.Debug])
def test_warnings_and_their_kin(stream: Stream) -> None:
    screen = Screen()
    screen.view.record(record(informational("one\ntwo"), "web01", stream))
    label = stream.name.upper()
    assert screen.err.getvalue() == f"{label}: [web01] one\n{label}: [web01] two\n"
