"""Many real directories in one process, under a virtual clock."""

import asyncio
from pathlib import Path

import pytest

from dht.finder import Found, Inconclusive, NotFound
from dht.publisher import Publication
from dht.record import Accepts, Kind
from federation.model.address import Endpoint
from federation.model.identity import AccountKey
from tests.support.dht_network import MemoryNetwork, MemoryNode, quick_number
from tests.support.virtual_loop import run_virtually


def now() -> float:
    return asyncio.get_running_loop().time()


async def a_network(count: int, **options: float) -> tuple[MemoryNetwork, list[MemoryNode]]:
    network = MemoryNetwork(**options)  # type: ignore[arg-type]
    nodes = [await network.node(1)]
    for number in range(2, count + 1):
        node = await network.node(number)
        await node.directory.join([nodes[0].endpoint])
        nodes.append(node)
    return network, nodes


def test_a_lone_node_answers_at_once() -> None:
    """Its own records are found and others are not, without any time passing."""

    async def run() -> None:
        network, (node,) = await a_network(1)
        node.directory.publish_user("alice")
        assert await node.directory.published(Kind.USER, "alice")
        started = now()
        assert isinstance(await node.directory.find_user(node.key.id, "alice"), Found)
        assert await node.directory.find_user(node.key.id, "bob") == NotFound()
        stranger = AccountKey(bytes([9]) * 32)
        assert await node.directory.find_number(quick_number(stranger.id)) == NotFound()
        assert now() == started
        await network.close()

    run_virtually(run())


def test_two_nodes_find_each_others_records_right_after_join() -> None:
    async def run() -> None:
        network, (one, two) = await a_network(2)
        one.directory.publish_user("alice", Accepts.USER)
        result = await two.directory.find_address(one.key.id)
        assert isinstance(result, Found)
        address = result.records[0].address
        assert address is not None
        assert address.endpoints == (one.endpoint,)
        await one.directory.published(Kind.USER, "alice")
        started = now()
        assert isinstance(await two.directory.find_user(one.key.id, "alice"), Found)
        assert await two.directory.find_user(one.key.id, "bob") == NotFound()
        assert now() - started < 0.2
        await network.close()

    run_virtually(run())


def test_thirty_nodes_publish_find_and_withdraw() -> None:
    """The records of ten nodes are found from elsewhere; a tombstone ends one for everybody."""

    async def run() -> None:
        network, nodes = await a_network(30)
        accounts = [AccountKey(bytes([100 + i]) * 32) for i in range(len(nodes))]
        for index, node in enumerate(nodes[:10]):
            node.directory.publish_user("alice")
            node.directory.publish_number(quick_number(accounts[index].id), accounts[index])
        for index, node in enumerate(nodes[:10]):
            assert await node.directory.published(Kind.USER, "alice")
            number = quick_number(accounts[index].id)
            assert await node.directory.published(Kind.NUMBER, number, accounts[index].id)
        await asyncio.sleep(30)
        for index, node in enumerate(nodes[:10]):
            seeker = nodes[(index * 7 + 3) % len(nodes)].directory
            for result in (
                await seeker.find_user(node.key.id, "alice"),
                await seeker.find_address(node.key.id),
                await seeker.find_number(quick_number(accounts[index].id)),
            ):
                assert isinstance(result, Found)
                assert [record.publisher for record in result.records] == [node.key.id]
        assert await nodes[4].directory.find_user(nodes[5].key.id, "nobody") == NotFound()

        assert nodes[3].directory.withdraw(Kind.USER, "alice")
        await nodes[3].directory.published(Kind.USER, "alice")
        for seeker in (nodes[0], nodes[29], nodes[3]):
            assert await seeker.directory.find_user(nodes[3].key.id, "alice") == NotFound()
        await network.close()

    run_virtually(run())


