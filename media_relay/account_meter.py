"""Accounts' datagrams in a worker: passed at a rate, dropped and counted beyond it.

Each account has a bucket that holds a tenth of a second of its rate. While something passes it is
filled every `TICK_SECONDS`; so in any span of time at most

    rate x time + a tenth of a second of it + one datagram

leave the worker. A new bucket is as good as empty: closing and opening allocations gains nothing.
"""

from collections.abc import Callable
from typing import Any

from media_relay.budget import FIRST_BYTE, SLICE_SECONDS
from media_relay.counters import Outlet
from media_relay.turn_meter import OverBudget

TICK_SECONDS = 0.05
IDLE_SECONDS = 1.0
"After so long without a datagram a bucket is full and left alone."


class _Bucket:
    """One account's; bytes and seconds."""

    __slots__ = ("credit", "dropped", "filled", "is_awake", "rate", "used")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self.credit: float = FIRST_BYTE
        self.dropped = 0
        self.filled = now
        self.used = now
        "When it was last seen to have been drawn from."
        self.is_awake = True


class AccountMeter:
    """The buckets of one worker; `on_wake` is called when `tick` is needed again."""

    def __init__(self, on_wake: Callable[[], None] = lambda: None) -> None:
        self._on_wake = on_wake
        self._buckets: dict[str, _Bucket] = {}

    def limit(self, login: str, rate: int, now: float) -> None:
        """An account may have so many bytes a second relayed here."""
        bucket = self._buckets.get(login)
        if bucket is None:
            self._buckets[login] = _Bucket(rate, now)
            self._on_wake()
        else:
            self._fill(bucket, now)
            bucket.rate = rate

    def forget(self, login: str) -> int:
        """An account has no port here any more; the bytes dropped that were not told."""
        bucket = self._buckets.pop(login, None)
        return 0 if bucket is None else bucket.dropped

    def paid(self, login: str, outlet: Outlet) -> Outlet:
        """What sends datagrams for an account: the outlet itself, or one that counts."""
        bucket = self._buckets.get(login)
        return outlet if bucket is None else self._metered(bucket, outlet)

    def tick(self, now: float) -> bool:
        """Fill the buckets in use; whether to call again after `TICK_SECONDS`."""
        awake = False
        for bucket in self._buckets.values():
            if not bucket.is_awake:
                continue
            before = bucket.credit
            self._fill(bucket, now)
            if before < bucket.rate * SLICE_SECONDS:
                bucket.used = now
            bucket.is_awake = now - bucket.used < IDLE_SECONDS
            awake = awake or bucket.is_awake
        return awake

    def take_dropped(self) -> dict[str, int]:
        """Bytes dropped since the last time, by account."""
        dropped = {login: one.dropped for login, one in self._buckets.items() if one.dropped}
        for login in dropped:
            self._buckets[login].dropped = 0
        return dropped

    @staticmethod
    def _fill(bucket: _Bucket, now: float) -> None:
        most = bucket.rate * SLICE_SECONDS
        bucket.credit = min(most, bucket.credit + (now - bucket.filled) * bucket.rate)
        bucket.filled = now

    def _metered(self, bucket: _Bucket, outlet: Outlet) -> Outlet:
        wake = self._on_wake

        def send(data: Any, target: Any) -> int:
            size = len(data)
            if not bucket.is_awake:
                bucket.is_awake = True
                wake()
            if bucket.credit <= 0:
                bucket.dropped += size
                raise OverBudget  # a new one: each raise of the same would hold on to more frames
            sent: int = outlet(data, target)
            bucket.credit -= size
            return sent

        return send
