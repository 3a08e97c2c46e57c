"""The enumerations of one host that go on: what was found, given out page by page (WS-Enumeration, MS-WSMV 3.1.4.1.30).

Knows Pull, Release and their contexts. Must not know what the items are or how they were found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from remotejobs.sim.shells import HostSettings
from remotejobs.sim.soap import ENUMERATION, WSMAN, Element, new_id
from remotejobs.sim.wsman_faults import WsmanFault

_N: Final = f"{{{ENUMERATION}}}"


class _Rest(NamedTuple):
    items: list[str]
    due: float


class Enumerations:
    """What waits for a Pull.

    Args:
        settings: How many may wait, and for how long.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: HostSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._open: dict[str, _Rest] = {}

    def begin(self, body: Element, items: list[str]) -> str:
        """Answer Enumerate: the first page where the client takes the short way, else only a context."""
        optimised = body.find(f"{{{WSMAN}}}OptimizeEnumeration") is not None
        count = self._count(body.findtext(f"{{{WSMAN}}}MaxElements")) if optimised else 0
        if optimised and len(items) <= count:
            context = ""
        else:
            context = self._keep(items[count:])
        return _page("Enumerate", "w", items[:count], context)

    def pull(self, body: Element) -> str:
        """Answer Pull; the context is another one each time."""
        rest = self._take(body)
        count = self._count(body.findtext(f"{_N}MaxElements"))
        context = self._keep(rest.items[count:]) if len(rest.items) > count else ""
        return _page("Pull", "n", rest.items[:count], context)

    def release(self, body: Element) -> str:
        """Answer Release."""
        self._take(body)
        return ""

    def _keep(self, items: list[str]) -> str:
        now = self._clock()
        self._open = {context: rest for context, rest in self._open.items() if rest.due > now}
        if len(self._open) >= self._settings.max_enumerations:
            raise WsmanFault(2150859174, wmi=self._settings.quota_as_wmi_error)
        context = f"uuid:{new_id()}"
        self._open[context] = _Rest(items, now + self._settings.enumeration_timeout)
        return context

    def _count(self, text: str | None) -> int:
        """MaxElements; one where it is missing."""
        text = (text or "1").strip()
        if not text.isascii() or not text.isdigit() or not int(text[:9]):
            raise WsmanFault(2150858817)
        return min(int(text[:9]), self._settings.max_batch_items)

    def _take(self, body: Element) -> _Rest:
        rest = self._open.pop((body.findtext(f"{_N}EnumerationContext") or "").strip(), None)
        if rest is None or rest.due <= self._clock():
            raise WsmanFault(2150858779)
        return rest


def _page(kind: str, prefix: str, items: list[str], context: str) -> str:
    found = f"<{prefix}:Items>{''.join(items)}</{prefix}:Items>" if items else ""
    end = "" if context else f"<{prefix}:EndOfSequence/>"
    said = f"<n:EnumerationContext>{context}</n:EnumerationContext>" if context or kind == "Enumerate" else ""
    return f"<n:{kind}Response>{said}{found}{end}</n:{kind}Response>"
