"""What becomes of the lines of a description: added, declined, bundled, held, fax, ICE."""

from tests.support.edge_phone import Arrived, Phone, Sent
from tests.support.edges import World, audio_of, sdp
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


def two_lines(phone: Phone, port: int) -> tuple[str, str]:
    return f"m=audio {port} RTP/AVP 0", f"m=video {port + 10} RTP/AVP 99"


@in_virtual_time
async def test_a_video_line_added_later_gets_a_way_of_its_own() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    again = talk.send("INVITE", sdp(alice.ip, *two_lines(alice, 4000), version=2))
    await world.settle()
    arrived = newest(bob, "INVITE")
    arrived.respond(200, sdp(bob.ip, *two_lines(bob, 4000), version=2))
    await world.settle()
    talk.ack()
    await world.settle()
    assert again.final is not None
    assert world.media.leads(audio_of(again.final.body, 1)) == bob.rtp._replace(port=4010)
    assert world.media.leads(audio_of(arrived.request.body, 1)) == alice.rtp._replace(port=4010)
    assert world.hears(again.final.body) == bob.rtp
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_declined_line_stays_declined_and_its_ports_are_given_back() -> None:
    world, alice, bob = await pair()
    sent = await ringing(world, alice, bob, sdp(alice.ip, *two_lines(alice, 4000)))
    arrived = bob.calls()[0]
    arrived.respond(200, sdp(bob.ip, "m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 99"))
    await world.settle()
    assert sent.final is not None
    assert b"m=video 0 RTP/AVP 99" in sent.final.body
    sent.talk().ack()
    await world.settle(40)
    for node in "AB":
        (session,) = world[node].relay.open
        assert (len(session.anchors), len(session.legs)) == (1, 1)
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_bundled_lines_share_one_way() -> None:
    world, alice, bob = await pair()
    lines = (
        "m=audio {0} RTP/AVP 0",
        "a=mid:a",
        "m=video {0} RTP/AVP 99",
        "a=mid:v",
    )
    offer = sdp(alice.ip, *(line.format(4000 if i < 2 else 4010) for i, line in enumerate(lines)))
    group = b"a=group:BUNDLE a v\r\nm=audio"
    sent = await ringing(world, alice, bob, offer.replace(b"m=audio", group, 1))
    answer = sdp(bob.ip, *(line.format(4000) for line in lines)).replace(b"m=audio", group, 1)
    arrived = bob.calls()[0]
    arrived.respond(200, answer)
    await world.settle()
    assert sent.final is not None
    assert audio_of(sent.final.body, 0) == audio_of(sent.final.body, 1)
    assert world.hears(sent.final.body) == bob.rtp
    sent.talk().ack()
    await world.settle(40)
    for node in "AB":
        (session,) = world[node].relay.open
        assert (len(session.anchors), len(session.legs)) == (1, 1)
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_fax_takes_the_line_that_was_sound() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    again = talk.send("INVITE", sdp(alice.ip, "m=image 4000 udptl t38", version=2))
    await world.settle()
    arrived = newest(bob, "INVITE")
    arrived.respond(200, sdp(bob.ip, "m=image 4000 udptl t38", version=2))
    await world.settle()
    talk.ack()
    await world.settle()
    assert again.final is not None
    assert world.hears(again.final.body) == bob.rtp
    for node in "AB":
        (session,) = world[node].relay.open
        assert [e.udptl for e in session.expected.values()] == [True]
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_hold_and_resume_keep_the_way() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    for attribute, answer, connection in (
        ("a=sendonly", "a=recvonly", None),
        ("a=inactive", "a=inactive", "0.0.0.0"),
        ("a=sendrecv", "a=sendrecv", None),
    ):
        line = "m=audio 4000 RTP/AVP 0"
        again = talk.send("INVITE", sdp(alice.ip, line, attribute, connection=connection))
        await world.settle()
        arrived = newest(bob, "INVITE")
        assert attribute.encode() in arrived.request.body
        assert (b"c=IN IP4 0.0.0.0" in arrived.request.body) == (connection is not None)
        arrived.respond(200, sdp(bob.ip, line, answer))
        await world.settle()
        talk.ack()
        await world.settle()
        assert again.final is not None
        assert world.hears(again.final.body) == bob.rtp
        if attribute != "a=sendrecv":
            await world.settle(200)
            assert len(world["A"].edge.calls()) == 1
    assert world.hears(arrived.request.body) == alice.rtp
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_an_ice_offer_keeps_its_candidates_and_gains_one_of_ours() -> None:
    world, alice, bob = await pair()
    ice = (
        "m=audio 4000 RTP/AVP 0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        f"a=candidate:1 1 UDP 2130706431 {alice.ip} 4000 typ host",
        "a=candidate:2 1 UDP 1694498815 198.51.100.9 4001 typ srflx raddr 0.0.0.0 rport 0",
        "a=remote-candidates:1 192.0.2.3 45664",
    )
    await ringing(world, alice, bob, sdp(alice.ip, *ice))
    body = bob.calls()[0].request.body.decode()
    anchor = audio_of(bob.calls()[0].request.body)
    assert f"a=candidate:1 1 UDP 2130706431 {alice.ip} 4000 typ host" in body
    assert (
        f"a=candidate:ringmesh 1 UDP 255 {anchor.host} {anchor.port} "
        "typ relay raddr 0.0.0.0 rport 9" in body
    )
    assert f"a=candidate:ringmesh 2 UDP 254 {anchor.host} {anchor.port + 1} typ relay" in body
    assert "remote-candidates" not in body
    (session,) = world["A"].relay.open
    (expected,) = session.expected.values()
    assert "198.51.100.9" in expected.sources
    bob.calls()[0].respond(486)
    await world.over()


@in_virtual_time
async def test_between_nodes_no_address_of_a_phone_is_named() -> None:
    world, alice, bob = await pair()
    await ringing(world, alice, bob)
    (request,) = [f for f in world.links.carried if getattr(f, "statement", None)]
    body = request.sip.partition(b"\r\n\r\n")[2]
    assert b"c=IN IP4 192.0.2.1" in body
    assert b"m=audio 9 " in body
    assert b"a=rtcp" not in body
    assert len(request.legs) == 1
    bob.calls()[0].respond(486)
    await world.over()
