"""Who serves, who is a client, and what makes one the other."""

import asyncio

import pytest

from dht import confirming, reachability
from dht.finder import Found
from dht.frame import UNPROVEN_REQUEST, Frame, FrameType
from dht.messages import (
    CLIENT,
    NOT_SERVING,
    FindNode,
    Ping,
    Pong,
    parse_part,
    parse_refusal,
    parse_request,
)
from dht.reachability import (
    ANSWER_WITHIN_S,
    ASK_AGAIN_S,
    CONFIRMATION_S,
    CONFIRMATIONS,
    PROBATION_S,
    RENEW_S,
    Reachability,
)
from dht.record import Kind
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from tests.support.dht_network import MemoryNetwork, MemoryNode, SeededEntropy
from tests.support.dht_wire import THERE, Wire
from tests.support.virtual_loop import run_virtually

NOW = Monotonic(1_000.0)
PEERS = [Endpoint(f"{n}.1.1.1", 7060) for n in (11, 12, 13, 14, 15)]
PEERS6 = [Endpoint(f"2a0{n}:1::1", 7060) for n in (1, 2, 3, 4)]


def apart(endpoint: Endpoint) -> Endpoint:
    return Endpoint(endpoint.host, 40_000)


def after(seconds: float) -> Monotonic:
    return Monotonic(NOW + seconds)


def a_core() -> Reachability:
    return Reachability(entropy=SeededEntropy(1))


def confirm(core: Reachability, peer: Endpoint, now: Monotonic = NOW) -> bool:
    return core.pinged_back(core.question(peer, now=now), apart(peer), now=now)


def test_where_nobody_is_known_nobody_need_confirm() -> None:
    core = a_core()
    assert core.serves(PEERS[0], now=NOW)
    core.learn(PEERS[0])
    assert not core.serves(PEERS[0], now=NOW)
    assert core.serves(Endpoint("192.168.1.5", 7060), now=NOW)
    assert core.serves(Endpoint("::1", 7060), now=NOW)


def test_as_many_networks_confirm_as_are_known_and_at_most_three() -> None:
    core = a_core()
    core.know(PEERS, now=NOW)
    for peer in PEERS[: CONFIRMATIONS - 1]:
        assert confirm(core, peer)
    assert not core.serves(PEERS[0], now=NOW)
    assert confirm(core, PEERS[2])
    assert core.serves(PEERS[0], now=NOW)


def test_peers_of_one_network_are_one_voice() -> None:
    core = a_core()
    core.know(PEERS, now=NOW)
    for n in range(5):
        assert confirm(core, Endpoint(f"11.1.{n}.1", 7060))
    assert not core.serves(PEERS[0], now=NOW)
    assert core.families(now=NOW)[0][:] == (4, False, 1, 3)


def test_each_family_is_confirmed_on_its_own() -> None:
    core = a_core()
    core.know(PEERS + PEERS6, now=NOW)
    for peer in PEERS6:
        assert confirm(core, peer)
    assert core.serves(PEERS6[0], now=NOW)
    assert not core.serves(PEERS[0], now=NOW)
    assert not core.pinged_back(core.question(PEERS[0], now=NOW), apart(PEERS6[0]), now=NOW)


def test_a_ping_back_counts_once_from_elsewhere_and_in_time() -> None:
    core = a_core()
    core.know(PEERS[:1], now=NOW)
    token = core.question(PEERS[0], now=NOW)
    assert not core.pinged_back(token, PEERS[0], now=NOW)
    assert not core.pinged_back(b"guessed!", apart(PEERS[0]), now=NOW)
    assert not core.pinged_back(token, apart(PEERS[0]), now=after(ANSWER_WITHIN_S + 1))
    assert not core.serves(PEERS[0], now=NOW)
    assert core.pinged_back(token, apart(PEERS[0]), now=NOW)
    assert not core.pinged_back(token, apart(PEERS[0]), now=NOW)
    assert core.serves(PEERS[0], now=NOW)


def test_a_stranger_that_wrote_first_confirms_and_who_was_written_to_does_not() -> None:
    core = a_core()
    core.know(PEERS[:2], now=NOW)
    core.sent(PEERS[0])
    core.heard(PEERS[0])
    core.proven(PEERS[0], now=NOW)
    core.heard(apart(PEERS[0]))
    core.proven(apart(PEERS[0]), now=NOW)
    assert core.families(now=NOW)[0].confirmed == 0
    core.heard(PEERS[1])
    core.sent(PEERS[1])
    core.proven(PEERS[1], now=NOW)
    assert core.families(now=NOW)[0].confirmed == 1


