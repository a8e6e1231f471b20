"""Where calls for a PBX go on to when it is busy, away, or nobody there answers."""

import pytest

from node.sip.message import Response
from node.storage.features import Features
from node.trunks.trunk import PbxSettings
from tests.support.edge_phone import Phone, Sent, sdp
from tests.support.edges import World
from tests.support.virtual_time import in_virtual_time
from tests.unit.edge.test_trunk_pbx import a_pbx


async def a_world(
    settings: PbxSettings | None = None, *, registered: bool = True, **features: object
) -> tuple[World, Phone, Phone, Phone]:
    """Alice at A calls the PBX at B, whose calls may go on to carol there."""
    world = World("AB")
    pbx = await a_pbx(world, settings or PbxSettings())
    alice, carol = world.phone("A", "alice"), world.phone("B", "carol")
    if not registered:
        world.phones.remove(pbx)
    await world.registered()
    world["B"].features.set(Features(login="pbx", **features))  # type: ignore[arg-type]
    return world, alice, pbx, carol


async def dial(world: World, caller: Phone, login: str = "pbx") -> Sent:
    sent = caller.invite(world.dial(caller, login))
    await world.settle()
    return sent


async def taken(world: World, sent: Sent, carol: Phone, reason: str) -> None:
    """Carol has the call, knows why, and the trunk is free of it."""
    (arrived,) = carol.calls()
    (diversion,) = arrived.request.values("Diversion")
    assert diversion.startswith("<sip:pbx@")
    assert diversion.endswith(f";reason={reason}")
    assert 181 in sent.statuses
    assert world["B"].trunks.load.calls("pbx") == 0
    arrived.respond(200, sdp(carol.ip))
    await world.settle()
    assert sent.status == 200
    talk = sent.talk()
    talk.ack()
    talk.send("BYE")
    await world.settle()
    assert carol.got("BYE")


@pytest.mark.parametrize("status", [486, 600])
def test_a_busy_pbx(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, pbx, carol = await a_world(busy="carol")
        sent = await dial(world, alice)
        pbx.calls()[0].respond(status)
        await world.settle()
        await taken(world, sent, carol, "user-busy")
        await world.over()

    run()


@in_virtual_time
async def test_a_trunk_with_as_many_calls_as_it_may() -> None:
    world, alice, pbx, carol = await a_world(PbxSettings(max_calls=1), busy="carol")
    first = await dial(world, alice)
    second = await dial(world, alice)
    assert len(pbx.calls()) == 1
    (arrived,) = carol.calls()
    arrived.respond(486)
    pbx.calls()[0].respond(603)
    await world.settle()
    assert (first.status, second.status) == (603, 486)
    await world.over()


@in_virtual_time
async def test_a_pbx_that_is_not_registered() -> None:
    world, alice, _, carol = await a_world(registered=False, no_answer="carol")
    sent = await dial(world, alice)
    await taken(world, sent, carol, "unavailable")
    await world.over()


@in_virtual_time
async def test_a_pbx_where_nobody_answers_in_time() -> None:
    world, alice, pbx, carol = await a_world(no_answer="carol", after=5)
    sent = await dial(world, alice)
    pbx.calls()[0].respond(180)
    await world.settle(4)
    assert carol.calls() == []
    await world.settle(1.5)
    assert pbx.calls()[0].cancelled
    await taken(world, sent, carol, "no-answer")
    await world.over()


@pytest.mark.parametrize(
    ("answer", "reason"), [(486, "user-busy"), (503, "unavailable"), (0, "no-answer")]
)
def test_a_pbx_at_a_fixed_address(answer: int, reason: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World("AB")
        pbx = await a_pbx(world, PbxSettings())
        world.phones.remove(pbx)
        alice, carol = world.phone("A", "alice"), world.phone("B", "carol")
        await world.registered()
        trunks = world["B"].trunks
        trunks.add("pbx", PbxSettings(static=str(pbx.flow.local)))
        trunks.lines.start(world["B"].edge.ask)
        world["B"].features.set(Features(login="pbx", busy="carol", no_answer="carol", after=5))
        await world.settle()
        sent = await dial(world, alice)
        if answer:
            pbx.calls()[0].respond(answer)
        await world.settle(0.5 if answer else 6)
        await taken(world, sent, carol, reason)
        await trunks.lines.close()
        await world.over()

    run()


@in_virtual_time
async def test_what_the_pbx_decides_stays() -> None:
    """A declined call, an answer, and the PBX's own way of sending a call on."""
    world, alice, pbx, carol = await a_world(busy="carol", no_answer="carol")
    declined = await dial(world, alice)
    pbx.calls()[0].respond(603)
    await world.settle()
    assert (declined.status, carol.calls()) == (603, [])
    answered = await dial(world, alice)
    pbx.calls()[1].respond(200, sdp(pbx.ip))
    await world.settle()
    assert answered.status == 200
    answered.talk().ack()
    answered.talk().send("BYE")
    await world.settle()
    moved = await dial(world, alice)
    arrived = pbx.calls()[2]
    contact = [("Contact", f"<sip:carol@{pbx.server}>")]
    arrived._send(Response.answering(arrived.request, 302, to_tag=arrived.tag, headers=contact))
    await world.settle()
    (there,) = carol.calls()
    assert there.request.values("Diversion")[0].endswith(";reason=unconditional")
    there.respond(486)
    await world.settle()
    assert moved.status == 486
    await world.over()


@in_virtual_time
async def test_without_a_target_for_it_the_caller_is_told_why() -> None:
    world, alice, _, carol = await a_world(registered=False, busy="carol")
    sent = await dial(world, alice)
    assert sent.status == 480
    assert "not registered" in (sent.final.get("Reason") or "")  # type: ignore[union-attr]
    assert carol.calls() == []
    await world.over()


@in_virtual_time
async def test_a_call_that_was_sent_on_to_the_pbx_goes_on_again() -> None:
    world, alice, pbx, carol = await a_world(busy="carol")
    bob = world.phone("B", "bob")
    bob.register()
    world["B"].features.set(Features(login="bob", always="pbx"))
    await world.settle()
    sent = await dial(world, alice, "bob")
    pbx.calls()[0].respond(486)
    await world.settle()
    (arrived,) = carol.calls()
    reasons = [value.rpartition("=")[2] for value in arrived.request.values("Diversion")]
    assert reasons == ["user-busy", "unconditional"]
    arrived.respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()
