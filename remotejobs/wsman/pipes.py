"""The pipes of a native program: what it writes becomes records, what it is given becomes bytes of its code page.

Knows code pages, line ends and the records that PowerShell makes of a program's output. Must not know WS-Man, shells or
connections. Lines end as for .NET's StreamReader.ReadLine, which PowerShell reads programs with: CR LF, LF, a bare CR.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from io import IncrementalNewlineDecoder
from typing import Any, Final

from lxml import etree

from remotejobs.errors import UsageError
from remotejobs.model import Stream
from remotejobs.wsman.clixml.primitives import unescape
from remotejobs.wsman.clixml.values import text
from remotejobs.wsman.clixml.write import serialize
from remotejobs.wsman.psrp.runspace import RecordData

LONGEST: Final = 1 << 20
"""Characters of a line; what is longer comes in pieces."""

_STREAMS = {"stdout": Stream.Output, "stderr": Stream.Error}
_LINE_END = "\r\n"
# Windows' numbers whose names Python does not know as cpNNN.
_CODECS = {65001: "utf-8", 65000: "utf-7", 20127: "ascii", 20866: "koi8-r", 21866: "koi8-u", 54936: "gb18030"}
_MARK = "#< CLIXML"
_SAID = {
    "error": Stream.Error,
    "warning": Stream.Warning,
    "verbose": Stream.Verbose,
    "debug": Stream.Debug,
    "output": Stream.Output,
}
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
_SPACE = "{http://schemas.microsoft.com/powershell/2004/04}"


def codec_of(code_page: int) -> str:
    """Python's name of a code page of Windows.

    Raises:
        UsageError: There is none that a console could have.
    """
    iso = f"iso8859-{code_page - 28590}" if 28591 <= code_page <= 28606 else f"cp{code_page}"
    try:
        name = codecs.lookup(_CODECS.get(code_page, iso)).name
    except LookupError:
        raise UsageError(
            f"The code page {code_page} is not known here. 65001 is UTF-8, 437 and 850 are those of consoles in the"
            " USA and in western Europe, 932 is Japanese, 936 and 950 are Chinese.",
            error_id="CannotConvertArgumentNoMessage",
        ) from None
    return name


class Pipes:
    """The pipes of one program.

    Args:
        code_page: Of what it writes; bytes that are no character of it become U+FFFD.
        after: The object id of the last record that is there already, 0 for none.
    """

    __slots__ = ("_errors", "_lines", "_object_id")

    def __init__(self, code_page: int, after: int = 0) -> None:
        codec = codec_of(code_page)
        self._lines = {name: _Lines(codec) for name in _STREAMS}
        self._object_id = after
        self._errors = _Errors(first=not after)

    def feed(self, pieces: Iterable[tuple[str, bytes]], *, last: bool = False) -> Iterator[RecordData]:
        """Take bytes by the names of their streams; yields a record for each line that is whole.

        Args:
            pieces: In the order in which they came. What is of no stream that a program has is passed over.
            last: There will be no more: what has no line end is a line too.
        """
        for name, data in pieces:
            if name in _STREAMS:
                yield from self._records(name, self._lines[name].feed(data))
        if last:
            for name in _STREAMS:
                yield from self._records(name, self._lines[name].feed(b"", last=True))
            yield from self._numbered(self._errors.rest())

    @staticmethod
    def feeding(inputs: Iterable[bytes], size: int, *, last: bool) -> Iterator[bytes]:
        """The packets that give the program input; an empty one is the end of it."""
        data = b"".join(inputs)
        for at in range(0, len(data), size):
            yield data[at : at + size]
        if last:
            yield b""

    def _records(self, name: str, lines: Iterable[str]) -> Iterator[RecordData]:
        if name == "stdout":
            return self._numbered((Stream.Output, serialize(line)) for line in lines)
        return self._numbered(record for line in lines for record in self._errors.line(line))

    def _numbered(self, records: Iterable[tuple[Stream, bytes]]) -> Iterator[RecordData]:
        for stream, raw in records:
            self._object_id += 1
            yield RecordData(stream, self._object_id, raw)


class _Begun:
    """A line without its end: put together once, however many pieces it comes in."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def goes_on(self, text: str) -> bool:
        """Take what does not end the line; False for what ends it, and for what would make it too long."""
        if "\n" in text or self._size + len(text) > LONGEST:
            return False
        if text:
            self._pieces.append(text)
            self._size += len(text)
        return True

    def take(self) -> str:
        whole = "".join(self._pieces)
        self._pieces, self._size = [], 0
        return whole


