"""Targets inside dialogs with other networks that are names (RFC 3261 12.2.1.1, RFC 3263)."""

import pytest

from node.edge.ways import MAX_NAMES, MAX_WAITING
from node.sip.locate import Hop
from node.sip.message import Response
from tests.support.edge_phone import Arrived, Phone, Talk, sdp
from tests.support.edges import World
from tests.support.strangers import Outdoors, stranger
from tests.support.virtual_time import in_virtual_time


async def met(delay: float = 0.01) -> tuple[World, Outdoors, Phone, Phone, Phone]:
    """Alice at A; the server of `other.test`; and the host that it names for what follows."""
    world = World("A")
    outdoors = Outdoors(world)
    alice = world.phone("A", "alice")
    server = stranger(world, "A", "s1", ip="203.0.113.1")
    named = stranger(world, "A", "s2", ip="203.0.113.2")
    outdoors.add("other.test", server)
    outdoors.names["b2b.other.test"] = [Hop("UDP", named.flow.local, "b2b.other.test")]
    outdoors.name_delay = delay
    await world.registered()
    return world, outdoors, alice, server, named


def takes(arrived: Arrived, phone: Phone, contact: str, *routes: str) -> None:
    """Answer 200 with this Contact, behind proxies that stay in the dialog."""
    headers = [("Contact", f"<{contact}>"), ("Content-Type", "application/sdp")]
    response = Response.answering(
        arrived.request, 200, to_tag=arrived.tag, headers=headers, body=sdp(phone.ip)
    )
    for value in reversed(routes):
        response.prepend("Record-Route", f"<{value}>")
    arrived._send(response)


async def called(world: World, alice: Phone, server: Phone, contact: str, *routes: str) -> Talk:
    sent = alice.invite("sip:carol@other.test")
    await world.settle()
    takes(server.calls()[-1], server, contact, *routes)
    await world.settle()
    talk = sent.talk()
    talk.ack()
    return talk


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("delay", [0.01, 1.0])
def test_the_host_that_was_named_gets_everything(routed: bool, delay: float) -> None:
    """In its order, also where DNS takes its time; and what that host sends is taken."""

    @in_virtual_time
    async def run() -> None:
        world, outdoors, alice, server, named = await met(delay)
        where = ["sip:carol@192.0.2.9", "sip:b2b.other.test;lr"] if routed else []
        talk = await called(world, alice, server, *(where or ["sip:carol@b2b.other.test"]))
        talk.send("INFO")
        await world.settle(1.5)
        assert outdoors.looked_up == ["b2b.other.test"]
        assert [ack.uri.host for ack in named.acks] == ["192.0.2.9" if routed else "b2b.other.test"]
        assert named.wrote == []
        named.got("INFO")[0].respond(200)
        assert server.acks == []
        back = named.got("INFO")[0].talk()
        bye = back.send("BYE")
        await world.settle()
        assert bye.status == 200
        assert len(alice.got("BYE")) == 1
        await world.over()

    run()


@pytest.mark.parametrize("name", ["nowhere.test", "b2b.other.test;transport=sctp"])
def test_what_leads_nowhere_is_sent_where_the_answer_came_from(name: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, _, alice, server, named = await met()
        talk = await called(world, alice, server, f"sip:carol@{name}")
        await world.settle()
        talk.send("BYE")
        await world.settle()
        assert (len(server.acks), len(server.got("BYE"))) == (1, 1)
        assert named.inbox == []
        await world.over()

    run()


@in_virtual_time
async def test_a_name_that_leads_to_the_server_of_the_dialog_keeps_its_flow() -> None:
    world, outdoors, alice, server, named = await met()
    both = [Hop("UDP", phone.flow.local, "b2b.other.test") for phone in (named, server)]
    outdoors.names["b2b.other.test"] = both
    talk = await called(world, alice, server, "sip:carol@b2b.other.test")
    await world.settle()
    talk.send("BYE")
    await world.settle()
    assert (len(server.acks), len(server.got("BYE")), named.inbox) == (1, 1, [])
    await world.over()


@in_virtual_time
async def test_a_caller_from_elsewhere_names_its_proxy() -> None:
    world, _, alice, server, named = await met()
    sent = server.invite(
        f"sip:alice@{world['A'].ip}", headers=[("Record-Route", "<sip:b2b.other.test;lr>")]
    )
    await world.settle()
    alice.calls()[0].respond(200, sdp(alice.ip))
    await world.settle()
    talk = sent.talk()
    talk.ack()
    await world.settle()
    alice.calls()[0].talk().send("BYE")
    await world.settle()
    (bye,) = named.got("BYE")
    assert bye.request.get("Route") == "<sip:b2b.other.test;lr>"
    assert server.got("BYE") == []
    await world.over()


@in_virtual_time
async def test_a_call_ended_by_the_node_is_ended_at_the_host_that_was_named() -> None:
    world, _, alice, server, named = await met()
    await called(world, alice, server, "sip:carol@b2b.other.test")
    await world.settle()
    world["A"].edge.hang_up("all")
    await world.settle()
    assert (len(named.got("BYE")), len(server.got("BYE"))) == (1, 0)
    await world.over()


@in_virtual_time
async def test_a_target_that_changes_is_looked_up_anew_so_many_times() -> None:
    world, outdoors, alice, server, _ = await met()
    talk = await called(world, alice, server, "sip:carol@n0.test")
    await world.settle()
    back = server.calls()[0].talk()
    for number in range(1, MAX_NAMES + 4):
        back.cseq += 1
        update = back._compose("UPDATE", back.cseq, b"", ())
        update.set("Contact", f"<sip:carol@n{number}.test>")
        again = server.transmit(update)
        await world.settle()
        alice.got("UPDATE")[-1].respond(200)
        await world.settle()
        assert again.status == 200
    assert outdoors.looked_up == [f"n{number}.test" for number in range(MAX_NAMES)]
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_so_many_requests_wait_for_a_name() -> None:
    world, _, alice, server, named = await met(delay=2.0)
    talk = await called(world, alice, server, "sip:carol@b2b.other.test")
    for _ in range(MAX_WAITING + 1):
        talk.send("INFO")
    await world.settle()
    assert (len(server.got("INFO")), len(named.got("INFO"))) == (2, 0)  # the ACK waits, too
    await world.settle(2)
    assert len(named.acks) == 1
    assert len({a.request.cseq.number for a in named.got("INFO")}) == MAX_WAITING - 1
    world["A"].edge.hang_up("all")
    await world.settle(200)
