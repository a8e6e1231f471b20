"""Who is there: ids, addresses, kinds of behaviour, and generated tables of up to 10,000 nodes."""

import heapq
import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from dht.overlay_id import OverlayId
from dht.table import BUCKET_SIZE, Contact
from federation.model.address import Endpoint, Scope, parse_ip, scope_of
from federation.model.clocks import Monotonic
from tests.simulation.standins import NONCE, StandInKey, place, place_of

_BITS = 256
_PORT = 7060


class Kind(StrEnum):
    """How a node behaves."""

    HONEST = "honest"
    LIAR = "liar"
    "Names only friends, nearest to the target first; takes records and drops them."
    SILENT = "silent"
    "Joined, and answers nothing any more."
    SLOW = "slow"
    "Lies as a liar does, each datagram held back for up to 1.5 s."
    MALFORMED = "malformed"
    "Signs garbage, or answers that break the format."
    STALE = "stale"
    "Answers with every record's first version, wherever it is asked; names true contacts."
    FLOODER = "flooder"
    "Names nodes that do not exist, nearer to the target than anybody; asks all day."
    SPOOFER = "spoofer"
    "Names true ids at false addresses; sends in others' names."


HOSTILE = tuple(kind for kind in Kind if kind is not Kind.HONEST)
MIX = {
    Kind.LIAR: 40, Kind.SILENT: 10, Kind.SLOW: 10, Kind.MALFORMED: 10, Kind.STALE: 10,
    Kind.FLOODER: 10, Kind.SPOOFER: 10,
}  # fmt: skip
"The zoo: how a hostile share is divided, in per cent."


@dataclass(slots=True, eq=False)
class Citizen:
    """One node, before it is known whether anything more than this is needed of it."""

    key: StandInKey
    id: OverlayId
    endpoint: Endpoint
    kind: Kind = Kind.HONEST
    is_up: bool = True
    is_new: bool = False
    "Came later: stands in half of the tables it might stand in."
    long_id: int = field(init=False)

    def __post_init__(self) -> None:
        self.long_id = self.id.number

    @property
    def is_hostile(self) -> bool:
        return self.kind is not Kind.HONEST


