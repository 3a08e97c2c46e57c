"""One record as a reader gets it: which host sent it, what it holds once decoded.

Knows records and CLIXML. Must not know stores, engines or the screen.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from remotejobs.model import Record, Stream


class Origin(NamedTuple):
    """Which child of which job, on which host.

    Attributes:
        job_id, child_id: Ids of the parent and the child job.
        computer_name: The target as the user typed it: PSComputerName, set by us and never by the server.
        runspace_id: RunspaceId: the InstanceId of the child's runspace.
        show_computer_name: PSShowComputerName, False with -HideComputerName.
    """

    job_id: int
    child_id: int
    computer_name: str
    runspace_id: uuid.UUID
    show_computer_name: bool


class ReceivedRecord:
    """A record with its origin; it is decoded when `value` is first read.

    Args:
        origin: Where it comes from; shared by all records of a child.
        record: What the host sent.
    """

    __slots__ = ("_value", "origin", "record")

    def __init__(self, origin: Origin, record: Record) -> None:
        self.origin = origin
        self.record = record
        self._value: Any = _UNREAD

    @property
    def job_id(self) -> int:
        """Id of the job."""
        return self.origin.job_id

    @property
    def child_id(self) -> int:
        """Id of the child job."""
        return self.origin.child_id

    @property
    def computer_name(self) -> str:
        """The host, as the user named it."""
        return self.origin.computer_name

    @property
    def runspace_id(self) -> uuid.UUID:
        """RunspaceId."""
        return self.origin.runspace_id

    @property
    def show_computer_name(self) -> bool:
        """PSShowComputerName."""
        return self.origin.show_computer_name

    @property
    def stream(self) -> Stream:
        """The stream that it came on."""
        return self.record.stream

    @property
    def value(self) -> Any:
        """The item as Python: a natural value, a PSObject, or a record (ErrorRecord, ProgressRecord, ...).

        On Output objects PSComputerName, RunspaceId and PSShowComputerName are removed if the host sent them and
        added again with our values (semantics of Invoke-Command). What references make many times as large as it came
        ends with `…` in records of the other streams; an Output object is as it is, and whoever writes it out must
        expect that it contains itself.

        Raises:
            ProtocolError: The host sent CLIXML that breaks the rules or our limits.
        """
        if self._value is _UNREAD:
            self._value = self._decode()
        return self._value

    def _decode(self) -> Any:
        from remotejobs.wsman.clixml.read import deserialize
        from remotejobs.wsman.clixml.records import from_clixml
        from remotejobs.wsman.clixml.tree import bounded
        from remotejobs.wsman.clixml.values import PSObject

        value = deserialize(self.record.raw)
        if b"<SS" in self.record.raw:
            self._unlock(value)
        if self.stream is not Stream.Output:
            return from_clixml(self.stream, bounded(value, self.record.raw))
        if isinstance(value, PSObject):
            value.set_origin(self.computer_name, self.runspace_id, show=self.show_computer_name)
        return value

    def _unlock(self, value: Any) -> None:
        """Where the key of the session is here, the SecureStrings in a value can be read."""
        from remotejobs.wsman.clixml.values import secure_strings
        from remotejobs.wsman.psrp.sessionkey import KEYS

        if key := KEYS.get(self.runspace_id):
            for each in secure_strings(value):
                each.unlock(key.decrypt)

    def __repr__(self) -> str:
        return f"<ReceivedRecord {self.computer_name} {self.stream.name} {self.record.seq}>"


_UNREAD = object()
