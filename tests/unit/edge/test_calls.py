"""Calls between two edges: what both phones see, hear, and what is left afterwards."""

from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_call_by_number_is_heard_both_ways_and_leaves_nothing() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    (arrived,) = bob.calls()
    arrived.respond(180)
    await world.settle()
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.statuses == [180, 200]
    talk = sent.talk()
    talk.ack()
    await world.settle()
    assert len(arrived.acked) == 1
    assert sent.final is not None
    assert world.hears(sent.final.body) == bob.rtp
    assert world.hears(arrived.request.body) == alice.rtp
    bye = arrived.talk().send("BYE")
    await world.settle()
    assert bye.status == 200
    assert len(alice.got("BYE")) == 1
    await world.over()
