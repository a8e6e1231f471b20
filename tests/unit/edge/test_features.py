"""Call forwarding, do-not-disturb, contacts by q, and ring groups, as callers meet them."""

from dataclasses import replace
from typing import Any

import pytest

from node.accounts.account import AccountKind
from node.storage.features import Features
from node.storage.ring_groups import RingGroup, RingMode
from tests.support.edge_phone import Arrived, Phone, Sent
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


async def people(nodes: str, *places: str) -> tuple[World, list[Phone]]:
    world = World(nodes)
    phones = [world.phone(place[0], place[1:]) for place in places]
    await world.registered()
    return world, phones


def let(world: World, node: str, login: str, **features: Any) -> None:
    world.account(node, login)
    world[node].features.set(Features(login=login, **features))


def group(world: World, node: str, login: str, *members: str, **more: Any) -> None:
    world.account(node, login, AccountKind.GROUP)
    world[node].ring_groups.set(RingGroup(login=login, members=members, **more))


async def take(world: World, sent: Sent, phone: Phone) -> Arrived:
    arrived = phone.calls()[-1]
    arrived.respond(200, sdp(phone.ip))
    await world.settle()
    assert sent.status == 200, sent.statuses
    sent.talk().ack()
    await world.settle()
    return arrived


async def end(world: World, sent: Sent) -> None:
    sent.talk().send("BYE")
    await world.over()


def reasons(arrived: Arrived) -> list[str]:
    return [value.partition("reason=")[2] for value in arrived.request.values("Diversion")]


# Forwarding


