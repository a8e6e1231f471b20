"""Calls whose phones are gone end by themselves: by session timer, media and time."""

import asyncio
from collections.abc import Callable

import pytest

from node.edge.session_timer import GRACE, LEAST_INTERVAL
from node.edge.watch import FORGOTTEN, INTERVAL, MEDIA_TIMEOUT
from tests.support.edge_phone import Phone, Sent, Talk
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


async def timed_call(
    world: World, alice: Phone, bob: Phone, expires: str | None, body: bytes | None = None
) -> tuple[Sent, Talk]:
    """A call whose 200 names this Session-Expires."""
    headers = [("Supported", "timer")]
    sent = alice.invite(world.dial(alice, "bob"), body, headers=headers)
    await world.settle()
    arrived = bob.calls()[-1]
    agreed = [] if expires is None else [("Require", "timer"), ("Session-Expires", expires)]
    arrived.respond(200, sdp(bob.ip) if body is None else b"", headers=agreed)
    await world.settle()
    sent.talk().ack()
    await world.settle()
    assert arrived.acked
    return sent, arrived.talk()


def talking(world: World) -> Callable[[], None]:
    """Let packets flow in every call from now on; the result stops them."""

    async def flow() -> None:
        count = 0
        while True:
            count += 250
            for node in world.nodes.values():
                for session in node.relay.open:
                    session.packets.update(dict.fromkeys(session.anchors, count))
            await asyncio.sleep(5)

    task = asyncio.get_running_loop().create_task(flow())
    return lambda: bool(task.cancel()) and None


async def pair(nodes: str) -> tuple[World, Phone, Phone]:
    world = World(nodes)
    alice, bob = world.phone("A", "alice"), world.phone(nodes[-1], "bob")
    await world.registered()
    return world, alice, bob


def byes(*phones: Phone) -> list[int]:
    return [len(phone.got("BYE")) for phone in phones]


