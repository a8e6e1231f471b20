"""Others' records reach newcomers that lie nearer to them, and nobody's life is extended."""

import asyncio

from dht.hand_over import due_to
from dht.record import Kind, positions, record_key
from dht.table import Contact, SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from tests.simulation.world import World
from tests.support.dht_network import TESTNET, MemoryNetwork, MemoryNode
from tests.support.dht_records import NOW, a_record
from tests.support.virtual_loop import run_virtually


def is_nearer(one: MemoryNode, other: MemoryNode, key: bytes) -> bool:
    return any(
        one.directory.own_id.number ^ int.from_bytes(place, "big")
        < other.directory.own_id.number ^ int.from_bytes(place, "big")
        for place in positions(key)
    )


def test_a_newcomer_is_given_what_it_is_nearer_to() -> None:
    """After the publisher has gone: the very bytes, from the nearest holder."""

    async def run() -> None:
        network = MemoryNetwork()
        publisher, holder = await network.node(50), await network.node(2)
        await holder.directory.join([publisher.endpoint])
        await publisher.directory.published(Kind.ADDRESS)
        await asyncio.sleep(5)
        key = record_key(Kind.ADDRESS, publisher.key.id, "", TESTNET)
        (record,) = holder.directory._store.at_key(key, now=holder.clock.unix())
        await network.stop(publisher)
        outcomes = set()
        for number in range(3, 40):
            newcomer = await network.node(number)
            await newcomer.directory.join([holder.endpoint])
            await asyncio.sleep(5)
            held = newcomer.directory._store.at_key(key, now=newcomer.clock.unix())
            expected = is_nearer(newcomer, holder, key)
            assert [r.envelope for r in held] == ([record.envelope] if expected else [])
            outcomes.add(expected)
            if len(outcomes) == 2:
                break
            await network.stop(newcomer)
            await asyncio.sleep(200)
        assert outcomes == {True, False}
        await network.close()

    run_virtually(run())


def test_only_the_two_nearest_holders_hand_over() -> None:
    """With more known holders between us and the record it is theirs to do; expired ones stay."""
    contacts = [
        Contact(c.id, c.key.id, bytes(8), Endpoint(f"192.168.0.{n}", 1), now=Monotonic(0.0))
        for n, c in enumerate(World(60, seed=3).citizens)
    ]
    for label in range(100):
        record = a_record(label=f"user{label}", now=NOW)
        first, second = (int.from_bytes(place, "big") for place in positions(record.key))
        newcomer, *others = sorted(contacts, key=lambda c: c.long_id ^ first)[:12]
        if all(newcomer.long_id ^ second > other.long_id ^ second for other in others[:5]):
            break
    else:
        raise AssertionError("no record whose second place is far from the newcomer")

    def hands_over(rank: int, now: float) -> bool:
        """Whether the holder of this rank, newcomer left out, knowing all others, hands over."""
        table = SecureTable(others[rank].id)
        for contact in (newcomer, *others):
            table.add_contact(contact)
        (due,) = due_to(newcomer, [record], table, now=now)
        return due is record

    assert [hands_over(rank, NOW) for rank in range(5)] == [True, True, False, False, False]
    assert not hands_over(0, NOW + 90_000)


def test_when_the_network_has_doubled_everything_is_due_again() -> None:
    """Regions have new members then; more of the same size, or a smaller one, change nothing."""

    async def run() -> None:
        network = MemoryNetwork()
        node = await network.node(1)
        directory = node.directory
        await directory.published(Kind.ADDRESS)
        rounds: list[int] = []

        async def after(count: int) -> None:
            """So many contacts are added, at random places."""
            for citizen in world.citizens[len(directory._table) :][:count]:
                endpoint = Endpoint(f"127.1.{len(directory._table)}.1", 7060)
                directory._table.add_contact(
                    Contact(citizen.id, citizen.key.id, bytes(8), endpoint, now=Monotonic(0.0))
                )
            directory._publishing.watch_growth()
            (item,) = directory._publisher
            rounds.append(item.rounds + item.is_running + (item.due == node.clock.monotonic()))
            await asyncio.sleep(30)

        world = World(200, seed=1)
        for count in (10, 20, 0, 5, 80, 0):
            await after(count)
        assert rounds[0] == rounds[3]
        assert rounds[4] == rounds[3] + 1
        assert rounds[5] == rounds[4]
        await network.close()

    run_virtually(run())
