"""Where a record is after it was published: in the regions of its places, from the start."""

import asyncio

from dht.record import Kind, positions, record_key
from tests.simulation.hostile import Population
from tests.simulation.responder import Town
from tests.simulation.seeker import a_directory
from tests.simulation.standins import NETWORK, installed
from tests.simulation.wire import Wire
from tests.simulation.world import Citizen, World
from tests.support.virtual_loop import LoopClock, VirtualLoop, _end_the_rest

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


def test_a_node_that_started_alone_is_published_in_its_regions_when_it_has_joined() -> None:
    """It publishes to nobody at its start; whom it then meets are not those of its regions."""
    loop = VirtualLoop()

    async def run() -> list[int]:
        world = World(NODES, seed=1)
        wire = Wire(loop, seed=1)
        town = Town(world, wire, LoopClock(loop), seed=1)
        population = Population(town)
        newcomer = world._born(b"newcomer")
        directory = a_directory(town, newcomer, seed=9)
        wire.attach(newcomer.endpoint, directory.datagram_received)
        await directory.start()
        await directory.published(Kind.ADDRESS)
        await directory.join([citizen.endpoint for citizen in world.citizens[:3]])
        await asyncio.sleep(SOON_S)
        counts = holders_near(population, newcomer)
        await town.tasks.close()
        await directory.close()
        return counts

    with installed():
        try:
            counts = loop.run_until_complete(run())
        finally:
            loop.run_until_complete(_end_the_rest())
            loop.close()
    assert min(counts) >= 18, counts
