"""Calls that accounts here send on to other SIP networks: in whose name, by whose rights."""

import pytest

from node.edge.outbound_limits import OutboundLimits
from node.edge.redirect import MAX_REDIRECTS
from node.sip.message import Response
from node.storage.features import Features
from tests.support.edge_phone import Arrived, Phone, Sent, sdp
from tests.support.edges import World
from tests.support.strangers import Outdoors, stranger
from tests.support.virtual_time import in_virtual_time

TARGET = "sip:carol@other.test"


async def a_world(
    *, servers: int = 1, may: frozenset[str] = frozenset(), caller: str = "B"
) -> tuple[World, Outdoors, Phone, Phone, list[Phone]]:
    """Alice at B (or A), bob at A, and servers of `other.test` that node A may call."""
    world = World("AB")
    outdoors = Outdoors(world, accounts=may)
    there = [stranger(world, "A", f"s{n}", ip=f"203.0.113.{n}") for n in range(1, servers + 1)]
    outdoors.add("other.test", *there)
    alice, bob = world.phone(caller, "alice"), world.phone("A", "bob")
    await world.registered()
    return world, outdoors, alice, bob, there


def moves(arrived: Arrived, *uris: str) -> None:
    headers = [("Contact", f"<{uri}>") for uri in uris]
    arrived._send(Response.answering(arrived.request, 302, to_tag=arrived.tag, headers=headers))


async def sent_on(world: World, caller: Phone, bob: Phone, target: str = TARGET) -> Sent:
    sent = caller.invite(world.dial(caller, "bob"))
    await world.settle()
    moves(bob.calls()[-1], target)
    await world.settle()
    return sent


@pytest.mark.parametrize("home", ["A", "B"])
def test_a_302_leads_there_in_the_name_of_who_sent_it(home: str) -> None:
    """Sound goes both ways; the network there sees bob, whom it can call, and reads of alice."""

    @in_virtual_time
    async def run() -> None:
        world, _, alice, bob, (server,) = await a_world(caller=home)
        sent = await sent_on(world, alice, bob)
        (arrived,) = server.calls()
        request, own = arrived.request, f"{world['A'].ip}:5060"
        number = world.account(home, "alice").number
        assert request.raw_uri == TARGET
        assert str(request.from_.uri) == f"sip:bob@{own}"
        assert request.from_.display == f"Alice ({number})"
        assert request.values("Diversion") == [f"<sip:bob@{own}>;reason=unconditional"]
        assert request.get("P-Asserted-Identity") is None
        assert request.get("Proxy-Authorization") is None
        arrived.respond(200, sdp(server.ip))
        await world.settle()
        assert sent.status == 200
        talk = sent.talk()
        talk.ack()
        await world.settle()
        assert arrived.acked
        assert world.hears(request.body) == alice.rtp
        assert world.hears(sent.final.body) == server.rtp  # type: ignore[union-attr]
        arrived.talk().send("BYE")
        await world.settle()
        assert len(alice.got("BYE")) == 1
        assert "bob" not in (alice.got("BYE")[0].request.get("To") or "")
        await world.over()

    run()


@in_virtual_time
async def test_forwarding_by_command_leads_there_too_and_a_domain_of_ours_is_named() -> None:
    world, outdoors, alice, bob, (server,) = await a_world()
    outdoors.own_domain = "example.org"
    world["A"].features.set(Features(login="bob", busy=TARGET.removeprefix("sip:")))
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(486)
    await world.settle()
    (arrived,) = server.calls()
    assert str(arrived.request.from_.uri) == "sip:bob@example.org"
    assert arrived.request.values("Diversion") == ["<sip:bob@example.org>;reason=user-busy"]
    arrived.respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_who_is_not_verified_or_wants_to_be_nobody_is_told_as_that() -> None:
    world, _, alice, bob, (server,) = await a_world()
    dave = stranger(world, "A", "dave")
    account = world.account("A", "bob")
    for caller, sender in ((dave, None), (alice, '"x" <sip:anonymous@anonymous.invalid>')):
        target = (
            f"sip:bob@{world['A'].ip}" if caller is dave else f"sip:{account.number}@{alice.server}"
        )
        sent = caller.invite(target, sender=sender)
        await world.settle()
        moves(bob.calls()[-1], TARGET)
        await world.settle()
        arrived = server.calls()[-1]
        assert arrived.request.from_.uri.user == "bob"
        arrived.respond(603)
        await world.settle()
        assert sent.status == 603
    shown = [arrived.request.from_.display for arrived in server.calls()]
    assert shown == ["unverified: Dave (dave@elsewhere.test)", "Anonymous"]
    await world.over()


