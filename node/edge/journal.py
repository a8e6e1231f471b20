"""The record of each call that ended, with how its sound arrived.

A relay worker tells its last counters a moment after the call's endpoints were freed, so a record
is written that much later; when the edge closes, at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from federation.model.clocks import UnixTime
from media_relay.counters import NO_DROPS
from media_relay.reports import EndpointReport
from node.edge.dialog import DialogSet, PhoneSide, ServiceSide, Side
from node.edge.hub import Hub
from node.edge.media import CallMedia
from node.edge.peer_names import PeerNames
from node.storage.call_records import CallRecord, CallRecords, StreamQuality
from node.tracing.counts import Counts, Peer

COUNTERS_WITHIN = 0.5
"Seconds that a worker is given for its last counters."
MAX_TEXT = 500
MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A record to be written, what has its last counters, and who was at its two ends."""

    record: CallRecord
    media: CallMedia | None
    ends: tuple[Peer | None, Peer | None]


@dataclass(slots=True)
class Journal:
    """Writes call records."""

    hub: Hub
    records: CallRecords
    counts: Counts
    peers: PeerNames
    _unwritten: dict[str, _Waiting] = field(default_factory=dict)

    def ended(self, group: DialogSet, reason: str) -> None:
        """A call ended; its media is freed already."""
        answered = [d for d in group.dialogs.values() if d.answered_at is not None]
        account, other = _logins_of(group)
        record = CallRecord(
            id=f"{int(group.created_at * 1000):x}-{group.id}",
            call_id=group.call_id,
            caller=name_of(group),
            target=plain(group.to_value),
            account=account,
            other_account=other,
            direction=_direction_of(group),
            path=_path_of(group),
            codec=None if group.media is None else group.media.codec,
            peer=None if group.peer is None else group.peer.text,
            started_at=group.created_at,
            answered_at=answered[0].answered_at if answered else None,
            ended_at=UnixTime(self.hub.clock.unix()),
            status=200 if answered else _status_in(reason),
            reason=_readable(reason)[:MAX_REASON],
        )
        self._unwritten[record.id] = _Waiting(record, group.media, self.peers.ends_of(group))
        if group.media is None:
            self._write(record.id)
        else:
            self.hub.later(COUNTERS_WITHIN, lambda: self._write(record.id))

    def call_id_of(self, record_id: str) -> str | None:
        """The Call-ID of a call whose record is not written yet; its number will do."""
        for known, waiting in self._unwritten.items():
            if record_id in (known, known.rpartition("-")[2]):
                return waiting.record.call_id
        return None

    def flush(self) -> None:
        """Write what waits, with the counters that are known."""
        for record_id in list(self._unwritten):
            self._write(record_id)

    def _write(self, record_id: str) -> None:
        waiting = self._unwritten.pop(record_id)
        record, media = waiting.record, waiting.media
        drops: Sequence[int] = NO_DROPS
        if media is not None:
            found = media.quality()
            drops = found.drops
            caller, callee = quality_of(found.caller), quality_of(found.callee)
            record = replace(record, from_caller=caller, from_callee=callee)
        self.records.add(record)
        self.counts.call_ended(record, *waiting.ends, drops)
        self.hub.log.info(
            "call_ended",
            call_id=_readable(record.call_id),
            status=record.status,
            reason=record.reason,
            seconds=round(record.duration, 1),
            **_fields("caller", record.from_caller),
            **_fields("callee", record.from_callee),
        )


def quality_of(report: EndpointReport | None) -> StreamQuality | None:
    """How a stream arrives, or arrived, by what its relay counted."""
    if report is None:
        return None
    return StreamQuality(
        packets=report.packets_in,
        lost=report.lost,
        jitter=report.jitter,
        longest_gap=report.longest_gap,
        told_lost=report.told_lost,
        round_trip=report.round_trip,
    )


def _fields(side: str, quality: StreamQuality | None) -> dict[str, float | None]:
    """A stream in a log line: seconds to the tenth of a millisecond."""
    if quality is None:
        return {}
    return {
        f"{side}_packets": quality.packets,
        f"{side}_lost": quality.lost,
        f"{side}_jitter": None if quality.jitter is None else round(quality.jitter, 4),
        f"{side}_longest_gap": round(quality.longest_gap, 4),
        f"{side}_told_lost": quality.told_lost,
        f"{side}_round_trip": None if quality.round_trip is None else round(quality.round_trip, 4),
    }


def name_of(group: DialogSet) -> str:
    """Who called, as the callee was shown it."""
    for dialog in group.dialogs.values():
        return plain(dialog.shown_from)
    return plain(group.from_value)


def plain(value: str) -> str:
    """The URI of a From or To value, without scheme."""
    inside = value.partition("<")[2].partition(">")[0] or value
    return _readable(inside.partition(";")[0].removeprefix("sip:"))[:MAX_TEXT]


def _readable(text: str) -> str:
    """Text for people and storage: bytes that came and were no UTF-8 are marked."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _logins_of(group: DialogSet) -> tuple[str | None, str | None]:
    """The logins here that a call was of: who called or was called, and the other one."""
    dialog = group.confirmed
    caller, taker = _login_at(group.caller), _login_at(dialog.callee) if dialog else None
    called = group.called or group.forwarder
    account = caller or called or taker
    other = taker if taker is not None and taker != account else called
    return account, None if other == account else other


def _login_at(side: Side) -> str | None:
    """The account of a device; `None` for other nodes, other networks and services."""
    return (side.login or None) if isinstance(side, PhoneSide) else None


def _direction_of(group: DialogSet) -> str:
    if _login_at(group.caller) is None:
        return "in"
    return "out" if group.peer is not None or _goes_outside(group) else "local"


def _goes_outside(group: DialogSet) -> bool:
    """Whether a device of no account here was called: a server of another SIP network."""
    return any(
        isinstance(side, PhoneSide) and not side.login for side, _ in group.by_branch.values()
    )


def _path_of(group: DialogSet) -> str:
    if group.peer is not None:
        return "node"
    caller = group.caller
    if _goes_outside(group) or (isinstance(caller, PhoneSide) and not caller.login):
        return "sip"
    is_service = any(isinstance(d.callee, ServiceSide) for d in group.dialogs.values())
    return "service" if is_service else "local"


def _status_in(reason: str) -> int:
    head = reason.partition(" ")[0]
    return int(head) if head.isdigit() and len(head) == 3 else 487
