"""Browsers at the edge (RFC 7118): reached by their flow alone, gone with it."""

import pytest

from node.sip.headers import Via
from tests.support.edge_phone import Phone
from tests.support.edges import SIP_PORT, WEB_PORT, World, sdp
from tests.support.virtual_time import in_virtual_time


async def a_world(transport: str = "WSS") -> tuple[World, Phone, Phone]:
    """Alice with a phone, bob with a browser at the same node."""
    world = World("AB")
    alice = world.phone("A", "alice")
    bob = world.phone("A", "bob", transport=transport)  # type: ignore[arg-type]
    await world.registered()
    return world, alice, bob


@pytest.mark.parametrize("transport", ["WS", "WSS"])
def test_it_is_called_over_its_connection_and_told_where_the_node_is(transport: str) -> None:
    """Via names the transport, Record-Route says `ws`, both at the port that the browser knows."""

    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await a_world(transport)
        assert ".invalid" in bob.contact
        talk, back = await world.call(alice, bob)
        request = bob.calls()[0].request
        via: Via = request.top_via
        assert (via.transport, via.host, via.port) == (transport, world["A"].ip, WEB_PORT)
        assert request.raw_uri == bob.contact
        outer, inner = (value.uri for value in request.record_routes)
        assert (outer.port, outer.param("transport")) == (WEB_PORT, "ws")
        assert (inner.port, inner.param("transport")) == (SIP_PORT, None)
        for side, other in ((talk, bob), (back, alice)):
            info = side.send("INFO")
            await world.settle()
            other.got("INFO")[0].respond(200)
            await world.settle()
            assert info.status == 200
        assert bob.got("INFO")[0].request.raw_uri == bob.contact
        back.send("BYE")
        await world.settle()
        assert alice.got("BYE")
        await world.over()

    run()


@in_virtual_time
async def test_it_calls_a_phone_of_another_node() -> None:
    world = World("AB")
    alice, bob = world.phone("A", "alice", transport="WS"), world.phone("B", "bob")
    await world.registered()
    talk, _ = await world.call(alice, bob)
    talk.send("BYE")
    await world.settle()
    assert bob.got("BYE")
    await world.over()


@in_virtual_time
async def test_a_sips_uri_rings_browsers_on_tls_only() -> None:
    world, alice, bob = await a_world("WSS")
    plain = world.phone("A", "bob", transport="WS")
    plain.register()
    await world.settle()
    sent = alice.invite(world.dial(alice, "bob").replace("sip:", "sips:"))
    await world.settle()
    assert (len(bob.calls()), len(plain.calls())) == (1, 0)
    bob.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_its_binding_goes_with_its_connection() -> None:
    world, alice, _ = await a_world()
    registrar, now = world["A"].registrar, world.clock.unix()
    (binding,) = registrar.bindings("bob", now=now)
    assert binding.direct is None
    world["A"].edge.flow_closed(binding.flow)
    assert registrar.bindings("bob", now=now) == ()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert sent.status == 480
    await world.over()


@in_virtual_time
async def test_a_call_goes_on_over_the_next_connection_of_the_page() -> None:
    """A page that connects again registers the same Contact; until then the answer is 430."""
    world, alice, bob = await a_world()
    talk, back = await world.call(alice, bob)
    world["A"].edge.flow_closed(
        world["A"].registrar.bindings("bob", now=world.clock.unix())[0].flow
    )
    world.reconnect(bob)
    early = talk.send("INFO")
    await world.settle()
    assert early.status == 430
    bob.register()
    await world.settle()
    late = talk.send("INFO")
    await world.settle()
    bob.got("INFO")[0].respond(200)
    await world.settle()
    assert late.status == 200
    back.send("BYE")
    await world.settle()
    assert alice.got("BYE")
    await world.over()


@in_virtual_time
async def test_outbound_and_gruu_are_as_over_tcp() -> None:
    """What JsSIP asks for: instance, reg-id, GRUU; a page's next flow takes over (RFC 5626 6)."""
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob", transport="WSS")
    bob.contact_params = ';+sip.instance="<urn:uuid:b>";reg-id=1'
    bob.register_headers = [("Supported", "path, outbound, gruu")]
    alice.register()
    first = bob.register()
    await world.settle()
    answer = first.final
    assert answer is not None
    assert (answer.get("Require"), answer.get("Flow-Timer")) == ("outbound", "120")
    gruu = answer.contacts[0].param("pub-gruu")
    assert gruu is not None
    old = world["A"].registrar.bindings("bob", now=world.clock.unix())[0].flow
    world.reconnect(bob)
    bob.register()
    await world.settle()
    world["A"].edge.flow_closed(old)
    sent = alice.invite(gruu)
    await world.settle()
    assert bob.calls()[0].request.raw_uri == bob.contact
    bob.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@pytest.mark.parametrize("transport", ["WS", "TCP"])
def test_of_two_pages_of_one_account_the_one_in_the_call_is_asked(transport: str) -> None:
    """Behind one address both are: what is in the dialog goes by its own connection."""

    @in_virtual_time
    async def run() -> None:
        world = World("A")
        alice = world.phone("A", "alice")
        first = world.phone("A", "bob", transport=transport, ip="10.1.0.77")  # type: ignore[arg-type]
        await world.registered()
        talk, _ = await world.call(alice, first)
        second = world.phone("A", "bob", transport=transport, ip="10.1.0.77")  # type: ignore[arg-type]
        await world.settle(2)
        second.register()
        await world.settle()
        assert len(world["A"].registrar.bindings("bob", now=world.clock.unix())) == 2
        talk.send("BYE")
        await world.settle()
        assert (len(first.got("BYE")), len(second.got("BYE"))) == (1, 0)
        await world.over()

    run()


@in_virtual_time
async def test_an_answer_to_a_browser_that_is_gone_opens_no_connection() -> None:
    """RFC 3261 18.2.2 would try the sent-by: it is `.invalid`."""
    world = World("A")
    alice, bob = world.phone("A", "alice", transport="WS"), world.phone("A", "bob")
    await world.registered()
    (binding,) = world["A"].registrar.bindings("alice", now=world.clock.unix())
    alice.invite(world.dial(alice, "bob"))
    await world.settle()
    alice.die()
    heard = len(alice.came_over)
    world["A"].edge.flow_closed(binding.flow)
    bob.calls()[0].respond(200, sdp(bob.ip))
    await world.settle()
    assert len(alice.came_over) == heard
    await world.settle(60)
    assert bob.got("BYE")
    await world.over()
