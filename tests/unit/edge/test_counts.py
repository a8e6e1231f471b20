"""The edge tells its counts of peers: other nodes, trunks, repeated messages, silence, sound."""

from node.tracing.counts import Counts
from tests.support.edges import World
from tests.support.virtual_time import in_virtual_time


def counts_of(world: World, name: str) -> Counts:
    world[name].edge._parts.tap.look()
    return world[name].edge._parts.counts


@in_virtual_time
async def test_a_call_between_nodes_is_counted_with_the_other_node() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    mine, _ = await world.call(alice, bob)
    mine.send("BYE")
    await world.settle(2)
    node = counts_of(world, "A").peers("node")[world["B"].id.text].as_json()
    assert node["requests"] == {"in": 0, "out": 3}  # INVITE, ACK, BYE
    assert node["responses"]["in"] == {"1xx": 1, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 0, "6xx": 0}
    assert counts_of(world, "A").calls == {("out", "node", "2xx"): 1}
    assert counts_of(world, "B").calls == {("in", "node", "2xx"): 1}
    phones = counts_of(world, "A").of("sip").as_json()
    assert (phones["timeouts"], phones["retransmissions"]) == (0, {"in": 0, "out": 0})


@in_virtual_time
async def test_what_is_lost_shows_as_repeats_and_silence() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    bob.die()
    alice.invite(world.dial(alice, "bob"))
    await world.settle(40)
    phones = counts_of(world, "A").of("sip").as_json()
    assert phones["timeouts"] == 1
    assert phones["retransmissions"]["out"] >= 6


@in_virtual_time
async def test_an_unreachable_node_is_counted() -> None:
    world = World()
    alice, _ = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    world.links.cut.add(world["B"].id)
    alice.invite(world.dial(alice, "bob"))
    await world.settle(20)
    assert counts_of(world, "A").peers("node")[world["B"].id.text].timeouts == 1
