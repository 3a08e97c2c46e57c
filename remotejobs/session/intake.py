"""What a pipeline sends, on its way into the ledger: numbered, counted, held against the job's limits.

Knows records, limits and the ledger. Must not know where they come from.
"""

from __future__ import annotations

from remotejobs.errors import LimitError
from remotejobs.model import JobSpec, Record, Stream, Target
from remotejobs.ports import ChildLedger, Clock
from remotejobs.session.hints import is_second_hop, passes_logon_on
from remotejobs.wsman.psrp.runspace import RecordData

_LOOKED_AT = 20  # errors


class Intake:
    """The records of one child.

    Args:
        spec: The limits.
        target: Whose they are.
        ledger: Where they go.
        clock: Time.
        seq: Of the last record that is there already.

    Attributes:
        errors: Records on the Error stream that came here.
        second_hop: One of the first of them is another host's refusal of a logon that could not be passed on to it.
    """

    __slots__ = ("_bytes", "_clock", "_ledger", "_looks", "_name", "_spec", "errors", "second_hop", "seq")

    def __init__(self, spec: JobSpec, target: Target, ledger: ChildLedger, clock: Clock, seq: int) -> None:
        self._spec, self._ledger, self._clock = spec, ledger, clock
        self._name, self._looks = target.name, 0 if passes_logon_on(spec, target) else _LOOKED_AT
        self.second_hop = False
        self.seq = seq
        self.errors = self._bytes = 0

    async def append(self, records: list[RecordData]) -> None:
        """Commit a batch.

        Raises:
            LimitError: The script has written more than the job allows; this batch is committed.
            LeaseLostError: As the ledger says.
        """
        now, seq, errors, size = self._clock.time(), self.seq, 0, 0
        batch: list[Record] = []
        for stream, object_id, raw in records:
            seq += 1
            size += len(raw)
            if stream is Stream.Error:
                errors += 1
                self.look(raw)
            batch.append(Record(seq, stream, raw, object_id, now))
        self.seq, self._bytes = seq, self._bytes + size
        self.errors += errors
        await self._ledger.append(batch)
        most = self._spec.session_option.maximum_received_data_size_per_command
        if most is not None and self._bytes > most:
            raise LimitError(
                f"The script wrote more than {most:,} bytes (MaximumReceivedDataSizePerCommand); the rest is lost.",
                error_id="ReceivedDataSizeExceededMaximum",
            )
        count = self._spec.limits.records
        if count is not None and seq > count:
            raise LimitError(
                f"The script wrote more than {count:,} records; the rest was not read.", error_id="RecordLimitExceeded"
            )

    def look(self, error: bytes) -> None:
        """Look at an error of the script, if it is one of the first: CLIXML of the record, or of what holds it."""
        if self._looks:
            self._looks -= 1
            if is_second_hop(error, self._name):
                self.second_hop, self._looks = True, 0
