"""Offers and answers in every place SIP allows them, and what is heard after each."""

import base64

from tests.support.edge_phone import Arrived, Phone, Sent
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time

RELIABLE = [("Require", "100rel"), ("RSeq", "1")]


async def ringing(world: World, alice: Phone, bob: Phone, body: bytes | None = None) -> Sent:
    sent = alice.invite(world.dial(alice, bob.login), body)
    await world.settle()
    return sent


async def pair() -> tuple[World, Phone, Phone]:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    return world, alice, bob


def newest(phone: Phone, method: str) -> Arrived:
    return phone.got(method)[-1]


@in_virtual_time
async def test_a_late_offer_is_answered_in_the_ack() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob, b"")
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.final is not None
    talk = sent.talk()
    talk.ack(body=sdp(alice.ip))
    await world.settle()
    (ack,) = bob.acks
    assert world.hears(sent.final.body) == bob.rtp
    assert world.hears(ack.body) == alice.rtp
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_late_offer_in_a_reliable_183_is_answered_in_the_prack() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob, b"")
    arrived = bob.calls()[0]
    arrived.respond(183, sdp(bob.ip), headers=RELIABLE)
    await world.settle()
    progress = sent.latest.responses[-1]
    early = sent.talk(progress)
    early.send("PRACK", sdp(alice.ip), [("RAck", "1 2 INVITE")])
    await world.settle()
    prack = newest(bob, "PRACK")
    prack.respond(200)
    assert world.hears(progress.body) == bob.rtp
    assert world.hears(prack.request.body) == alice.rtp
    arrived.respond(200)
    await world.settle()
    talk = sent.talk()
    talk.ack(cseq=sent.latest.request.cseq.number)
    await world.settle()
    assert world.hears(progress.body) == bob.rtp
    arrived.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_an_update_in_an_early_dialog_moves_the_early_media() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob)
    arrived = bob.calls()[0]
    arrived.respond(183, sdp(bob.ip), headers=RELIABLE)
    await world.settle()
    progress = sent.latest.responses[-1]
    early = sent.talk(progress)
    early.send("PRACK", headers=[("RAck", "1 2 INVITE")])
    await world.settle()
    newest(bob, "PRACK").respond(200)
    update = early.send("UPDATE", sdp(alice.ip, port=4100, version=2))
    await world.settle()
    moved = newest(bob, "UPDATE")
    moved.respond(200, sdp(bob.ip, port=4200, version=2))
    await world.settle()
    assert update.final is not None
    assert world.hears(update.final.body) == bob.rtp._replace(port=4200)
    assert world.hears(moved.request.body) == alice.rtp._replace(port=4100)
    arrived.respond(200)
    await world.settle()
    sent.talk().ack(cseq=sent.latest.request.cseq.number)
    await world.settle()
    assert world.hears(update.final.body) == bob.rtp._replace(port=4200)
    arrived.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_an_update_of_one_early_dialog_does_not_settle_the_call() -> None:
    world = World()
    alice = world.phone("A", "alice")
    desk, cell = world.phone("B", "bob"), world.phone("B", "bob")
    await world.registered()
    sent = await ringing(world, alice, desk)
    desk.calls()[0].respond(183, sdp(desk.ip), headers=RELIABLE)
    await world.settle()
    early = sent.talk(sent.latest.responses[-1])
    update = early.send("UPDATE", sdp(alice.ip, version=2))
    await world.settle()
    newest(desk, "UPDATE").respond(200, sdp(desk.ip, version=2))
    await world.settle()
    assert update.status == 200
    cell.calls()[0].respond(200, sdp(cell.ip))
    await world.settle()
    assert sent.final is not None
    sent.talk().ack(cseq=sent.latest.request.cseq.number)
    await world.settle()
    assert world.hears(sent.final.body) == cell.rtp
    cell.calls()[0].talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_the_newest_early_media_is_heard_then_the_answer_even_without_description() -> None:
    world = World()
    alice = world.phone("A", "alice")
    desk, cell = world.phone("B", "bob"), world.phone("B", "bob")
    await world.registered()
    sent = await ringing(world, alice, desk)
    desk.calls()[0].respond(183, sdp(desk.ip), headers=RELIABLE)
    await world.settle()
    first = sent.latest.responses[-1]
    assert world.hears(first.body) == desk.rtp
    cell.calls()[0].respond(183, sdp(cell.ip))
    await world.settle()
    assert world.hears(first.body) == cell.rtp
    desk.calls()[0].respond(200)
    await world.settle()
    assert world.hears(first.body) == desk.rtp
    sent.talk().ack()
    desk.calls()[0].talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_a_refused_reinvite_leaves_the_sound_where_it_was() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    held = [dict(s.expected) for s in world["A"].relay.open + world["B"].relay.open]
    counts = [(len(s.anchors), len(s.legs)) for n in "AB" for s in world[n].relay.open]
    again = talk.send("INVITE", sdp(alice.ip, *two_lines(alice, 4300), version=2))
    await world.settle()
    newest(bob, "INVITE").respond(488)
    await world.settle()
    assert again.status == 488
    now = [dict(s.expected) for s in world["A"].relay.open + world["B"].relay.open]
    assert [_places(e) for e in now] == [_places(e) for e in held]
    assert [(len(s.anchors), len(s.legs)) for n in "AB" for s in world[n].relay.open] == counts
    talk.send("BYE")
    await world.over()


