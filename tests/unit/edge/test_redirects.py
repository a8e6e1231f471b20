"""Calls that devices send on with 3xx, over up to three nodes, and what their records say."""

from collections.abc import Sequence
from dataclasses import replace

import msgpack
import pytest

from media_relay.reports import EndpointReport
from node.edge.journal import COUNTERS_WITHIN
from node.edge.redirect import MAX_REDIRECTS
from node.sip.message import Response
from tests.support.edge_phone import Arrived, Phone, Sent
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


def move(arrived: Arrived, *uris: str, status: int = 302, contact: str | None = None) -> None:
    """Answer an INVITE with a 3xx to these URIs."""
    contacts = [contact] if contact is not None else [f"<{uri}>" for uri in uris]
    headers = [("Contact", value) for value in contacts]
    arrived._send(Response.answering(arrived.request, status, to_tag=arrived.tag, headers=headers))


async def people(nodes: str, *places: str) -> tuple[World, list[Phone]]:
    """A world with a registered phone for each of `places`: node and login."""
    world = World(nodes)
    phones = [world.phone(place[0], place[1:]) for place in places]
    await world.registered()
    return world, phones


async def moved(world: World, caller: Phone, first: Phone, target: str) -> Sent:
    """A call to `first` that its device sends on to `target`."""
    sent = caller.invite(world.dial(caller, first.login))
    await world.settle()
    move(first.calls()[-1], target)
    await world.settle()
    return sent


async def answered(world: World, sent: Sent, callee: Phone) -> Arrived:
    arrived = callee.calls()[-1]
    arrived.respond(180)
    await world.settle()
    arrived.respond(200, sdp(callee.ip))
    await world.settle()
    assert sent.statuses == [180, 200]
    sent.talk().ack()
    await world.settle()
    assert arrived.acked
    return arrived


def diversions(arrived: Arrived) -> list[str]:
    return arrived.request.values("Diversion")


def at(world: World, node: str, login: str) -> str:
    return f"sip:{login}@{world[node].id.key_name}"


@in_virtual_time
async def test_a_third_node_is_heard_and_sees_who_called() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    sent = await moved(world, alice, bob, world.dial(bob, "carol"))
    arrived = await answered(world, sent, carol)
    assert sent.final is not None
    assert world.hears(sent.final.body) == carol.rtp
    assert world.hears(arrived.request.body) == alice.rtp
    number = world.account("A", "alice").number
    assert arrived.request.from_.uri.user == number
    assert f"sip:{number};verstat=" in (arrived.request.get("P-Asserted-Identity") or "")
    assert diversions(arrived) == [f"<{at(world, 'B', 'bob')}>;reason=unconditional"]
    bye = arrived.talk().send("BYE")
    await world.settle()
    assert (bye.status, len(alice.got("BYE"))) == (200, 1)
    await world.over()


@in_virtual_time
async def test_it_can_be_held_and_resumed_from_both_ends() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    sent = await moved(world, alice, bob, world.dial(bob, "carol"))
    arrived = await answered(world, sent, carol)
    for talk, caller, callee in ((sent.talk(), alice, carol), (arrived.talk(), carol, alice)):
        again = talk.send("INVITE", sdp(caller.ip, version=2))
        await world.settle()
        offered = callee.inbox[-1]
        offered.respond(200, sdp(callee.ip, version=2))
        await world.settle()
        assert again.final is not None
        talk.ack()
        await world.settle()
        assert offered.acked
        assert world.hears(again.final.body) == callee.rtp
        assert world.hears(offered.request.body) == caller.rtp
    arrived.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_a_cancel_reaches_the_third_node() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    sent = await moved(world, alice, bob, world.dial(bob, "carol"))
    (arrived,) = carol.calls()
    arrived.respond(180)
    await world.settle()
    sent.cancel()
    await world.settle()
    assert arrived.cancelled
    assert sent.status == 487
    await world.over()


