"""Calls between two edges leave the messages of all their sides in the traces."""

from node.tracing.shown import as_json
from node.tracing.traces import CallTraces
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


def traced(world: World, name: str) -> CallTraces:
    traces = CallTraces()
    world[name].edge._parts.tap.read_by(traces.take)
    return traces


def story(world: World, traces: CallTraces, name: str, call_id: str) -> list[tuple[str, str, str]]:
    world[name].edge._parts.tap.look()
    found = traces.find(call_id)
    assert found is not None
    assert found.is_whole
    shown = as_json(found, call="x", under_way=True, unix_of=lambda at: at)
    return [
        (each["direction"], each["transport"], each["summary"].partition(" sip:")[0])
        for each in shown["messages"]
    ]


@in_virtual_time
async def test_a_call_between_nodes_is_seen_on_both_sides_of_each() -> None:
    world = World()
    traces = {name: traced(world, name) for name in "AB"}
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    _, theirs = await world.call(alice, bob)
    theirs.send("BYE")
    await world.settle()
    call_id = theirs.call_id
    assert story(world, traces["A"], "A", call_id) == [
        ("in", "UDP", "INVITE"),
        ("out", "UDP", "407 Proxy Authentication Required (INVITE)"),
        ("in", "UDP", "ACK"),
        ("in", "UDP", "INVITE"),
        ("out", "UDP", "100 Trying (INVITE)"),
        ("out", "QUIC", "INVITE"),
        ("in", "QUIC", "180 Ringing (INVITE)"),
        ("out", "UDP", "180 Ringing (INVITE)"),
        ("in", "QUIC", "200 OK (INVITE)"),
        ("out", "UDP", "200 OK (INVITE)"),
        ("in", "UDP", "ACK"),
        ("out", "QUIC", "ACK"),
        ("in", "QUIC", "BYE"),
        ("out", "UDP", "BYE"),
        ("in", "UDP", "200 OK (BYE)"),
        ("out", "QUIC", "200 OK (BYE)"),
    ]
    seen = story(world, traces["B"], "B", call_id)
    assert seen[0] == ("in", "QUIC", "INVITE")
    assert ("out", "QUIC", "200 OK (INVITE)") in seen
    assert ("in", "QUIC", "ACK") in seen


@in_virtual_time
async def test_frames_that_end_a_call_are_seen() -> None:
    world = World()
    traces = {name: traced(world, name) for name in "AB"}
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle()
    sent.cancel()
    await world.settle()
    call_id = bob.calls()[0].request.call_id
    assert ("out", "QUIC", "(cancel frame)") in story(world, traces["A"], "A", call_id)
    assert ("in", "QUIC", "(cancel frame)") in story(world, traces["B"], "B", call_id)

    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[-1].respond(200, sdp(bob.ip))
    await world.settle()
    sent.talk().ack()
    world["A"].edge.hang_up("all")
    await world.settle()
    call_id = bob.calls()[-1].request.call_id
    assert ("out", "QUIC", "(bye frame)") in story(world, traces["A"], "A", call_id)
    assert ("in", "QUIC", "(bye frame)") in story(world, traces["B"], "B", call_id)


@in_virtual_time
async def test_a_call_is_named_by_its_number_until_its_record_is_written() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    mine, _ = await world.call(alice, bob)
    edge = world["A"].edge
    (call,) = edge.calls()
    mine.send("BYE")
    await world.settle(0.1)
    assert edge.calls() == []
    assert edge.journal.call_id_of(call.id) == mine.call_id
    await world.settle(2)
    assert edge.journal.call_id_of(call.id) is None
