"""One device over several flows (RFC 5626), and requests for one device by its GRUU (RFC 5627)."""

import pytest

from node.sip.headers import NameAddr
from tests.support.edge_phone import Phone
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


def outbound(phone: Phone, instance: str, reg_id: int | None = 1) -> None:
    phone.contact_params = f';+sip.instance="<urn:uuid:{instance}>"'
    if reg_id is not None:
        phone.contact_params += f";reg-id={reg_id}"
    phone.register_headers = [("Supported", "path, outbound, gruu")]


async def two_flows(transport: str = "TCP") -> tuple[World, Phone, Phone, Phone]:
    """Alice, and the flows of bob's one device, the second the newer one."""
    world = World("A")
    alice = world.phone("A", "alice")
    first = world.phone("A", "bob", transport=transport)  # type: ignore[arg-type]
    second = world.phone("A", "bob", transport=transport)  # type: ignore[arg-type]
    outbound(first, "b", 1)
    outbound(second, "b", 2)
    for phone in (alice, first, second):
        phone.register()
        await world.settle(1.5)
    return world, alice, first, second


def gruus(phone: Phone) -> tuple[str, str]:
    """What the node gave a phone at its last REGISTER."""
    sent = next(s for s in reversed(list(phone._sent.values())) if s.responses)
    (value,) = [
        value
        for value in sent.responses[-1].values("Contact")
        if str(NameAddr.parse(value).uri) == phone.contact
    ]
    contact = NameAddr.parse(value)
    return contact.param("pub-gruu") or "", contact.param("temp-gruu") or ""


@in_virtual_time
async def test_a_device_with_two_flows_rings_once_over_the_newer() -> None:
    world, alice, first, second = await two_flows()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert (len(first.calls()), len(second.calls())) == (0, 1)
    second.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_a_contact_that_is_registered_twice_rings_once() -> None:
    """With an instance and without: two bindings, and one place to ring (RFC 3261 8.2.2.2)."""
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    outbound(bob, "b")
    bob.register()
    await world.settle()
    assert len(world["A"].registrar.bindings("bob", now=world.clock.unix())) == 2
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert len(bob.calls()) == 1
    bob.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_a_430_leads_to_the_other_flow_and_to_480_after_the_last() -> None:
    world, alice, first, second = await two_flows()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    second.calls()[0].respond(430)
    await world.settle()
    assert len(first.calls()) == 1
    assert first.calls()[0].request.raw_uri == first.contact
    assert sent.status == 0
    first.calls()[0].respond(200, sdp(first.ip))
    await world.settle()
    assert sent.status == 200
    talk = sent.talk()
    talk.ack()
    await world.settle()
    assert world.hears(first.calls()[0].request.body) == alice.rtp
    assert world.hears(sent.final.body) == first.rtp  # type: ignore[union-attr]
    talk.send("BYE")
    await world.settle()
    again = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    second.calls()[-1].respond(430)
    await world.settle()
    first.calls()[-1].respond(430)
    await world.settle()
    assert again.status == 480
    assert (len(first.calls()), len(second.calls())) == (2, 2)
    await world.over()


@in_virtual_time
async def test_a_connection_that_ends_before_an_answer_leads_to_the_other_flow() -> None:
    world, alice, first, second = await two_flows()
    second.answers_byes = False
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    flow = world["A"].registrar.bindings("bob", now=world.clock.unix())[0].flow
    world["A"].edge.flow_closed(flow)
    await world.settle()
    assert len(first.calls()) == 1
    first.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_a_device_that_rings_is_not_rung_again_over_its_other_flow() -> None:
    world, alice, first, second = await two_flows()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    second.calls()[0].respond(180)
    await world.settle()
    world["A"].edge.flow_closed(
        world["A"].registrar.bindings("bob", now=world.clock.unix())[0].flow
    )
    await world.settle()
    assert first.calls() == []
    assert sent.status == 480
    await world.over()


@in_virtual_time
async def test_a_call_given_up_meanwhile_goes_nowhere_else() -> None:
    world, alice, first, second = await two_flows()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    sent.cancel()
    await world.settle()
    second.calls()[0].respond(430)
    await world.settle()
    assert first.calls() == []
    await world.settle(40)
    assert sent.status == 487
    await world.over()


@in_virtual_time
async def test_inside_a_call_a_flow_that_is_gone_is_430() -> None:
    """RFC 5626 5.3.1: the call goes on, for the device may come back."""
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob", transport="TCP")
    outbound(bob, "b")
    await world.registered()
    talk, _ = await world.call(alice, bob)
    flow = world["A"].registrar.bindings("bob", now=world.clock.unix())[0].flow
    info = talk.send("INFO")
    await world.settle()
    world["A"].edge.flow_closed(flow)
    await world.settle()
    assert info.status == 430
    assert len(world["A"].edge.calls()) == 1
    world["A"].edge.hang_up("all")
    await world.settle(40)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("home", ["A", "B"])
def test_a_gruu_rings_one_device_of_several(which: int, home: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World("AB")
        alice = world.phone("A", "alice")
        desk, mobile = world.phone(home, "bob"), world.phone(home, "bob")
        outbound(desk, "desk", None)
        outbound(mobile, "mobile", None)
        await world.registered()
        gruu = gruus(desk)[which]
        assert gruu.startswith("sip:")
        assert world[home].id.key_name in gruu
        sent = alice.invite(gruu)
        await world.settle()
        assert (len(desk.calls()), len(mobile.calls())) == (1, 0)
        assert desk.calls()[0].request.raw_uri == desk.contact
        desk.calls()[0].respond(486)
        await world.settle()
        assert sent.status == 486
        desk.send("REGISTER", f"sip:{desk.server}", to=f"sip:bob@{desk.server}",
                  headers=[("Expires", "0")])  # fmt: skip
        await world.settle()
        gone = alice.invite(gruu)
        await world.settle()
        assert gone.status == 480
        assert mobile.calls() == []
        await world.over()

    run()


@in_virtual_time
async def test_a_device_that_gives_its_gruu_as_contact_is_reached_at_its_contact() -> None:
    world = World("AB")
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    outbound(alice, "a", None)
    await world.registered()
    alice.gruu = gruus(alice)[0]
    talk, back = await world.call(alice, bob)
    assert back.target == alice.gruu
    info = back.send("INFO")
    await world.settle()
    arrived = alice.got("INFO")[0]
    assert arrived.request.raw_uri == alice.contact
    arrived.respond(200)
    await world.settle()
    assert info.status == 200
    world["A"].edge.hang_up("all")
    await world.settle()
    assert alice.got("BYE")[0].request.raw_uri == alice.contact
    assert talk.phone is alice
    await world.over()