@in_virtual_time
async def test_it_counts_as_a_call_of_who_sends_it_on() -> None:
    """Its right to call there, and its calls of the hour."""
    world, _, alice, bob, (server,) = await a_world(may=frozenset({"alice"}))
    assert (await sent_on(world, alice, bob)).status == 480
    world, _, alice, bob, (server,) = await a_world(may=frozenset({"bob"}))
    world["A"].edge._hub.limits = OutboundLimits(1, 10)
    first = await sent_on(world, alice, bob)
    server.calls()[0].respond(486)
    await world.settle()
    assert first.status == 486
    second = await sent_on(world, alice, bob)
    assert second.status == 480
    assert "calls to elsewhere wait" in (second.final.get("Reason") or "")  # type: ignore[union-attr]
    assert len(server.calls()) == 1
    await world.over()


@in_virtual_time
async def test_a_node_that_calls_no_other_networks_sends_nothing_on_to_them() -> None:
    world, outdoors, alice, bob, (server,) = await a_world()
    world["A"].edge._calls.redirects.outward = None
    sent = await sent_on(world, alice, bob)
    assert sent.status == 480
    assert "does not call other SIP networks" in (sent.final.get("Reason") or "")  # type: ignore[union-attr]
    assert server.calls() == []
    assert outdoors.domains
    await world.over()


@in_virtual_time
async def test_the_next_server_is_tried_and_another_network_sends_nothing_on() -> None:
    world, _, alice, bob, servers = await a_world(servers=2)
    sent = await sent_on(world, alice, bob)
    servers[0].calls()[0].respond(503)
    await world.settle()
    moves(servers[1].calls()[0], "sip:dave@other.test")
    await world.settle()
    assert sent.status == 480
    again = await sent_on(world, alice, bob)
    servers[1].calls()[1].respond(200, sdp(servers[1].ip))
    await world.settle()
    assert again.status == 200
    talk = again.talk()
    talk.ack()
    talk.send("BYE")
    await world.settle()
    assert len(servers[1].got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_a_caller_who_gives_up_is_told_there() -> None:
    world, _, alice, bob, (server,) = await a_world()
    sent = await sent_on(world, alice, bob)
    server.calls()[0].respond(180)
    await world.settle()
    sent.cancel()
    await world.settle()
    assert (sent.status, server.calls()[0].cancelled) == (487, True)
    await world.over()


@in_virtual_time
async def test_a_call_that_was_sent_on_often_enough_goes_no_further() -> None:
    """Networks that count, too: what their Diversions say is added to ours."""
    world, _, _, bob, (server,) = await a_world()
    dave = stranger(world, "A", "dave")
    before = [("Diversion", f"<sip:x{n}@elsewhere.test>") for n in range(MAX_REDIRECTS)]
    sent = dave.invite(f"sip:bob@{world['A'].ip}", headers=before)
    await world.settle()
    moves(bob.calls()[0], TARGET)
    await world.settle()
    assert (sent.status, server.calls()) == (480, [])
    await world.over()


@in_virtual_time
async def test_a_call_that_comes_round_is_480() -> None:
    world, _, alice, bob, (server,) = await a_world()
    sent = await sent_on(world, alice, bob)
    server.calls()[0].respond(482)
    await world.settle()
    assert sent.status == 480
    await world.over()
