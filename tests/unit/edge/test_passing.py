"""What passes unchanged, and what is changed on its way."""

import pytest

from node.sip.message import Request
from tests.support.edge_phone import Phone, uri_of
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


async def pair(nodes: str = "AB") -> tuple[World, Phone, Phone]:
    world = World(nodes)
    alice, bob = world.phone("A", "alice"), world.phone(nodes[-1], "bob")
    await world.registered()
    return world, alice, bob


@in_virtual_time
async def test_unknown_methods_headers_and_bodies_pass_byte_for_byte() -> None:
    world, alice, bob = await pair()
    odd = [
        ("X-Weird", '  a ; b="c,d"  ,\te '),
        ("Supported", "100rel, x-unknown"),
        ("Require", "x-strange"),
        ("Content-Type", "application/x-thing"),
        ("k", "compact"),
        ("Session-Expires", "1800;refresher=uac"),
    ]
    body = bytes(range(256))
    sent = alice.send("FROBNICATE", world.dial(alice, "bob"), body, headers=odd)
    await world.settle()
    (arrived,) = bob.got("FROBNICATE")
    received = arrived.request.encode()
    for name, value in odd:
        assert f"\r\n{name}: {value}\r\n".encode() in received
    assert arrived.request.body == body
    arrived.respond(299, headers=[("X-Back", "yes;  no"), ("Warning", '399 b "odd"')])
    await world.settle()
    assert sent.final is not None
    assert sent.status == 299
    assert b"\r\nX-Back: yes;  no\r\n" in sent.final.encode()
    await world.over()


