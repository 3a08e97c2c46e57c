"""One record as a reader gets it: which host sent it, what it holds once decoded.

Knows records and CLIXML. Must not know stores, engines or the screen.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from remotejobs.model import Record, Stream


@dataclass(frozen=True)
class ReceivedRecord:
    """A record with its origin; decoding happens when `value` is first read.

    Attributes:
        job_id, child_id: Ids of the parent and the child job.
        computer_name: The target as the user typed it: PSComputerName, set by us and never by the server.
        runspace_id: RunspaceId: the InstanceId of the child's runspace.
        show_computer_name: PSShowComputerName, False with -HideComputerName.
        record: What the host sent.
    """

    job_id: int
    child_id: int
    computer_name: str
    runspace_id: uuid.UUID
    show_computer_name: bool
    record: Record

    @property
    def stream(self) -> Stream:
        """The stream that it came on."""
        return self.record.stream

    @cached_property
    def value(self) -> Any:
        """The item as Python: a natural value, a PSObject, or a record (ErrorRecord, ProgressRecord, ...).

        On Output objects PSComputerName, RunspaceId and PSShowComputerName are removed if the host sent them and
        added again with our values (semantics of Invoke-Command).

        Raises:
            ProtocolError: The host sent CLIXML that breaks the rules or our limits.
        """
        from remotejobs.wsman.clixml.read import deserialize
        from remotejobs.wsman.clixml.records import from_clixml
        from remotejobs.wsman.clixml.values import PSObject

        value = deserialize(self.record.raw)
        if self.stream is not Stream.Output:
            return from_clixml(self.stream, value)
        if isinstance(value, PSObject):
            value.set_origin(self.computer_name, self.runspace_id, show=self.show_computer_name)
        return value
