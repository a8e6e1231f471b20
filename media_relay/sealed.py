"""Sealed legs: one datagram of media between two nodes, AES-128-GCM under keys of that leg.

On the wire, integers big-endian:

    05 | component u8 | 0000 | receiver's leg u32 | counter u64 | ciphertext and 16-byte tag

Component 1 is RTP (or RTCP muxed with it, or UDPTL), 2 is RTCP, 0 an empty keepalive. The 16 header
bytes are the associated data, their last 12 the nonce. The counter's top 16 bits are a generation,
raised whenever a leg is installed anew, so that no nonce repeats though its last count is unknown.
"""

import struct

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEALED_TYPE = 5
HEADER_BYTES = 16
TAG_BYTES = 16
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
KEY_BYTES = 16
SECRET_BYTES = 32
KEEPALIVE, RTP, RTCP = 0, 1, 2
"Components."
REPLAY_WINDOW = 128
"Counters behind the highest one that are still taken, once each."
GENERATION_SHIFT = 48
MAX_GENERATION = 0xFFFF

HEADER = struct.Struct("!BBHIQ")
_LEG_ID = struct.Struct("!I")
_WINDOW_MASK = (1 << REPLAY_WINDOW) - 1


def derive_leg_keys(
    offer_secret: bytes, answer_secret: bytes, offer_id: int, answer_id: int
) -> tuple[bytes, bytes]:
    """The two 16-byte keys of a leg: offerer to answerer, and back.

    HKDF-SHA256 (RFC 5869) over both 32-byte secrets, the offerer's first, with an empty salt and
    info "leg1", direction, offerer's leg id, answerer's leg id.
    """
    ids = _LEG_ID.pack(offer_id) + _LEG_ID.pack(answer_id)
    material = offer_secret + answer_secret

    def key(direction: bytes) -> bytes:
        info = b"leg1" + direction + ids
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(material)

    return key(b"\x00"), key(b"\x01")


class ReplayWindow:
    """Which counters were seen: the highest, and a bit for each of the 127 before it.

    Ask `admits` before opening a datagram and `record` after its tag held: nothing a stranger
    sends changes the window. A jump forward of any length is fine (a new generation).
    """

    __slots__ = ("_seen", "highest")

    def __init__(self, highest: int = -1) -> None:
        self.highest = highest
        "The highest counter recorded; -1 before the first."
        # After a reinstallation it is not known which older ones came, so none is taken again.
        self._seen = _WINDOW_MASK if highest >= 0 else 0

    def admits(self, counter: int) -> bool:
        """Whether `counter` is new."""
        behind = self.highest - counter
        if behind < 0:
            return True
        return behind < REPLAY_WINDOW and not self._seen >> behind & 1

    def record(self, counter: int) -> bool:
        """Remember an authentic counter; whether it is the highest so far."""
        ahead = counter - self.highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _WINDOW_MASK if ahead < REPLAY_WINDOW else 1
            self.highest = counter
            return True
        self._seen |= 1 << -ahead
        return False
