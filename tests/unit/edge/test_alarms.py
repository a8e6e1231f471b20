"""Many timers on one of the loop's."""

import asyncio
from math import isclose

from node.edge.alarms import GRAIN, LONG, Alarms
from tests.support.edges import World
from tests.support.virtual_loop import LoopClock
from tests.support.virtual_time import in_virtual_time


def an_alarms() -> tuple[Alarms, LoopClock, list[tuple[str, float]]]:
    clock = LoopClock(asyncio.get_running_loop())
    return Alarms(clock), clock, []


@in_virtual_time
async def test_each_rings_once_in_its_order() -> None:
    alarms, clock, rung = an_alarms()
    began = clock.monotonic()

    def ring(name: str) -> None:
        rung.append((name, clock.monotonic() - began))

    alarms.later(0.5, lambda: ring("b"))
    alarms.later(0.1, lambda: ring("a"))
    alarms.later(0.7, lambda: ring("never")).cancel()
    await asyncio.sleep(1.0)
    assert [name for name, _ in rung] == ["a", "b"]
    assert isclose(rung[0][1], 0.1, abs_tol=0.002)
    assert isclose(rung[1][1], 0.5, abs_tol=0.002)


@in_virtual_time
async def test_long_ones_share_a_wake_up_and_are_never_early() -> None:
    alarms, clock, rung = an_alarms()
    began = clock.monotonic()
    for number in range(10):
        delay = LONG + 1.0 + number * GRAIN / 10
        due = began + delay
        alarms.later(delay, lambda due=due: rung.append(("x", clock.monotonic() - due)))  # type: ignore[misc]
    await asyncio.sleep(LONG + 2.0)
    assert len(rung) == 10
    assert all(-0.001 <= late <= GRAIN + 0.002 for _, late in rung)


@in_virtual_time
async def test_one_set_while_others_ring_holds_none_back() -> None:
    alarms, _, rung = an_alarms()
    alarms.later(0.1, lambda: alarms.later(5.0, lambda: rung.append(("late", 0.0))) and None)
    alarms.later(0.2, lambda: rung.append(("soon", 0.0)))
    await asyncio.sleep(1.0)
    assert rung == [("soon", 0.0)]
    await asyncio.sleep(5.0)
    assert len(rung) == 2


@in_virtual_time
async def test_an_action_that_fails_leaves_the_others_alone() -> None:
    alarms, _, rung = an_alarms()
    failed: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))

    def fail() -> None:
        raise LookupError

    alarms.later(0.1, fail)
    alarms.later(0.1, lambda: rung.append(("x", 0.0)))
    await asyncio.sleep(0.2)
    assert rung == [("x", 0.0)]
    assert [type(error) for error in failed] == [LookupError]


@in_virtual_time
async def test_a_closed_one_rings_nothing() -> None:
    alarms, _, rung = an_alarms()
    alarms.later(0.1, lambda: rung.append(("x", 0.0)))
    alarms.close()
    alarms.close()
    await asyncio.sleep(1.0)
    assert rung == []


@in_virtual_time
async def test_traffic_does_not_put_the_timers_of_transactions_off() -> None:
    """A message comes every 5 ms; an INVITE that nobody answers is repeated in time."""
    world = World("A")
    alice, bob, carol = (world.phone("A", name) for name in ("alice", "bob", "carol"))
    await world.registered()
    bob.dead = True
    heard: list[bytes] = []
    bob.receive = heard.append  # type: ignore[method-assign]
    alice.invite(world.dial(alice, "bob"))
    for _ in range(400):
        carol.send("OPTIONS", f"sip:{carol.server}")
        await asyncio.sleep(0.005)
    assert [data[:6] for data in heard] == [b"INVITE"] * 3
