"""A sips URI is carried over TLS on every hop, or not at all (RFC 3261 26.2.2, RFC 5630)."""

import pytest

from tests.support.edge_phone import Phone
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


async def ring(home: str, *transports: str) -> tuple[World, Phone, list[Phone], str]:
    """Alice at A, bob's phones at `home`, and how she dials him safely."""
    world = World("AB")
    alice = world.phone("A", "alice")
    phones = [world.phone(home, "bob", transport=name) for name in transports]  # type: ignore[arg-type]
    await world.registered()
    return world, alice, phones, world.dial(alice, "bob").replace("sip:", "sips:")


@pytest.mark.parametrize("home", ["A", "B"])
def test_it_rings_phones_on_tls_only(home: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, (desk, secure), target = await ring(home, "UDP", "TLS")
        sent = alice.invite(target)
        await world.settle()
        assert (len(desk.calls()), len(secure.calls())) == (0, 1)
        secure.calls()[0].respond(200, sdp(secure.ip))
        await world.settle()
        assert sent.status == 200
        sent.talk().ack()
        await world.settle()
        sent.talk().send("BYE")
        await world.settle()
        plain = alice.invite(target.replace("sips:", "sip:"))
        await world.settle()
        assert (len(desk.calls()), len(secure.calls())) == (1, 2)
        for phone in (desk, secure):
            phone.calls()[-1].respond(486)
        await world.settle()
        assert plain.status == 486
        await world.over()

    run()


@pytest.mark.parametrize("home", ["A", "B"])
def test_it_is_480_where_no_phone_is_on_tls(home: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, phones, target = await ring(home, "UDP", "TCP")
        for sent in (alice.invite(target), alice.send("MESSAGE", target)):
            await world.settle()
            assert sent.status in (480, 202)
        assert all(phone.calls() == [] == phone.got("MESSAGE") for phone in phones)
        await world.over()

    run()
