"""Which hop is next, which are spared, and which requests are too large for UDP."""

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.congestion import MAX_UDP_BYTES, UDP_LIMIT, Carriage, carriage_of
from node.sip.errors import SipParseError
from node.sip.failover import MAX_REMEMBERED, MAX_SPARED, SPARED, Attempts, Outcome, SparedHops
from node.sip.locate import Hop


def hop(number: int) -> Hop:
    return Hop("UDP", Endpoint("192.0.2.1", number), "example.org")


ONE, TWO, THREE = hop(1), hop(2), hop(3)


@pytest.mark.parametrize(
    ("outcome", "heard", "goes_on"),
    [
        (503, False, True),
        (503, True, True),
        ("timeout", False, True),
        ("timeout", True, False),
        ("unreachable", False, True),
        ("unreachable", True, False),
        (200, False, False),
        (404, False, False),
        (408, False, False),
        (486, True, False),
        (500, False, False),
        (603, False, False),
    ],
)
def test_only_a_server_that_does_not_serve_is_passed_over(
    outcome: Outcome, heard: bool, goes_on: bool
) -> None:
    attempts = Attempts([ONE, TWO])
    assert attempts.current == ONE
    assert attempts.next_after(outcome, heard=heard) == (TWO if goes_on else None)
    assert attempts.current == (TWO if goes_on else ONE)


def test_after_the_last_hop_the_outcome_stands() -> None:
    attempts = Attempts([ONE, TWO, THREE])
    assert [attempts.next_after("timeout") for _ in range(3)] == [TWO, THREE, None]


def test_a_hop_that_failed_comes_last_for_a_while() -> None:
    spared, now = SparedHops(), Monotonic(100.0)
    spared.failed(ONE, now=now)
    assert spared.in_order([ONE, TWO, THREE], now=now) == (TWO, THREE, ONE)
    assert spared.in_order([ONE], now=now) == (ONE,)
    later = Monotonic(now + SPARED)
    assert spared.in_order([ONE, TWO], now=later) == (ONE, TWO)


def test_a_server_says_itself_how_long_within_bounds() -> None:
    spared, now = SparedHops(), Monotonic(100.0)
    for wish, seconds in ((5.0, 5.0), (1e9, MAX_SPARED), (-1.0, 0.0)):
        spared.failed(ONE, now=now, retry_after=wish)
        halfway = Monotonic(now + seconds / 2)
        assert spared.in_order([ONE, TWO], now=halfway)[0] == (TWO if seconds else ONE)
        assert spared.in_order([ONE, TWO], now=Monotonic(now + seconds))[0] == ONE


def test_who_answers_is_spared_no_longer() -> None:
    spared, now = SparedHops(), Monotonic(100.0)
    spared.failed(ONE, now=now)
    spared.served(ONE)
    assert spared.in_order([ONE, TWO], now=now) == (ONE, TWO)


def test_what_is_remembered_is_bounded() -> None:
    spared, now = SparedHops(), Monotonic(100.0)
    for number in range(MAX_REMEMBERED + 1):
        spared.failed(hop(number), now=now)
    assert spared.in_order([hop(0), hop(1), hop(5000)], now=now) == (hop(0), hop(5000), hop(1))


# RFC 3261 18.1.1


@pytest.mark.parametrize(
    ("size", "transport", "is_flow", "mtu", "carriage"),
    [
        (UDP_LIMIT, "UDP", False, None, Carriage("UDP")),
        (UDP_LIMIT + 1, "UDP", False, None, Carriage("TCP", "UDP")),
        (UDP_LIMIT + 1, "UDP", True, None, Carriage("UDP")),
        (1_500, "UDP", False, 9_000, Carriage("UDP")),
        (8_801, "UDP", False, 9_000, Carriage("TCP", "UDP")),
        (1_081, "UDP", False, 1_280, Carriage("TCP", "UDP")),
        (60_000, "TCP", False, None, Carriage("TCP")),
        (60_000, "TLS", False, None, Carriage("TLS")),
        (MAX_UDP_BYTES + 1, "UDP", False, None, Carriage("TCP")),
    ],
)
def test_large_requests_leave_udp(
    size: int, transport: str, is_flow: bool, mtu: int | None, carriage: Carriage
) -> None:
    found = carriage_of(size, transport, is_flow=is_flow, path_mtu=mtu)  # type: ignore[arg-type]
    assert found == carriage


def test_what_no_datagram_holds_cannot_go_over_a_phones_flow() -> None:
    with pytest.raises(SipParseError) as caught:
        carriage_of(MAX_UDP_BYTES + 1, "UDP", is_flow=True)
    assert caught.value.status == 513
