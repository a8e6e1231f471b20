"""What is refused before anybody is asked (RFC 3261 16.3), and who may send inside a call."""

import pytest

from federation.messages import Bye
from node.edge.dialog import Dialog
from node.sip.message import Request
from tests.support.edge_phone import Phone
from tests.support.edges import World
from tests.support.virtual_time import in_virtual_time


async def pair(nodes: str = "AB") -> tuple[World, Phone, Phone]:
    world = World(nodes)
    alice, bob = world.phone("A", "alice"), world.phone(nodes[-1], "bob")
    await world.registered()
    return world, alice, bob


@in_virtual_time
async def test_an_inside_request_from_a_foreign_address_is_481() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    mallory = world.phone("A", "alice", ip="10.1.0.99")
    forged = talk._compose("BYE", 9, b"", ())
    forged.replace_first_value("Via", mallory.via())
    sent = mallory.transmit(forged)
    await world.settle()
    assert sent.status == 481
    assert bob.got("BYE") == []
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_an_inside_request_of_a_node_that_is_not_in_the_call_is_481() -> None:
    world = World("ABC")
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    talk, back = await world.call(alice, bob)
    group = next(iter(world["B"].edge._hub.dialogs))
    bye = next(iter(group.dialogs.values()))
    before = len(bob.got("BYE"))
    await world["C"].links.send_bye(world["B"].id, _bye(group.call_id, group.caller_tag, bye))
    await world.settle()
    assert len(bob.got("BYE")) == before
    assert len(world["B"].edge.calls()) == 1
    assert back.phone is bob
    talk.send("BYE")
    await world.over()


def _bye(call_id: str, caller_tag: str, dialog: Dialog) -> Bye:
    return Bye(call_id=call_id, sender_tag=caller_tag, receiver_tag=dialog.callee_tag)


@pytest.mark.parametrize(
    ("hops", "seen", "status"),
    [(None, "69", 200), ("70", "68", 200), ("1", None, 483), ("0", None, 483)],
)
def test_max_forwards(hops: str | None, seen: str | None, status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair()
        sent = alice.send("MESSAGE", world.dial(alice, "bob"), hops=hops)
        await world.settle()
        for arrived in bob.got("MESSAGE"):
            assert arrived.request.get("Max-Forwards") == seen
            arrived.respond(200)
        await world.settle()
        assert sent.status == status
        await world.over()

    run()


@in_virtual_time
async def test_an_ack_without_hops_left_goes_no_further() -> None:
    world, alice, bob = await pair()
    talk, _ = await world.call(alice, bob)
    before = len(bob.acks)
    ack = talk._compose("ACK", talk.cseq, b"", ())
    ack.set("Max-Forwards", "0")
    alice.send_bare(ack)
    await world.settle()
    assert len(bob.acks) == before
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_proxy_require_of_what_we_do_not_know_is_420() -> None:
    world, alice, bob = await pair()
    sent = alice.invite(world.dial(alice, "bob"), headers=[("Proxy-Require", "magic, tricks")])
    await world.settle()
    assert sent.status == 420
    assert sent.final is not None
    assert sent.final.get("Unsupported") == "magic, tricks"
    assert bob.calls() == []
    await world.over()


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        ("<sip:alice@{node}>", 200),
        ('"Alice A." <sip:{number}@{node}>', 200),
        ("<sip:alice@a.test>", 200),
        ("<sip:alice@{key}>", 200),
        ("<tel:{number}>", 200),
        ("<sip:anonymous@anonymous.invalid>", 200),
        ("<sip:bob@{node}>", 403),
        ("<sip:alice@elsewhere.test>", 200),  # a registered device, which proves itself
        ("<sip:bob@elsewhere.test>", 404),  # a stranger, who reaches nobody else's number
        ("<sip:{node}>", 403),
    ],
)
def test_from_must_be_the_account_that_proved_itself(sender: str, status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair()
        number = world.account("A", "alice").number
        text = sender.format(node=alice.server, number=number, key=world["A"].id.key_name)
        sent = alice.send("MESSAGE", world.dial(alice, "bob"), sender=text)
        await world.settle()
        for arrived in bob.got("MESSAGE"):
            arrived.respond(200)
        await world.settle()
        assert sent.status == status
        if sent.final is not None and status == 200:
            assert (sent.final.get("From") or "").startswith(text)
        await world.over()

    run()


@in_virtual_time
async def test_a_preloaded_route_to_elsewhere_is_not_followed() -> None:
    world, alice, bob = await pair()
    routes = [("Route", f"<sip:{alice.server};lr>"), ("Route", "<sip:198.51.100.1;lr>")]
    alice.send("MESSAGE", world.dial(alice, "bob"), headers=routes)
    await world.settle()
    (arrived,) = bob.got("MESSAGE")
    assert arrived.request.get("Route") is None
    arrived.respond(200)
    await world.over()


@in_virtual_time
async def test_a_request_that_comes_round_unchanged_is_482() -> None:
    world, alice, bob = await pair("A")
    target = world.dial(alice, "bob")
    alice.send("MESSAGE", target)
    await world.settle()
    (arrived,) = bob.got("MESSAGE")
    looped = arrived.request.copy()
    first = alice._sent and [s for s in alice._sent.values() if s.request.method == "MESSAGE"][-1]
    assert isinstance(looped, Request)
    looped.uri = first.request.uri
    looped.set("From", first.request.get("From") or "")
    looped.prepend("Via", bob.via())
    again = bob.transmit(looped)
    await world.settle()
    assert again.status == 482
    arrived.respond(200)
    await world.over()


@in_virtual_time
async def test_a_request_may_not_fork_wider_than_it_says() -> None:
    world = World()
    alice = world.phone("A", "alice")
    devices = [world.phone("B", "bob") for _ in range(3)]
    await world.registered()
    sent = alice.send("MESSAGE", world.dial(alice, "bob"), headers=[("Max-Breadth", "2")])
    await world.settle()
    assert sent.status == 440
    alice.send("MESSAGE", world.dial(alice, "bob"), headers=[("Max-Breadth", "8")])
    await world.settle()
    shares = [device.got("MESSAGE")[0].request.get("Max-Breadth") for device in devices]
    assert sorted(shares) == ["2", "3", "3"]
    for device in devices:
        device.got("MESSAGE")[0].respond(200)
    await world.over()


@pytest.mark.parametrize("call_id", ["ca\udcff\udcfell", "x" * 513])
def test_a_call_id_that_no_frame_could_carry_is_refused(call_id: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair()
        sent = alice.invite(world.dial(alice, "bob"), call_id=call_id)
        await world.settle()
        assert sent.status == 400
        assert bob.calls() == []
        await world.over()

    run()
