"""Nonces that need no memory: each carries its time, and a MAC over it and the client's address.

    obMatJos2 | base64 of 24 feature bits | base64 of (time, 24 bits of seconds | MAC, 48 bits)

The first thirteen characters are the nonce cookie of RFC 8489 section 9.2, which tells a client
that PASSWORD-ALGORITHMS and perhaps USERHASH may be used; the MAC covers them, so nobody on the way
can take that away. The MAC is short because the whole answer to a stranger's Allocate request of 28
bytes must stay within three times its size; a guessed nonce is worth nothing without a password.
"""

import base64
import binascii
import enum
import hmac
from dataclasses import dataclass

from federation.model.clocks import Monotonic

COOKIE = "obMatJos2"
LIFETIME = 3600.0
"Seconds after which a nonce is stale."
PASSWORD_ALGORITHMS_BIT = 1
USERNAME_ANONYMITY_BIT = 2
MAC_BYTES = 6
TEXT_CHARS = 25
"The length of every nonce of ours."
_TIME_BYTES = 3
_CLOCK = 1 << 24


class Validity(enum.Enum):
    """What is to be thought of a nonce."""

    GOOD = "good"
    STALE = "stale"
    "Ours once, or not ours: either way the client is given a new one."


@dataclass(frozen=True, slots=True)
class Nonces:
    """Makes and checks nonces; all workers of a node share the key."""

    key: bytes
    lifetime: float = LIFETIME

    def issue(self, source: str, *, features: int, now: Monotonic) -> str:
        """A nonce for the client at the IP address `source`."""
        head = COOKIE + base64.b64encode(features.to_bytes(3, "big")).decode()
        stamp = (int(now) % _CLOCK).to_bytes(_TIME_BYTES, "big")
        return head + base64.b64encode(stamp + self._mac(head, stamp, source)).decode()

    def check(self, nonce: str, source: str, *, now: Monotonic) -> Validity:
        """Whether a nonce was issued to this source, and lately."""
        if len(nonce) != TEXT_CHARS or not nonce.startswith(COOKIE):
            return Validity.STALE
        head = nonce[:13]
        try:
            tail = base64.b64decode(nonce[13:], validate=True)
        except (binascii.Error, ValueError):
            return Validity.STALE
        stamp, mac = tail[:_TIME_BYTES], tail[_TIME_BYTES:]
        if not hmac.compare_digest(mac, self._mac(head, stamp, source)):
            return Validity.STALE
        age = (int(now) - int.from_bytes(stamp, "big")) % _CLOCK
        return Validity.GOOD if age <= self.lifetime else Validity.STALE

    def _mac(self, head: str, stamp: bytes, source: str) -> bytes:
        text = b"turn nonce\0" + head.encode() + stamp + source.encode()
        return hmac.digest(self.key, text, "sha256")[:MAC_BYTES]


def features_of(nonce: str) -> int:
    """The feature bits of a nonce's cookie; 0 without one (RFC 8489 section 9.2)."""
    if not nonce.startswith(COOKIE) or len(nonce) < len(COOKIE) + 4:
        return 0
    try:
        bits = base64.b64decode(nonce[len(COOKIE) : len(COOKIE) + 4], validate=True)
    except (binascii.Error, ValueError):
        return 0
    return int.from_bytes(bits, "big")
