"""SUBSCRIBE, NOTIFY and REFER: dialogs without a call, and those that outlive one."""

import pytest

from tests.support.edge_phone import Phone
from tests.support.edges import World
from tests.support.virtual_time import in_virtual_time

ACTIVE = [("Event", "presence"), ("Subscription-State", "active;expires=600")]
OVER = [("Event", "presence"), ("Subscription-State", "terminated;reason=noresource")]
ASKED = [("Event", "presence"), ("Expires", "600")]


async def pair() -> tuple[World, Phone, Phone]:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    return world, alice, bob


def sets(world: World) -> list[int]:
    return [len(node.edge._hub.dialogs) for node in world.nodes.values()]


@in_virtual_time
async def test_a_subscription_is_notified_across_nodes_until_it_is_terminated() -> None:
    world, alice, bob = await pair()
    sent = alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.settle()
    arrived = bob.got("SUBSCRIBE")[0]
    arrived.respond(200, headers=[("Expires", "600")])
    await world.settle()
    assert sent.status == 200
    back = arrived.talk()
    for _ in range(3):
        notify = back.send("NOTIFY", b"<p/>", [("Content-Type", "application/pidf+xml"), *ACTIVE])
        await world.settle()
        alice.got("NOTIFY")[-1].respond(200)
        await world.settle()
        assert notify.status == 200
    refresh = sent.talk().send("SUBSCRIBE", headers=ASKED)
    await world.settle()
    bob.got("SUBSCRIBE")[-1].respond(200, headers=[("Expires", "600")])
    await world.settle()
    assert refresh.status == 200
    back.send("NOTIFY", headers=OVER)
    await world.settle()
    alice.got("NOTIFY")[-1].respond(200)
    await world.settle()
    assert sets(world) == [0, 0]
    await world.over()


@in_virtual_time
async def test_a_notify_may_overtake_the_answer_and_may_even_be_the_last() -> None:
    world, alice, bob = await pair()
    sent = alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.settle()
    arrived = bob.got("SUBSCRIBE")[0]
    notify = arrived.talk().send("NOTIFY", headers=OVER)
    await world.settle()
    alice.got("NOTIFY")[0].respond(200)
    await world.settle()
    assert notify.status == 200
    arrived.respond(202)
    await world.settle()
    assert sent.status == 202
    assert sets(world) == [0, 0]
    await world.over()


@in_virtual_time
async def test_a_subscription_lasts_as_long_as_it_is_refreshed() -> None:
    world, alice, bob = await pair()
    sent = alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.settle()
    bob.got("SUBSCRIBE")[0].respond(200, headers=[("Expires", "600")])
    await world.settle()
    talk = sent.talk()
    for _ in range(3):
        await world.settle(500)
        refresh = talk.send("SUBSCRIBE", headers=ASKED)
        await world.settle()
        bob.got("SUBSCRIBE")[-1].respond(200, headers=[("Expires", "600")])
        await world.settle()
        assert refresh.status == 200
    await world.settle(650)
    assert sets(world) == [1, 1]
    await world.settle(30)
    assert sets(world) == [0, 0]
    await world.over()


@in_virtual_time
async def test_a_refused_or_unanswered_subscription_leaves_nothing() -> None:
    world, alice, bob = await pair()
    sent = alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.settle()
    bob.got("SUBSCRIBE")[0].respond(489)
    await world.settle()
    assert sent.status == 489
    bob.die()
    alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.over()


@in_virtual_time
async def test_a_notify_that_is_answered_481_ends_the_subscription() -> None:
    world, alice, bob = await pair()
    alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.settle()
    arrived = bob.got("SUBSCRIBE")[0]
    arrived.respond(200)
    await world.settle()
    arrived.talk().send("NOTIFY", headers=ACTIVE)
    await world.settle()
    alice.got("NOTIFY")[0].respond(481)
    await world.over()


@in_virtual_time
async def test_a_refer_outside_a_call_reports_in_its_own_dialog() -> None:
    world, alice, bob = await pair()
    sent = alice.send(
        "REFER", world.dial(alice, "bob"), headers=[("Refer-To", "<sip:carol@c.test>")]
    )
    await world.settle()
    arrived = bob.got("REFER")[0]
    arrived.respond(202)
    await world.settle()
    assert sent.status == 202
    back = arrived.talk()
    for state in ("active", "terminated"):
        notify = back.send("NOTIFY", headers=[("Subscription-State", state)])
        await world.settle()
        alice.got("NOTIFY")[-1].respond(200)
        await world.settle()
        assert notify.status == 200
    assert sets(world) == [0, 0]
    await world.over()