def test_confirmations_age_and_probation_bridges_what_is_asked_of_a_confirmed_node() -> None:
    core = a_core()
    core.know(PEERS[:1], now=NOW)
    assert confirm(core, PEERS[0])
    core.know(PEERS, now=after(1))
    assert core.serves(PEERS[0], now=after(PROBATION_S - 1))
    assert not core.serves(PEERS[0], now=after(PROBATION_S + 1))
    core.know(PEERS, now=after(CONFIRMATION_S + 1))
    assert core.families(now=after(CONFIRMATION_S + 1))[0].confirmed == 0


def test_whom_to_ask() -> None:
    """One in each network, no more than are needed; not again soon, and anew in time."""
    core = a_core()
    peers = [PEERS[0], Endpoint("11.1.2.2", 7060), *PEERS[1:]]
    core.know(peers, now=NOW)
    asked = core.to_ask(peers, now=NOW)
    assert asked == PEERS[:3]
    assert core.to_ask(peers, now=after(1)) == PEERS[3:]
    assert core.to_ask(peers, now=after(2)) == []
    core.know(peers, now=after(ASK_AGAIN_S + 3))
    assert core.to_ask(peers, now=after(ASK_AGAIN_S + 3)) == PEERS[:3]
    for peer in PEERS[:3]:
        confirm(core, peer, after(ASK_AGAIN_S + 4))
    late = after(2 * ASK_AGAIN_S + 5)
    core.know(peers, now=late)
    assert core.to_ask(peers, now=late) == []
    old = after(RENEW_S + 2 * ASK_AGAIN_S)
    core.know(peers, now=old)
    assert core.to_ask(peers, now=old) == PEERS[:3]


def test_after_a_move_all_is_confirmed_anew() -> None:
    core = a_core()
    core.know(PEERS[:1], now=NOW)
    confirm(core, PEERS[0])
    core.moved()
    assert core.families(now=NOW)[0].confirmed == 0
    assert core.serves(PEERS[0], now=after(PROBATION_S - 1))
    assert core.to_ask(PEERS[:1], now=NOW) == PEERS[:1]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "MAX_FLOWS", 5)
    monkeypatch.setattr(reachability, "MAX_CONFIRMING", 5)
    monkeypatch.setattr(reachability, "MAX_QUESTIONS", 5)
    core = a_core()
    for n in range(20):
        peer = Endpoint(f"20.{n}.1.1", 7060)
        core.heard(peer)
        core.proven(peer, now=NOW)
        core.question(peer, now=NOW)
    assert len(core._wrote_first) == len(core._questions) == 5
    assert core.families(now=NOW)[0].confirmed == 5


# Among real directories


async def a_town(
    count: int, *, walled: tuple[int, ...] = ()
) -> tuple[MemoryNetwork, list[MemoryNode]]:
    network = MemoryNetwork(confirming=True)
    nodes: list[MemoryNode] = []
    for number in range(1, count + 1):
        endpoint = Endpoint(f"{20 + number}.1.1.1", 7060)
        if number in walled:
            network.filtered[endpoint] = set()
        node = await network.node(number, endpoint=endpoint)
        if nodes:
            await node.directory.join([nodes[0].endpoint])
        nodes.append(node)
        await asyncio.sleep(5)
    return network, nodes


def names(node: MemoryNode) -> set[Endpoint]:
    return {contact.endpoint for contact in node.directory.contacts()}


def serves(node: MemoryNode) -> bool:
    return node.directory.stats().reach[0].serves


def test_nodes_in_the_open_confirm_each_other_and_serve() -> None:
    async def run() -> None:
        network, nodes = await a_town(8)
        await asyncio.sleep(60)
        for node in nodes:
            reach = node.directory.stats().reach[0]
            assert reach.serves
            assert reach.confirmed >= reach.needed == 3
            assert names(node) == {other.endpoint for other in nodes if other is not node}
        await network.close()

    run_virtually(run())


def test_two_nodes_in_the_open_need_nobody_else() -> None:
    async def run() -> None:
        network, (one, two) = await a_town(2)
        await asyncio.sleep(5)
        assert serves(one)
        assert serves(two)
        assert [reach.family for reach in one.directory.stats().reach] == [4]
        assert names(one) == {two.endpoint}
        await network.close()

    run_virtually(run())


