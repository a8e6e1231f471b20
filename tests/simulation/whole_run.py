"""Everything real: directories that join, ping, refresh, publish, hand over and look up."""

import asyncio
from collections.abc import Sequence

from dht.directory import Directory
from dht.messages import STORED, Answer, FindNode, Get, Pong, Store, Stored
from dht.publisher import ROUTE_INTERVAL_S, Item, Publisher
from dht.record import Kind, Record, record_key
from dht.service import Service
from federation.model.address import Endpoint
from federation.model.clocks import Entropy, Monotonic
from tests.simulation import hostile
from tests.simulation.cases import Case
from tests.simulation.core_run import one_lookup
from tests.simulation.figures import Figures, Sample
from tests.simulation.responder import Town
from tests.simulation.standins import NETWORK, NONCE, installed
from tests.simulation.wire import Wire
from tests.simulation.world import Citizen, World
from tests.simulation.world import Kind as Behaviour
from tests.support.dht_network import SeededEntropy, check_inline, derive_quickly
from tests.support.virtual_loop import LoopClock, VirtualLoop, _end_the_rest

JOINS_PER_S = 5.0
SETTLE_S = 120.0
"After the last has joined, before anything is measured."
SEEKERS = 40
HOUR = 3_600.0
ROUTES = 3
"Published by each of the idle, to know what a route costs."


class Resident(Directory):
    """A directory that, once `has_turned`, behaves as its citizen's kind says."""

    def __init__(self, town: Town, citizen: Citizen, *, seed: int) -> None:
        self.town, self.citizen, self.has_turned = town, citizen, False
        super().__init__(
            key=citizen.key,  # type: ignore[arg-type]
            nonce=NONCE,
            network=NETWORK,
            send=self._send,
            own_endpoints=lambda: (citizen.endpoint,),
            clock=LoopClock(asyncio.get_running_loop()),
            entropy=SeededEntropy(seed),
            derive=derive_quickly,
            offload=check_inline,
        )
        town.wire.attach(citizen.endpoint, self.datagram_received)
        self.published_last: Record | None = None
        "The address record of the latest round that ended: what a lookup has to find, or newer."
        self._publisher.done = self._round_done  # type: ignore[method-assign]

    def _round_done(self, item: Item, *, holders: int, asked: int, now: Monotonic) -> None:
        if item.publication.kind is Kind.ADDRESS:
            self.published_last = item.record
        Publisher.done(self._publisher, item, holders=holders, asked=asked, now=now)

    def _send(self, data: bytes, to: Endpoint) -> None:
        wire, source = self.town.wire, self.citizen.endpoint
        match self.citizen.kind if self.has_turned else None:
            case Behaviour.SILENT:
                return
            case Behaviour.SLOW:
                late = hostile.SLOW_BY_S * self.town.random.random()
                wire.carry(data, source, to, after=late)
            case Behaviour.MALFORMED:
                wire.carry(hostile.mangled(self.town, data), source, to)
            case _:
                wire.carry(data, source, to)

    def _make_service(self, entropy: Entropy) -> Service:
        return Liar(super()._make_service(entropy), self)

    async def leave(self) -> None:
        """Gone from one moment to the next, without a word."""
        self.citizen.is_up = False
        self.town.wire.detach(self.citizen.endpoint)
        await self.close()


class Liar(Service):
    """Answers honestly until its resident has turned."""

    def __init__(self, honest: Service, resident: Resident) -> None:
        self.honest, self.resident = honest, resident

    @property
    def _lies(self) -> bool:
        return self.resident.has_turned and self.resident.citizen.is_hostile

    def pong(self) -> Pong:
        return self.honest.pong()

    def look_up(self, request: FindNode | Get, asker: Endpoint) -> Answer:
        def honest() -> Answer:
            return self.honest.look_up(request, asker)

        if not self._lies:
            return honest()
        return hostile.lie(self.resident.town, self.resident.citizen, request, honest)

    def store(self, request: Store) -> Answer:
        if not self._lies:
            return self.honest.store(request)
        hostile.remember_first(self.resident.town, request.envelope)
        return Stored(STORED, 0)


