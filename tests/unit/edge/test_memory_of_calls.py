"""What is over is freed at once: cycles wait for the collector, which looks rarely and long."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time

FORGOTTEN = 140.0
"Seconds after which no transaction and no alarm of a call is left."


async def call(world: World) -> None:
    talk, _ = await world.call(*world.phones)
    talk.send("INFO")
    await world.settle()
    world.phones[1].got("INFO")[-1].respond(200)
    await world.settle()
    again = talk.send("INVITE", sdp(talk.phone.ip, version=2))
    await world.settle()
    world.phones[1].got("INVITE")[-1].respond(200, sdp(world.phones[1].ip, version=2))
    await world.settle()
    talk.ack(again.request.cseq.number)
    talk.send("BYE")


async def hang_up_by_the_operator(world: World) -> None:
    await world.call(*world.phones)
    world["A"].edge.hang_up("all")


async def busy(world: World) -> None:
    caller, callee = world.phones
    caller.invite(world.dial(caller, callee.login))
    await world.settle()
    callee.calls()[-1].respond(486)


async def given_up(world: World) -> None:
    caller, callee = world.phones
    sent = caller.invite(world.dial(caller, callee.login))
    await world.settle()
    callee.calls()[-1].respond(180)
    await world.settle()
    sent.cancel()


async def message(world: World) -> None:
    caller, callee = world.phones
    caller.send("MESSAGE", world.dial(caller, callee.login))
    await world.settle()
    callee.got("MESSAGE")[-1].respond(200)


@pytest.mark.parametrize("to", ["A", "B"])
@pytest.mark.parametrize("what", [call, hang_up_by_the_operator, busy, given_up, message])
@in_virtual_time
async def test_it_leaves_no_cycle(what: Callable[[World], Awaitable[None]], to: str) -> None:
    world = World("AB")
    world.phone("A", "alice")
    world.phone(to, "bob")
    await world.registered()
    gc.collect()
    gc.disable()
    try:
        await what(world)
        await world.settle(FORGOTTEN)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = Counter(type(thing).__name__ for thing in gc.garbage if is_ours(thing))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not kinds


def is_ours(thing: object) -> bool:
    """Whether it is of the node and not of what stands around it in this test."""
    return str(type(thing).__module__).startswith(("node.", "media_relay."))
