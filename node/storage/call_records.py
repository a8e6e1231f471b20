"""One row for each finished call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from sqlalchemy import Connection, delete, or_, select

from federation.model.clocks import UnixTime
from node.storage import schema
from node.storage.writer import Writer

CALL_RECORDS_KEPT = 100_000
"Rows that `trim_call_records` leaves: the newest."


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamQuality:
    """How the main media stream of one side arrived at this node."""

    packets: int
    "Datagrams taken, RTCP included where it shares the stream's counters."
    lost: int
    "RTP packets that never arrived, by their sequence numbers."
    jitter: float | None
    "Seconds, RFC 3550; `None` while no clock rate was known."
    longest_gap: float
    "Seconds between two RTP packets without the sender having meant it."
    told_lost: int | None = None
    "Packets of the other side that this one says it never got; `None` without RTCP in clear."
    round_trip: float | None = None
    "Seconds from this node to that side and back, by its RTCP."


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
    from_caller: StreamQuality | None = None
    "What the caller's side sent; `None` for a call without media."
    from_callee: StreamQuality | None = None
    "What the callee's side sent; `None` also for a service of this node."
    other_account: str | None = None
    "A second login here: who was called by `account`, or took the call in its place."
    direction: str | None = None
    "`in` from elsewhere, `out` to elsewhere, `local`; `None` in records of an older version."
    path: str | None = None
    "`node` by way of another node, `sip` of another SIP network, `service` of ours, `local`."
    codec: str | None = None
    "Name of the main stream's codec as in SDP, upper case; `None` where none was agreed."

    @property
    def duration(self) -> float:
        """Seconds from answer to end; 0 for a call that was not answered."""
        return 0.0 if self.answered_at is None else self.ended_at - self.answered_at

    def row(self) -> dict[str, Any]:
        """The columns of `call_records`."""
        row = {name: getattr(self, name) for name in _PLAIN}
        for side in _SIDES:
            quality = getattr(self, f"from_{side}")
            row |= {f"{side}_{name}": getattr(quality, name, None) for name in _QUALITY}
        return row

    @classmethod
    def of_row(cls, row: Mapping[Any, Any]) -> Self:
        """The record a row holds."""
        values = dict(row)
        for side in _SIDES:
            quality = {name: values.pop(f"{side}_{name}") for name in _QUALITY}
            known = quality["packets"] is not None
            values[f"from_{side}"] = StreamQuality(**quality) if known else None
        return cls(**values)


_SIDES = ("caller", "callee")
_PLAIN = tuple(field.name for field in fields(CallRecord) if not field.name.startswith("from_"))
_QUALITY = tuple(field.name for field in fields(StreamQuality))


class CallRecords:
    """Writes records behind."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def add(self, record: CallRecord) -> None:
        """Keep the record of a call that has ended."""
        self._writer.put("call_records", (record.id,), record.row())


def newest_call_records(
    connection: Connection,
    limit: int,
    *,
    account: str | None = None,
    since: UnixTime | None = None,
) -> Iterator[CallRecord]:
    """Up to `limit` records, newest first: of one account, and begun at `since` or later."""
    table = schema.call_records
    query = select(table).order_by(table.c.started_at.desc(), table.c.id).limit(limit)
    if account is not None:
        query = query.where(or_(table.c.account == account, table.c.other_account == account))
    if since is not None:
        query = query.where(table.c.started_at >= since)
    for row in connection.execute(query).mappings():
        yield CallRecord.of_row(row)


def call_id_of_record(connection: Connection, call: str, *, since: UnixTime) -> str | None:
    """The Call-ID of a record by its id, or by the number it had while it was under way.

    Numbers begin anew with each start of the node, so they mean calls begun after `since` only.
    """
    table = schema.call_records
    query = select(table.c.call_id).where(table.c.id == call)
    if call.isascii() and call.isdigit():
        query = select(table.c.call_id).where(
            table.c.id.endswith(f"-{call}"), table.c.started_at >= since
        )
    found = connection.execute(query.order_by(table.c.started_at.desc()).limit(1)).scalar()
    return None if found is None else str(found)


def trim_call_records(connection: Connection, keep: int = CALL_RECORDS_KEPT) -> int:
    """Delete all but the newest records and return how many went."""
    table = schema.call_records
    newest = select(table.c.id).order_by(table.c.started_at.desc(), table.c.id).limit(keep)
    result = connection.execute(delete(table).where(table.c.id.not_in(newest)))
    return result.rowcount
