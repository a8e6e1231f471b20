"""What the directory remembers of strangers, and that it stays little."""

import pytest

from dht import cookie
from dht.cookie import GLOBAL_BURST, RateLimiter
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic

NOW = Monotonic(100.0)


def test_rate_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged sources push out the network heard longest ago; one that goes on stays limited."""
    monkeypatch.setattr(cookie, "MAX_GROUPS", 3)
    limiter = RateLimiter()
    loud = Endpoint("5.6.7.8", 7060)
    while limiter.allows(loud, now=NOW):
        pass
    for number in range(20):
        assert limiter.allows(Endpoint(f"9.9.{number}.1", 7060), now=NOW)
        assert not limiter.allows(loud, now=NOW)
        assert len(limiter._buckets) <= 3


def test_a_network_shares_its_rate() -> None:
    """A /24, or a /48, is one source: its owner has many addresses."""
    limiter = RateLimiter()
    taken = 0
    while limiter.allows(Endpoint(f"5.6.7.{taken % 250}", 7060), now=NOW):
        taken += 1
    assert taken == GLOBAL_BURST
    assert limiter.allows(Endpoint("5.6.8.1", 7060), now=NOW)