@pytest.mark.parametrize("nodes", ["A", "AB"])
def test_a_session_that_is_not_refreshed_ends_though_media_flows(nodes: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair(nodes)
        stop = talking(world)
        await timed_call(world, alice, bob, "180;refresher=uac")
        await world.settle(180)
        assert byes(alice, bob) == [0, 0]
        await world.settle(GRACE + 2 * INTERVAL)
        assert byes(alice, bob) == [1, 1]
        stop()
        await world.over()

    run()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("by_caller", [True, False])
def test_a_refresh_from_either_side_gives_it_its_time_again(method: str, by_caller: bool) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair("AB")
        stop = talking(world)
        sent, back = await timed_call(world, alice, bob, "180;refresher=uas")
        talk, other = (sent.talk(), bob) if by_caller else (back, alice)
        for _ in range(3):
            await world.settle(120)
            refresh = talk.send(method, headers=[("Session-Expires", "180")])
            await world.settle()
            other.inbox[-1].respond(200, headers=[("Session-Expires", "180;refresher=uac")])
            await world.settle()
            assert refresh.status == 200
            if method == "INVITE":
                talk.ack()
        assert byes(alice, bob) == [0, 0]
        await world.settle(180 + GRACE + 2 * INTERVAL)
        assert byes(alice, bob) == [1, 1]
        stop()
        await world.over()

    run()


@pytest.mark.parametrize("expires", [None, "never", "9999999999", "²"])
def test_without_an_agreed_time_there_is_no_end(expires: str | None) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair("A")
        stop = talking(world)
        sent, _ = await timed_call(world, alice, bob, expires)
        await world.settle(8000)
        assert byes(alice, bob) == [0, 0]
        stop()
        sent.talk().send("BYE")
        await world.over()

    run()


@in_virtual_time
async def test_a_refresh_without_a_time_ends_the_timer() -> None:
    world, alice, bob = await pair("A")
    stop = talking(world)
    sent, _ = await timed_call(world, alice, bob, "90")
    refresh = sent.talk().send("UPDATE")
    await world.settle()
    bob.got("UPDATE")[0].respond(200)
    await world.settle(600)
    assert (refresh.status, byes(alice, bob)) == (200, [0, 0])
    stop()
    sent.talk().send("BYE")
    await world.over()


@in_virtual_time
async def test_a_time_below_the_least_counts_as_that() -> None:
    world, alice, bob = await pair("A")
    stop = talking(world)
    await timed_call(world, alice, bob, "1")
    await world.settle(LEAST_INTERVAL)
    assert byes(alice, bob) == [0, 0]
    await world.settle(GRACE + 2 * INTERVAL)
    assert byes(alice, bob) == [1, 1]
    stop()
    await world.over()


@pytest.mark.parametrize("nodes", ["A", "AB"])
def test_two_phones_that_fell_silent_lose_their_call(nodes: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair(nodes)
        stop = talking(world)
        await world.call(alice, bob)
        await world.settle(300)
        assert byes(alice, bob) == [0, 0]
        stop()
        await world.settle(MEDIA_TIMEOUT - INTERVAL)
        assert byes(alice, bob) == [0, 0]
        await world.settle(3 * INTERVAL)
        assert byes(alice, bob) == [1, 1]
        await world.over()

    run()


@in_virtual_time
async def test_the_operator_may_choose_another_patience() -> None:
    world, alice, bob = await pair("A")
    world["A"].edge._watch.media_timeout = 300
    await world.call(alice, bob)
    await world.settle(290)
    assert byes(alice, bob) == [0, 0]
    await world.settle(20)
    assert byes(alice, bob) == [1, 1]
    await world.over()


@in_virtual_time
async def test_one_phone_that_sends_keeps_the_call() -> None:
    world, alice, bob = await pair("A")
    sent, _ = await timed_call(world, alice, bob, None)
    for count in range(100):
        (session,) = world["A"].relay.open
        session.packets[next(iter(session.anchors))] = count
        await world.settle(10)
    assert byes(alice, bob) == [0, 0]
    sent.talk().send("BYE")
    await world.over()


async def held(world: World, alice: Phone, bob: Phone) -> Talk:
    talk, _ = await world.call(alice, bob)
    lines = ("m=audio 4000 RTP/AVP 0", "a=sendonly")
    hold = talk.send("INVITE", sdp(alice.ip, *lines, version=2))
    await world.settle()
    bob.inbox[-1].respond(200, sdp(bob.ip, lines[0], "a=recvonly", version=2))
    await world.settle()
    assert hold.status == 200
    talk.ack()
    await world.settle()
    return talk


@in_virtual_time
async def test_hold_is_no_death() -> None:
    world, alice, bob = await pair("AB")
    talk = await held(world, alice, bob)
    await world.settle(7200)
    assert byes(alice, bob) == [0, 0]
    talk.send("BYE")
    await world.over()


@pytest.mark.parametrize("nodes", ["A", "AB"])
def test_a_call_on_hold_whose_phones_are_gone_ends_some_day(nodes: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob = await pair(nodes)
        await held(world, alice, bob)
        alice.die()
        bob.die()
        await world.settle(FORGOTTEN + 100)
        await world.over()

    run()


@in_virtual_time
async def test_a_call_on_hold_that_says_something_is_not_forgotten() -> None:
    world, alice, bob = await pair("A")
    talk = await held(world, alice, bob)
    await world.settle(FORGOTTEN - 100)
    info = talk.send("INFO")
    await world.settle()
    bob.got("INFO")[0].respond(200)
    await world.settle(FORGOTTEN - 100)
    assert (info.status, byes(alice, bob)) == (200, [0, 0])
    await world.settle(300)
    assert byes(alice, bob) == [1, 1]
    await world.over()


@in_virtual_time
async def test_a_call_without_any_description_is_forgotten_some_day() -> None:
    world, alice, bob = await pair("A")
    await timed_call(world, alice, bob, None, body=b"")
    alice.die()
    bob.die()
    await world.settle(FORGOTTEN + 100)
    await world.over()


@in_virtual_time
async def test_a_transfer_that_is_never_reported_does_not_end_the_call() -> None:
    """What REFER opened in the call's dialog is forgotten; the call goes on."""
    world, alice, bob = await pair("A")
    stop = talking(world)
    talk, _ = await world.call(alice, bob)
    talk.send("REFER", headers=[("Refer-To", "<sip:carol@c.test>")])
    await world.settle()
    bob.got("REFER")[0].respond(202)
    await world.settle(400)
    assert [call.state for call in world["A"].edge.calls()] == ["up"]
    bye = talk.send("BYE")
    await world.settle()
    assert bye.status == 200
    stop()
    await world.over()


@in_virtual_time
async def test_dead_media_ends_a_call_that_a_transfer_was_tried_in() -> None:
    world, alice, bob = await pair("A")
    talk, _ = await world.call(alice, bob)
    talk.send("REFER", headers=[("Refer-To", "<sip:carol@c.test>")])
    await world.settle()
    bob.got("REFER")[0].respond(202)
    await world.settle(MEDIA_TIMEOUT + 3 * INTERVAL)
    assert byes(alice, bob) == [1, 1]
    await world.settle(400)
    await world.over()
