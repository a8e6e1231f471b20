"""Requests over 1,300 bytes leave UDP where the phone can be connected to (RFC 3261 18.1.1)."""

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.edge import large
from node.edge.large import LargeRequests
from node.sip.congestion import MAX_UDP_BYTES
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.message import Request
from tests.support.edge_phone import Phone
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time

LONG = [("X-Long", "x" * 1400)]
UDP = Flow("UDP", Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.9", 5062))
CONTACT = "sip:bob@192.0.2.9:5062"
NOW = Monotonic(100.0)


def a_request(size: int) -> Request:
    request = Request.create("MESSAGE", "sip:bob@192.0.2.9", [("Via", "SIP/2.0/UDP x")])
    request.body = b""
    request.body = b"x" * (size - request.size - len(str(size)) + 1)
    assert request.size == size
    return request


async def pair() -> tuple[World, Phone, Phone]:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    bob.came_over.clear()
    return world, alice, bob


def test_the_size_of_a_message_is_that_of_its_bytes() -> None:
    for value in ("plain", "größer", "\udcff"):
        request = Request.create("OPTIONS", "sip:a@b", [("Subject", value)], b"body")
        assert request.size == len(request.encode())


@pytest.mark.parametrize(
    ("contact", "size", "way"),
    [
        (CONTACT, 1300, UDP),
        (CONTACT, 1301, Flow("TCP", UDP.local, Endpoint("192.0.2.9", 5062))),
        ("sip:bob@10.0.0.9:5062", 1301, UDP),
        ("sip:bob@phone.invalid", 1301, UDP),
        ("nonsense", 1301, UDP),
        (CONTACT, MAX_UDP_BYTES + 1, Flow("TCP", UDP.local, Endpoint("192.0.2.9", 5062))),
    ],
)
def test_the_way_of_a_request(contact: str, size: int, way: Flow) -> None:
    assert LargeRequests().flow_for(a_request(size), UDP, contact, now=NOW) == way


def test_a_request_on_a_connection_stays_there() -> None:
    tcp = Flow("TCP", UDP.local, UDP.remote, 7)
    assert LargeRequests().flow_for(a_request(9_000), tcp, CONTACT, now=NOW) == tcp


def test_what_nothing_carries_is_513() -> None:
    with pytest.raises(SipParseError) as caught:
        LargeRequests().flow_for(a_request(MAX_UDP_BYTES + 1), UDP, "sip:bob@10.0.0.9", now=NOW)
    assert caught.value.status == 513


def test_who_refused_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = LargeRequests()
    tcp = ways.flow_for(a_request(1301), UDP, CONTACT, now=NOW)
    ways.refused(tcp, now=NOW)
    later = Monotonic(NOW + large.REMEMBERED_FOR)
    assert ways.flow_for(a_request(1301), UDP, CONTACT, now=Monotonic(later - 1)) == UDP
    assert ways.flow_for(a_request(1301), UDP, CONTACT, now=later) == tcp
    monkeypatch.setattr(large, "MAX_REMEMBERED", 1)
    ways.refused(Flow("TCP", UDP.local, Endpoint("192.0.2.8", 5060)), now=NOW)
    assert len(ways) == 1


def test_a_lost_connection_is_no_refusal() -> None:
    ways = LargeRequests()
    ways.refused(Flow("TCP", UDP.local, UDP.remote, 4), now=NOW)
    ways.refused(UDP, now=NOW)
    assert len(ways) == 0


@in_virtual_time
async def test_a_large_call_goes_over_tcp_and_its_via_says_so() -> None:
    world, alice, bob = await pair()
    bob.takes_tcp = True
    sent = alice.invite(world.dial(alice, "bob"), headers=LONG)
    await world.settle()
    assert bob.came_over == ["TCP"]
    arrived = bob.calls()[0]
    assert arrived.request.top_via.transport == "TCP"
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    assert sent.status == 200
    talk = sent.talk()
    talk.ack()
    await world.settle()
    again = talk.send("INFO", headers=LONG)
    small = talk.send("INFO")
    await world.settle()
    assert bob.came_over == ["TCP", "UDP", "TCP", "UDP"]
    for info in bob.got("INFO"):
        info.respond(200)
    await world.settle()
    assert again.status == small.status == 200
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_phone_that_refuses_gets_it_over_udp_under_another_branch() -> None:
    world, alice, bob = await pair()
    sent = alice.invite(world.dial(alice, "bob"), headers=LONG)
    await world.settle()
    assert bob.came_over == ["UDP"]
    arrived = bob.calls()[0]
    assert arrived.request.top_via.transport == "UDP"
    mark = (arrived.request.top_via.branch or "").partition(".")[2]
    assert len(mark) == 12  # the loop is seen all the same
    arrived.respond(486)
    await world.settle()
    assert sent.status == 486
    assert len(world["A"].edge._hub.large) == 1
    await world.over()


@in_virtual_time
async def test_a_phone_behind_a_nat_is_not_waited_for() -> None:
    """Its Contact names the address that its NAT has, where a connection is answered by nobody."""
    world, alice, bob = await pair()
    bob.refuses_after = 5.0
    sent = alice.invite(world.dial(alice, "bob"), headers=LONG)
    await world.settle(large.CONNECTS_WITHIN + 0.1)
    assert bob.came_over == ["UDP"]
    bob.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    again = alice.invite(world.dial(alice, "bob"), headers=LONG)
    await world.settle(0.1)
    assert bob.came_over == ["UDP", "UDP", "UDP"]  # the ACK to 486 between them
    bob.calls()[1].respond(486)
    await world.settle()
    assert again.status == 486
    await world.over()


@in_virtual_time
async def test_a_phone_that_is_connected_may_take_its_time() -> None:
    world, alice, bob = await pair()
    bob.takes_tcp = True
    sent = alice.send("MESSAGE", world.dial(alice, "bob"), headers=LONG, body=b"hello")
    await world.settle(large.CONNECTS_WITHIN + 0.5)
    assert bob.came_over == ["TCP"]
    bob.got("MESSAGE")[0].respond(200)
    await world.settle()
    assert sent.status == 200
    await world.over()


@in_virtual_time
async def test_a_call_given_up_while_the_connection_is_made_does_not_ring() -> None:
    world, alice, bob = await pair()
    bob.refuses_after = 2.0
    sent = alice.invite(world.dial(alice, "bob"), headers=LONG)
    await world.settle(large.CONNECTS_WITHIN / 2)
    sent.cancel()
    await world.settle(3)
    assert sent.status == 487
    assert bob.calls() == []
    await world.over()


@in_virtual_time
async def test_too_large_for_udp_and_nothing_else_there_is_513() -> None:
    world, alice, bob = await pair()
    world["A"].edge._hub.large.refused(
        Flow("TCP", bob.flow.remote, bob.flow.local), now=world.clock.monotonic()
    )
    sent = alice.send("MESSAGE", world.dial(alice, "bob"), body=b"x" * 65_400)
    await world.settle()
    assert sent.status == 513
    await world.over()


@in_virtual_time
async def test_a_large_acknowledgement_goes_over_tcp() -> None:
    """A late offer's answer comes in the ACK, whose size nobody bounds."""
    world, alice, bob = await pair()
    bob.takes_tcp = True
    sent = alice.invite(world.dial(alice, "bob"), b"")
    await world.settle()
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle()
    talk = sent.talk()
    talk.ack(body=sdp(alice.ip), headers=LONG)
    await world.settle()
    assert bob.came_over[-1] == "TCP"
    assert bob.acks[-1].top_via.transport == "TCP"
    talk.send("BYE")
    await world.over()