@pytest.mark.parametrize("method", ["INFO", "OPTIONS", "MESSAGE", "UPDATE", "XMETHOD"])
def test_requests_inside_a_call_pass_both_ways(method: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair()
        talk, back = await world.call(alice, bob)
        for here, there in ((talk, bob), (back, alice)):
            sent = here.send(method, b"signal=1", [("Content-Type", "application/dtmf-relay")])
            await world.settle()
            (arrived,) = there.got(method)
            assert arrived.request.body == b"signal=1"
            arrived.respond(202)
            await world.settle()
            assert sent.status == 202
        talk.send("BYE")
        await world.over()

    run()


@in_virtual_time
async def test_the_routes_of_a_call_lead_through_both_nodes() -> None:
    world, alice, bob = await pair()
    talk, back = await world.call(alice, bob)
    assert len(talk.routes) == 4
    assert [route.partition("@")[2] for route in talk.routes] == [
        route.partition("@")[2] for route in reversed(back.routes)
    ]
    talk.send("INFO")
    await world.settle()
    assert bob.got("INFO")[0].request.get("Route") is None
    assert len(bob.got("INFO")[0].request.values("Via")) == 3
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_call_inside_one_node_needs_one_pair_of_routes() -> None:
    world, alice, bob = await pair("A")
    talk, _ = await world.call(alice, bob)
    assert len(talk.routes) == 1
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_strict_routers_request_is_repaired() -> None:
    world, alice, bob = await pair("A")
    talk, _ = await world.call(alice, bob)
    route = uri_of(talk.routes[0])
    target, talk.target = talk.target, route
    talk.routes = [f"<{target}>"]
    sent = talk.send("INFO")
    await world.settle()
    assert bob.got("INFO")[0].request.raw_uri == target
    bob.got("INFO")[0].respond(200)
    await world.settle()
    assert sent.status == 200
    talk.target, talk.routes = target, [f"<{route};lr>"]
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_the_callee_sees_the_verified_number_and_the_caller_its_own_from() -> None:
    world, alice, bob = await pair()
    number = world.account("A", "alice").number
    sent = alice.invite(
        world.dial(alice, "bob"),
        headers=[
            ("P-Asserted-Identity", "<sip:root@evil.test>"),
            ("P-Preferred-Identity", "<sip:root@evil.test>"),
            ("Remote-Party-ID", "<sip:root@evil.test>"),
            ("Privacy", "none"),
        ],
    )
    await world.settle()
    arrived = bob.calls()[0]
    request = arrived.request
    assert uri_of(request.get("From")) == f"sip:{number}@{bob.server}"
    assert request.get_all("P-Asserted-Identity") == [
        f"<sip:{number};verstat=TN-Validation-Passed@{bob.server};user=phone>"
    ]
    assert b"evil.test" not in request.encode()
    assert request.get("Privacy") == "none"
    arrived.respond(200, sdp(bob.ip), headers=[("P-Asserted-Identity", "<sip:root@evil.test>")])
    await world.settle()
    assert sent.final is not None
    assert sent.final.get("P-Asserted-Identity") is None
    assert sent.final.get("From") == sent.latest.request.get("From")
    talk = sent.talk()
    talk.ack()
    back = arrived.talk().send("INFO")
    await world.settle()
    (info,) = alice.got("INFO")
    assert info.request.get("To") == sent.latest.request.get("From")
    info.respond(200)
    await world.settle()
    assert back.final is not None
    assert back.final.get("To") == request.get("From")
    talk.send("BYE")
    await world.settle()
    assert bob.got("BYE")[0].request.get("From") == request.get("From")
    await world.over()


@in_virtual_time
async def test_an_anonymous_caller_stays_so() -> None:
    world, alice, bob = await pair()
    alice.invite(world.dial(alice, "bob"), sender='"Anonymous" <sip:anonymous@anonymous.invalid>')
    await world.settle()
    request = bob.calls()[0].request
    assert uri_of(request.get("From")) == "sip:anonymous@anonymous.invalid"
    assert request.get("P-Asserted-Identity") is None
    (frame,) = [f for f in world.links.carried if getattr(f, "method", "") == "INVITE"]
    assert frame.statement is None
    bob.calls()[0].respond(486)
    await world.over()


@in_virtual_time
async def test_a_caller_without_statement_shows_as_unverified() -> None:
    world, alice, bob = await pair()
    world["A"].voucher.issue = lambda *args: None  # type: ignore[method-assign]
    alice.invite(world.dial(alice, "bob"))
    await world.settle()
    request = bob.calls()[0].request
    assert request.from_.display.strip('"').startswith("unverified:")
    assert request.get("P-Asserted-Identity") is None
    bob.calls()[0].respond(486)
    await world.over()


@in_virtual_time
async def test_options_to_the_node_is_answered_and_to_a_user_is_passed() -> None:
    world, alice, bob = await pair()
    own = alice.send("OPTIONS", f"sip:{alice.server}")
    other = alice.send("OPTIONS", world.dial(alice, "bob"))
    await world.settle()
    assert own.status == 200
    assert own.final is not None
    assert "INVITE" in (own.final.get("Allow") or "")
    bob.got("OPTIONS")[0].respond(200)
    await world.settle()
    assert other.status == 200
    await world.over()


@in_virtual_time
async def test_bytes_that_are_no_utf8_pass_everywhere_else() -> None:
    world, alice, bob = await pair()
    sender = f'"\udcfc\udce9" <sip:alice@{alice.server}>'
    headers = [("Subject", "\udcff\udcfe")]
    call = alice.invite(world.dial(alice, "bob"), sender=sender, headers=headers)
    await world.settle()
    arrived = bob.calls()[0]
    assert b"\r\nSubject: \xff\xfe\r\n" in arrived.request.encode()
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    assert call.status == 200
    call.talk().ack()
    await world.settle()
    world["A"].edge.hang_up("all")
    await world.settle(3)
    assert len(alice.got("BYE")) == len(bob.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_answers_that_cannot_be_read_end_only_their_own_call() -> None:
    world, alice, bob = await pair()
    for line in (b"To: <sip:b@c>;tag=x\r\nTo: <sip:b@c>;tag=y", b"To: <<<", b"Contact: <<<>"):
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle()
        arrived = bob.calls()[-1]
        data = _raw(arrived.request, line)
        bob.send_bare(_Raw(data))  # type: ignore[arg-type]
        await world.settle(1)
        assert sent.status in (0, 502)
        if sent.status == 0:
            arrived.respond(486)
            await world.settle()
    await world.over()


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def encode(self) -> bytes:
        return self._data


def _raw(request: Request, replaced: bytes) -> bytes:
    head = [b"SIP/2.0 200 OK"]
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        head += [f"{name}: {value}".encode() for value in request.get_all(name)]
    name = replaced.partition(b":")[0] + b":"
    kept = [line for line in head if not line.startswith(name)]
    return b"\r\n".join([*kept, replaced, b"Content-Length: 0", b"", b""])