def _places(expected: dict[int, object]) -> dict[int, object]:
    return {key: getattr(value, "rtp", None) for key, value in expected.items()}


def two_lines(phone: Phone, port: int) -> tuple[str, str]:
    return f"m=audio {port} RTP/AVP 0", f"m=video {port + 10} RTP/AVP 99"


@in_virtual_time
async def test_glare_leaves_both_sides_as_they_were() -> None:
    world, alice, bob = await pair()
    talk, back = await world.call(alice, bob)
    body = bob.calls()[0].request.body
    one = talk.send("INVITE", sdp(alice.ip, port=4300, version=2))
    other = back.send("INVITE", sdp(bob.ip, port=4400, version=2))
    await world.settle()
    newest(bob, "INVITE").respond(491)
    newest(alice, "INVITE").respond(491)
    await world.settle()
    assert (one.status, other.status) == (491, 491)
    assert world.hears(body) == alice.rtp
    back.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_call_without_any_sound_is_over_after_a_while() -> None:
    world, alice, bob = await pair()
    await world.call(alice, bob)
    await world.settle(80)
    assert len(alice.got("BYE")) == 1
    assert len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_an_encoded_description_passes_and_such_a_call_is_not_taken_for_dead() -> None:
    world, alice, bob = await pair()
    kind = [("Content-Type", "multipart/mixed;boundary=b")]
    head = b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    body = b"--b\r\n" + head + base64.encodebytes(sdp(alice.ip)) + b"\r\n--b--\r\n"
    sent = alice.invite(world.dial(alice, "bob"), body, headers=kind)
    await world.settle()
    arrived = bob.calls()[0]
    assert arrived.request.body == body
    arrived.respond(200, body, headers=kind)
    await world.settle()
    sent.talk().ack()
    await world.settle(200)
    assert len(world["A"].edge.calls()) == 1
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_a_broken_description_is_refused_and_nothing_stays() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob, b"v=1\r\nnonsense\r\n")
    assert sent.status == 488
    assert bob.calls() == []
    await world.over()


@in_virtual_time
async def test_a_broken_answer_ends_the_call_for_both() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob)
    bob.calls()[0].respond(200, b"v=1\r\nnonsense\r\n")
    await world.settle()
    assert sent.status == 488
    assert bob.calls()[0].acked
    assert len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_a_broken_answer_to_a_reinvite_ends_the_call_for_both() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    again = talk.send("INVITE", sdp(alice.ip, version=2))
    await world.settle()
    newest(bob, "INVITE").respond(200, b"v=1\r\nnonsense\r\n")
    await world.settle()
    assert again.status == 488
    assert newest(bob, "INVITE").acked
    assert len(bob.got("BYE")) == 1
    assert len(alice.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_without_a_free_port_the_caller_hears_480() -> None:
    world, alice, bob = await pair()
    world["A"].relay.capacity = 0
    sent = await ringing(world, alice, bob)
    assert sent.status == 480
    world["A"].relay.capacity = None
    world["B"].relay.capacity = 0
    sent = await ringing(world, alice, bob)
    assert sent.status == 480
    await world.over()


@in_virtual_time
async def test_the_ninth_early_description_is_not_passed_but_an_answer_is() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob)
    arrived = bob.calls()[0]
    for number in range(9):
        arrived.respond(183, sdp(bob.ip), tag=f"fork{number}")
        await world.settle(0.1)
    early = [r for r in sent.latest.responses if r.status == 183]
    assert len(early) == 7
    arrived.respond(200, sdp(bob.ip), tag="fork9")
    await world.settle()
    assert sent.final is not None
    assert sent.status == 200
    assert world.hears(sent.final.body) == bob.rtp
    sent.talk().ack()
    await world.settle()
    sent.talk().send("BYE")
    await world.over()
