"""RTCP in passing: what the receiver of a stream says about it (RFC 3550 section 6.4).

A relay sees sender and receiver reports only where they are not encrypted. SRTCP has its first
eight bytes in clear and a trailer, so a datagram counts only if its packets fill it exactly; a
report is used only if it is about a stream that was seen.
"""

import struct
from typing import NamedTuple

MAX_PACKETS = 32
"Packets of one compound datagram that are looked at."
MAX_SENT = 4
"Sender reports whose passing is remembered."
LONGEST_TRIP = 30.0
"Seconds; a longer one is a mistake."
_SENDER, _RECEIVER = 200, 201
_FIRST_TYPE, _LAST_TYPE = 192, 223
"Types that RTCP packets may have (RFC 5761 section 4)."
_HEAD = struct.Struct("!BBHI")
_SENT = struct.Struct("!QIII")
_BLOCK = struct.Struct("!IIIIII")
_LOST_SIGN = 0x800000


class ReportBlock(NamedTuple):
    """What a receiver says of one stream."""

    ssrc: int
    lost: int
    "Packets since the beginning that never arrived; negative with duplicates."
    last_report: int
    "The middle 32 bits of the newest sender report's time, 0 for none."
    delay: float
    "Seconds since that report came."


class Compound(NamedTuple):
    """What one RTCP datagram says."""

    sent: int | None
    "The middle 32 bits of the time in its sender report, `None` without one."
    blocks: tuple[ReportBlock, ...]


def read_rtcp(data: bytes) -> Compound | None:
    """Read a datagram; `None` if it is not RTCP in clear."""
    sent: int | None = None
    blocks: list[ReportBlock] = []
    at, size = 0, len(data)
    for _ in range(MAX_PACKETS):
        if at + 8 > size:
            return None
        first, kind, words, _ssrc = _HEAD.unpack_from(data, at)
        end = at + 4 * (words + 1)
        if first >> 6 != 2 or not _FIRST_TYPE <= kind <= _LAST_TYPE or end > size:
            return None
        place = at + _HEAD.size
        if kind == _SENDER and place + _SENT.size <= end:
            sent = _SENT.unpack_from(data, place)[0] >> 16 & 0xFFFFFFFF
            place += _SENT.size
        if kind in (_SENDER, _RECEIVER):
            for _ in range(first & 31):
                if place + _BLOCK.size > end:
                    return None
                blocks.append(_block(data, place))
                place += _BLOCK.size
        at = end
        if at == size:
            return Compound(sent, tuple(blocks))
    return None


def _block(data: bytes, place: int) -> ReportBlock:
    ssrc, loss, _highest, _jitter, last, delay = _BLOCK.unpack_from(data, place)
    lost = loss & 0xFFFFFF
    return ReportBlock(ssrc, lost - 2 * (lost & _LOST_SIGN), last, delay / 65536)


class Hearing:
    """What one side of a call says about the stream that it is sent, and how far away it is.

    The round trip is that from the relay to that side and back: from a sender report's passing to
    the report that names it, without the time the receiver held it.
    """

    __slots__ = ("_before", "_latest", "_sent", "_ssrc", "round_trip")

    def __init__(self) -> None:
        self.round_trip: float | None = None
        "Seconds, by the newest report."
        self._sent: list[tuple[int, float]] = []
        self._ssrc = -1
        self._before = 0
        self._latest: int | None = None

    @property
    def lost(self) -> int | None:
        """Packets that this side says it never got, over all streams; `None` without a report."""
        return None if self._latest is None else self._before + max(0, self._latest)

    def take(self, data: bytes, now: float, of: "Hearing | None", stream: int) -> None:
        """Take in RTCP of this side; `of` is the other side's, `stream` the SSRC it sends."""
        compound = read_rtcp(data)
        if compound is None:
            return
        if compound.sent is not None:
            self._sent = [*self._sent[1 - MAX_SENT :], (compound.sent, now)]
        for block in compound.blocks:
            if of is None or block.ssrc != stream:
                continue
            if stream != self._ssrc:
                self._before, self._ssrc = self.lost or 0, stream
            self._latest = block.lost
            for sent, when in of._sent:
                trip = now - when - block.delay
                if sent == block.last_report and 0 <= trip < LONGEST_TRIP:
                    self.round_trip = trip