@in_virtual_time
async def test_a_transfer_is_still_reported_after_the_call_that_asked_for_it() -> None:
    world, alice, bob = await pair()
    talk, back = await world.call(alice, bob)
    refer = talk.send("REFER", headers=[("Refer-To", f"<{world.number('bob')}>")])
    await world.settle()
    bob.got("REFER")[0].respond(202)
    await world.settle()
    assert refer.status == 202
    talk.send("BYE")
    await world.settle()
    assert sets(world) == [1, 1]
    assert [len(node.relay.open) for node in world.nodes.values()] == [0, 0]
    assert world["A"].edge.calls() == []
    notify = back.send("NOTIFY", headers=[("Subscription-State", "terminated")])
    await world.settle()
    alice.got("NOTIFY")[0].respond(200)
    await world.settle()
    assert notify.status == 200
    await world.over()


@in_virtual_time
async def test_a_transfer_that_was_reported_does_not_outlive_its_call() -> None:
    world, alice, bob = await pair()
    talk, back = await world.call(alice, bob)
    talk.send("REFER", headers=[("Refer-To", f"<{world.number('bob')}>")])
    await world.settle()
    bob.got("REFER")[0].respond(202)
    await world.settle()
    back.send("NOTIFY", headers=[("Subscription-State", "terminated")])
    await world.settle()
    alice.got("NOTIFY")[0].respond(200)
    await world.settle()
    talk.send("BYE")
    await world.settle()
    assert sets(world) == [0, 0]
    await world.over()


@in_virtual_time
async def test_hanging_everything_up_sends_no_bye_into_a_subscription() -> None:
    world, alice, bob = await pair()
    alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=ASKED)
    await world.settle()
    bob.got("SUBSCRIBE")[0].respond(200)
    await world.settle()
    await world["A"].edge.drain()
    await world["B"].edge.drain()
    assert bob.got("BYE") == alice.got("BYE") == []
    await world.over()


@in_virtual_time
async def test_a_transfer_that_nobody_reports_does_not_hide_that_the_call_fell_silent() -> None:
    """Its subscription ends by time; the call itself ends with a BYE to both."""
    world, alice, bob = await pair()
    talk, back = await world.call(alice, bob)
    talk.send("REFER", headers=[("Refer-To", "<sip:carol@a.test>")])
    await world.settle()
    bob.got("REFER")[0].respond(202)
    await world.settle(400)
    assert back.phone is bob
    assert (len(alice.got("BYE")), len(bob.got("BYE"))) == (1, 1)
    await world.over()


PACKAGES = {
    "presence": "application/pidf+xml",
    "dialog": "application/dialog-info+xml",
    "message-summary": "application/simple-message-summary",
}


@pytest.mark.parametrize("event", PACKAGES)
@pytest.mark.parametrize("nodes", ["A", "AB"])
def test_event_packages_pass_byte_for_byte(nodes: str, event: str) -> None:
    """Presence, dialog and waiting-message notices, with their bodies, Event ids and Accept."""

    @in_virtual_time
    async def run() -> None:
        world = World(nodes)
        alice, bob = world.phone("A", "alice"), world.phone(nodes[-1], "bob")
        await world.registered()
        asked = [("Event", f"{event};id=7"), ("Expires", "600"), ("Accept", PACKAGES[event])]
        sent = alice.send("SUBSCRIBE", world.dial(alice, "bob"), headers=asked)
        await world.settle()
        (arrived,) = bob.got("SUBSCRIBE")
        assert [arrived.request.get(name) for name, _ in asked] == [value for _, value in asked]
        arrived.respond(200, headers=[("Expires", "600")])
        body = b"Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n\x00\xff"
        state = [("Event", f"{event};id=7"), ("Subscription-State", "active;expires=600")]
        notify = arrived.talk().send("NOTIFY", body, [("Content-Type", PACKAGES[event]), *state])
        await world.settle()
        (told,) = alice.got("NOTIFY")
        told.respond(200)
        await world.settle()
        assert (sent.status, notify.status) == (200, 200)
        assert told.request.body == body
        assert told.request.get("Content-Type") == PACKAGES[event]
        assert told.request.get("Event") == f"{event};id=7"
        unsubscribe = [("Event", f"{event};id=7"), ("Expires", "0")]
        ended = sent.talk().send("SUBSCRIBE", headers=unsubscribe)
        await world.settle()
        bob.got("SUBSCRIBE")[-1].respond(200, headers=[("Expires", "0")])
        over = [("Event", f"{event};id=7"), ("Subscription-State", "terminated;reason=timeout")]
        back = arrived.talk()
        back.cseq = 1
        back.send("NOTIFY", headers=over)
        await world.settle()
        alice.got("NOTIFY")[-1].respond(200)
        await world.settle()
        assert ended.status == 200
        assert sets(world) == [0] * len(nodes)
        await world.over()

    run()