@in_virtual_time
async def test_a_spiral_to_the_callers_own_node_keeps_two_dialogs_apart() -> None:
    world, (alice, bob, anna) = await people("AB", "Aalice", "Bbob", "Aanna")
    sent = await moved(world, alice, bob, world.dial(bob, "anna"))
    arrived = await answered(world, sent, anna)
    assert sent.final is not None
    assert world.hears(sent.final.body) == anna.rtp
    assert world.hears(arrived.request.body) == alice.rtp
    assert len(world["A"].edge.calls()) == 2
    info = sent.talk().send("INFO")
    await world.settle()
    anna.got("INFO")[0].respond(200)
    await world.settle()
    assert info.status == 200
    arrived.talk().send("BYE")
    await world.settle()
    assert len(alice.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_a_second_turn_by_way_of_the_same_node_is_refused() -> None:
    """Requests inside such a call could not be told apart."""
    world, (alice, bob, anna, dora) = await people("AB", "Aalice", "Bbob", "Aanna", "Bdora")
    sent = await moved(world, alice, bob, world.dial(bob, "anna"))
    move(anna.calls()[-1], world.dial(anna, "dora"))
    await world.settle()
    assert dora.calls() == []
    assert sent.status == 480
    await world.over()


@in_virtual_time
async def test_a_circle_of_two_nodes_ends() -> None:
    world, (alice, bob, anna) = await people("AB", "Aalice", "Bbob", "Aanna")
    sent = await moved(world, alice, bob, world.dial(bob, "anna"))
    move(anna.calls()[-1], world.dial(anna, "bob"))
    await world.settle()
    assert sent.status == 480
    assert len(bob.calls()) == 1
    await world.over()


@in_virtual_time
async def test_five_hops_are_followed_and_no_more() -> None:
    names = [f"hop{n}" for n in range(MAX_REDIRECTS + 2)]
    world, (alice, *hops) = await people("AB", "Aalice", *[f"B{name}" for name in names])
    sent = alice.invite(world.dial(alice, names[0]))
    for here, there in zip(hops, names[1:], strict=False):
        await world.settle()
        if here.calls():
            move(here.calls()[-1], world.dial(here, there))
    await world.settle()
    assert sent.status == 480
    assert [len(hop.calls()) for hop in hops] == [1] * (MAX_REDIRECTS + 1) + [0]
    assert len(diversions(hops[MAX_REDIRECTS].calls()[0])) == MAX_REDIRECTS
    await world.over()


@in_virtual_time
async def test_hops_of_other_nodes_count() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    before = [("Diversion", f"<sip:x{n}@example.org>") for n in range(MAX_REDIRECTS)]
    sent = alice.invite(world.dial(alice, "bob"), headers=before)
    await world.settle()
    move(bob.calls()[-1], world.dial(bob, "carol"))
    await world.settle()
    assert sent.status == 480
    assert carol.calls() == []
    await world.over()


@in_virtual_time
async def test_accounts_in_between_are_named_in_their_order() -> None:
    """Alice is vouched for though the call passed two accounts of B on its way to C."""
    world, (alice, bob, ben, carol) = await people("ABC", "Aalice", "Bbob", "Bben", "Ccarol")
    sent = await moved(world, alice, bob, world.dial(bob, "ben"))
    move(ben.calls()[-1], world.dial(ben, "carol"), status=300)
    await world.settle()
    arrived = await answered(world, sent, carol)
    assert diversions(arrived) == [
        f"<{at(world, 'B', 'ben')}>;reason=unknown",
        f"<{at(world, 'B', 'bob')}>;reason=unconditional",
    ]
    assert world.account("A", "alice").number in (arrived.request.get("P-Asserted-Identity") or "")
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_a_caller_nobody_vouches_for_is_not_taken_for_who_forwards() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    world["A"].voucher.issue = lambda *args, **more: None  # type: ignore[method-assign]
    await moved(world, alice, bob, world.dial(bob, "carol"))
    (arrived,) = carol.calls()
    assert arrived.request.get("P-Asserted-Identity") is None
    assert arrived.request.from_.display.startswith("unverified:")
    assert "bob" not in str(arrived.request.from_)
    arrived.respond(486)
    await world.over()


@in_virtual_time
async def test_a_node_cannot_use_a_statement_that_was_made_for_another() -> None:
    """C was sent Alice's statement inside B's; it must not get further as one made for C."""
    world, (alice, bob, other, dave) = await people("ABCD", "Aalice", "Bbob", "Cbob", "Ddave")
    seen: list[bytes | None] = []
    read = world["C"].voucher.read

    def spy(mesh, request, peer):  # type: ignore[no-untyped-def]
        seen.append(mesh.statement)
        return read(mesh, request, peer)

    world["C"].voucher.read = spy  # type: ignore[method-assign]
    alice.invite(at(world, "B", "bob"))
    await world.settle()
    move(bob.calls()[0], at(world, "C", "bob"))
    await world.settle()
    (arrived,) = other.calls()
    assert "verstat" in (arrived.request.get("P-Asserted-Identity") or "")
    assert seen[0] is not None
    world["C"].voucher.read = read  # type: ignore[method-assign]
    inner = _inner(seen[0])
    issue = world["C"].voucher.issue
    world["C"].voucher.issue = (  # type: ignore[method-assign]
        lambda account, request, destination, diverted=None: issue(
            account, request, destination, inner
        )
    )
    move(arrived, world.dial(other, "dave"))
    await world.settle()
    (further,) = dave.calls()
    assert further.request.get("P-Asserted-Identity") is None
    further.respond(486)
    await world.over()


def _inner(statement: bytes) -> bytes:
    """The statement inside one."""
    claims = msgpack.unpackb(msgpack.unpackb(statement)[1])
    inner: bytes = claims[8]
    return inner


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["sip:nobody@{b}"],
        ["sip:029999999999999@{b}"],
        ["sip:x@unknown.test"],
        ["mailto:bob@example.org"],
        ["sip:echo@{b}"],
        ["sip:away@{b}"],
    ],
)
def test_nowhere_is_480(uris: Sequence[str]) -> None:
    @in_virtual_time
    async def run() -> None:
        world, (alice, bob) = await people("AB", "Aalice", "Bbob")
        world.account("B", "away")
        sent = alice.invite(world.dial(alice, "bob"))
        await world.settle()
        move(bob.calls()[-1], *[uri.format(b=bob.server) for uri in uris])
        await world.settle()
        assert sent.status == 480
        assert sent.final is not None
        assert sent.final.get("Reason") is not None
        await world.over()

    run()


