"""What crosses on the wire: CANCEL and 200, two answers, late answers, ACKs that never come."""

import pytest

from tests.support.edges import World, audio_of, sdp
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_cancel_ends_the_ringing_on_the_other_node() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle()
    sent.cancel()
    await world.settle()
    assert bob.calls()[0].cancelled
    assert sent.statuses == [180, 487]
    await world.over()


@in_virtual_time
async def test_cancel_that_crosses_the_200_gives_a_call_that_the_caller_ends() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = bob.calls()[0]
    arrived.respond(180)
    await world.settle()
    sent.cancel()
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.statuses == [180, 200]
    talk = sent.talk()
    talk.ack()
    bye = talk.send("BYE")
    await world.settle()
    assert bye.status == 200
    assert len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_cancel_before_the_lookup_ended_asks_nobody() -> None:
    world = World()
    world.lookup_delay = 3.0
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    sent.cancel()
    await world.settle()
    assert sent.statuses == [487]
    await world.over()
    assert bob.calls() == []


@in_virtual_time
async def test_cancel_before_any_100_of_the_device_is_sent_with_its_first_answer() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    sent.cancel()
    await world.settle()
    assert sent.statuses == []
    bob.calls()[0].respond(180)
    await world.settle()
    assert bob.calls()[0].cancelled
    assert sent.statuses[-1] == 487
    await world.over()


@in_virtual_time
async def test_a_device_that_never_answers_its_cancel_holds_nobody_up() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle()
    bob.die()
    sent.cancel()
    await world.settle(40)
    assert sent.latest.over == "timeout"  # its own patience is as long as ours
    await world.over()


@in_virtual_time
async def test_an_answer_after_the_operator_hung_up_is_acknowledged_and_ended() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = bob.calls()[0]
    arrived.respond(183, sdp(bob.ip))
    await world.settle()
    assert world["A"].edge.hang_up("all") == 1
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.status == 487
    assert arrived.acked
    assert len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_an_answer_on_one_node_after_the_operator_hung_up_is_ended() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = bob.calls()[0]
    arrived.respond(180)
    await world.settle()
    world["A"].edge.hang_up("all")
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.status == 487
    assert arrived.acked
    assert len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_an_answer_that_comes_when_the_link_was_given_up_is_ended() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = bob.calls()[0]
    arrived.respond(180)
    await world.settle()
    (branch,) = world["A"].edge.inbound.pending.values()
    client = branch.client
    world.links.cut.add(world["A"].id)
    sent.cancel()
    await world.settle(33)
    assert sent.latest.over == "timeout"
    world.links.cut.clear()
    assert client is not None
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    server = world["B"].edge.inbound
    assert server is not None
    await world.settle(1)
    world["B"].links.push_2xx(world["A"].id, branch.txn, arrived_answer(world), ())
    await world.settle(3)
    assert arrived.acked
    assert len(bob.got("BYE")) == 1
    await world.over()


def arrived_answer(world: World) -> bytes:
    """The 200 that B sent to A last."""
    return next(
        frame.sip
        for frame in reversed(world.links.carried)
        if hasattr(frame, "status") and frame.status == 200
    )


