"""What a relay may see of a datagram: its kind by first byte, and how well an RTP stream arrives.

Payloads stay unopened. Kinds are those of RFC 7983; RTCP is told from RTP by RFC 5761 section 4.
Loss is counted as in RFC 3550 A.1 and A.3, jitter as in A.8.
"""

import struct
from collections.abc import Mapping

from media_relay.rtcp import Hearing

STATIC_CLOCK_RATES: Mapping[int, int] = {
    **dict.fromkeys((0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18), 8000),
    6: 16000,
    10: 44100,
    11: 44100,
    14: 90000,
    16: 11025,
    17: 22050,
    **dict.fromkeys((25, 26, 28, 31, 32, 33, 34), 90000),
}
"Clock rates in hertz that follow from the payload type alone (RFC 3551 section 6)."

RTP_HEADER_BYTES = 12
FIRST_RTP_BYTE = 128
MAX_DROPOUT = 3000
"A sequence number further ahead than this is a restarted source if a second one follows it."
MAX_MISORDER = 100

_HEADER = struct.Struct("!BBHII")
_JITTER_GAIN = 1 / 16


def _passing(*ranges: tuple[int, int]) -> bytes:
    return bytes(any(low <= byte <= high for low, high in ranges) for byte in range(256))


MEDIA_KINDS = _passing((0, 3), (16, 63), (128, 191))
"By first byte, 1 where a datagram passes: STUN, ZRTP, DTLS, RTP and RTCP."
ALL_KINDS = bytes([1]) * 256
"UDPTL (T.38) begins with any byte, so where m=image everything passes."


def is_stun(first_byte: int) -> bool:
    """Whether a datagram that begins so is STUN (RFC 7983)."""
    return first_byte <= 3


def is_rtp(data: bytes) -> bool:
    """Whether this is RTP, and not RTCP or something else (RFC 5761 section 4)."""
    return (
        len(data) >= RTP_HEADER_BYTES
        and FIRST_RTP_BYTE <= data[0] <= 191
        and not 64 <= data[1] & 127 <= 95
    )


class Meter:
    """How one received RTP stream arrives: loss, jitter, longest gap.

    A new SSRC, or a source that starts its numbers anew, begins another stretch whose losses add
    to those before. Jitter needs the payload type's clock rate; packets of unknown payload types,
    and repeated timestamps (parts of a frame, telephone-events), leave it as it is. Sources that
    take turns on one port (BUNDLE) are counted in packets only.
    """

    __slots__ = (
        "_bad_sequence",
        "_expected",
        "_heard",
        "_highest",
        "_lost_before",
        "_received",
        "_ssrc",
        "_stamp",
        "_stamp_heard",
        "clock_rates",
        "hearing",
        "jitter",
        "longest_gap",
        "other",
    )

    def __init__(self) -> None:
        self.clock_rates: Mapping[int, int] = STATIC_CLOCK_RATES
        self.jitter: float | None = None
        "Interarrival jitter in seconds, `None` while no clock rate was known."
        self.longest_gap = 0.0
        "Seconds; a gap before a packet with marker bit is silence the sender meant, and no gap."
        self.hearing = Hearing()
        "What this side says of the stream it is sent."
        self.other: Meter | None = None
        "Of the endpoint at the far end of the join."
        self._ssrc = -1
        self._highest = 0
        self._expected = 0
        self._received = 0
        self._lost_before = 0
        self._bad_sequence = -1
        self._heard = 0.0
        self._stamp = 0
        self._stamp_heard = 0.0

    @property
    def lost(self) -> int:
        """Packets missing by their sequence numbers; late ones count as arrived."""
        return self._lost_before + max(0, self._expected - self._received)

    def take(self, data: bytes, now: float) -> None:
        """Count one packet with a first byte of 128-191 and at least 12 bytes."""
        _, second, sequence, stamp, ssrc = _HEADER.unpack_from(data)
        payload_type = second & 127
        if 64 <= payload_type <= 95:
            self.take_rtcp(data, now)
            return
        if ssrc != self._ssrc:
            self._begin(ssrc, sequence, stamp, now)
            return
        ahead = (sequence - self._highest) & 0xFFFF
        if 0 < ahead < MAX_DROPOUT:
            self._highest = sequence
            self._expected += ahead
        elif 0 < ahead <= 0x10000 - MAX_MISORDER:
            if sequence != self._bad_sequence:
                self._bad_sequence = (sequence + 1) & 0xFFFF
                return
            self._begin(ssrc, sequence, stamp, now)
            return
        self._received += 1
        if second < 128:
            gap = now - self._heard
            if gap > self.longest_gap:
                self.longest_gap = gap
        self._heard = now
        if stamp != self._stamp:
            rate = self.clock_rates.get(payload_type)
            if rate is not None:
                step = (stamp - self._stamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
                change = now - self._stamp_heard - step / rate
                jitter = self.jitter or 0.0
                self.jitter = jitter + (abs(change) - jitter) * _JITTER_GAIN
            self._stamp = stamp
            self._stamp_heard = now

    def take_rtcp(self, data: bytes, now: float) -> None:
        """Read what this side says about the stream of the other."""
        other = self.other
        if other is None:
            self.hearing.take(data, now, None, -1)
        else:
            self.hearing.take(data, now, other.hearing, other._ssrc)

    def _begin(self, ssrc: int, sequence: int, stamp: int, now: float) -> None:
        self._lost_before = self.lost
        self._ssrc = ssrc
        self._highest = sequence
        self._expected = self._received = 1
        self._bad_sequence = -1
        self._heard = self._stamp_heard = now
        self._stamp = stamp
