"""A node reduced to what others see of it: the real request desk, answers and store.

It has a generated table and no lookups of its own, so thousands fit into one process. What a
hostile node does differently stands in `hostile`.
"""

import random
from contextlib import suppress

from dht.acceptance import RecordValidator
from dht.answers import Answerer, Unverified
from dht.frame import Frame, FrameError, FrameType
from dht.messages import Answer, FindNode, Get, Pong, Store, Stored
from dht.overlay_id import OverlayIdCache
from dht.serving import RequestDesk, Traffic
from dht.store import RecordStore
from dht.tasks import Tasks
from federation.model.address import Endpoint
from tests.simulation.standins import NETWORK, NONCE
from tests.simulation.wire import Wire
from tests.simulation.world import Citizen, GeneratedTable, World
from tests.support.dht_network import SeededEntropy, check_inline
from tests.support.virtual_loop import LoopClock


class Town:
    """What responders share: the wire, the clock, the check of ids, the validator of records."""

    def __init__(self, world: World, wire: Wire, clock: LoopClock, *, seed: int) -> None:
        self.world, self.wire, self.clock = world, wire, clock
        self.tasks = Tasks()
        self.ids = OverlayIdCache(NETWORK, check_inline)
        self.validator = RecordValidator(NETWORK)
        self.entropy = SeededEntropy(seed)
        self.random = random.Random(seed)
        self.first_versions: dict[bytes, bytes] = {}
        "Position to envelope: what stale-record holders show."
        self.traffic = Traffic()


class Responder:
    """One node's answers. Made when it is first asked."""

    def __init__(self, town: Town, citizen: Citizen) -> None:
        self.town, self.citizen = town, citizen
        self.table = GeneratedTable(town.world, citizen)
        self.records = RecordStore(self.table.rank_of)
        self._answerer = Answerer(
            table=self.table,  # type: ignore[arg-type]
            store=self.records,
            validator=town.validator,
            verdict=lambda number, account: True,
            entropy=town.entropy,
        )
        self._desk = RequestDesk(
            key=citizen.key,  # type: ignore[arg-type]
            nonce=NONCE,
            network=NETWORK,
            own_id=citizen.id,
            send=self.send,
            server=self,
            on_proven=lambda key, nonce, source: None,
            ids=town.ids,
            traffic=town.traffic,
            clock=town.clock,
            entropy=town.entropy,
            tasks=town.tasks,
        )

    def send(self, data: bytes, to: Endpoint) -> None:
        self.town.wire.carry(data, self.citizen.endpoint, to)

    def receive(self, data: bytes, source: Endpoint) -> None:
        if not self.citizen.is_up:
            return
        with suppress(FrameError):
            frame = Frame.parse(data)
            if frame.type is FrameType.REQUEST:
                self._desk.receive(frame, source, len(data))

    # the desk's Server

    def pong(self) -> Pong:
        return Pong(0, self._desk.seal_key, 0, int(self.town.clock.unix() * 1000))

    def look_up(self, request: FindNode | Get, asker: Endpoint) -> Answer:
        if isinstance(request, FindNode):
            return self._answerer.nodes(request, asker)
        return self._answerer.records(request, asker, now=self.town.clock.unix())

    def store(self, request: Store) -> Answer:
        result = self._answerer.stored(request, now=self.town.clock.unix())
        return Stored(0, 0) if isinstance(result, Unverified) else result