@in_virtual_time
async def test_both_answers_of_two_devices_reach_the_caller() -> None:
    world = World()
    alice = world.phone("A", "alice")
    desk, cell = world.phone("B", "bob"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    for phone in (desk, cell):
        phone.calls()[0].respond(200, sdp(phone.ip))
    await world.settle()
    answers = [r for r in sent.latest.responses if r.status == 200]
    assert len({r.to.tag for r in answers}) == 2
    first = answers[0]
    second = next(r for r in answers if r.to.tag != first.to.tag)
    sent.talk(first).ack()
    loser = sent.talk(second)
    loser.ack()
    bye = loser.send("BYE")
    await world.settle()
    assert bye.status == 200
    assert [len(phone.got("BYE")) for phone in (desk, cell)] in ([0, 1], [1, 0])
    assert [bool(phone.calls()[0].acked) for phone in (desk, cell)] == [True, True]
    winner = desk if not desk.got("BYE") else cell
    assert world.media.leads(audio_of(first.body)) == winner.rtp
    await world.settle(60)
    assert world.media.leads(audio_of(first.body)) == winner.rtp
    sent.talk(first).send("BYE")
    await world.over()


@in_virtual_time
async def test_a_bye_frame_for_one_of_two_answers_leaves_the_other() -> None:
    world = World()
    alice = world.phone("A", "alice")
    desk, cell = world.phone("B", "bob"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    for phone in (desk, cell):
        phone.calls()[0].respond(200, sdp(phone.ip))
    await world.settle()
    first, second = [r for r in sent.latest.responses if r.status == 200][:2]
    sent.talk(first).ack()
    sent.talk(second).ack()
    await world.settle()
    (group,) = world["A"].edge._hub.dialogs
    loser = group.dialogs[second.to.tag or ""]
    world["A"].edge._hub.endings.hang_up_callee(loser, "not wanted")
    await world.settle()
    assert sorted(len(phone.got("BYE")) for phone in (desk, cell)) == [0, 1]
    assert len(world["B"].edge.calls()) == 1
    sent.talk(first).send("BYE")
    await world.over()


@in_virtual_time
async def test_a_200_whose_ack_never_comes_ends_the_call_on_both_nodes() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    alice.invite(world.dial(alice, "bob"))
    await world.settle()
    alice.die()
    bob.calls()[0].respond(200, sdp(bob.ip), repeat=False)
    await world.settle(45)
    assert len(bob.got("BYE")) >= 1
    await world.over()


@in_virtual_time
async def test_a_bye_in_an_early_dialog_leaves_the_other_branches() -> None:
    world = World()
    alice = world.phone("A", "alice")
    desk, cell = world.phone("B", "bob"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    desk.calls()[0].respond(183, sdp(desk.ip))
    cell.calls()[0].respond(180)
    await world.settle()
    progress = next(r for r in sent.latest.responses if r.status == 183)
    early = sent.talk(progress)
    bye = early.send("BYE")
    await world.settle()
    assert bye.status == 200
    desk.calls()[0].respond(487)
    cell.calls()[0].respond(200, sdp(cell.ip))
    await world.settle()
    assert sent.status == 200
    assert sent.final is not None
    talk = sent.talk()
    talk.ack()
    await world.settle()
    assert world.hears(sent.final.body) == cell.rtp
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_bye_in_the_only_early_dialog_is_followed_by_the_invites_487() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(183, sdp(bob.ip))
    await world.settle()
    bye = sent.talk(sent.latest.responses[-1]).send("BYE")
    await world.settle()
    bob.calls()[0].respond(487)
    await world.settle()
    assert (bye.status, sent.status) == (200, 487)
    await world.over()


@in_virtual_time
async def test_timer_c_ends_what_rings_for_too_long() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle(170)
    assert sent.status == 0
    await world.settle(30)
    assert bob.calls()[0].cancelled
    assert sent.status == 487
    await world.over()


@in_virtual_time
async def test_six_hundred_ends_the_other_branch_and_is_the_answer() -> None:
    world = World()
    alice = world.phone("A", "alice")
    desk, cell = world.phone("B", "bob"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    for phone in (desk, cell):
        phone.calls()[0].respond(180)
    await world.settle()
    desk.calls()[0].respond(603)
    await world.settle()
    assert cell.calls()[0].cancelled
    assert sent.status == 603
    await world.over()


@in_virtual_time
async def test_a_200_that_is_repeated_is_acknowledged_again() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = bob.calls()[0]
    arrived.respond(200, sdp(bob.ip))
    await world.settle(3.4)
    same = [r for r in sent.latest.responses if r.status == 200]
    assert len(same) == 3
    assert len({r.body for r in same}) == 1
    sent.talk().ack()
    await world.settle()
    assert arrived.acked
    arrived.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_a_close_in_the_middle_of_calls_leaves_no_timer() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    await world.call(alice, bob)
    alice.invite(world.dial(alice, "bob"))
    await world.settle()
    await world["A"].edge.close()
    for session in world["A"].relay.open:
        session.close()
    await world.settle(400)


@in_virtual_time
async def test_a_call_that_ends_under_a_reinvite_ends_cleanly() -> None:
    for status, body in ((200, True), (488, False), (0, False)):
        world = World()
        alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
        await world.registered()
        talk, _ = await world.call(alice, bob)
        again = talk.send("INVITE", sdp(alice.ip, port=4300, version=2))
        await world.settle()
        world["A"].edge.hang_up("all")
        arrived = bob.got("INVITE")[-1]
        if status:
            arrived.respond(status, sdp(bob.ip) if body else b"")
        await world.settle(40)
        assert again.status == {200: 481, 488: 488, 0: 408}[status]
        if status == 200:
            assert arrived.acked
        assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
        await world.over()


@in_virtual_time
async def test_a_device_that_answers_after_it_was_given_up_is_acknowledged_and_ended() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    alice.invite(world.dial(alice, "bob"))
    await world.settle(35)
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle(3)
    assert bob.calls()[0].acked
    assert len(bob.got("BYE")) == 1
    await world.over()


@pytest.mark.parametrize("is_lost", [False, True])
@in_virtual_time
async def test_a_call_that_the_operator_ends_while_its_200_is_under_way(is_lost: bool) -> None:
    """No BYE goes before the ACK (RFC 3261 15): it might overtake the 200."""
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle(0.001)
    world.loss = float(is_lost)
    await world.settle(0.01)
    assert world["A"].edge.hang_up("all") == 1
    await world.settle()
    world.loss = 0.0
    await world.settle(1)
    assert alice.got("BYE") == []
    assert sent.status == 200
    sent.talk().ack()
    await world.settle()
    assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
    await world.over()