@in_virtual_time
async def test_a_contact_that_cannot_be_read_is_nowhere() -> None:
    world, (alice, bob) = await people("AB", "Aalice", "Bbob")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    move(bob.calls()[-1], contact="<<<")
    await world.settle()
    assert sent.status in (480, 502)
    await world.over()


@in_virtual_time
async def test_two_devices_that_say_the_same_are_followed_once() -> None:
    world, (alice, one, other, carol) = await people("ABC", "Aalice", "Bbob", "Bbob", "Ccarol")
    sent = await moved(world, alice, one, world.dial(one, "carol"))
    move(other.calls()[-1], world.dial(other, "carol"))
    await world.settle()
    assert len(carol.calls()) == 1
    await answered(world, sent, carol)
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_an_account_that_forwards_and_is_removed_ends_its_calls() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    sent = await moved(world, alice, bob, world.dial(bob, "carol"))
    await answered(world, sent, carol)
    world["B"].edge.end_account("bob")
    await world.settle()
    assert (len(alice.got("BYE")), len(carol.got("BYE"))) == (1, 1)
    await world.over()


# Records


@in_virtual_time
async def test_the_record_of_a_forwarded_call_names_the_account_and_how_it_sounded() -> None:
    world, (alice, bob, carol) = await people("ABC", "Aalice", "Bbob", "Ccarol")
    sent = await moved(world, alice, bob, world.dial(bob, "carol"))
    arrived = await answered(world, sent, carol)
    (session,) = world["B"].relay.open
    (one, other) = session.partners
    counted = {one[1]: 500, other[1]: 480}
    report = session.report()
    session.report = lambda: _with_counters(report, counted)  # type: ignore[method-assign]
    arrived.talk().send("BYE")
    await world.settle()
    assert world["B"].rows.table("call_records") == {}, "the last counters are still to come"
    await world.settle(COUNTERS_WITHIN)
    (row,) = world["B"].rows.table("call_records").values()
    assert row["account"] == "bob"
    assert {row["caller_packets"], row["callee_packets"]} == {500, 480}
    assert (row["caller_lost"], row["caller_jitter"]) == (3, 0.002)
    await world.over()


def _with_counters(report, counted):  # type: ignore[no-untyped-def]
    def filled(endpoint: EndpointReport) -> EndpointReport:
        packets = counted.get(endpoint.id, 0)
        return replace(endpoint, packets_in=packets, lost=3, jitter=0.002, longest_gap=0.06)

    return replace(
        report,
        anchors=tuple(map(filled, report.anchors)),
        legs=tuple(map(filled, report.legs)),
    )


@in_virtual_time
async def test_an_unanswered_call_has_no_counters() -> None:
    world, (alice, bob) = await people("AB", "Aalice", "Bbob")
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(486)
    await world.settle(1.0)
    assert sent.status == 486
    (row,) = world["B"].rows.table("call_records").values()
    assert (row["status"], row["caller_packets"], row["callee_packets"]) == (486, None, None)
    await world.over()


@in_virtual_time
async def test_records_that_wait_are_written_when_the_edge_closes() -> None:
    world, (alice, bob) = await people("AB", "Aalice", "Bbob")
    talk, _ = await world.call(alice, bob)
    talk.send("BYE")
    await world.settle(0.1)
    for node in world.nodes.values():
        await node.edge.close()
        assert len(node.rows.table("call_records")) == 1