class Whole:
    """A town of residents, and what happens in it."""

    def __init__(self, case: Case, loop: VirtualLoop) -> None:
        self.case = case
        self.world = World(case.nodes, seed=case.seed)
        self.wire = Wire(loop, seed=case.seed, loss=case.loss)
        self.town = Town(self.world, self.wire, LoopClock(loop), seed=case.seed)
        self.random = self.world.random
        self.residents: list[Resident] = []
        self.figures = Figures()
        self.more: dict[str, object] = {}
        self._born = 0

    async def run(self) -> None:
        self.world.turn_hostile(self.case.hostile, self.case.mix)
        for citizen in self.world.citizens:
            await self._move_in(citizen)
            await asyncio.sleep(1 / JOINS_PER_S)
        await asyncio.sleep(SETTLE_S)
        for resident in self.residents:
            resident.has_turned = True
        sizes = sorted(len(resident.contacts()) for resident in self.residents)
        self.more["contacts_median"] = sizes[len(sizes) // 2]
        match self.case.events:
            case "churn":
                await self._churn()
            case "half-gone":
                await self._half_gone()
            case "partition":
                await self._partition()
            case "idle":
                await self._idle()
            case _:
                await self.look_up(self.case.lookups)
        for resident in self.up():
            await resident.leave()

    async def _move_in(self, citizen: Citizen) -> Resident:
        self._born += 1
        resident = Resident(self.town, citizen, seed=self.case.seed * 1_000_003 + self._born)
        self.residents.append(resident)
        await resident.start()
        known = [other.citizen.endpoint for other in self.up() if other is not resident]
        if known:
            seeds = self.random.sample(known, min(3, len(known)))
            resident._tasks.spawn(_joined(resident, seeds))
        return resident

    def up(self) -> list[Resident]:
        return [resident for resident in self.residents if resident.citizen.is_up]

    def honest(self) -> list[Resident]:
        return [resident for resident in self.up() if not resident.citizen.is_hostile]

    def newest(self, owner: Resident) -> Record | None:
        """The address record that its owner last published, unless it has expired since."""
        last = owner.published_last
        return None if last is None or last.expires < self.town.clock.unix() else last

    async def look_up(
        self,
        count: int,
        *,
        owners: Sequence[Resident] | None = None,
        seekers: Sequence[Resident] | None = None,
        pause: float = 0.0,
    ) -> list[Sample]:
        """This many lookups by a few seekers side by side, a tenth more for what is not there."""
        owners = owners or [r for r in self.residents if not r.citizen.is_hostile]
        able = list(seekers or self.honest())
        asking = self.random.sample(able, min(SEEKERS, len(able)))
        samples: list[Sample] = []

        async def seek(seeker: Resident, number: int) -> None:
            sent = self.wire.watch(seeker.citizen.endpoint)
            for n in range(number, count, len(asking)):
                owner = self.random.choice(owners)
                if owner is seeker or not seeker.citizen.is_up:
                    continue
                samples.append(
                    await one_lookup(seeker, address_key(owner), self.newest(owner), sent)
                )
                if (n // len(asking) + number) % 10 == 0:
                    missing = record_key(Kind.USER, owner.citizen.key.id, f"no{n}", NETWORK)
                    self.figures.misses.append(await one_lookup(seeker, missing, None, sent))
                await asyncio.sleep(pause)

        await asyncio.gather(*(seek(seeker, n) for n, seeker in enumerate(asking)))
        self.figures.hits += samples
        return samples

    async def _churn(self) -> None:
        """Every second one leaves without a word and one comes; names of those that left count."""
        done = asyncio.Event()

        async def come_and_go() -> None:
            while not done.is_set():
                await self.random.choice(self.up()).leave()
                citizen = self.world._born(f"late {self._born}".encode())
                self.world.citizens.append(citizen)
                self.world._sort()
                await self._move_in(citizen)
                await asyncio.sleep(1.0)

        moving = asyncio.ensure_future(come_and_go())
        await self.look_up(self.case.lookups, owners=self.honest(), pause=8.0)
        done.set()
        await moving
        self.more["left_and_came"] = self._born - self.case.nodes

    async def _half_gone(self) -> None:
        owners = self.honest()
        for resident in self.random.sample(self.residents, len(self.residents) // 2):
            await resident.leave()
        await self.look_up(self.case.lookups // 2, owners=owners)
        await asyncio.sleep(600.0)
        dead = {r.citizen.endpoint for r in self.residents if not r.citizen.is_up}
        known = [contact.endpoint for resident in self.up() for contact in resident.contacts()]
        self.more["dead_contacts"] = round(sum(e in dead for e in known) / len(known), 4)
        await self.look_up(self.case.lookups // 2, owners=owners)
        await asyncio.sleep(1.2 * HOUR)
        alive = self.honest()
        holders = sorted(
            sum(
                record in other._store.at_key(record.key, now=self.town.clock.unix())
                for other in alive
            )
            for owner in alive
            if (record := self.newest(owner)) is not None
        )
        self.more["holders_least"] = holders[0]
        self.more["holders_median"] = holders[len(holders) // 2]

    async def _partition(self) -> None:
        """Two halves for an hour; then together, one republishing and a minute later."""
        half = {r.citizen.endpoint for r in self.residents[::2]}
        self.wire.island = lambda endpoint: endpoint in half
        await asyncio.sleep(HOUR)
        sides = [self.residents[::2], self.residents[1::2]]
        held = {
            address_key(owner)
            for owner in self.residents
            for other in sides[0]
            if other._store.at_key(address_key(owner), now=self.town.clock.unix())
        }
        owners = [owner for owner in self.residents if address_key(owner) in held]
        apart = await self.look_up(self.case.lookups // 2, owners=owners, seekers=sides[0])
        served = [sample for sample in apart if sample.verdict in ("found", "wrong")]
        self.more["apart_found"] = round(len(served) / len(apart), 4)
        self.figures.hits.clear()
        self.wire.island = None
        await asyncio.sleep(1.1 * HOUR + 60)
        await self.look_up(self.case.lookups // 2, owners=self.residents)

    async def _idle(self) -> None:
        """What nodes send and receive that only keep themselves and one address record.

        Then what a route costs beside: one round of it in eight hours, at the publisher and at all
        others together.
        """
        before = self.wire.bytes
        await asyncio.sleep(HOUR)
        idle = self.wire.bytes - before
        self.more["idle_bytes_s"] = round(2 * idle / len(self.residents) / HOUR, 1)
        for resident in self.residents:
            for n in range(ROUTES):
                resident.publish_user(f"user{n}")
        before = self.wire.bytes
        await asyncio.sleep(HOUR)
        routes = self.wire.bytes - before - idle
        share = 2 * routes / len(self.residents) / ROUTES
        self.more["route_bytes_s"] = round(share / ROUTE_INTERVAL_S, 2)
        self.more["of_these_at_the_publisher"] = round(share / 2 / ROUTE_INTERVAL_S, 2)
        await self.look_up(self.case.lookups)


async def _joined(resident: Resident, seeds: list[Endpoint]) -> None:
    await resident.join(seeds)


def address_key(owner: Resident) -> bytes:
    return record_key(Kind.ADDRESS, owner.citizen.key.id, "", NETWORK)


def run_whole(case: Case) -> dict[str, object]:
    """Run one case of the whole layer."""
    with installed() as costs:
        loop = VirtualLoop()
        try:
            asyncio.set_event_loop(loop)
            whole = loop.run_until_complete(_made(case, loop))
        finally:
            loop.run_until_complete(_end_the_rest())
            asyncio.set_event_loop(None)
            loop.close()
        return {
            **whole.figures.summary(),
            **whole.more,
            "more": whole.more,
            "datagrams": whole.wire.datagrams,
            "virtual_s": round(loop.elapsed, 3),
            "stand_ins": dict(costs),
            "stand_in_cpu_s": round(costs.cpu_seconds, 1),
            "log": whole.wire.log_hash,
        }


async def _made(case: Case, loop: VirtualLoop) -> Whole:
    whole = Whole(case, loop)
    await whole.run()
    return whole
