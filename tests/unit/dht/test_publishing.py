"""Where a record is after it was published: in the regions of its places, from the start."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

import dht.publishing
from dht.directory import Directory
from dht.lookup import REACH
from dht.record import Kind, positions, record_key
from dht.region import EXPECTED_IN_REGION, REMEMBERED_LOOKUPS
from tests.simulation.hostile import Population
from tests.simulation.responder import Town
from tests.simulation.seeker import a_directory
from tests.simulation.standins import NETWORK, installed
from tests.simulation.wire import Wire
from tests.simulation.world import Citizen, World
from tests.support.virtual_loop import LoopClock, VirtualLoop, _end_the_rest

T = TypeVar("T")
NODES = 600
SOON_S = 15.0
"A node that joined can be found by everybody after this."


def holders_near(population: Population, owner: Citizen) -> list[int]:
    """How many of the twenty nodes nearest to each place of its address hold it."""
    key = record_key(Kind.ADDRESS, owner.key.id, "", NETWORK)
    now = population.town.clock.unix()
    holders = {c for c, r in population.responders.items() if r.records.at_key(key, now=now)}
    everybody = population.town.world.citizens
    return [
        len(holders.intersection(sorted(everybody, key=lambda c: c.long_id ^ target)[:20]))
        for target in (int.from_bytes(place, "big") for place in positions(key))
    ]


def in_a_town(story: Callable[[Population, Citizen, Directory], Awaitable[T]]) -> T:
    """Tell the story of a newcomer in a town of six hundred, in virtual time."""
    loop = VirtualLoop()

    async def run() -> T:
        world = World(NODES, seed=1)
        wire = Wire(loop, seed=1)
        town = Town(world, wire, LoopClock(loop), seed=1)
        newcomer = world._born(b"newcomer")
        directory = a_directory(town, newcomer, seed=9)
        wire.attach(newcomer.endpoint, directory.datagram_received)
        await directory.start()
        await directory.published(Kind.ADDRESS)
        result = await story(Population(town), newcomer, directory)
        await town.tasks.close()
        await directory.close()
        return result

    with installed():
        try:
            return loop.run_until_complete(run())
        finally:
            loop.run_until_complete(_end_the_rest())
            loop.close()


async def joined(town: Town, directory: Directory) -> None:
    await directory.join([citizen.endpoint for citizen in town.world.citizens[:3]])
    await asyncio.sleep(SOON_S)


def test_a_node_that_started_alone_is_published_in_its_regions_when_it_has_joined() -> None:
    """It publishes to nobody at its start; whom it then meets are not those of its regions."""

    async def story(population: Population, newcomer: Citizen, directory: Directory) -> list[int]:
        await joined(population.town, directory)
        return holders_near(population, newcomer)

    counts = in_a_town(story)
    assert min(counts) >= 18, counts


def test_no_older_version_stays_where_the_record_is_asked_for() -> None:
    """The region was four times as wide when the older one was published."""

    async def story(population: Population, newcomer: Citizen, directory: Directory) -> list[int]:
        await joined(population.town, directory)
        estimator = directory._finder.estimator
        rounds = []
        for size in (NODES / 4, NODES):
            estimator.forget()
            for _ in range(REMEMBERED_LOOKUPS):
                estimator._sizes.append(size)
            directory._publishing.addresses_changed()
            await directory.published(Kind.ADDRESS)
            rounds.append(len(old_versions(population, newcomer, directory)))
        return rounds

    assert in_a_town(story) == [0, 0]


def old_versions(population: Population, owner: Citizen, directory: Directory) -> list[Citizen]:
    """Who would be believed in a lookup, and shows another version than the owner does."""
    key = record_key(Kind.ADDRESS, owner.key.id, "", NETWORK)
    now = population.town.clock.unix()
    newest = directory._store.at_key(key, now=now)
    reach = REACH * EXPECTED_IN_REGION * 2**256 // NODES
    places = [int.from_bytes(place, "big") for place in positions(key)]
    near = [c for c in population.responders if any(c.long_id ^ p <= reach for p in places)]
    held = {c: population.responders[c].records.at_key(key, now=now) for c in near}
    assert len(near) > EXPECTED_IN_REGION
    return [citizen for citizen, records in held.items() if records and records != newest]


def test_keepers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht.publishing, "MAX_KEEPERS", 10)

    async def story(population: Population, newcomer: Citizen, directory: Directory) -> list[int]:
        await joined(population.town, directory)
        counts = []
        for _ in range(2):
            directory._publishing.addresses_changed()
            await directory.published(Kind.ADDRESS)
            counts.append(sum(len(item.keepers) for item in directory._publisher))
        return [*counts, directory._publishing._keepers]

    assert in_a_town(story) == [10, 10, 10]


def test_the_size_of_a_network_that_doubled_is_estimated_anew() -> None:
    """What was learnt of the smaller one would make regions too wide for hours."""

    async def story(population: Population, newcomer: Citizen, directory: Directory) -> float:
        await joined(population.town, directory)
        estimator, publishing = directory._finder.estimator, directory._publishing
        for _ in range(REMEMBERED_LOOKUPS):
            estimator._sizes.append(NODES / 4)
        publishing._reach = 4 * publishing._reach_now()
        publishing.watch_growth()
        await directory.published(Kind.ADDRESS)
        return estimator.size or 0.0

    assert NODES / 2 < in_a_town(story) < 2 * NODES
