"""A value as it is written out: parts that are referred to often stand there as often, so it has to end somewhere.

Knows what references in CLIXML can make of a few bytes: lists of lists that are all the same one, a long text in every
property, an object in itself. Must not know how anything is written.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from remotejobs.wsman.clixml.values import PSObject

_ELLIPSIS: Final = "…"
_ALWAYS: Final = 1 << 14  # characters that any record may be written out to, about
_EACH: Final = 32  # and so many for each of its bytes
_LARGE: Final = 1 << 22  # but no more than that
_EACH_OF_LARGE: Final = 4  # or, of a large one, so many for each byte
_VALUE: Final = 16  # what a value costs beside its text
_OBJECT: Final = 48  # and an object more


def bounded(value: Any, raw: bytes, *, references: bool = False) -> Any:
    """Return what may be written out of a value: itself, unless references make it many times as large as it came.

    Then it is a copy, whole near its top and with `…` where it ends.

    Args:
        value: As `raw` was read.
        raw: Its CLIXML.
        references: Who writes it refers to lists, dictionaries and objects that were written already.
    """
    if b"<Ref" not in raw and b":Ref" not in raw:  # the second with a namespace's prefix
        return value
    most = min(_ALWAYS + _EACH * len(raw), max(_LARGE, _EACH_OF_LARGE * len(raw)))
    tree = _Tree(most, references=references)
    copy = tree.copy(value)
    return copy if tree.cut else value


class _Tree:
    """A copy that is made from the top downwards, as far as `left` goes."""

    def __init__(self, left: int, *, references: bool) -> None:
        self._left = left
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._copies: dict[int, Any] | None = {} if references else None
        self.cut = False

    def copy(self, value: Any) -> Any:
        whole: list[Any] = []
        self._waiting.append(([value], whole))
        while self._waiting:
            source, copy = self._waiting.popleft()
            for key, item in source.items() if isinstance(source, dict) else enumerate(source):
                if self._left < 0:
                    self.cut = True
                    _put(copy, _ELLIPSIS, _ELLIPSIS)
                    break
                self._left -= _text_size(key)
                _put(copy, key, self._begun(item))
        return whole[0]

    def _begun(self, item: Any) -> Any:
        """Return a copy; what it contains is put in later."""
        self._left -= _VALUE
        if not isinstance(item, PSObject | list | dict):
            self._left -= _text_size(item)
            return item
        if self._copies is not None and id(item) in self._copies:
            return self._copies[id(item)]
        if isinstance(item, PSObject):
            copy: Any = PSObject(item.type_names, item.to_string, self._begun(item.base))
            self._left -= _OBJECT + _text_size(item.to_string)
            self._waiting += ((item.adapted, copy.adapted), (item.extended, copy.extended))
        else:
            copy = type(item)()
            self._waiting.append((item, copy))
        if self._copies is not None:
            self._copies[id(item)] = copy
        return copy


def _put(copy: Any, key: Any, item: Any) -> None:
    if isinstance(copy, dict):
        copy[key] = item
    else:
        copy.append(item)


def _text_size(item: Any) -> int:
    if isinstance(item, str):
        return len(item)
    return 4 * len(item) if isinstance(item, bytes) else 0  # bytes are written out as numbers
