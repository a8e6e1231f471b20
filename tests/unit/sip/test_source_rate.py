"""So many at once from one source, then so many a second."""

from federation.model.clocks import Monotonic
from node.sip.transports.source_rate import MAX_SOURCES, SourceRate


def allowed(rate: SourceRate, host: str, times: int, at: float) -> int:
    return sum(rate.allows(host, now=Monotonic(at)) for _ in range(times))


def test_a_burst_and_then_a_rate() -> None:
    rate = SourceRate(5, 2.0)
    assert allowed(rate, "192.0.2.1", 9, at=0.0) == 5
    assert allowed(rate, "192.0.2.1", 9, at=1.0) == 2
    assert allowed(rate, "192.0.2.1", 9, at=1.5) == 1
    assert allowed(rate, "192.0.2.1", 9, at=100.0) == 5


def test_being_refused_costs_nothing() -> None:
    rate = SourceRate(1, 1.0)
    assert allowed(rate, "192.0.2.1", 50, at=0.0) == 1
    assert allowed(rate, "192.0.2.1", 1, at=1.0) == 1


def test_sources_do_not_share() -> None:
    rate = SourceRate(1, 0.0)
    assert allowed(rate, "192.0.2.1", 2, at=0.0) == 1
    assert allowed(rate, "192.0.2.2", 2, at=0.0) == 1
    assert allowed(rate, "2001:db8::1", 2, at=0.0) == 1
    assert allowed(rate, "2001:db8::ffff:1", 1, at=0.0) == 0
    assert allowed(rate, "2001:db8:0:1::1", 1, at=0.0) == 1
    assert allowed(rate, "fe80::1%eth0", 2, at=0.0) == 1


def test_what_is_remembered_is_bounded() -> None:
    rate = SourceRate(1, 0.0)
    for number in range(MAX_SOURCES):
        assert rate.allows(f"10.0.{number >> 8}.{number & 255}", now=Monotonic(0.0))
    assert not rate.allows("10.0.0.0", now=Monotonic(0.0))
    assert rate.allows("192.0.2.1", now=Monotonic(0.0))
    assert rate.allows("10.0.0.0", now=Monotonic(0.0))
