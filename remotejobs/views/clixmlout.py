"""The Clixml format: the objects as a file for Import-Clixml.

Knows documents of CLIXML. Must not know screens. PSComputerName, RunspaceId and PSShowComputerName are in it, of
strings and numbers too, as in what Export-Clixml writes after Receive-Job. Types are as the host wrote them:
Import-Clixml puts `Deserialized.` before them, once.
"""

from __future__ import annotations

from typing import Any, TextIO

from remotejobs.errors import UsageError
from remotejobs.jobs.received import ReceivedRecord
from remotejobs.views.console import Console, StreamView
from remotejobs.wsman.clixml.values import PSObject
from remotejobs.wsman.clixml.write import document, serialize


class ClixmlView(StreamView):
    """One document, object by object as they come; whole after close()."""

    takes_format_data = True
    writes_references = True

    def __init__(self, out: TextIO, console: Console) -> None:
        super().__init__(out, console)
        begin, self._end = document(())
        self.out.write(begin)

    def output(self, item: ReceivedRecord, value: Any) -> None:
        """Write one object; `$null` too."""
        try:
            element = serialize(_with_origin(item, value)).decode()
        except UsageError as error:
            self.console.note(item.computer_name, f"an object is left out: {error.message}")
            return
        self.console.clear()
        self.out.write(element + "\n")
        self.out.flush()

    def close(self) -> None:
        """Close the document."""
        self.out.write(self._end)
        super().close()


def _with_origin(item: ReceivedRecord, value: Any) -> Any:
    """A natural value gets an object around it for its notes; an object has them already."""
    if value is None or isinstance(value, PSObject):
        return value
    whole = PSObject(base=value)
    whole.set_origin(item.computer_name, item.runspace_id, show=item.show_computer_name)
    return whole
