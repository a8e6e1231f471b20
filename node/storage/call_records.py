"""One row for each finished call."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, select

from federation.model.clocks import UnixTime
from node.storage import schema
from node.storage.writer import Writer

CALL_RECORDS_KEPT = 100_000
"Rows that `trim_call_records` leaves: the newest."


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """Who called whom, when, and how it ended."""

    id: str
    "Unique to the call, chosen by the edge."
    call_id: str
    caller: str
    "Number or URI of the caller as the callee saw it."
    target: str
    "What was dialled."
    account: str | None
    "The login here that called or was called."
    peer: str | None
    "Text form of the other node's key; `None` for a call within this node."
    started_at: UnixTime
    answered_at: UnixTime | None
    ended_at: UnixTime
    status: int
    "The final SIP status; 200 for an answered call."
    reason: str
    "Why it ended, in a few words."

    @property
    def duration(self) -> float:
        """Seconds from answer to end; 0 for a call that was not answered."""
        return 0.0 if self.answered_at is None else self.ended_at - self.answered_at


class CallRecords:
    """Writes records behind."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def add(self, record: CallRecord) -> None:
        """Keep the record of a call that has ended."""
        self._writer.put("call_records", (record.id,), asdict(record))


def newest_call_records(connection: Connection, limit: int) -> Iterator[CallRecord]:
    """Up to `limit` records, newest first."""
    table = schema.call_records
    query = select(table).order_by(table.c.started_at.desc(), table.c.id).limit(limit)
    for row in connection.execute(query).mappings():
        yield CallRecord(**row)


def trim_call_records(connection: Connection, keep: int = CALL_RECORDS_KEPT) -> int:
    """Delete all but the newest records and return how many went."""
    table = schema.call_records
    newest = select(table.c.id).order_by(table.c.started_at.desc(), table.c.id).limit(keep)
    result = connection.execute(delete(table).where(table.c.id.not_in(newest)))
    return result.rowcount
