"""Cookies prove that a peer receives where it sends from; rates bound what a network may ask."""

import hashlib
import hmac
from collections import OrderedDict

from dht.frame import COOKIE_BYTES, NO_COOKIE
from federation.model.address import Endpoint, Scope, network_group, scope_of
from federation.model.clocks import Entropy, Monotonic
from federation.model.identity import NodeId

COOKIE_EPOCH_S = 300.0
"A cookie is accepted in the epoch it was made in and in the next."
GLOBAL_RATE = 100.0
"Datagrams a second for each /24 or /48."
GLOBAL_BURST = 400.0
LOCAL_RATE = 2_000.0
"Datagrams a second for each loopback or LAN address."
LOCAL_BURST = 8_000.0
UNPROVEN_RATE = 500.0
"Requests a second, from everywhere together, that are answered without a cookie."
UNPROVEN_BURST = 2_000.0
MAX_GROUPS = 8_192
"Networks whose rates are remembered."


class CookieJar:
    """Makes and checks cookies: HMAC-SHA256(secret of the epoch; ip, port, key), 16 bytes."""

    def __init__(self, *, entropy: Entropy) -> None:
        self._entropy = entropy
        self._epoch = -1
        self._secret = entropy.token(32)
        self._previous = entropy.token(32)

    def cookie(self, source: Endpoint, peer: NodeId, *, now: Monotonic) -> bytes:
        """The cookie for `peer` at `source`."""
        self._turn(now)
        return _cookie(self._secret, source, peer)

    def accepts(self, cookie: bytes, source: Endpoint, peer: NodeId, *, now: Monotonic) -> bool:
        """Whether `cookie` was made for `peer` at `source` in this epoch or the last."""
        if cookie == NO_COOKIE:
            return False
        self._turn(now)
        return any(
            hmac.compare_digest(cookie, _cookie(secret, source, peer))
            for secret in (self._secret, self._previous)
        )

    def _turn(self, now: Monotonic) -> None:
        epoch = int(now // COOKIE_EPOCH_S)
        if epoch == self._epoch:
            return
        fresh = self._entropy.token(32)
        self._previous = self._secret if epoch == self._epoch + 1 else self._entropy.token(32)
        self._secret, self._epoch = fresh, epoch


def _cookie(secret: bytes, source: Endpoint, peer: NodeId) -> bytes:
    message = source.packed + source.port.to_bytes(2, "big") + bytes(peer)
    return hmac.new(secret, message, hashlib.sha256).digest()[:COOKIE_BYTES]


class TokenBucket:
    """Allows `rate` a second on average and `burst` at once."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, *, now: Monotonic) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._at = burst, now

    def take(self, *, now: Monotonic) -> bool:
        """Take one, if there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class RateLimiter:
    """A token bucket for each /24 and /48; within a LAN or machine, for each address."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def allows(self, source: Endpoint, *, now: Monotonic) -> bool:
        """Whether one more datagram from `source` is looked at."""
        ip = source.ip
        is_global = scope_of(ip) is Scope.GLOBAL
        group = network_group(ip) if is_global else b"local" + ip.packed
        bucket = self._buckets.get(group)
        if bucket is None:
            rate, burst = (GLOBAL_RATE, GLOBAL_BURST) if is_global else (LOCAL_RATE, LOCAL_BURST)
            bucket = self._buckets[group] = TokenBucket(rate, burst, now=now)
            if len(self._buckets) > MAX_GROUPS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(group)
        return bucket.take(now=now)
