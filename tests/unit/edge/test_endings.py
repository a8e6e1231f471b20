"""Every way a call can end, also those that no phone chose; nothing stays behind."""

from dataclasses import replace

import pytest

from federation.model.address import Endpoint
from federation.ports import Failure
from node.edge.memory import unpack_dialog
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


async def pair(nodes: str = "AB"):  # type: ignore[no-untyped-def]
    world = World(nodes)
    alice, bob = world.phone("A", "alice"), world.phone(nodes[-1], "bob")
    await world.registered()
    return world, alice, bob


@pytest.mark.parametrize("nodes", ["A", "AB"])
@pytest.mark.parametrize("side", ["A", "last"])
def test_the_operator_hangs_up_a_call_that_is_up(nodes: str, side: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair(nodes)
        await world.call(alice, bob)
        node = world["A"] if side == "A" else world[nodes[-1]]
        (call,) = node.edge.calls()
        assert call.state == "up"
        assert node.edge.hang_up(call.id) == 1
        await world.settle()
        assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
        assert alice.got("BYE")[0].request.get("Reason") is not None
        await world.over()

    run()


@in_virtual_time
async def test_a_removed_account_loses_its_calls() -> None:
    world, alice, bob = await pair()
    await world.call(alice, bob)
    world["B"].edge.end_account("bob")
    await world.settle()
    assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_drain_ends_ringing_and_answered_calls() -> None:
    world, alice, bob = await pair()
    carol = world.phone("B", "carol")
    carol.register()
    await world.settle()
    await world.call(alice, bob)
    ringing = alice.invite(world.dial(alice, "carol"))
    await world.settle()
    carol.calls()[0].respond(180)
    await world.settle()
    await world["B"].edge.drain()
    await world.settle()
    assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
    assert carol.calls()[0].cancelled
    assert ringing.status == 487
    await world.over()


@in_virtual_time
async def test_a_call_whose_node_went_down_ends_when_its_legs_fall_silent() -> None:
    world, alice, bob = await pair()
    await world.call(alice, bob)
    world.links.cut.add(world["B"].id)
    await world.settle(45)
    assert len(alice.got("BYE")) == 1
    assert len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_a_node_that_is_down_before_the_call_gives_480() -> None:
    world, alice, bob = await pair()
    world.links.cut.add(world["B"].id)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle(6)
    assert sent.status == 480
    await world.over()
    assert bob.calls() == []


@in_virtual_time
async def test_a_node_that_goes_down_while_it_rings_gives_480() -> None:
    world, alice, bob = await pair()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle()
    branch = next(iter(world["A"].edge.inbound.pending.values()))
    world.links.cut.add(world["B"].id)
    await world.settle(20)
    branch.client.end(Failure.LOST)  # type: ignore[union-attr]
    await world.settle()
    assert sent.status == 480
    server = bob.calls()[0]
    server.respond(487)
    await world.over()


@pytest.mark.parametrize("status", [302, 404, 486, 487, 500, 503, 600, 603, 606])
def test_a_refusal_is_the_callers_answer(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair()
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle()
        bob.calls()[0].respond(status)
        await world.settle()
        softened = 480 if status in (302, 503) else status
        assert sent.status == softened
        await world.over()

    run()


@in_virtual_time
async def test_a_phone_that_is_not_there_is_480_and_a_name_nobody_has_is_404() -> None:
    world, alice, bob = await pair()
    bob.register(expires=0)
    await world.settle()
    offline = alice.invite(world.dial(alice, "bob"))
    nobody = alice.invite(f"sip:nobody@{alice.server}")
    foreign = alice.invite("sip:bob@unproven.test")
    await world.settle()
    assert (offline.status, nobody.status, foreign.status) == (480, 404, 404)
    await world.over()


@in_virtual_time
async def test_a_bye_that_is_never_answered_ends_the_call_all_the_same() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    bob.die()
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_call_whose_bye_passed_is_under_way_no_more() -> None:
    """What it held is freed with the BYE's answer, which a dead phone never gives."""
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    bob.die()
    talk.send("BYE")
    await world.settle()
    assert [node.edge.calls() for node in world.nodes.values()] == [[], []]
    assert world["A"].edge.leftovers["dialog_sets"] == 1
    await world.over()


@in_virtual_time
async def test_byes_that_cross_end_one_call() -> None:
    world, alice, bob = await pair()
    talk, back = await world.call(alice, bob)
    one, other = talk.send("BYE"), back.send("BYE")
    await world.settle()
    assert one.status in (200, 481)
    assert other.status in (200, 481)
    await world.over()


@in_virtual_time
async def test_a_reinvite_answered_481_ends_the_call() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    sent = talk.send("INVITE", sdp(alice.ip, version=2))
    await world.settle()
    bob.got("INVITE")[-1].respond(481)
    await world.settle()
    assert sent.status == 481
    await world.over()


@in_virtual_time
async def test_a_stored_call_is_ended_by_the_next_start() -> None:
    world, alice, bob = await pair()
    await world.call(alice, bob)
    rows = {key[0]: row["data"] for key, row in world["B"].rows.table("dialogs").items()}
    assert len(rows) == 1
    group = unpack_dialog(
        next(iter(rows.values())), 7, now=world.clock.monotonic(), unix=world.clock.unix()
    )
    assert group.call_id == bob.calls()[0].request.call_id
    again = World("AB")
    again_bob = again.phone("B", "bob", ip=bob.ip)
    again["B"].phones[bob.flow.local] = again_bob
    again["B"].edge.start(rows)
    await again.settle(3)
    assert len(again_bob.got("BYE")) == 1
    assert again["B"].rows.table("dialogs") == {}


@in_virtual_time
async def test_an_echo_call_is_answered_heard_and_ended_from_both_nodes() -> None:
    world, alice, bob = await pair()
    sent = alice.invite(f"sip:echo@{alice.server}")
    await world.settle()
    assert sent.status == 200
    assert sent.final is not None
    assert world.hears(sent.final.body) == alice.rtp
    sent.talk().ack()
    await world.settle()
    sent.talk().send("BYE")
    await world.settle()
    far = bob.invite(f"sip:echo@{world['A'].id.key_name}")
    await world.settle()
    assert far.status == 200
    assert far.final is not None
    assert world.hears(far.final.body) == bob.rtp
    far.talk().ack()
    await world.settle()
    far.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_an_echo_call_that_was_acknowledged_goes_on_until_it_is_ended() -> None:
    """By the operator, for instance: at once, since nothing is under way."""
    world, alice, _ = await pair()
    sent = alice.invite(f"sip:echo@{alice.server}")
    await world.settle()
    sent.talk().ack()
    await world.settle(60)
    assert alice.got("BYE") == []
    assert len(world["A"].edge.calls()) == 1
    assert world["A"].edge.hang_up("all") == 1
    await world.settle()
    assert len(alice.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_an_echo_call_without_ack_is_ended() -> None:
    world, alice, _ = await pair()
    sent = alice.invite(f"sip:echo@{alice.server}")
    await world.settle(60)
    assert sent.status == 200
    assert len(alice.got("BYE")) >= 1
    await world.over()


@in_virtual_time
async def test_loss_between_phones_and_nodes_loses_no_call() -> None:
    world, alice, bob = await pair()
    world.loss = 0.3
    world.jitter = 0.05
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle(12)
    arrived = bob.calls()[0]
    arrived.respond(180)
    arrived.respond(200, sdp(bob.ip))
    await world.settle(8)
    assert sent.status == 200
    for _ in range(4):
        sent.talk().ack()
        await world.settle(1)
    bye = arrived.talk().send("BYE")
    await world.settle(12)
    assert bye.status == 200
    world.loss = 0
    await world.over()


@in_virtual_time
async def test_a_phone_that_connected_anew_hears_of_the_end() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice", "TCP"), world.phone("A", "bob", "TCP")
    await world.registered()
    await world.call(alice, bob)
    for phone in (alice, bob):
        there, here = phone.flow.local, phone.flow.remote
        world.reconnect(phone)
        world["A"].edge.flow_closed(replace(phone.flow, local=here, remote=there, id=1))
    await world.registered()
    (call,) = world["A"].edge.calls()
    world["A"].edge.hang_up(call.id)
    await world.settle()
    assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
    await world.over()


@pytest.mark.parametrize(("stands", "way"), [(False, "UDP"), (True, "TCP")])
def test_a_phone_hears_of_the_end_whether_its_large_invites_connection_stands(
    stands: bool, way: str
) -> None:
    """Phones send large requests over TCP, and close that connection after half a minute."""

    @in_virtual_time
    async def run() -> None:
        world = World("A")
        alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
        await world.registered()
        datagrams, home = alice.flow, world["A"]
        connection = Endpoint(alice.ip, datagrams.local.port + 1000)
        home.phones[connection] = alice
        alice.flow = replace(datagrams, transport="TCP", local=connection, id=7)
        await world.call(alice, bob)
        if not stands:
            alice.flow = datagrams
            del home.phones[connection]
        (call,) = home.edge.calls()
        home.edge.hang_up(call.id)
        await world.settle()
        assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
        assert alice.came_over[-1] == way
        await world.over()

    run()
