"""The rate that each account may have relayed: shares of workers, and buckets in them."""

import contextlib
from typing import Any

import pytest

from media_relay.account_meter import IDLE_SECONDS, TICK_SECONDS, AccountMeter
from media_relay.account_shares import LEAST_SHARE, AccountShares
from media_relay.control_turn import LimitAccount
from media_relay.turn.guests import GUEST
from media_relay.turn_meter import Meter, OverBudget

RATE = 100_000


def told(orders: list[tuple[int, LimitAccount]]) -> list[tuple[int, int]]:
    assert all(order.login == "alice" for _, order in orders)
    return [(worker, order.rate) for worker, order in orders]


def test_an_account_in_one_worker_has_all_of_its_rate_there() -> None:
    shares = AccountShares(RATE)
    assert told(shares.opened("alice", 0)) == [(0, RATE)]
    assert told(shares.opened("alice", 0)) == [(0, RATE)]
    assert told(shares.closed("alice", 0)) == []
    assert told(shares.closed("alice", 0)) == [(0, 0)]


def test_another_worker_takes_from_the_first_before_it_gets_its_share() -> None:
    shares = AccountShares(RATE)
    shares.opened("alice", 0)
    assert told(shares.opened("alice", 1)) == [(0, RATE // 2), (1, RATE // 2)]
    assert told(shares.closed("alice", 0)) == [(0, 0), (1, RATE)]


def test_shares_follow_demand_are_never_more_than_the_rate_and_leave_something_to_the_silent() -> (
    None
):
    shares, given = AccountShares(RATE), {0: 0, 1: 0, 2: 0}
    for worker in given:
        for index, order in shares.opened("alice", worker):
            given[index] = order.rate
    for size in (0, 900_000, 10, 50_000, 0, 70_000):
        for worker, of in ((0, size), (1, size // 3)):
            for index, order in shares.used("alice", worker, of):
                given[index] = order.rate
                assert sum(given.values()) <= RATE
            assert sum(given.values()) >= RATE - 3
            assert min(given.values()) >= RATE * LEAST_SHARE / 3 - 1
    assert given[0] > given[1] > given[2]


def test_a_worker_that_tells_of_nothing_more_leaves_its_share_to_those_that_do() -> None:
    """Workers tell of accounts that had something relayed, and of no others."""
    shares, given = AccountShares(RATE), {0: 0, 1: 0}
    for worker in given:
        given.update((index, one.rate) for index, one in shares.opened("alice", worker))
    for worker in (0, 1):
        for _ in range(10):
            orders = shares.used("alice", worker, RATE)
            given.update((index, order.rate) for index, order in orders)
            assert sum(given.values()) <= RATE
        assert given[worker] > 0.9 * RATE


def test_a_worker_that_is_gone_leaves_its_share_to_the_others() -> None:
    shares = AccountShares(RATE)
    shares.opened("alice", 0)
    shares.opened("alice", 1)
    assert told(shares.forget(0)) == [(1, RATE)]
    assert shares.forget(0) == []
    assert shares.used("alice", 0, 500) == []
    assert told(shares.opened("alice", 0))[-1] == (0, RATE // 2)


def test_without_a_rate_and_for_guests_nothing_is_ordered() -> None:
    for shares, login in ((AccountShares(), "alice"), (AccountShares(RATE), "~guest")):
        assert shares.opened(login, 0) == []
        assert shares.used(login, 0, 500) == []
        assert shares.closed(login, 0) == []


class Way:
    """An account's way out through a meter, tried every millisecond."""

    def __init__(self, rate: int = RATE) -> None:
        self.wakes = self.came = self.now = 0.0
        self.meter = AccountMeter(self._wake)
        self.meter.limit("alice", rate, 0.0)
        self.send = self.meter.paid("alice", self._out)
        self.tick_at: float | None = 0.0

    def _wake(self) -> None:
        self.wakes += 1
        self.tick_at = 0.0

    def _out(self, data: Any, target: Any) -> int:
        self.came += len(data)
        return len(data)

    def run(self, seconds: float, size: int) -> float:
        """Bytes that came while one datagram of `size` was tried each millisecond; 0: none."""
        before = self.came
        for _ in range(round(seconds * 1000)):
            self.now += 0.001
            if self.tick_at is not None and self.tick_at <= self.now:
                self.tick_at = self.now + TICK_SECONDS if self.meter.tick(self.now) else None
            if size:
                with contextlib.suppress(OSError):
                    self.send(bytes(size), 0)
        return self.came - before


def test_a_flood_passes_at_the_rate_within_two_percent() -> None:
    way = Way()
    way.run(1, 500)
    assert 0.98 * RATE * 5 <= way.run(5, 500) <= 1.02 * RATE * 5
    assert way.meter.take_dropped()["alice"] > RATE
    assert way.meter.take_dropped() == {}


def test_a_burst_after_silence_is_a_tenth_of_a_second() -> None:
    way = Way()
    way.run(60, 0)
    assert way.run(0.04, 1000) <= RATE * 0.1 + RATE * 0.04 + 1000


def test_what_is_below_the_rate_passes_whole() -> None:
    way = Way()
    way.run(1, 0)
    assert way.run(3, 90) == 3000 * 90
    assert way.meter.take_dropped() == {}


def test_at_rest_nothing_ticks_and_the_first_datagram_wakes() -> None:
    way = Way()
    way.run(2 * IDLE_SECONDS, 0)
    assert way.tick_at is None
    way.wakes = 0
    assert way.run(0.01, 10) == 100
    assert way.wakes == 1
    assert way.tick_at is not None


def test_opening_anew_gains_nothing() -> None:
    way = Way()
    way.meter.forget("alice")
    way.meter.limit("alice", RATE, 0.0)
    send = way.meter.paid("alice", way._out)
    assert send(bytes(500), 0) == 500
    for _ in range(3):
        with contextlib.suppress(OSError):
            send(bytes(500), 0)
    assert way.came == 500


def test_what_is_dropped_leaves_nothing_behind() -> None:
    """An exception holds the frames that it went through, and floods are dropped for hours."""
    way = Way()
    guests = Meter()
    guests.credit = 0
    for send in (way.send, guests.paid(f"{GUEST}stranger", way._out)):
        with contextlib.suppress(OSError):
            send(bytes(500), 0)
        for _ in range(3):
            with pytest.raises(OverBudget) as refused:
                send(bytes(500), 0)
        assert len(refused.traceback) == 2  # here, and in the meter


def test_accounts_without_a_rate_have_their_own_way() -> None:
    meter = AccountMeter()

    def out(data: Any, target: Any) -> int:
        return len(data)

    assert meter.paid("alice", out) is out
