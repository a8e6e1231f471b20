"""Links over a network that can fail, with hours passing in no time."""

import asyncio

import pytest

from federation import client, dialler, server, session
from federation.messages import Bye
from federation.model.address import Endpoint
from federation.ports import Failure, ServerTransaction
from tests.support.mesh_nodes import Node, Owner, answering, invite, sorted_keys, status
from tests.support.virtual_loop import LoopClock
from tests.support.virtual_time import MemoryNetwork, Weather, in_virtual_time

KEYS = sorted_keys(4)
SLACK = 0.2


def at(number: int) -> Endpoint:
    return Endpoint(f"10.0.0.{number}", 7060)


def node(net: MemoryNetwork, number: int) -> Node:
    clock = LoopClock(asyncio.get_running_loop())
    return Node(KEYS[number], net.port(at(number)), clock=clock)


def now() -> float:
    return asyncio.get_running_loop().time()


async def end_of(owner: Owner, limit: float = 120.0) -> float:
    """Virtual seconds until the request ended."""
    began = now()
    await owner.until_end(limit)
    return now() - began


@in_virtual_time
async def test_a_node_that_never_answers_is_given_up_after_lookup_and_dial() -> None:
    net = MemoryNetwork()
    a = node(net, 0)
    owner = a.call(KEYS[1].id, at(1))
    assert await end_of(owner) == pytest.approx(dialler.DIAL_TIMEOUT, abs=SLACK)
    assert owner.failures == [Failure.UNREACHABLE]
    a.links.close()


@in_virtual_time
async def test_a_warm_link_whose_peer_died_fails_within_the_whole_budget() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    b.receiver.answer = answering(200)
    await a.call(b, at(1)).until_end()
    net.cut.add(at(1))
    owner = a.call(b)
    expected = client.ANSWER_TIMEOUT + dialler.DIAL_TIMEOUT
    assert await end_of(owner) <= expected + SLACK
    assert len(owner.failures) == 1
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_a_peer_that_moved_is_found_by_its_fresh_address() -> None:
    """The link looked warm; two seconds later the new address is dialled and answers."""
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    b.receiver.answer = answering(200)
    await a.call(b, at(1)).until_end()
    net.cut.add(at(1))
    moved = Node(KEYS[1], net.port(at(3)), clock=LoopClock(asyncio.get_running_loop()))
    moved.receiver.answer = answering(200)
    a.book[b.id] = [at(3)]
    owner = a.call(b)
    assert await end_of(owner) == pytest.approx(client.ANSWER_TIMEOUT, abs=SLACK)
    assert owner.responses == [200]
    for one in (a, b, moved):
        one.links.close()


@in_virtual_time
async def test_a_peer_that_takes_links_but_never_answers_is_given_up() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)

    def mute(*_: object) -> None:
        """Takes the request and says nothing, not even 100."""

    await a.call(b, at(1)).until(lambda o: o.accepted == 1)
    b.links._peers[a.id]._request_arrived = mute  # type: ignore[method-assign]
    owner = a.call(b)
    took = await end_of(owner)
    assert took <= client.FIRST_ANSWER_BUDGET + SLACK
    assert owner.failures == [Failure.NO_ANSWER]
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_a_ringing_call_survives_ten_seconds_without_a_network() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    b.receiver.answer = answering(180)
    owner = a.call(b, at(1))
    await owner.until(lambda o: o.responses == [180])
    net.cut.add(at(1))
    await asyncio.sleep(10)
    b.receiver.requests[0].respond(status(183), final=False)
    b.receiver.requests[0].respond(status(200), final=True)
    net.cut.clear()
    assert await end_of(owner) < 6
    assert owner.responses == [180, 183, 200]
    assert owner.accepted == 1
    assert len(b.receiver.requests) == 1
    assert b.receiver.cancels == []
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_a_link_gone_for_32_seconds_ends_the_call_on_both_sides() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    owner = a.call(b, at(1))
    await owner.until(lambda o: o.accepted == 1)
    net.cut.add(at(1))
    took = await end_of(owner)
    detection = session.BUSY_PING_INTERVAL + session.PING_TIMEOUT
    assert took == pytest.approx(detection + client.LINK_LOSS_TIMEOUT, abs=1.5)
    assert owner.failures == [Failure.LOST]
    await asyncio.sleep(server.ORPHAN_TIMEOUT)
    assert b.receiver.cancels == [""]
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_a_cancel_without_a_final_response_ends_after_32_seconds() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    owner = Owner()
    txn = a.links.request(b.id, [at(1)], invite(), owner)
    await owner.until(lambda o: o.accepted == 1)
    txn.cancel()
    assert await end_of(owner) == pytest.approx(client.CANCEL_TIMEOUT, abs=SLACK)
    assert owner.failures == [Failure.CANCELLED]
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_a_warm_link_is_nearly_silent_and_stays_up() -> None:
    """Two peers, ten minutes, nothing to say: both directions at the middle node."""
    net = MemoryNetwork()
    middle, b, c = node(net, 0), node(net, 1), node(net, 2)
    b.receiver.answer = middle.receiver.answer = answering(200)
    await middle.call(b, at(1)).until_end()
    await c.call(middle, at(0)).until_end()
    net.carried.clear()
    await asyncio.sleep(600)
    assert len(middle.links.peers()) == 2
    assert all(info.rtt == pytest.approx(0.02, abs=0.01) for info in middle.links.peers()[:1])
    payload = sum(size for source, to, size in net.carried if at(0) in (source, to))
    assert payload / 600 <= 60
    await asyncio.sleep(session.IDLE_TIMEOUT)
    assert middle.links.peers() == ()
    for one in (middle, b, c):
        one.links.close()


