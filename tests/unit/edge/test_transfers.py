"""REFER: what a phone wrote for its own node still leads there when another node's phone dials."""

import pytest

from tests.support.edge_phone import Phone, Talk
from tests.support.edges import World
from tests.support.strangers import stranger
from tests.support.virtual_time import in_virtual_time

TELEPHONE = "+4930123456"


async def referred(world: World, talk: Talk, phone: Phone, refer_to: str) -> str:
    """What `phone` is asked to call; it declines."""
    talk.send("REFER", headers=[("Refer-To", refer_to)])
    await world.settle()
    arrived = phone.got("REFER")[-1]
    arrived.respond(603)
    await world.settle()
    return arrived.request.get("Refer-To") or ""


@pytest.mark.parametrize("target", ["Acarol", "Bcarol", "Ccarol"])
@pytest.mark.parametrize("by", ["caller", "callee"])
def test_a_number_that_the_transferor_dials_is_reached_from_another_node(
    by: str, target: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World("ABC")
        alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
        carol = world.phone(target[0], target[1:])
        await world.registered()
        talk, back = await world.call(alice, bob)
        told, asked, other = (talk, alice, bob) if by == "caller" else (back, bob, alice)
        uri = (await referred(world, told, other, f"<{world.dial(asked, 'carol')}>")).strip("<>")
        sent = other.invite(uri)
        await world.settle()
        carol.calls()[-1].respond(486)
        await world.settle()
        assert sent.status == 486
        talk.send("BYE")
        await world.over()

    run()


@in_virtual_time
async def test_what_refer_to_becomes_on_the_way_to_another_node() -> None:
    """Numbers are dialled at the node of whoever dials, all else at the node that was meant."""
    world = World("AB")
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    number, here, there = world.account("A", "alice").number, alice.server, "sip:x@c.test"
    mine, yours = world["A"].id.key_name, world["B"].id.key_name
    talk, _ = await world.call(alice, bob)
    for written, arrives in {
        f"<sip:{number}@{here}>": f"<sip:{number}@{yours}>",
        f'"C" <sip:{number}*12@a.test:5060;user=phone>;x=1': f'"C" <sip:{number}*12@{yours}>;x=1',
        f"sip:{TELEPHONE}@{here}": f"<sip:{TELEPHONE}@{yours}>",
        f"<sips:carol@{here}?Subject=lunch>": f"<sips:carol@{mine}?Subject=lunch>",
        f"<sip:*43@{here};transport=tcp>": f"<sip:*43@{mine}>",
        f"<{there}>": f"<{there}>",
        f"<sip:x@{yours}>": f"<sip:x@{yours}>",
        f"<sip:{here}>": f"<sip:{here}>",
        f"<tel:{TELEPHONE}>": f"<tel:{TELEPHONE}>",
        "<sip:": "<sip:",
    }.items():
        assert await referred(world, talk, bob, written) == arrives
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_inside_one_node_refer_to_stays_as_it_was() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    talk, _ = await world.call(alice, bob)
    written = f"<sip:carol@{alice.server};transport=tcp>"
    assert await referred(world, talk, bob, written) == written
    talk.send("BYE")
    await world.over()


@pytest.mark.parametrize("target", ["Bcarol", "Ccarol"])
def test_a_transferred_phone_may_call_by_the_name_it_was_called_by(target: str) -> None:
    """From is the To of the first call then, at another node's address; who it is stays proven."""

    @in_virtual_time
    async def run() -> None:
        world = World("ABC")
        alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
        carol = world.phone(target[0], target[1:])
        await world.registered()
        number = world.account("B", "bob").number
        sent = bob.invite(world.dial(bob, "carol"), sender=f"<sip:{number}@{alice.server}>")
        await world.settle()
        (arrived,) = carol.calls()
        assert arrived.request.get("P-Asserted-Identity") is not None
        assert str(arrived.request.from_.uri) == f"sip:{number}@{carol.server}"
        arrived.respond(486)
        await world.settle()
        assert sent.status == 486
        assert sent.final is not None
        assert str(sent.final.from_.uri) == f"sip:{number}@{alice.server}"
        await world.over()

    run()


@pytest.mark.parametrize("user", ["bob", "carol"])
def test_such_a_name_is_nothing_but_a_name_without_device_and_password(user: str) -> None:
    """Neither a stranger nor a registered device of somebody else takes it for itself."""

    @in_virtual_time
    async def run() -> None:
        world = World("B")
        bob, carol = world.phone("B", "bob"), world.phone("B", "carol")
        await world.registered()
        sender = f"<sip:{user}@10.9.9.9>"
        for who in (stranger(world, "B"), carol if user == "bob" else bob):
            who.invite(world.dial(bob, "bob"), sender=sender)
            await world.settle()
            arrived = bob.calls()[-1]
            assert arrived.request.from_.display == f"unverified: {user}@10.9.9.9"
            assert arrived.request.get("P-Asserted-Identity") is None
            arrived.respond(486)
        await world.over()
        assert len(bob.calls()) == 2

    run()


@in_virtual_time
async def test_a_guest_at_the_address_of_a_device_is_asked_for_the_password() -> None:
    world = World("B")
    bob = world.phone("B", "bob")
    await world.registered()
    bob._digest.password = "wrong"
    sent = bob.invite(world.dial(bob, "bob"), sender="<sip:bob@10.9.9.9>")
    await world.settle()
    assert sent.status == 407
    assert bob.calls() == []
    await world.over()
