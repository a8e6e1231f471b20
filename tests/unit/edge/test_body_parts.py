"""A session description that travels with other parts in one body (RFC 5621)."""

import pytest

from node.sip.multipart import description_place
from tests.support.edge_phone import Phone
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time

KIND = "multipart/mixed;boundary=b"


async def pair(node_a: str, node_b: str) -> tuple[World, Phone, Phone]:
    world = World()
    alice, bob = world.phone(node_a, "alice"), world.phone(node_b, "bob")
    await world.registered()
    return world, alice, bob


def in_parts(description: bytes) -> bytes:
    return (
        b"--b\r\nContent-Type: application/resource-lists+xml\r\n\r\n<list/>\r\n--b\r\n"
        b"Content-Type: application/sdp\r\n\r\n" + description + b"\r\n--b--\r\n"
    )


def description_in(body: bytes) -> bytes:
    place = description_place(KIND, body)
    assert place is not None
    return body[place.start : place.end]


@pytest.mark.parametrize("nodes", ["AB", "AA"])
@in_virtual_time
async def test_a_description_among_other_parts_is_anchored(nodes: str) -> None:
    """Its part is rewritten and no other byte, in the offer, its answer and a later offer."""
    world, alice, bob = await pair(*nodes)
    kind = [("Content-Type", KIND)]
    sent = alice.invite(world.dial(alice, "bob"), in_parts(sdp(alice.ip)), headers=kind)
    await world.settle()
    arrived = bob.calls()[0]
    assert arrived.request.body == in_parts(description_in(arrived.request.body))
    arrived.respond(200, in_parts(sdp(bob.ip)), headers=kind)
    await world.settle()
    assert sent.final is not None
    assert sent.final.body == in_parts(description_in(sent.final.body))
    assert world.hears(description_in(sent.final.body)) == bob.rtp
    assert world.hears(description_in(arrived.request.body)) == alice.rtp
    talk = sent.talk()
    talk.ack()
    await world.settle()
    moved = sdp(alice.ip, "m=audio 5000 RTP/AVP 0", version=2)
    talk.send("INVITE", in_parts(moved), headers=kind)
    await world.settle()
    again = bob.got("INVITE")[-1]
    again.respond(200, sdp(bob.ip))
    await world.settle()
    talk.ack()
    await world.settle()
    assert world.hears(description_in(again.request.body)) == alice.rtp._replace(port=5000)
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_the_echo_answers_a_description_among_other_parts() -> None:
    world, alice, _ = await pair("A", "B")
    sent = alice.invite(
        f"sip:*43@{alice.server}", in_parts(sdp(alice.ip)), headers=[("Content-Type", KIND)]
    )
    await world.settle()
    assert sent.final is not None
    assert sent.status == 200
    assert world.hears(sent.final.body) is not None
    talk = sent.talk()
    talk.ack()
    talk.send("BYE")
    await world.over()
