"""The timer queue: exact, in order, and without a tail of dead entries."""

import random
import time

from federation.model.clocks import Monotonic
from node.sip.timers import MAX_LANES, SWEEP_MINIMUM, Timed, TimerQueue


def at(seconds: float) -> Monotonic:
    return Monotonic(seconds)


def test_wake_ups_come_in_order_and_each_once() -> None:
    queue: TimerQueue[Timed] = TimerQueue()
    a, b, c = Timed(), Timed(), Timed()
    queue.set(a, at(3))
    queue.set(b, at(1))
    queue.set(c, at(1))
    assert queue.next() == 1
    assert queue.due(at(0.9)) == []
    assert queue.due(at(1)) == [b, c]
    assert queue.due(at(5)) == [a]
    assert queue.next() is None


def test_a_wake_up_can_be_moved_both_ways_and_cleared() -> None:
    queue: TimerQueue[Timed] = TimerQueue()
    a, b = Timed(), Timed()
    queue.set(a, at(1))
    queue.set(a, at(4))
    queue.set(b, at(4))
    queue.set(b, at(2))
    assert queue.next() == 2
    assert queue.due(at(3)) == [b]
    queue.clear(a)
    assert queue.due(at(9)) == []
    queue.set(a, at(10))
    queue.set(a, at(11))
    queue.clear(a)
    queue.set(a, at(12))
    assert queue.due(at(11)) == []
    assert queue.due(at(12)) == [a]


def test_it_agrees_with_a_plain_table_on_a_random_walk() -> None:
    chance = random.Random(5)
    queue: TimerQueue[Timed] = TimerQueue()
    owners = [Timed() for _ in range(20)]
    expected: dict[Timed, float] = {}
    now = 0.0
    for _ in range(5000):
        owner = chance.choice(owners)
        match chance.randrange(4):
            case 0:
                expected[owner] = now + chance.choice([0.5, 1, 2, 4, 32])
                queue.set(owner, at(expected[owner]))
            case 1:
                delay = chance.choice([0.5, 5, 32])
                expected[owner] = now + delay
                queue.set_after(owner, delay, at(now))
            case 2:
                expected.pop(owner, None)
                queue.clear(owner)
            case _:
                now += chance.choice([0.1, 0.5, 3])
                due = [expected.pop(owner) for owner in queue.due(at(now))]
                assert due == sorted(due)
                assert not [moment for moment in (*expected.values(),) if moment <= now]
        first = min(expected.values(), default=None)
        assert first is None or (queue.bound is not None and queue.bound <= first)
        assert queue.next() == queue.bound == first


def test_dead_entries_do_not_pile_up() -> None:
    queue: TimerQueue[Timed] = TimerQueue()
    for number in range(50_000):
        owner, other = Timed(), Timed()
        queue.set(owner, at(32 + number))
        queue.set_after(other, 32, at(number))
        queue.clear(owner)
        queue.set_after(other, 5, at(number))
        queue.clear(other)
    assert len(queue) <= 2 * SWEEP_MINIMUM + 2


def test_there_are_few_lanes() -> None:
    """A further delay is kept as well, where a delay of any kind is."""
    queue: TimerQueue[Timed] = TimerQueue()
    owners = [Timed() for _ in range(2 * MAX_LANES)]
    for delay, owner in enumerate(owners):
        queue.set_after(owner, delay, at(1))
    assert queue.due(at(100)) == owners


def test_tens_of_thousands_are_no_burden() -> None:
    queue: TimerQueue[Timed] = TimerQueue()
    owners = [Timed() for _ in range(50_000)]
    begun = time.process_time()
    for number, owner in enumerate(owners):
        queue.set(owner, at(number % 64))
        queue.set(owner, at(number % 64 + 32))
    assert len(queue.due(at(1000))) == len(owners)
    assert time.process_time() - begun < 5
