"""The hostile zoo: what a node may do that solved its puzzle, joined, and means harm.

Each class changes one thing about an honest responder. `Spoiler` does the same to a whole
`Directory`, so the same zoo lives in both layers of the simulation.
"""

import heapq
from collections.abc import Callable

from dht import messages
from dht.messages import Answer, ContactEntry, FindNode, Get, Nodes, Records, Store, Stored
from dht.overlay_id import OverlayId
from dht.record import RecordError, positions
from federation.model.address import Endpoint
from tests.simulation.responder import Responder, Town
from tests.simulation.world import Citizen, Kind

SLOW_BY_S = 1.5
_NAMED = messages.MAX_CONTACTS


def named_by(town: Town, citizen: Citizen, target: bytes) -> tuple[ContactEntry, ...]:
    """The contacts that a hostile node names for a target."""
    number = int.from_bytes(target, "big")
    match citizen.kind:
        case Kind.LIAR | Kind.SLOW:
            friends = town.world.friends(number, _NAMED, citizen)
            return tuple(ContactEntry(friend.id, friend.endpoint) for friend in friends)
        case Kind.FLOODER:
            return tuple(
                ContactEntry(
                    OverlayId((number ^ town.random.getrandbits(236)).to_bytes(32, "big")),
                    town.world.fresh_endpoint(),
                )
                for _ in range(_NAMED)
            )
        case _:
            near = town.world.around(number, 4 * _NAMED, town.world.ordered)
            chosen = heapq.nsmallest(_NAMED, near, key=lambda other: other.long_id ^ number)
            return tuple(ContactEntry(other.id, town.world.fresh_endpoint()) for other in chosen)


def lie(
    town: Town, citizen: Citizen, request: FindNode | Get, honest: Callable[[], Answer]
) -> Answer:
    """A hostile node's answer to find_node or get."""
    target = request.target if isinstance(request, FindNode) else request.position
    if citizen.kind is Kind.STALE:
        answer = honest()
        if not isinstance(answer, Records):
            return answer
        old = town.first_versions.get(target)
        return Records(() if old is None else (old,), answer.contacts)
    entries = named_by(town, citizen, target)
    return Nodes(entries) if isinstance(request, FindNode) else Records((), entries)


def remember_first(town: Town, envelope: bytes) -> None:
    """Stale-record holders keep the first version of everything that any of them is given."""
    try:
        record = town.validator.check(envelope, None, now=town.clock.unix())
    except RecordError:
        return
    for position in positions(record.key):
        town.first_versions.setdefault(position, envelope)


def mangled(town: Town, data: bytes) -> bytes:
    """An answer that is cut, overwritten or replaced; it looks like one as far as its head goes."""
    draw = town.random
    match draw.randrange(3):
        case 0:
            return data[: draw.randrange(len(data))]
        case 1:
            spot = draw.randrange(50, len(data))
            return data[:spot] + bytes((data[spot] ^ 0xFF,)) + data[spot + 1 :]
        case _:
            return data[:114] + draw.randbytes(len(data) - 114)


class HostileResponder(Responder):
    """A responder that does as its kind does."""

    def send(self, data: bytes, to: Endpoint) -> None:
        match self.citizen.kind:
            case Kind.SILENT:
                return
            case Kind.SLOW:
                late = SLOW_BY_S * self.town.random.random()
                self.town.wire.carry(data, self.citizen.endpoint, to, after=late)
            case Kind.MALFORMED:
                super().send(mangled(self.town, data), to)
            case _:
                super().send(data, to)

    def look_up(self, request: FindNode | Get, asker: Endpoint) -> Answer:
        return lie(
            self.town,
            self.citizen,
            request,
            lambda: super(type(self), self).look_up(request, asker),
        )

    def store(self, request: Store) -> Answer:
        remember_first(self.town, request.envelope)
        return Stored(messages.STORED, 0)


class Population:
    """Attaches everybody to the wire; responders are made when first asked."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.responders: dict[Citizen, Responder] = {}
        for citizen in town.world.citizens:
            town.wire.attach(citizen.endpoint, self._door(citizen))

    def _door(self, citizen: Citizen) -> Callable[[bytes, Endpoint], None]:
        def receive(data: bytes, source: Endpoint) -> None:
            responder = self.responders.get(citizen)
            if responder is None:
                if not citizen.is_up:
                    return
                kind = HostileResponder if citizen.is_hostile else Responder
                responder = self.responders[citizen] = kind(self.town, citizen)
            responder.receive(data, source)

        return receive
