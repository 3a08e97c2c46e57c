"""What a pipeline sends, on its way into the ledger: numbered, counted, held against the job's limits.

Knows records, limits and the ledger. Must not know where they come from.
"""

from __future__ import annotations

from remotejobs.errors import LimitError
from remotejobs.model import JobSpec, Record, Stream
from remotejobs.ports import ChildLedger, Clock
from remotejobs.wsman.psrp.runspace import RecordData


class Intake:
    """The records of one child.

    Args:
        spec: The limits.
        ledger: Where they go.
        clock: Time.
        seq: Of the last record that is there already.

    Attributes:
        errors: Records on the Error stream that came here.
    """

    __slots__ = ("_bytes", "_clock", "_ledger", "_spec", "errors", "seq")

    def __init__(self, spec: JobSpec, ledger: ChildLedger, clock: Clock, seq: int) -> None:
        self._spec, self._ledger, self._clock = spec, ledger, clock
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
