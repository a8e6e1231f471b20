"""One case with generated tables: real publishers and seekers among thousands of responders."""

import asyncio
from dataclasses import dataclass

from dht.directory import Directory
from dht.publisher import Publication
from dht.record import Accepts, Kind, Record, positions, record_key
from federation.model.clocks import UnixTime
from tests.simulation.cases import Case
from tests.simulation.figures import Figures, Sample, verdict_on
from tests.simulation.hostile import Population
from tests.simulation.responder import Town
from tests.simulation.seeker import warm, with_table
from tests.simulation.standins import NETWORK, installed
from tests.simulation.wire import Wire
from tests.simulation.world import Citizen, World
from tests.support.virtual_loop import LoopClock, VirtualLoop, _end_the_rest

MOST_SEEKERS = 60
MOST_RECORDS = 60
MISS_EVERY = 10
"One more lookup in so many is for a name that nobody published."
OLDER_BY_S = 60.0
"How much older the versions are that stale-record holders show."


@dataclass(slots=True)
class Published:
    """A name, and what is true of it."""

    owner: Citizen
    label: str
    record: Record | None = None

    @property
    def key(self) -> bytes:
        return record_key(Kind.USER, self.owner.key.id, self.label, NETWORK)


def run_core(case: Case) -> dict[str, object]:
    """Run one case from its seed; the same case gives the same figures and the same log."""
    with installed() as costs:
        loop = VirtualLoop()
        try:
            figures, wire = loop.run_until_complete(_run(case, loop))
        finally:
            loop.run_until_complete(_end_the_rest())
            loop.close()
        return {
            **figures.summary(),
            "datagrams": wire.datagrams,
            "virtual_s": round(loop.elapsed, 3),
            "stand_ins": dict(costs),
            "stand_in_cpu_s": round(costs.cpu_seconds, 1),
            "log": wire.log_hash,
        }


async def _run(case: Case, loop: VirtualLoop) -> tuple[Figures, Wire]:
    world = World(case.nodes, seed=case.seed)
    count = case.records or min(MOST_RECORDS, max(10, case.lookups // 10))
    owners = world.random.sample(world.citizens, max(4, count // 8))
    names = [Published(owners[n % len(owners)], f"user{n}") for n in range(count)]
    seekers = min(MOST_SEEKERS, max(4, case.lookups // 10))
    free = [citizen for citizen in world.citizens if citizen not in set(owners)]
    asking = world.random.sample(free, seekers)
    _make_hostile(world, case, names, {*owners, *asking})

    wire = Wire(loop, seed=case.seed, loss=case.loss)
    town = Town(world, wire, LoopClock(loop), seed=case.seed)
    Population(town)
    directories = {
        citizen: with_table(town, citizen, seed=case.seed * 1_000_003 + n)
        for n, citizen in enumerate((*owners, *asking))
    }
    await asyncio.gather(*(warm(town, d, seed=n) for n, d in enumerate(directories.values())))
    await _publish(town, names, directories)
    dead = world.random.sample(world.citizens, round(case.gone * len(world.citizens)))
    for citizen in set(dead) - set(asking):
        citizen.is_up = False
        wire.detach(citizen.endpoint)
    figures = Figures()
    await asyncio.gather(
        *(
            _seek(case, town, citizen, directories[citizen], names, figures, n)
            for n, citizen in enumerate(asking)
        )
    )
    await town.tasks.close()
    for directory in directories.values():
        await directory.close()
    return figures, wire


def _make_hostile(world: World, case: Case, names: list[Published], ours: set[Citizen]) -> None:
    world.turn_hostile(case.hostile, case.mix)
    world.poison = case.poison
    if case.churn:
        world.churn(case.churn)
    for citizen in ours:
        citizen.kind, citizen.is_up = type(citizen.kind).HONEST, True
    if case.sybils:
        for name in names:
            for position in positions(name.key):
                world.surround(position, case.sybils)
    world._sort()


async def _publish(
    town: Town, names: list[Published], directories: dict[Citizen, Directory]
) -> None:
    """Every owner publishes its names; the older versions exist too, in hostile hands."""
    owners = {name.owner for name in names}
    for citizen in (citizen for citizen in directories if citizen in owners):
        directory = directories[citizen]
        directory._tasks.spawn(directory._publishing.run())
    for name in names:
        directory = directories[name.owner]
        old = directory._issuer.issue(
            Publication(kind=Kind.USER, label=name.label),
            (name.owner.endpoint,),
            now=UnixTime(town.clock.unix() - OLDER_BY_S),
        )
        assert old is not None
        for position in positions(old.key):
            town.first_versions[position] = old.envelope
        directory.publish_user(name.label, Accepts.USER | Accepts.EXTENSIONS)
    for name in names:
        directory = directories[name.owner]
        await directory.published(Kind.USER, name.label)
        (name.record,) = directory._store.at_key(name.key, now=town.clock.unix())


async def _seek(
    case: Case,
    town: Town,
    citizen: Citizen,
    directory: Directory,
    names: list[Published],
    figures: Figures,
    number: int,
) -> None:
    """One seeker's share of the lookups, one after another."""
    seekers = min(MOST_SEEKERS, max(4, case.lookups // 10))
    mine = range(number, case.lookups, seekers)
    sent = town.wire.watch(citizen.endpoint)
    for n in mine:
        name = names[(n * 7919 + number) % len(names)]
        figures.hits.append(await one_lookup(directory, name.key, name.record, sent))
        if (n // seekers + number) % MISS_EVERY == 0 and not case.sybils:
            missing = record_key(Kind.USER, name.owner.key.id, f"nobody{n}", NETWORK)
            figures.misses.append(await one_lookup(directory, missing, None, sent))


async def one_lookup(
    directory: Directory, key: bytes, newest: Record | None, sent: list[int]
) -> Sample:
    """Look one key up and compare with the truth."""
    before = list(sent)
    search = await directory._finder.explore(Kind.USER, key)
    return Sample(
        verdict=verdict_on(search.result, newest),
        seconds=search.seconds,
        hops=search.hops,
        messages=sent[0] - before[0],
        bytes=sent[1] - before[1] + sent[2] - before[2],
    )