class _Lines:
    """One stream, cut into lines."""

    __slots__ = ("_decoder", "_rest")

    def __init__(self, codec: str) -> None:
        decoder = codecs.getincrementaldecoder(codec)(errors="replace")
        self._decoder = IncrementalNewlineDecoder(decoder, translate=True)
        self._rest = _Begun()

    def feed(self, data: bytes, *, last: bool = False) -> list[str]:
        text = self._decoder.decode(data, last)
        if not last and self._rest.goes_on(text):
            return []
        lines = (self._rest.take() + text).split("\n")
        rest = "" if last else lines.pop()
        if last and not lines[-1]:
            lines.pop()
        if whole := (len(rest) - 1) // LONGEST * LONGEST if rest else 0:
            lines.append(rest[:whole])
        self._rest.goes_on(rest[whole:])
        return [piece for line in lines for piece in _pieces(line)] if any(len(n) > LONGEST for n in lines) else lines


def _pieces(line: str) -> list[str]:
    return [line[at : at + LONGEST] for at in range(0, len(line), LONGEST)] or [line]


class _Errors:
    """Standard error: a line is an ErrorRecord, but what powershell.exe writes there as CLIXML is what it says."""

    __slots__ = ("_clixml", "_first", "_partial")

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._clixml = False
        self._partial = _Begun()  # PowerShell wraps what it says: a line may go on in the next element

    def line(self, line: str) -> Iterator[tuple[Stream, bytes]]:
        if line == _MARK:
            self._clixml = True
        elif self._clixml and (said := _said_by_powershell(line)) is not None:
            self._clixml = False
            for stream, words in said:
                if stream is not Stream.Error:
                    yield stream, serialize(words)
                elif not self._partial.goes_on(words):
                    *lines, rest = (self._partial.take() + words).replace(_LINE_END, "\n").split("\n")
                    if not self._partial.goes_on(rest):
                        lines.append(rest)
                    yield from [self._error(each) for each in lines]
        else:
            self._clixml = False
            yield self._error(line)

    def rest(self) -> Iterator[tuple[Stream, bytes]]:
        if partial := self._partial.take():
            yield self._error(partial)

    def _error(self, line: str) -> tuple[Stream, bytes]:
        raw = _native_error(line, first=self._first)
        self._first = False
        return Stream.Error, raw


def _said_by_powershell(line: str) -> list[tuple[Stream, str]] | None:
    """The texts in what powershell.exe writes to a pipe, its progress left out; None where it is something else."""
    if not line.startswith("<Objs "):
        return None
    try:
        root = etree.fromstring(line.encode("utf-8", "replace"), _PARSER)
    except etree.XMLSyntaxError:
        return None
    if root.getroottree().docinfo.internalDTD is not None:
        return None
    found = [(_SAID.get((element.get("S") or "").lower()), element) for element in root.iterchildren(f"{_SPACE}S")]
    return [(stream, unescape(element.text or "")) for stream, element in found if stream]


def _native_error(line: str, *, first: bool) -> bytes:
    """The ErrorRecord of a line on standard error, as PowerShell sends it (recorded: native-stderr-many)."""
    said = serialize(line).decode()[3:-4]
    error_id = "NativeCommandError" if first else "NativeCommandErrorMessage"
    name, kind = (said, "String") if first else ("", "")
    target = f'<S N="TargetObject">{said}</S>' if first else '<Nil N="TargetObject" />'
    return _ERROR.format(said=said, target=target, id=error_id, name=name, kind=kind).encode()


_ERROR = (
    '<Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.ErrorRecord</T><T>System.Object</T></TN>'
    '<ToString>{said}</ToString><MS><Obj N="Exception" RefId="1"><TN RefId="1">'
    "<T>System.Management.Automation.RemoteException</T><T>System.Management.Automation.RuntimeException</T>"
    "<T>System.SystemException</T><T>System.Exception</T><T>System.Object</T></TN>"
    "<ToString>System.Management.Automation.RemoteException: {said}</ToString><Props>"
    '<S N="Message">{said}</S></Props></Obj>{target}<S N="FullyQualifiedErrorId">{id}</S><Nil N="InvocationInfo" />'
    '<I32 N="ErrorCategory_Category">0</I32><S N="ErrorCategory_Activity"></S>'
    '<S N="ErrorCategory_Reason">RemoteException</S><S N="ErrorCategory_TargetName">{name}</S>'
    '<S N="ErrorCategory_TargetType">{kind}</S>'
    '<S N="ErrorCategory_Message">NotSpecified: ({name}:{kind}) [], RemoteException</S>'
    '<B N="SerializeExtendedInfo">false</B></MS></Obj>'
)


def program_input(code_page: int) -> Callable[[Any], bytes]:
    """What turns a value into bytes for a program, as PowerShell pipes it: bytes as they are, else a line of text.

    Lists are lines; `$null` is nothing.
    """
    codec = codec_of(code_page)

    def encode(value: Any) -> bytes:
        if value is None:
            return b""
        if isinstance(value, bytes | bytearray):
            return bytes(value)
        if isinstance(value, list | tuple):
            return b"".join(map(encode, value))
        return (text(value) + _LINE_END).encode(codec, "replace")

    return encode