def test_records_outlive_their_publisher_and_a_third_of_the_nodes() -> None:
    """With ten of thirty nodes gone, records of dead nodes are still found within a second."""

    async def run() -> None:
        network, nodes = await a_network(30)
        await asyncio.sleep(30)
        dead, alive = nodes[:10], nodes[10:]
        for node in dead:
            await network.stop(node)
        for index, node in enumerate(dead):
            started = now()
            result = await alive[index].directory.find_address(node.key.id)
            assert isinstance(result, Found)
            assert now() - started < 1.5
        await asyncio.sleep(600)
        for node in alive:
            assert not {c.node for c in node.directory.contacts()} & {d.key.id for d in dead}
        await network.close()

    run_virtually(run())


def test_a_dead_peer_delays_nothing_long_and_is_forgotten() -> None:
    """Found comes as soon as the living answered; not found waits for the dead one once."""

    async def run() -> None:
        network, (one, two, three) = await a_network(3)
        await asyncio.sleep(5)
        await network.stop(three)
        started = now()
        assert isinstance(await two.directory.find_address(three.key.id), Found)
        assert now() - started < 0.5
        started = now()
        assert not isinstance(await two.directory.find_user(one.key.id, "x"), Found)
        assert now() - started < 2.5
        await asyncio.sleep(120)
        assert [c.node for c in two.directory.contacts()] == [one.key.id]
        started = now()
        assert await two.directory.find_user(one.key.id, "x") == NotFound()
        assert now() - started < 0.2
        await network.close()

    run_virtually(run())


def test_a_lookup_can_tell_its_steps() -> None:
    """Everybody who was asked, who answered with what, and how long it took."""

    async def run() -> None:
        network, nodes = await a_network(5)
        await asyncio.sleep(5)
        await network.stop(nodes[3])
        search = await nodes[4].directory.explore(Kind.ADDRESS, nodes[1].key.id, "")
        assert isinstance(search.result, Found)
        answered = [step for step in search.steps if step.answered]
        assert {step.endpoint for step in answered} <= {node.endpoint for node in nodes[:3]}
        assert sum(step.records for step in answered) >= 2
        assert [step.at for step in search.steps] == sorted(step.at for step in search.steps)
        assert len(search.steps) <= search.asked == 4
        assert (search.hops, all(step.refused == 0 for step in search.steps)) == (1, True)
        assert 0.0 < search.steps[-1].at <= search.seconds
        assert nodes[4].directory.stats().lookup_times[-1] == search.seconds
        missing = await nodes[4].directory.explore(Kind.USER, nodes[1].key.id, "nobody")
        assert [step.answered for step in missing.steps].count(False) == 1
        await network.close()

    run_virtually(run())


def test_cut_off_from_everybody_is_inconclusive() -> None:
    """Nobody answering is no proof of absence."""

    async def run() -> None:
        network, (one, two, _three) = await a_network(3)
        await asyncio.sleep(5)
        network.island = lambda endpoint: endpoint == one.endpoint
        missing = AccountKey(bytes([9]) * 32)
        result = await one.directory.find_number(quick_number(missing.id))
        assert isinstance(result, Inconclusive)
        network.island = lambda _: None
        assert await two.directory.find_number(quick_number(missing.id)) == NotFound()
        await network.close()

    run_virtually(run())


def test_a_healed_partition_grows_together() -> None:
    """After an hour apart both sides know each other again within some minutes."""

    async def run() -> None:
        network, nodes = await a_network(6)
        await asyncio.sleep(10)
        half = {node.endpoint for node in nodes[:3]}
        network.island = lambda endpoint: endpoint in half
        await asyncio.sleep(3600)
        assert {len(node.directory.contacts()) for node in nodes} == {2}
        network.island = lambda _: None
        await asyncio.sleep(600)
        assert {len(node.directory.contacts()) for node in nodes} == {5}
        assert isinstance(await nodes[0].directory.find_address(nodes[5].key.id), Found)
        await network.close()

    run_virtually(run())


def test_lost_datagrams_are_made_good() -> None:
    """With a fifth of all datagrams lost everything published is still found."""

    async def run() -> None:
        network, nodes = await a_network(8, loss=0.2, seed=5)
        await asyncio.sleep(120)
        for node, seeker in zip(nodes, nodes[3:] + nodes[:3], strict=True):
            assert isinstance(await seeker.directory.find_address(node.key.id), Found)
        await network.close()

    run_virtually(run())