@pytest.mark.parametrize("target_node", ["B", "C"])
def test_every_call_goes_on_at_once_and_the_caller_is_told(target_node: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", f"{target_node}carol")
        number = world.account(target_node, "carol").number
        let(world, "B", "bob", always=str(number))
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle()
        assert bob.calls() == []
        arrived = await take(world, sent, carol)
        assert sent.statuses == [181, 200]
        assert reasons(arrived) == ["unconditional"]
        assert str(world.account("A", "alice").number) == arrived.request.from_.uri.user
        assert sent.final is not None
        assert world.hears(sent.final.body) == carol.rtp
        await end(world, sent)

    run()


@in_virtual_time
async def test_a_login_of_the_own_node_is_a_target() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    let(world, "A", "bob", always="carol")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    await take(world, sent, carol)
    assert sent.statuses == [181, 200]
    assert bob.calls() == []
    await end(world, sent)


@pytest.mark.parametrize("status", [486, 600])
def test_a_busy_device_sends_the_call_on(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, (alice, bob, carol) = await people("AB", "Aalice", "Bbob", "Bcarol")
        let(world, "B", "bob", busy="carol")
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle()
        bob.calls()[0].respond(status)
        await world.settle()
        arrived = await take(world, sent, carol)
        assert reasons(arrived) == ["user-busy"]
        await end(world, sent)

    run()


@in_virtual_time
async def test_one_busy_device_of_two_does_not_send_the_call_on() -> None:
    world, (alice, bob, desk, carol) = await people("A", "Aalice", "Abob", "Abob", "Acarol")
    let(world, "A", "bob", busy="carol")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(486)
    await world.settle()
    assert carol.calls() == []
    await take(world, sent, desk)
    await end(world, sent)


@in_virtual_time
async def test_nobody_takes_it_for_some_seconds() -> None:
    world, (alice, bob, carol) = await people("AB", "Aalice", "Bbob", "Bcarol")
    let(world, "B", "bob", no_answer="carol", after=12)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle(11)
    assert carol.calls() == []
    await world.settle(1.5)
    assert bob.calls()[0].cancelled
    arrived = await take(world, sent, carol)
    assert sent.statuses == [180, 181, 200]
    assert reasons(arrived) == ["no-answer"]
    await end(world, sent)


@in_virtual_time
async def test_an_answer_that_crosses_the_cancel_is_the_call() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    let(world, "A", "bob", no_answer="carol", after=5)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle(4.6995)
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.status == 200
    sent.talk().ack()
    await world.settle()
    assert [call.cancelled for call in carol.calls()] in ([], [True])
    assert [call.state for call in world["A"].edge.calls()] == ["up"]
    await end(world, sent)


@in_virtual_time
async def test_no_device_is_no_answer_at_once() -> None:
    world, (alice, carol) = await people("A", "Aalice", "Acarol")
    let(world, "A", "bob", no_answer="carol")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = await take(world, sent, carol)
    assert reasons(arrived) == ["unavailable"]
    await end(world, sent)


@in_virtual_time
async def test_a_refusal_that_is_not_busy_stays_the_answer() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    let(world, "A", "bob", busy="carol", no_answer="carol")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(603)
    await world.settle()
    assert (sent.status, carol.calls()) == (603, [])
    await world.over()


@in_virtual_time
async def test_busy_stays_the_answer_where_the_target_cannot_be_reached() -> None:
    world, (alice, bob) = await people("A", "Aalice", "Abob")
    let(world, "A", "bob", busy="029999999999999")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_a_caller_who_gives_up_ends_the_target_too() -> None:
    world, (alice, bob, carol) = await people("AB", "Aalice", "Bbob", "Bcarol")
    let(world, "B", "bob", no_answer="carol", after=5)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle(6)
    carol.calls()[0].respond(180)
    await world.settle()
    sent.cancel()
    await world.settle()
    assert carol.calls()[0].cancelled
    assert sent.status == 487
    await world.over()


@in_virtual_time
async def test_a_caller_who_gives_up_is_not_sent_on() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    let(world, "A", "bob", no_answer="carol", after=5)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle()
    sent.cancel()
    await world.settle(10)
    assert (sent.status, carol.calls()) == (487, [])
    await world.over()


@pytest.mark.parametrize("nodes", ["A", "AB"])
def test_a_circle_ends(nodes: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, (alice, bob, carol) = await people(
            nodes, "Aalice", f"{nodes[-1]}bob", f"{nodes[0]}carol"
        )
        let(world, nodes[-1], "bob", always=str(world.account(nodes[0], "carol").number))
        let(world, nodes[0], "carol", always=str(world.account(nodes[-1], "bob").number))
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle(2)
        assert sent.status == 480
        assert (bob.calls(), carol.calls()) == ([], [])
        await world.over()

    run()


@in_virtual_time
async def test_a_device_that_sends_on_goes_before_what_is_set() -> None:
    world, (alice, bob, carol, dora) = await people("A", "Aalice", "Abob", "Acarol", "Adora")
    let(world, "A", "bob", no_answer="dora", after=5)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(302, headers=[("Contact", f"<{world.dial(bob, 'carol')}>")])
    await world.settle(8)
    assert dora.calls() == []
    await take(world, sent, carol)
    await end(world, sent)


@in_virtual_time
async def test_features_of_the_target_count_too() -> None:
    world, (alice, _, carol, dora) = await people("A", "Aalice", "Abob", "Acarol", "Adora")
    let(world, "A", "bob", always="carol")
    let(world, "A", "carol", busy="dora")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    carol.calls()[0].respond(486)
    await world.settle()
    arrived = await take(world, sent, dora)
    assert reasons(arrived) == ["user-busy", "unconditional"]
    await end(world, sent)


# Do not disturb


@in_virtual_time
async def test_do_not_disturb_lets_nothing_ring() -> None:
    world, (alice, bob) = await people("AB", "Aalice", "Bbob")
    let(world, "B", "bob", dnd=True)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert (sent.status, bob.calls()) == (486, [])
    message = alice.send("MESSAGE", world.dial(alice, "bob"), b"hello")
    await world.settle()
    bob.got("MESSAGE")[0].respond(200)
    await world.settle()
    assert message.status == 200
    await world.over()


@in_virtual_time
async def test_do_not_disturb_counts_as_busy() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    let(world, "A", "bob", dnd=True, busy="carol")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = await take(world, sent, carol)
    assert (reasons(arrived), bob.calls()) == (["do-not-disturb"], [])
    await end(world, sent)


# Contacts by q (RFC 3261 16.6)


def prefer(world: World, node: str, phone: Phone, q: float) -> None:
    """Let a device have registered with this q."""
    registrar = world[node].registrar
    kept = registrar._accounts[phone.login]
    for key, binding in list(kept.items()):
        if binding.flow.remote == phone.flow.local:
            kept[key] = replace(binding, q=q)


@in_virtual_time
async def test_contacts_ring_by_their_q() -> None:
    world, (alice, desk, mobile) = await people("A", "Aalice", "Abob", "Abob")
    prefer(world, "A", mobile, 0.5)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert (len(desk.calls()), len(mobile.calls())) == (1, 0)
    desk.calls()[0].respond(480)
    await world.settle()
    await take(world, sent, mobile)
    await end(world, sent)


@in_virtual_time
async def test_a_contact_that_only_rings_is_left_for_the_next() -> None:
    world, (alice, desk, mobile) = await people("A", "Aalice", "Abob", "Abob")
    prefer(world, "A", mobile, 0.5)
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    desk.calls()[0].respond(180)
    await world.settle(21)
    assert desk.calls()[0].cancelled
    await take(world, sent, mobile)
    await end(world, sent)


# Groups


@in_virtual_time
async def test_a_group_rings_all_and_the_first_takes_it() -> None:
    world, (alice, bob, carol) = await people("AB", "Aalice", "Bbob", "Bcarol")
    group(world, "B", "sales", "bob", "carol", "nobody")
    sent = alice.invite(world.dial(alice, "sales"))
    await world.settle()
    for phone in (bob, carol):
        phone.calls()[0].respond(180)
    await world.settle()
    await take(world, sent, carol)
    assert bob.calls()[0].cancelled
    await end(world, sent)
    (row,) = world["B"].rows.table("call_records").values()
    assert (row["account"], row["other_account"]) == ("sales", "carol")
    assert (row["direction"], row["path"], row["codec"]) == ("in", "node", "PCMU")
    (row,) = world["A"].rows.table("call_records").values()
    assert (row["account"], row["other_account"], row["direction"]) == ("alice", None, "out")


@in_virtual_time
async def test_one_member_that_declines_does_not_speak_for_all() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    group(world, "A", "sales", "bob", "carol")
    sent = alice.invite(world.dial(alice, "sales"))
    await world.settle()
    bob.calls()[0].respond(603)
    await world.settle()
    await take(world, sent, carol)
    await end(world, sent)


@in_virtual_time
async def test_a_group_in_turn() -> None:
    world, (alice, bob, carol, dora) = await people("A", "Aalice", "Abob", "Acarol", "Adora")
    group(world, "A", "sales", "bob", "carol", "dora", mode=RingMode.IN_TURN, ring=10)
    sent = alice.invite(world.dial(alice, "sales"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle(9)
    assert carol.calls() == []
    await world.settle(2)
    assert bob.calls()[0].cancelled
    carol.calls()[0].respond(486)
    await world.settle()
    await take(world, sent, dora)
    assert sent.statuses == [180, 200]
    await end(world, sent)


@in_virtual_time
async def test_members_in_a_call_or_with_do_not_disturb_are_left_out() -> None:
    world, (alice, bob, carol, dora) = await people("A", "Aalice", "Abob", "Acarol", "Adora")
    group(world, "A", "sales", "bob", "carol", "dora")
    let(world, "A", "dora", dnd=True)
    talk, _ = await world.call(alice, bob)
    sent = carol.invite(world.dial(carol, "sales"))
    await world.settle()
    assert (sent.status, len(bob.calls()), dora.calls()) == (486, 1, [])
    talk.send("BYE")
    await world.settle()
    sent = carol.invite(world.dial(carol, "sales"))
    await world.settle()
    await take(world, sent, bob)
    assert carol.calls() == [], "who calls the group is busy"
    await end(world, sent)


@in_virtual_time
async def test_a_group_that_nobody_answers_for_can_go_on() -> None:
    world, (alice, bob, dora) = await people("A", "Aalice", "Abob", "Adora")
    group(world, "A", "sales", "bob")
    let(world, "A", "sales", no_answer="dora", after=15)
    sent = alice.invite(world.dial(alice, "sales"))
    await world.settle()
    bob.calls()[0].respond(180)
    await world.settle(16)
    assert bob.calls()[0].cancelled
    await take(world, sent, dora)
    await end(world, sent)


@in_virtual_time
async def test_forwarding_to_a_group_rings_it() -> None:
    world, (alice, _, carol) = await people("AB", "Aalice", "Bbob", "Bcarol")
    group(world, "B", "sales", "carol")
    let(world, "B", "bob", always="sales")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    arrived = await take(world, sent, carol)
    assert reasons(arrived) == ["unconditional"]
    await end(world, sent)


@in_virtual_time
async def test_a_group_without_anybody_is_480() -> None:
    world, (alice,) = await people("A", "Aalice")
    group(world, "A", "sales")
    sent = alice.invite(world.dial(alice, "sales"))
    await world.settle()
    assert sent.status == 480
    await world.over()


@in_virtual_time
async def test_a_message_to_a_group_reaches_its_members() -> None:
    world, (alice, bob, carol) = await people("A", "Aalice", "Abob", "Acarol")
    group(world, "A", "sales", "bob", "carol")
    message = alice.send("MESSAGE", world.dial(alice, "sales"), b"hello")
    await world.settle()
    for phone in (bob, carol):
        phone.got("MESSAGE")[0].respond(200)
    await world.settle()
    assert message.status == 200
    await world.over()
