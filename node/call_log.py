"""Finished calls, for people and programs: rows, CSV and JSON."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from federation.model.clocks import UnixTime
from node.control import JsonObject, RefusedError
from node.edge.codec import mos_estimate
from node.pin_desk import moment
from node.storage.call_records import (
    CALL_RECORDS_KEPT,
    CallRecord,
    StreamQuality,
    newest_call_records,
)

DEFAULT_LIMIT = 100
"Calls of one answer where nothing else was said."
_AGE = re.compile(r"([0-9]{1,6})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
STREAM = ("packets", "lost", "jitter", "longest_gap", "mos", "told_lost", "round_trip")
COLUMNS = (
    *("id", "call_id", "started", "answered", "ended", "duration", "direction", "from", "to"),
    *("account", "other_account", "status", "reason", "path", "peer", "codec"),
    *(f"from_{side}_{name}" for side in ("caller", "callee") for name in STREAM),
)
"The columns of the CSV."


def query(
    limit: int, account: str | None, since: UnixTime | None
) -> Callable[[Connection], list[JsonObject]]:
    """What reads the newest calls from a database."""
    if not 1 <= limit <= CALL_RECORDS_KEPT:
        raise RefusedError(f"{limit} calls cannot be listed: 1 to {CALL_RECORDS_KEPT} can", 400)
    login = None if account is None else account.lower()

    def read(connection: Connection) -> list[JsonObject]:
        found = newest_call_records(connection, limit, account=login, since=since)
        return [as_json(record) for record in found]

    return read


def read_since(text: str, *, now: UnixTime) -> UnixTime:
    """An age (`30m`, `12h`, `7d`) or an instant in UTC (`2026-01-31`, `2026-01-31T08:00`).

    Raises:
        RefusedError: the text is neither.
    """
    age = _AGE.fullmatch(text.strip())
    if age is not None:
        return UnixTime(now - int(age[1]) * _SECONDS[age[2]])
    try:
        instant = datetime.fromisoformat(text.strip())
        return UnixTime((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise RefusedError(
            f"{text[:40]!r} is no time: give an age such as 12h or 7d, or an instant in UTC such "
            "as 2026-01-31 or 2026-01-31T08:00",
            400,
        ) from error


def as_json(record: CallRecord) -> JsonObject:
    """A call as the API gives it; instants in UTC, times in seconds."""
    return {
        "id": record.id,
        "call_id": record.call_id,
        "started": moment(record.started_at),
        "answered": None if record.answered_at is None else moment(record.answered_at),
        "ended": moment(record.ended_at),
        "duration": round(record.duration, 3),
        "direction": record.direction,
        "from": record.caller,
        "to": record.target,
        "account": record.account,
        "other_account": record.other_account,
        "status": record.status,
        "reason": record.reason,
        "path": record.path,
        "peer": record.peer,
        "codec": record.codec,
        "from_caller": stream_as_json(record.from_caller, record.codec),
        "from_callee": stream_as_json(record.from_callee, record.codec),
    }


def as_csv(calls: Sequence[JsonObject]) -> str:
    """Calls with a line of column names; a cell that a spreadsheet would calculate is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for call in calls:
        flat = dict(call)
        for side in ("from_caller", "from_callee"):
            stream = flat.pop(side, None) or {}
            flat |= {f"{side}_{name}": stream.get(name) for name in STREAM}
        writer.writerow([_cell(flat.get(column)) for column in COLUMNS])
    return out.getvalue()


def stream_as_json(quality: StreamQuality | None, codec: str | None) -> JsonObject | None:
    """How one side's sound arrives, with what listeners would say of it."""
    if quality is None:
        return None
    mos = mos_estimate(codec, packets=quality.packets, lost=quality.lost)
    return {
        "packets": quality.packets,
        "lost": quality.lost,
        "jitter": None if quality.jitter is None else round(quality.jitter, 5),
        "longest_gap": round(quality.longest_gap, 4),
        "mos": None if mos is None else round(mos, 2),
        "told_lost": quality.told_lost,
        "round_trip": None if quality.round_trip is None else round(quality.round_trip, 5),
    }


def _cell(value: object) -> object:
    """Strangers choose what they are called: no cell of theirs begins a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