def test_an_idle_node_with_two_peers_is_quiet() -> None:
    """At most 150 bytes a second, both directions, over six hours with some accounts."""

    async def run() -> None:
        network, nodes = await a_network(3)
        for node in nodes:
            for login in ("alice", "bob", "carol"):
                node.directory.publish_user(login)
        await asyncio.sleep(60)
        network.bytes = 0
        hours = 6
        await asyncio.sleep(hours * 3600)
        per_node = 2 * network.bytes / len(nodes) / (hours * 3600)
        print(f"idle: {per_node:.1f} B/s a node, both directions")
        assert per_node < 150
        await network.close()

    run_virtually(run())


def test_a_new_address_is_published_at_once() -> None:
    async def run() -> None:
        network, (one, two) = await a_network(2)
        await asyncio.sleep(5)
        moved = Endpoint("127.0.9.9", 7070)
        network.nodes[moved] = network.nodes.pop(one.endpoint)
        one.endpoint = moved
        one.endpoints = [moved]
        await asyncio.sleep(10)
        result = await two.directory.find_address(one.key.id)
        assert isinstance(result, Found)
        address = result.records[0].address
        assert address is not None
        assert address.endpoints == (moved,)
        assert [c.endpoint for c in two.directory.contacts()] == [moved]
        await network.close()

    run_virtually(run())


def test_a_restarted_node_finds_its_peers_and_issues_newer_records(tmp_path: Path) -> None:
    """With its clock an hour behind, what it publishes still replaces what it had published."""

    async def run() -> None:
        network = MemoryNetwork()
        one = await network.node(1)
        two = await network.node(2, cache=tmp_path / "peers")
        await two.directory.join([one.endpoint])
        two.directory.publish_user("alice")
        await two.directory.published(Kind.USER, "alice")
        before = await one.directory.find_user(two.key.id, "alice")
        await network.stop(two)
        await asyncio.sleep(60)
        two = await network.node(2, cache=tmp_path / "peers")
        two.clock.skew = -200
        two.directory.publish_user("alice", Accepts.USER | Accepts.EXTENSIONS)
        await two.directory.published(Kind.USER, "alice")
        await asyncio.sleep(5)
        assert [c.node for c in two.directory.contacts()] == [one.key.id]
        after = await one.directory.find_user(two.key.id, "alice")
        assert isinstance(before, Found)
        assert isinstance(after, Found)
        assert after.records[0].issued > before.records[0].issued
        assert after.records[0].route is not None
        assert after.records[0].route.accepts == Accepts.USER | Accepts.EXTENSIONS
        await network.close()

    run_virtually(run())


def test_a_node_that_lost_its_state_overtakes_its_own_newer_records() -> None:
    """Nothing remembered and the clock behind: it learns of its newer record and goes beyond."""

    async def run() -> None:
        network, (one, two) = await a_network(2)
        two.directory.publish_user("alice")
        await two.directory.published(Kind.USER, "alice")
        await network.stop(two)
        again = await network.node(2, endpoint=Endpoint("127.0.8.8", 7060))
        again.clock.skew = -200
        await again.directory.join([one.endpoint])
        again.directory.publish_user("alice", Accepts.TRUNK)
        await asyncio.sleep(20)
        result = await one.directory.find_user(two.key.id, "alice")
        assert isinstance(result, Found)
        assert result.records[0].route is not None
        assert result.records[0].route.accepts == Accepts.TRUNK
        await network.close()

    run_virtually(run())


def test_thousands_of_accounts_go_out_paced() -> None:
    """A node with 1,000 accounts sends no burst when a peer appears, and all arrive."""

    async def run() -> None:
        network, (one,) = await a_network(1)
        for index in range(1000):
            one.directory.publish_user(f"user{index}")
        await asyncio.sleep(60)
        two = await network.node(2)
        per_second: dict[int, int] = {}

        def count(data: bytes, source: Endpoint, to: Endpoint) -> None:
            per_second[int(now())] = per_second.get(int(now()), 0) + 1

        network.tap = count
        await two.directory.join([one.endpoint])
        await asyncio.sleep(120)
        assert two.directory.stats().records >= 1000
        assert max(per_second.values()) < 200
        await network.close()

    run_virtually(run())


