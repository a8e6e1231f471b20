"""Calls to other SIP networks: which server gets them, who they come from, and what comes back."""

import pytest

from node.edge.outward import MAX_DATAGRAM, PATIENCE
from node.sip.message import Response
from tests.support.edge_phone import Phone, sdp
from tests.support.edges import World
from tests.support.strangers import Outdoors, stranger
from tests.support.virtual_time import in_virtual_time

SDP = [("Content-Type", "application/sdp")]
TEXT = [("Content-Type", "text/plain")]


async def met(*, servers: int = 1) -> tuple[World, Outdoors, Phone, list[Phone]]:
    """Alice at A, and servers of `other.test` that node A may call."""
    world = World("A")
    outdoors = Outdoors(world)
    alice = world.phone("A", "alice")
    there = [stranger(world, "A", f"s{n}", ip=f"203.0.113.{n}") for n in range(1, servers + 1)]
    outdoors.add("other.test", *there)
    await world.registered()
    return world, outdoors, alice, there


@in_virtual_time
async def test_a_call_to_another_network_is_heard_both_ways() -> None:
    world, _, alice, (server,) = await met()
    sent = alice.invite("sip:carol@other.test")
    await world.settle()
    (arrived,) = server.calls()
    request = arrived.request
    assert request.raw_uri == "sip:carol@other.test"
    assert str(request.from_.uri) == f"sip:alice@{world['A'].ip}:5060"
    assert request.from_.display == "Alice"
    assert request.get("P-Asserted-Identity") is None
    assert request.get("Proxy-Authorization") is None
    assert request.get("Route") is None
    arrived.respond(180)
    await world.settle()
    assert sent.statuses == [180]
    arrived.respond(200, sdp(server.ip))
    await world.settle()
    assert sent.final is not None
    assert (sent.final.get("From") or "").startswith('"Alice" <sip:alice@')
    talk = sent.talk()
    talk.ack()
    await world.settle()
    assert arrived.acked
    assert world.hears(request.body) == alice.rtp
    assert world.hears(sent.final.body) == server.rtp
    back = arrived.talk()
    held = back.send("INVITE", sdp(server.ip, version=2))
    await world.settle()
    inside = alice.got("INVITE")[0]
    assert (inside.request.get("To") or "").startswith('"Alice" <sip:alice@10.1.0.1>')
    inside.respond(200, sdp(alice.ip, version=2))
    await world.settle()
    assert held.status == 200
    back.ack(back.cseq)
    await world.settle()
    back.send("BYE")
    await world.settle()
    assert len(alice.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_the_caller_hangs_up_and_cancels() -> None:
    world, _, alice, (server,) = await met()
    sent = alice.invite("sip:carol@other.test")
    await world.settle()
    server.calls()[0].respond(200, sdp(server.ip))
    await world.settle()
    talk = sent.talk()
    talk.ack()
    talk.send("BYE")
    await world.settle()
    assert len(server.got("BYE")) == 1
    second = alice.invite("sip:carol@other.test")
    await world.settle()
    server.calls()[1].respond(180)
    await world.settle()
    second.cancel()
    await world.settle()
    assert second.status == 487
    assert server.calls()[1].cancelled
    await world.over()


@in_virtual_time
async def test_the_account_is_named_by_a_domain_of_ours_that_can_be_called_back() -> None:
    world, outdoors, alice, (server,) = await met()
    outdoors.own_domain = "example.org"
    alice.send("MESSAGE", "sip:carol@other.test", b"hi", headers=TEXT)
    await world.settle()
    (arrived,) = server.got("MESSAGE")
    assert str(arrived.request.from_.uri) == "sip:alice@example.org"
    arrived.respond(200)
    await world.over()


@pytest.mark.parametrize(("first", "tries"), [(503, 2), (500, 1), (404, 1), (603, 1)])
def test_only_a_503_leads_to_the_next_server(first: int, tries: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, _, alice, servers = await met(servers=2)
        sent = alice.invite("sip:carol@other.test")
        await world.settle()
        servers[0].calls()[0].respond(first)
        await world.settle()
        assert len(servers[1].calls()) == tries - 1
        if tries == 1:
            assert sent.status == first
        else:
            servers[1].calls()[0].respond(503)
            await world.settle()
            assert sent.status == 480  # a phone would leave this node for a 503
        await world.over()

    run()


@in_virtual_time
async def test_a_silent_server_is_left_for_the_next_one_and_comes_last_afterwards() -> None:
    world, _, alice, servers = await met(servers=2)
    servers[0].die()
    sent = alice.invite("sip:carol@other.test")
    await world.settle(PATIENCE + 1)
    servers[1].calls()[0].respond(200, sdp(servers[1].ip))
    await world.settle()
    assert sent.status == 200
    talk = sent.talk()
    talk.ack()
    talk.send("BYE")
    again = alice.send("MESSAGE", "sip:carol@other.test", b"hi", headers=TEXT)
    await world.settle()
    servers[1].got("MESSAGE")[0].respond(200)
    await world.settle()
    assert again.status == 200
    await world.over()


@in_virtual_time
async def test_a_server_that_was_given_up_and_takes_the_call_after_all_is_told_its_end() -> None:
    world, _, alice, servers = await met(servers=2)
    home = world["A"]
    slow = home.phones.pop(servers[0].flow.local)
    sent = alice.invite("sip:carol@other.test")
    await world.settle(PATIENCE + 1)
    home.phones[slow.flow.local] = slow
    await world.settle(4.5)  # the INVITE was repeated meanwhile, and its CANCEL waits
    servers[1].calls()[0].respond(200, sdp(servers[1].ip))
    await world.settle()
    talk = sent.talk()
    talk.ack()
    await world.settle()
    for late in slow.calls():
        late.respond(200, sdp(slow.ip))
    await world.settle()
    assert [len(late.acked) for late in slow.calls()] == [1]
    assert len(slow.got("BYE")) == 1
    assert servers[1].got("BYE") == []
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_no_server_answers() -> None:
    world, _, alice, servers = await met(servers=2)
    for server in servers:
        server.die()
    sent = alice.invite("sip:carol@other.test")
    await world.settle(40)
    assert sent.status == 480
    assert "does not answer" in ((sent.final and sent.final.get("Reason")) or "")
    await world.over()


@pytest.mark.parametrize("status", [401, 407, 302])
def test_what_a_phone_must_not_follow_is_480(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, _, alice, (server,) = await met()
        sent = alice.invite("sip:carol@other.test")
        await world.settle()
        challenge = [("WWW-Authenticate", 'Digest realm="other", nonce="1"')]
        server.calls()[0].respond(status, headers=challenge)
        await world.settle()
        assert sent.statuses == [480]
        assert len(server.calls()) == 1
        await world.over()

    run()


@in_virtual_time
async def test_nobody_calls_other_networks_anonymously() -> None:
    world, _, alice, (server,) = await met()
    sent = alice.invite(
        "sip:carol@other.test", sender='"Anonymous" <sip:anonymous@anonymous.invalid>'
    )
    await world.settle()
    assert sent.status == 403
    assert server.inbox == []
    await world.over()


@in_virtual_time
async def test_only_accounts_that_may() -> None:
    world = World("A")
    outdoors = Outdoors(world, accounts=frozenset({"alice"}))
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    server = stranger(world, "A", "s1")
    outdoors.add("other.test", server)
    await world.registered()
    sent = bob.invite("sip:carol@other.test")
    allowed = alice.invite("sip:carol@other.test")
    await world.settle()
    assert sent.status == 403
    server.calls()[0].respond(486)
    await world.settle()
    assert allowed.status == 486
    await world.over()


@in_virtual_time
async def test_emergency_numbers_never_leave() -> None:
    world, _, alice, (server,) = await met()
    sent = alice.invite("sip:112@other.test")
    await world.settle()
    assert sent.status == 403
    assert server.inbox == []
    await world.over()


@in_virtual_time
async def test_a_large_request_goes_by_tcp_and_by_udp_where_tcp_is_refused() -> None:
    world, outdoors, alice, (server,) = await met()
    flows: list[str] = []
    home = world["A"]
    carried = home.send

    def send(data: bytes, flow: object) -> None:
        if b"MESSAGE sip:carol" in data:
            flows.append(flow.transport)  # type: ignore[attr-defined]
        carried(data, flow)  # type: ignore[arg-type]

    home.send = send  # type: ignore[method-assign]
    sent = alice.send("MESSAGE", "sip:carol@other.test", b"x" * MAX_DATAGRAM, headers=TEXT)
    await world.settle()
    assert flows == ["TCP"]
    home.edge.flow_closed(outdoors._flow_to("TCP", server.flow.local, ""))
    await world.settle()
    assert flows[:2] == ["TCP", "UDP"]
    server.got("MESSAGE")[-1].respond(200)
    await world.settle()
    assert sent.status == 200
    await world.over()


@in_virtual_time
async def test_inside_a_call_the_target_that_was_named_gets_the_requests() -> None:
    """Beyond a proxy that stays out of the dialog."""
    world, outdoors, alice, (server,) = await met()
    direct = stranger(world, "A", "carol", ip="198.51.100.40")
    hidden = stranger(world, "A", "carol", ip="192.168.1.5")
    outdoors.forbidden.add(hidden.ip)
    for target in (direct, hidden):
        sent = alice.invite("sip:carol@other.test")
        await world.settle()
        arrived = server.calls()[-1]
        response = Response.answering(
            arrived.request,
            200,
            to_tag=arrived.tag,
            headers=[("Contact", f"<{target.contact}>"), *SDP],
            body=sdp(target.ip),
        )
        arrived._send(response)
        await world.settle()
        talk = sent.talk()
        talk.ack()
        talk.send("BYE")
        await world.settle()
    assert len(direct.got("BYE")) == 1
    assert hidden.inbox == []
    assert len(server.got("BYE")) == 1
    await world.over()
