"""The same load on kademlia 2.2.3: its classes unmodified, over the same simulated wire.

Hostile nodes are subclasses; honest ones are `KademliaProtocol` with `ForgetfulStorage` as
shipped, and lookups are `ValueSpiderCrawl` as `Server.get_digest` starts it.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from kademlia.crawling import NodeSpiderCrawl, ValueSpiderCrawl
from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from kademlia.storage import ForgetfulStorage

from federation.model.address import Endpoint
from tests.simulation.cases import Case
from tests.simulation.figures import Figures, Sample
from tests.simulation.wire import Wire
from tests.simulation.world import Citizen, Kind, World
from tests.support.virtual_loop import VirtualLoop, _end_the_rest

KSIZE, ALPHA = 20, 3
"As `kademlia.network.Server` has them."
MOST_SEEKERS = 40
MOST_RECORDS = 30
DEADLINE_S = 60.0
"A lookup that is not over by then counts as inconclusive; stock has no deadline of its own."
VALUE = "the newest record, as text " + "." * 150
OLD_VALUE = "an older record, as text  " + "." * 150


class StockTransport:
    """What rpcudp calls a transport: sends over the simulated wire."""

    def __init__(self, wire: Wire, endpoint: Endpoint) -> None:
        self._wire, self._endpoint = wire, endpoint

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        self._wire.carry(data, self._endpoint, Endpoint(*address))


def stock_node(citizen: Citizen) -> Node:
    return Node(bytes(citizen.id[:20]), citizen.endpoint.host, citizen.endpoint.port)


class StockTown:
    """Everybody as a stock node; protocols are made when they are first needed."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.world, self.wire = world, wire
        self.nodes = {citizen: stock_node(citizen) for citizen in world.citizens}
        self.protocols: dict[Citizen, KademliaProtocol] = {}
        self.errors = 0
        for citizen in world.citizens:
            wire.attach(citizen.endpoint, self._door(citizen))

    def _door(self, citizen: Citizen) -> Callable[[bytes, Endpoint], None]:
        def receive(data: bytes, source: Endpoint) -> None:
            if citizen.is_up and citizen.kind is not Kind.SILENT:
                self.protocol(citizen).datagram_received(data, tuple(source))

        return receive

    def protocol(self, citizen: Citizen) -> KademliaProtocol:
        protocol = self.protocols.get(citizen)
        if protocol is None:
            kind = HostileStock if citizen.is_hostile else KademliaProtocol
            protocol = kind(self.nodes[citizen], ForgetfulStorage(), KSIZE)
            protocol.connection_made(StockTransport(self.wire, citizen.endpoint))
            if citizen.is_hostile:
                protocol.town, protocol.citizen = self, citizen
            else:
                for other in self.world.table_of(citizen):
                    protocol.router.add_contact(self.nodes[other])
            self.protocols[citizen] = protocol
        return protocol


class HostileStock(KademliaProtocol):  # type: ignore[misc]
    """The hostile zoo, as far as stock nodes can meet it."""

    town: StockTown
    citizen: Citizen

    def rpc_store(self, sender: Any, nodeid: bytes, key: bytes, value: Any) -> bool:
        return True

    def rpc_find_node(self, sender: Any, nodeid: bytes, key: bytes) -> Any:
        target = int.from_bytes(key, "big") << 96
        match self.citizen.kind:
            case Kind.MALFORMED:
                return {"bogus": 1}
            case Kind.FLOODER | Kind.SPOOFER:
                near = key[:4]
                return [
                    (near + random.randbytes(16), *self.town.world.fresh_endpoint())
                    for _ in range(20)
                ]
            case _:
                friends = self.town.world.friends(target, 20, self.citizen)
                return [tuple(self.town.nodes[friend]) for friend in friends]

    def rpc_find_value(self, sender: Any, nodeid: bytes, key: bytes) -> Any:
        if self.citizen.kind is Kind.STALE:
            return {"value": OLD_VALUE}
        return self.rpc_find_node(sender, nodeid, key)


def run_stock(case: Case) -> dict[str, object]:
    """The load of a case on stock nodes."""
    random.seed(case.seed)
    loop = VirtualLoop()
    rng = random.Random(case.seed)
    try:
        with (
            patch("os.urandom", rng.randbytes),
            patch("kademlia.routing.time.monotonic", loop.time),
        ):
            asyncio.set_event_loop(loop)
            loop.set_exception_handler(lambda loop, context: None)
            figures, wire = loop.run_until_complete(_run(case, loop))
    finally:
        loop.run_until_complete(_end_the_rest())
        asyncio.set_event_loop(None)
        loop.close()
    return {**figures.summary(), "datagrams": wire.datagrams, "log": wire.log_hash}


async def _run(case: Case, loop: VirtualLoop) -> tuple[Figures, Wire]:
    world = World(case.nodes, seed=case.seed)
    seekers = world.random.sample(world.citizens, min(MOST_SEEKERS, case.lookups))
    world.turn_hostile(case.hostile, case.mix)
    world.poison = case.poison
    for citizen in seekers:
        citizen.kind = Kind.HONEST
    world._sort()
    wire = Wire(loop, seed=case.seed, loss=case.loss)
    town = StockTown(world, wire)
    keys = [hashlib.sha1(b"%d" % n).digest() for n in range(min(MOST_RECORDS, case.lookups))]
    for n, key in enumerate(keys):
        await _store(town.protocol(seekers[n % len(seekers)]), key)
    for citizen in world.random.sample(world.citizens, round(case.gone * case.nodes)):
        if citizen not in set(seekers):
            citizen.is_up = False
    figures = Figures()
    await asyncio.gather(
        *(_seek(case, town, citizen, n, keys, figures) for n, citizen in enumerate(seekers))
    )
    return figures, wire


async def _store(protocol: KademliaProtocol, key: bytes) -> None:
    """As `Server.set_digest`: crawl for the nearest, store at each."""
    node = Node(key)
    nearest = protocol.router.find_neighbors(node)
    crawl = NodeSpiderCrawl(protocol, node, nearest, KSIZE, ALPHA)
    try:
        nodes = await asyncio.wait_for(crawl.find(), DEADLINE_S)
    except (TimeoutError, TypeError, AttributeError, ValueError, KeyError):
        return
    await asyncio.gather(*(protocol.call_store(other, key, VALUE) for other in nodes))


async def _seek(
    case: Case,
    town: StockTown,
    citizen: Citizen,
    number: int,
    keys: list[bytes],
    figures: Figures,
) -> None:
    protocol = town.protocol(citizen)
    sent = town.wire.watch(citizen.endpoint)
    loop = asyncio.get_running_loop()
    for n in range(number, case.lookups, min(MOST_SEEKERS, case.lookups)):
        node = Node(keys[(n * 7 + number) % len(keys)])
        before, started = list(sent), loop.time()
        nearest = protocol.router.find_neighbors(node)
        crawl = ValueSpiderCrawl(protocol, node, nearest, KSIZE, ALPHA)
        try:
            value = await asyncio.wait_for(crawl.find(), DEADLINE_S)
        except (TimeoutError, TypeError, AttributeError, ValueError, KeyError):
            verdict = "inconclusive"
        else:
            verdict = "found" if value == VALUE else "lost" if value is None else "wrong"
        figures.hits.append(
            Sample(
                verdict,
                loop.time() - started,
                0,
                sent[0] - before[0],
                sent[1] - before[1] + sent[2] - before[2],
            )
        )
