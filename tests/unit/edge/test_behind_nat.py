"""A node behind a static NAT: phones outside get its outer address, others its inner."""

import pytest

from node.sip.headers import NameAddr
from tests.support.edge_phone import Phone
from tests.support.edges import World, audio_of, sdp
from tests.support.virtual_time import in_virtual_time

OUTER = "5.6.7.8"


async def behind_a_nat() -> tuple[World, Phone, Phone]:
    """Alice is outside, bob inside."""
    world = World("A")
    world["A"].names.outer.set_outer((OUTER,))
    alice, bob = world.phone("A", "alice", ip="9.9.9.9"), world.phone("A", "bob")
    await world.registered()
    return world, alice, bob


def hosts_told(lines: list[str]) -> set[str | None]:
    """The hosts of our Record-Route values."""
    return {NameAddr.parse(value).uri.host for value in lines}


@in_virtual_time
@pytest.mark.parametrize("outside_calls", [True, False])
async def test_each_phone_gets_the_address_that_leads_here_from_where_it_is(
    outside_calls: bool,
) -> None:
    world, alice, bob = await behind_a_nat()
    inner = world["A"].ip
    caller, callee = (alice, bob) if outside_calls else (bob, alice)
    told = {alice: OUTER, bob: inner}
    sent = caller.invite(world.dial(caller, callee.login))
    await world.settle()
    arrived = callee.calls()[0]
    assert audio_of(arrived.request.body).host == told[callee]
    assert arrived.request.top_via.host == told[callee]
    assert hosts_told(arrived.request.values("Record-Route")[:1]) == {told[callee]}
    arrived.respond(200, sdp(callee.ip))
    await world.settle()
    assert sent.final is not None
    anchor = audio_of(sent.final.body)
    assert anchor.host == told[caller]
    assert world.media.leads(anchor._replace(host=inner)) == callee.rtp
    assert hosts_told(sent.final.values("Record-Route")[-1:]) == {told[caller]}
    talk = sent.talk()
    talk.ack()
    await world.settle()
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_call_to_the_outer_address_is_for_this_node() -> None:
    world, alice, bob = await behind_a_nat()
    sent = alice.invite(f"sip:bob@{OUTER}")
    await world.settle()
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle()
    sent.talk().ack()
    await world.settle()
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_an_ice_phone_outside_gets_a_candidate_that_it_can_reach() -> None:
    world, alice, bob = await behind_a_nat()
    ice = ("m=audio 4000 RTP/AVP 0", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901")
    bob.invite(world.dial(bob, "alice"), sdp(bob.ip, *ice))
    await world.settle()
    body = alice.calls()[0].request.body.decode()
    candidates = [line for line in body.splitlines() if line.startswith("a=candidate:ringmesh")]
    assert [line.split()[4] for line in candidates] == [OUTER, OUTER]
    assert f"a=rtcp:{audio_of(body.encode()).port + 1} IN IP4 {OUTER}" in body
    alice.calls()[0].respond(486)
    await world.settle()
    await world.over()