def test_a_node_seen_at_two_addresses_keeps_one() -> None:
    """Known on the LAN and over loopback, two nodes settle on loopback and stay there."""

    async def run() -> None:
        network, (one, two) = await a_network(2)
        lan = Endpoint("192.168.7.1", 7060)
        one.endpoints = [one.endpoint, lan]
        network.nodes[lan] = one
        two.directory.add_candidate(lan)
        await asyncio.sleep(300)
        assert [c.endpoint for c in two.directory.contacts()] == [one.endpoint]
        assert isinstance(await two.directory.find_address(one.key.id), Found)
        del network.nodes[lan]
        await network.close()

    run_virtually(run())


def test_a_socket_that_fails_is_a_lost_datagram() -> None:
    """Nothing raises meanwhile; when the network is back, what was published arrives."""

    async def run() -> None:
        network, (one, two) = await a_network(2)

        def fail(data: bytes, to: Endpoint) -> None:
            raise OSError(101, "Network is unreachable")

        send, one.directory._overlay._send = one.directory._overlay._send, fail
        one.directory.publish_user("alice")
        await one.directory.published(Kind.USER, "alice")
        assert not isinstance(await two.directory.find_user(one.key.id, "alice"), Found)
        one.directory._overlay._send = send
        await asyncio.sleep(120)
        assert isinstance(await two.directory.find_user(one.key.id, "alice"), Found)
        assert [c.node for c in one.directory.contacts()] == [two.key.id]
        await network.close()

    run_virtually(run())


def test_what_was_removed_while_the_node_was_stopped_is_buried() -> None:
    async def run() -> None:
        network, (one, two) = await a_network(2)
        two.directory.publish_user("alice")
        await two.directory.published(Kind.USER, "alice")
        await network.stop(two)
        await asyncio.sleep(5)
        again = await network.node(2)
        await again.directory.join([one.endpoint])
        assert isinstance(await one.directory.find_user(two.key.id, "alice"), Found)
        assert not again.directory.withdraw(Kind.USER, "alice")
        again.directory.bury(Publication(kind=Kind.USER, label="alice"))
        assert await again.directory.published(Kind.USER, "alice")
        assert await one.directory.find_user(two.key.id, "alice") == NotFound()
        await network.close()

    run_virtually(run())


def test_a_holder_of_an_older_record_is_given_the_newer_one() -> None:
    """The newest is found although one node shows an older one, and that node is put right."""

    async def run() -> None:
        network, (one, two, three) = await a_network(3)
        one.directory.publish_user("alice")
        await one.directory.published(Kind.USER, "alice")
        old = await three.directory.find_user(one.key.id, "alice")
        await asyncio.sleep(1)
        one.directory.publish_user("alice", Accepts.TRUNK)
        await one.directory.published(Kind.USER, "alice")
        assert isinstance(old, Found)
        two.directory._store._shelves.clear()
        two.directory._store.put(old.records[0])
        new = await three.directory.find_user(one.key.id, "alice")
        assert isinstance(new, Found)
        assert new.records[0].issued > old.records[0].issued
        await asyncio.sleep(1)
        held = two.directory._store.at_key(old.records[0].key, now=two.clock.unix())
        assert held == new.records
        await network.close()

    run_virtually(run())


@pytest.mark.parametrize("seed", range(1, 9))
def test_nodes_that_join_in_the_same_moment_meet(seed: int) -> None:
    """Neither can be told of the other yet; each looks round again a little later."""

    async def run() -> None:
        network = MemoryNetwork(seed=seed)
        first, *others = [await network.node(number) for number in range(1, 5)]
        await asyncio.gather(*(node.directory.join([first.endpoint]) for node in others))
        await asyncio.sleep(10)
        for node in (first, *others):
            known = {contact.endpoint for contact in node.directory.contacts()}
            assert len(known) == 3
        await network.close()

    run_virtually(run())
