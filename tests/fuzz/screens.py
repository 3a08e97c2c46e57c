"""Records of hostile hosts in every format, as a reader of bytes: the first line says how they are shown.

    Csv Output 80

then records of CLIXML, parted by BETWEEN. Without a width there is no terminal.
"""

from __future__ import annotations

import io
import uuid
from typing import Final

from remotejobs.jobs.received import Origin, ReceivedRecord
from remotejobs.model import Outcome, Record, Stream
from remotejobs.states import EndReason
from remotejobs.views.console import failure_text
from remotejobs.views.errorview import ERROR_VIEWS
from remotejobs.views.view import FORMATS, view
from tests.fuzz.seeds import BETWEEN, CLIXML

_MOST: Final = 150_000, 300  # characters that any input may be shown as, and each of its bytes
LINES: Final = 1_000_000, 4_000
"""Lines of Python, likewise: a record may be written out to many times its size."""
MEMORY: Final = 6_000_000, 400
"""Bytes, likewise."""


class _Screen(io.StringIO):
    """Counts, and keeps nothing."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.written = 0
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        text.encode()  # no screen can take half a pair of surrogates
        self.written += len(text)
        return len(text)


def shown(data: bytes) -> None:
    """What hosts sent, on a screen or in a file."""
    head, _, rest = data.partition(b"\n")
    words = head.decode("latin-1").split()
    name = next((each for each in FORMATS if each in words), FORMATS[0])
    stream = next((each for each in Stream if each.name in words), Stream.Output)
    width = next((min(int(each), 500) for each in words if each.isdecimal() and len(each) < 4 and int(each) > 19), None)
    error_view = next((each for each in ERROR_VIEWS if each in words), ERROR_VIEWS[-1])
    out, err = _Screen(terminal=width is not None), _Screen(terminal=width is not None)
    screen = view(name, out, err, terminal_width=width, error_view=error_view, colour="colour" in words, depth=4)
    for number, raw in enumerate(rest.split(BETWEEN)):
        origin = Origin(1, number % 2, f"web0{number % 2}", uuid.UUID(int=number % 2), True)
        screen.record(ReceivedRecord(origin, Record(number + 1, stream, raw, number + 1, 0.0)))
        if number % 3 == 2:
            screen.flush()
    screen.close()
    failed = failure_text(Outcome(EndReason.CommandFailed, "no", failure=rest or b"<Nil/>"), error_view, "web01")
    most = _MOST[0] + _MOST[1] * len(data)
    assert out.written + err.written + len(failed) <= most, f"{out.written + err.written:,} characters"


def _lists(levels: int, times: int) -> bytes:
    inner = "<S>x</S>"
    for number in range(levels):
        again = f'<Ref RefId="{number - 1}"/>' * (times - 1) if number else ""
        inner = f'<Obj RefId="{number}"><LST>{inner}{again}</LST></Obj>'
    return inner.encode()


_FORMAT: Final = "<T>Microsoft.PowerShell.Commands.Internal.Format.{}</T>"
_BOMBS: Final = (
    _lists(3, 4),
    b'<Obj RefId="0"><MS><S N="a">x</S><Ref N="b" RefId="0"/><Ref N="c" RefId="0"/></MS></Obj>',
    b'<Obj RefId="0"><LST><Obj RefId="1"><S>%s</S></Obj>%s</LST></Obj>' % (b"x" * 90, b'<Ref RefId="1"/>' * 5),
    b'<Obj RefId="0"><LST><Obj RefId="1"><URI>http://a/b</URI></Obj>%s</LST></Obj>' % (b'<Ref RefId="1"/>' * 2),
    b'<Obj><MS><S N="%s">a</S><S N="b">x_x000A_y</S></MS></Obj>' % (b"n" * 120),
)
_WIDE: Final = b'<Obj RefId="0"><MS>%s</MS></Obj>' % b"".join(b'<S N="c%d">%s</S>' % (n, b"x" * n) for n in range(40))
_TABLE: Final = (
    f'<Obj RefId="0"><TN RefId="0">{_FORMAT.format("FormatStartData")}</TN><MS><Obj N="shapeInfo" RefId="1"><TN RefId='
    f'"1">{_FORMAT.format("TableHeaderInfo")}</TN><MS><Obj N="tableColumnInfoList" RefId="2"><LST><Obj RefId="3"><MS>'
    '<I32 N="width">9</I32><I32 N="alignment">3</I32><S N="label">Id</S></MS></Obj></LST></Obj></MS></Obj></MS></Obj>'
).encode()
_ENTRY: Final = (
    f'<Obj RefId="0"><TN RefId="0">{_FORMAT.format("FormatEntryData")}</TN><MS><Obj N="formatEntryInfo" RefId="1"><TN '
    f'RefId="1">{_FORMAT.format("TableRowEntry")}</TN><MS><Obj N="formatPropertyFieldList" RefId="2"><LST><Obj RefId='
    '"3"><MS><S N="propertyValue">7</S></MS></Obj></LST></Obj></MS></Obj></MS></Obj>'
).encode()
SEEDS: Final = (
    *(f"{name} Output\n".encode() + BETWEEN.join(_BOMBS) for name in FORMATS),
    *(f"{name} Output 60 colour\n".encode() + BETWEEN.join((_WIDE, *CLIXML[6:13], b"")) for name in FORMATS),
    b"Text Error NormalView\n" + CLIXML[0],
    *(
        f"{how} 80\n".encode() + BETWEEN.join((CLIXML[0], *CLIXML[-3:]))
        for how in ("Text Error", "Json Error", "Jsonl Information", "Text Progress", "Csv Warning")
    ),
    b"Text Output\n" + BETWEEN.join((_TABLE, _ENTRY, _ENTRY)),
)
WORDS: Final = (
    *(name.encode() for name in FORMATS),
    *(stream.name.encode() for stream in Stream),
    *(name.encode() for name in ERROR_VIEWS),
    *(BETWEEN, b'<Ref RefId="0"/>', b'<Ref RefId="1"/>', b"<Nil/>", b"<TS>P1D</TS>", b"_x000A_", b"<LST>", b"</LST>"),
)