@in_virtual_time
async def test_a_dead_idle_link_is_noticed_by_its_ping() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    b.receiver.answer = answering(200)
    await a.call(b, at(1)).until_end()
    net.cut.add(at(1))
    await asyncio.sleep(session.ACCEPTOR_PING_INTERVAL + session.PING_TIMEOUT + 1)
    assert a.links.peers() == b.links.peers() == ()
    assert a.receiver.down == [b.id]
    a.links.close()
    b.links.close()


@pytest.mark.parametrize("seed", range(4))
@in_virtual_time
async def test_a_bad_network_loses_no_request_and_runs_none_twice(seed: int) -> None:
    """Loss, repetition and reordering, and the whole network gone now and then."""
    net = MemoryNetwork(seed)
    net.weather = Weather(loss=0.08, repeat=0.05, delay=0.03, jitter=0.05)
    a, b = node(net, 0), node(net, 1)
    ran: list[bytes] = []

    def ring_then_answer(txn: ServerTransaction) -> None:
        ran.append(txn.request.txn)
        txn.respond(status(180), final=False)
        loop = asyncio.get_running_loop()
        loop.call_later(4.0, lambda: txn.respond(status(183), final=False))
        loop.call_later(12.0, lambda: txn.respond(status(200), final=True))

    b.receiver.answer = ring_then_answer
    owners = []
    for turn in range(30):
        owners.append(a.call(b, at(1)))
        await asyncio.sleep(0.7)
        if turn % 10 == 5:
            net.cut.add(at(1))
            await asyncio.sleep(1.0)
            net.cut.clear()
    for owner in owners:
        await owner.until_end(200)
    await asyncio.sleep(1)
    assert all(owner.ends == 1 for owner in owners)
    answered = [owner for owner in owners if not owner.failures]
    assert all(owner.responses == [180, 183, 200] for owner in answered)
    assert len(answered) >= 25
    assert len(ran) == len(set(ran))
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_a_bye_waits_for_a_link_and_gives_up_in_its_time() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    bye = Bye(call_id="c", sender_tag="s", receiver_tag="r")
    a.book[b.id] = [at(1)]
    assert await a.links.send_bye(b.id, bye) is True
    net.cut.add(at(1))
    began = now()
    assert await a.links.send_bye(b.id, bye, timeout=2.0) is None
    assert now() - began <= 2.0 + SLACK
    a.links.close()
    b.links.close()


@in_virtual_time
async def test_drain_says_goodbye_and_leaves_nothing_behind() -> None:
    net = MemoryNetwork()
    a, b = node(net, 0), node(net, 1)
    owner = a.call(b, at(1))
    await owner.until(lambda o: o.accepted == 1)
    began = now()
    await a.links.drain()
    assert now() - began <= 2.1
    assert owner.failures == [Failure.SHUTDOWN]
    await asyncio.sleep(0.1)
    assert b.receiver.down == [a.id]
    assert b.links.peers() == ()
    await asyncio.sleep(server.ORPHAN_TIMEOUT + 1)
    assert b.receiver.cancels == [""]
    await asyncio.sleep(server.CANCELLED_TIMEOUT + server.KEEP_RESPONSES + 1)
    assert b.links._peers == {}
    b.links.close()
