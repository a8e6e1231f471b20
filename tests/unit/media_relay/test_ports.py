import pytest

from federation.model.clocks import Monotonic
from media_relay.ports import SHORTEST_REST, PortPool


def at(seconds: float) -> Monotonic:
    return Monotonic(seconds)


def test_every_pair_is_taken_once() -> None:
    pool = PortPool(10000, 10009, first=3)
    taken = [pool.take(now=at(0)) for _ in range(6)]
    assert taken == [10006, 10008, 10000, 10002, 10004, None]
    assert (pool.in_use, pool.free) == (5, 0)


def test_the_longest_unused_is_reused_first() -> None:
    pool = PortPool(10000, 10005)
    first, second, third = (pool.take(now=at(0)) for _ in range(3))
    assert None not in (first, second, third)
    for port, when in ((second, 1), (third, 2), (first, 3)):
        assert port is not None
        pool.give_back(port, now=at(when))
    assert [pool.take(now=at(20)) for _ in range(3)] == [second, third, first]


def test_a_never_used_pair_goes_before_a_rested_one() -> None:
    pool = PortPool(10000, 10003)
    used = pool.take(now=at(0))
    assert used == 10000
    pool.give_back(used, now=at(0))
    assert pool.take(now=at(100)) == 10002


def test_nothing_is_reused_within_a_second() -> None:
    pool = PortPool(10000, 10001)
    assert pool.take(now=at(0)) == 10000
    pool.give_back(10000, now=at(5))
    assert pool.take(now=at(5 + SHORTEST_REST - 0.001)) is None
    assert pool.take(now=at(5 + SHORTEST_REST)) == 10000


def test_giving_back_twice_is_a_bug() -> None:
    pool = PortPool(10000, 10001)
    pool.take(now=at(0))
    pool.give_back(10000, now=at(0))
    with pytest.raises(KeyError):
        pool.give_back(10000, now=at(0))