class World:
    """Everybody. The same seed makes the same world."""

    def __init__(self, count: int, *, seed: int) -> None:
        self.random = random.Random(seed)
        self._addresses: set[Endpoint] = set()
        self.citizens = [self._born(f"{seed} {n}".encode()) for n in range(count)]
        self.poison = 0.0
        "Share of hostile contacts in the buckets of honest nodes, where there are so many."
        self._contacts: dict[Citizen, Contact] = {}
        self._sort()

    def _born(self, name: bytes) -> Citizen:
        key = StandInKey(name)
        return Citizen(key, place_of(key.id), self.fresh_endpoint())

    def fresh_endpoint(self) -> Endpoint:
        """A global IPv4 address that nobody has."""
        while True:
            n = self.random.getrandbits(32)
            host = f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
            endpoint = Endpoint(host, _PORT)
            if scope_of(parse_ip(host)) is Scope.GLOBAL and endpoint not in self._addresses:
                self._addresses.add(endpoint)
                return endpoint

    def _sort(self) -> None:
        self.ordered = sorted(self.citizens, key=lambda citizen: citizen.long_id)
        self._ids = [citizen.long_id for citizen in self.ordered]
        self.hostile = [citizen for citizen in self.citizens if citizen.is_hostile]
        self._has_newcomers = any(citizen.is_new for citizen in self.citizens)

    def turn_hostile(self, share: float, mix: dict[Kind, int]) -> None:
        """A share of the nodes, drawn at random, behaves as `mix` says from now on."""
        chosen = self.random.sample(self.citizens, round(share * len(self.citizens)))
        kinds = [kind for kind, weight in mix.items() for _ in range(weight)]
        for n, citizen in enumerate(chosen):
            citizen.kind = kinds[n * 37 % len(kinds)]
        self._sort()

    def surround(self, position: bytes, count: int, kind: Kind = Kind.LIAR) -> None:
        """Hostile ids nearer to a position than any honest one."""
        target = int.from_bytes(position, "big")
        nearest = min(citizen.long_id ^ target for citizen in self.citizens)
        for n in range(count):
            key = StandInKey(position + bytes((n,)))
            id_ = OverlayId((target ^ nearest * (n + 1) // (count + 2)).to_bytes(32, "big"))
            place(key.id, id_)
            self.citizens.append(Citizen(key, id_, self.fresh_endpoint(), kind))
        self._sort()

    def churn(self, share: float) -> None:
        """This share has gone, still in tables; as many came, and stand in half of the tables."""
        for citizen in self.random.sample(self.citizens, round(share * len(self.citizens))):
            if citizen.is_new or citizen.is_hostile:
                continue
            citizen.is_up = False
        born = [self._born(f"new {n}".encode()) for n in range(round(share * len(self.citizens)))]
        for citizen in born:
            citizen.is_new = True
        self.citizens += born
        self._sort()

    def friends(self, target: int, count: int, besides: Citizen) -> list[Citizen]:
        """The hostile nodes nearest to a target, as one of them would name them."""
        near = self.around(target, 16 * count, self._hostile_sorted())
        chosen = heapq.nsmallest(count + 1, near, key=lambda citizen: citizen.long_id ^ target)
        return [citizen for citizen in chosen if citizen is not besides][:count]

    def _hostile_sorted(self) -> list[Citizen]:
        if len(getattr(self, "_villains", ())) != len(self.hostile):
            self._villains = sorted(self.hostile, key=lambda citizen: citizen.long_id)
        return self._villains

    @staticmethod
    def around(target: int, count: int, ordered: list[Citizen]) -> list[Citizen]:
        """Citizens whose ids begin as the target's does: the nearest `count` and some more."""
        bits = 0
        low, high = 0, len(ordered)
        while high - low > count and bits < _BITS:
            bits += 1
            floor = target >> (_BITS - bits) << (_BITS - bits)
            start = bisect_left(ordered, floor, key=lambda citizen: citizen.long_id)
            end = bisect_left(
                ordered, floor + (1 << (_BITS - bits)), key=lambda citizen: citizen.long_id
            )
            if end - start < count:
                break
            low, high = start, end
        return ordered[low:high]

    def table_of(self, citizen: Citizen) -> list[Citizen]:
        """The contacts a node would have: of each half that its own id does not lie in, a bucket.

        Buckets are as `dht.table` splits them; who stands in a bucket is drawn at random.
        """
        rng = random.Random(citizen.long_id % (1 << 61))
        chosen: list[Citizen] = []
        low, high = 0, len(self.ordered)
        for bit in range(1, _BITS):
            if high - low <= BUCKET_SIZE:
                break
            shift = _BITS - bit
            middle = ((citizen.long_id >> shift) | 1) << shift
            cut = bisect_left(self._ids, middle, low, high)
            if citizen.long_id >> shift & 1:
                chosen += self._bucket(low, cut, citizen, rng)
                low = cut
            else:
                chosen += self._bucket(cut, high, citizen, rng)
                high = cut
        chosen += self._bucket(low, high, citizen, rng)
        return [other for other in chosen if other is not citizen]

    def _bucket(self, low: int, high: int, owner: Citizen, rng: random.Random) -> list[Citizen]:
        members = self.ordered[low:high] if high - low <= 4 * BUCKET_SIZE else None
        if self.poison and not owner.is_hostile:
            return self._poisoned(members or self._sample(low, high, rng, 6), low, high, rng)
        if members is None:
            members = self._sample(low, high, rng, 2 if self._has_newcomers else 1)
        members = [m for m in members if not m.is_new or rng.random() < 0.5]
        return members if len(members) <= BUCKET_SIZE else rng.sample(members, BUCKET_SIZE)

    def _sample(self, low: int, high: int, rng: random.Random, buckets: int) -> list[Citizen]:
        count = min(high - low, buckets * BUCKET_SIZE)
        return [self.ordered[n] for n in rng.sample(range(low, high), count)]

    def _poisoned(
        self, members: list[Citizen], low: int, high: int, rng: random.Random
    ) -> list[Citizen]:
        bad = [member for member in members if member.is_hostile]
        good = [member for member in members if not member.is_hostile]
        places = min(BUCKET_SIZE, high - low)
        taken = rng.sample(bad, min(len(bad), round(self.poison * places)))
        return taken + rng.sample(good, min(len(good), places - len(taken)))

    def contact(self, citizen: Citizen) -> Contact:
        """How others know a node; shared by all generated tables."""
        known = self._contacts.get(citizen)
        if known is None:
            known = Contact(citizen.id, citizen.key.id, NONCE, citizen.endpoint, now=Monotonic(0.0))
            self._contacts[citizen] = known
        return known


class GeneratedTable:
    """Answers as `SecureTable` does, from a generated list of contacts."""

    def __init__(self, world: World, owner: Citizen) -> None:
        self._own = owner.long_id
        self._contacts = {other.long_id: world.contact(other) for other in world.table_of(owner)}

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._contacts.values())

    def __len__(self) -> int:
        return len(self._contacts)

    def nearest(self, target: bytes, count: int = BUCKET_SIZE) -> list[Contact]:
        number = int.from_bytes(target, "big")
        near = sorted([id_ ^ number for id_ in self._contacts])[:count]
        return [self._contacts[distance ^ number] for distance in near]

    def rank_of(self, position: bytes) -> int:
        target = int.from_bytes(position, "big")
        own = self._own ^ target
        return sum(id_ ^ target < own for id_ in self._contacts)