def test_a_node_behind_a_firewall_is_a_client() -> None:
    """It finds and is found, publishes and is read; it stands in nobody's table."""

    async def run() -> None:
        network, nodes = await a_town(8, walled=(5,))
        walled = nodes[4]
        await asyncio.sleep(60)
        assert not serves(walled)
        for node in nodes:
            assert walled.endpoint not in names(node)
        walled.directory.publish_user("alice")
        assert await walled.directory.published(Kind.USER, "alice")
        nodes[1].directory.publish_user("bob")
        assert await nodes[1].directory.published(Kind.USER, "bob")
        found = await nodes[7].directory.find_user(walled.key.id, "alice")
        assert isinstance(found, Found)
        assert isinstance(await walled.directory.find_user(nodes[1].key.id, "bob"), Found)
        await network.close()

    run_virtually(run())


def test_a_client_whose_firewall_opens_comes_into_the_tables_and_leaves_them_again() -> None:
    async def run() -> None:
        network, nodes = await a_town(6, walled=(4,))
        walled = nodes[3]
        await asyncio.sleep(30)
        assert not serves(walled)
        wall = network.filtered.pop(walled.endpoint)
        await asyncio.sleep(ASK_AGAIN_S + 60)
        assert serves(walled)
        others = [node for node in nodes if node is not walled]
        for node in others:
            assert walled.endpoint in names(node)
        network.filtered[walled.endpoint] = wall
        await asyncio.sleep(CONFIRMATION_S + 3 * PROBATION_S)
        assert not serves(walled)
        for node in others:
            assert walled.endpoint not in names(node)
        await network.close()

    run_virtually(run())


def test_a_client_answers_pings_and_says_what_it_is() -> None:
    async def run() -> None:
        network, nodes = await a_town(5, walled=(3,))
        await asyncio.sleep(20)
        walled = nodes[2]
        network.filtered.clear()
        wire = Wire(walled)
        (reply,) = wire.request(Ping(0))
        pong = parse_part(reply.body).answer
        assert isinstance(pong, Pong)
        assert pong.flags & CLIENT
        (refusal,) = wire.request(FindNode(bytes(32)))
        assert refusal.type is FrameType.REFUSAL
        assert parse_refusal(refusal.body) == NOT_SERVING
        await network.close()

    run_virtually(run())


def test_a_ping_back_goes_to_the_proven_asker_alone_and_at_a_bounded_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a cookie none is sent; it is no larger than the request, and never answered."""
    monkeypatch.setattr(confirming, "PING_BACK_BURST", 3.0)
    monkeypatch.setattr(confirming, "PING_BACK_RATE", 0.0)

    async def run() -> None:
        network, (node,) = await a_town(1)
        sent: list[tuple[bytes, Endpoint, Endpoint]] = []
        wire = Wire(node)
        network.tap = lambda data, source, to: sent.append((data, source, to))
        wire.request(Ping(0, 0, b"12345678"))
        assert all(source == node.endpoint for _, source, _ in sent)
        network.tap = wire._tap
        cookie = wire.cookie()
        sent.clear()
        network.tap = lambda data, source, to: sent.append((data, source, to))
        for _ in range(10):
            wire.request(Ping(0, 0, b"12345678"), cookie=cookie)
        back = [item for item in sent if item[1] != node.endpoint]
        assert len(back) == 3
        for data, source, to in back:
            assert source.host == node.endpoint.host
            assert to == THERE
            assert len(data) == UNPROVEN_REQUEST
            ping = parse_request(Frame.parse(data).body, padded_to_minimum=True)
            assert ping == Ping(0, 0, b"12345678", is_back=True)
        sent.clear()
        wire.request(Ping(0, 0, b"12345678", is_back=True), cookie=cookie)
        assert sent == []
        await network.close()

    run_virtually(run())


def test_loopback_and_lan_need_no_confirmation() -> None:
    async def run() -> None:
        network = MemoryNetwork(confirming=True)
        nodes = [await network.node(n) for n in (1, 2, 3)]
        for node in nodes[1:]:
            await node.directory.join([nodes[0].endpoint])
        await asyncio.sleep(5)
        for node in nodes:
            assert len(node.directory.contacts()) == 2
            assert serves(node)
        await network.close()

    run_virtually(run())
