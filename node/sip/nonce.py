"""Nonces that prove their own age, and the memory that keeps each from being used twice.

A nonce is `time (48 bits, ms) | random (48 bits) | BLAKE2s of both, keyed (96 bits)`, base64url:
handing one out costs no memory, so strangers cannot fill any. Only a request with a good digest
leaves a trace here: which nonce counts (`nc`) of its nonce were used, in a window, because requests
of one phone may overtake each other on their way.
"""

import base64
import binascii
import enum
import hmac
from hashlib import blake2s
from typing import Final

from federation.model.clocks import Entropy, UnixTime

NONCE_LIFETIME: Final = 3600.0
"Seconds that a nonce may be used; then a phone is challenged again with `stale=true`."
MAX_NONCES: Final = 65_536
"Nonces whose counts are remembered. Beyond it the oldest is dropped and can no longer be used."
NONCE_WINDOW: Final = 64
"How far behind the highest count another count may be and still be told from a replay."
_TIME_BYTES: Final = 6
_STAMP_BYTES: Final = 12
_RANDOM_BITS: Final = 8 * (_STAMP_BYTES - _TIME_BYTES)
_ALL_BITS: Final = (1 << NONCE_WINDOW) - 1
_MAC_BYTES: Final = 12
_TEXT_LENGTH: Final = 32


class NonceState(enum.Enum):
    """What is known of a nonce and a count that came with a good digest."""

    GOOD = "good"
    STALE = "stale"
    "Not from us, or too old."
    REPLAYED = "replayed"
    "This count of it was used before."


class NonceKeeper:
    """Makes nonces and checks each one's age and each count's freshness."""

    def __init__(
        self,
        secret: bytes,
        *,
        entropy: Entropy,
        lifetime: float = NONCE_LIFETIME,
        limit: int = MAX_NONCES,
    ) -> None:
        self._secret = secret
        self._entropy = entropy
        self._lifetime = int(lifetime * 1000)
        self._limit = limit
        self._used: dict[int, int] = {}
        """By stamp: the highest count, and below it `NONCE_WINDOW` bits, one for each of the counts
        that end there. Numbers alone: tens of thousands are kept for an hour."""
        self._floor = -1
        "Nonces made until then are stale: some of their counts were forgotten."

    def __len__(self) -> int:
        return len(self._used)

    def make(self, *, now: UnixTime) -> str:
        """A new nonce of 32 characters."""
        stamp = int(now * 1000).to_bytes(_TIME_BYTES, "big") + self._entropy.token(
            _STAMP_BYTES - _TIME_BYTES
        )
        return base64.urlsafe_b64encode(stamp + self._mac(stamp)).decode("ascii")

    def use(self, nonce: str, count: int, *, now: UnixTime) -> NonceState:
        """Judge a nonce whose digest was good, and remember the count."""
        stamp = self._stamp_of(nonce)
        moment = int(now * 1000)
        if stamp is None:
            return NonceState.STALE
        made = stamp >> _RANDOM_BITS
        if not made <= moment < made + self._lifetime or made <= self._floor:
            return NonceState.STALE
        seen = self._used.get(stamp)
        if seen is None:
            self._used[stamp] = count << NONCE_WINDOW | 1
            self._forget(moment)
            return NonceState.GOOD
        highest, bits = seen >> NONCE_WINDOW, seen & _ALL_BITS
        if count > highest:
            bits = (bits << min(count - highest, NONCE_WINDOW) | 1) & _ALL_BITS
            self._used[stamp] = count << NONCE_WINDOW | bits
            return NonceState.GOOD
        bit = 1 << (highest - count) if highest - count < NONCE_WINDOW else bits
        if bits & bit:
            return NonceState.REPLAYED
        self._used[stamp] = highest << NONCE_WINDOW | bits | bit
        return NonceState.GOOD

    def _stamp_of(self, nonce: str) -> int | None:
        """When it was made and its random part; `None` if it is not ours."""
        if len(nonce) != _TEXT_LENGTH or not nonce.isascii():
            return None
        try:
            raw = base64.b64decode(nonce, b"-_", validate=True)
        except binascii.Error:
            return None
        stamp = raw[:_STAMP_BYTES]
        if not hmac.compare_digest(raw[_STAMP_BYTES:], self._mac(stamp)):
            return None
        return int.from_bytes(stamp, "big")

    def _mac(self, stamp: bytes) -> bytes:
        return blake2s(stamp, key=self._secret, digest_size=_MAC_BYTES).digest()

    def _forget(self, moment: int) -> None:
        """Drop what can no longer be used, and the oldest where there is no room."""
        while self._used:
            oldest = next(iter(self._used))
            made = oldest >> _RANDOM_BITS
            if made + self._lifetime > moment:
                if len(self._used) <= self._limit:
                    return
                self._floor = max(self._floor, made)
            del self._used[oldest]
