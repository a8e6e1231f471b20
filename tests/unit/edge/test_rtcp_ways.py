"""Where RTCP goes: beside RTP or with it, as both sides agreed (RFC 5761 5.1.1, RFC 3605)."""

import pytest

from tests.support.edges import World, audio_of, sdp
from tests.support.virtual_time import in_virtual_time

MUX = "a=rtcp-mux"


@pytest.mark.parametrize("nodes", ["AA", "AB"])
@pytest.mark.parametrize(
    ("offer", "answer", "muxed"),
    [((MUX,), (MUX,), True), ((MUX,), (), False), ((), (), False)],
    ids=["both", "one", "none"],
)
@in_virtual_time
async def test_rtcp_travels_as_was_agreed(
    nodes: str, offer: tuple[str, ...], answer: tuple[str, ...], muxed: bool
) -> None:
    world = World()
    alice, bob = world.phone(nodes[0], "alice"), world.phone(nodes[1], "bob")
    await world.registered()
    line = "m=audio 4000 RTP/AVP 0"
    sent = alice.invite(world.dial(alice, "bob"), sdp(alice.ip, line, *offer))
    await world.settle()
    arrived = bob.calls()[0]
    arrived.respond(200, sdp(bob.ip, line, *answer))
    await world.settle()
    assert sent.final is not None
    for phone, told in ((alice, sent.final.body), (bob, arrived.request.body)):
        faced = world.media.facing(audio_of(told))
        assert faced.mux is muxed, phone.login
        assert faced.rtcp is not None
        assert faced.rtcp.port == (4000 if muxed else 4001), phone.login
    sent.talk().ack()
    await world.settle()
    sent.talk().send("BYE")
    await world.over()
