"""Who might be asked in a lookup: what others said of them, and how far those can be believed.

Nothing that is named is proven. A candidate may be named with several addresses, by several nodes;
the address that most of them gave is tried first. Every namer has credit: it loses some when a
node it named is silent at the address it gave, and gains some when it answers. Candidates that only
doubted nodes named wait behind the others, and those that only discredited nodes named count for
nothing. So a node that invents neighbours, or true ones at false addresses, costs a lookup one or
two silences and no more.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dht.messages import ContactEntry
from dht.overlay_id import OverlayId
from dht.record import Record
from dht.scope import is_local
from federation.model.address import Endpoint, network_group
from federation.model.clocks import Monotonic

MAX_CANDIDATES = 1_024
MAX_ENDPOINTS = 3
"Addresses tried for one id; liars may have named some of them."
GROUP_PER_LOOKUP = 10
"Candidates of one /24 or /48."
DISCREDITED_AFTER = 3
"Silent nodes of one namer that end its credit, unless one in eight or more answered."

NEW, ASKED, LATE, ANSWERED, FAILED = range(5)
_UNSET = Monotonic(0.0)


@dataclass(slots=True, eq=False)
class Way:
    """One address of a candidate, and who named it; nobody: our own table."""

    endpoint: Endpoint
    namers: list["Candidate"]


@dataclass(slots=True, eq=False)
class Candidate:
    """One node that may be asked, is being asked, or was."""

    id: OverlayId
    distance: int
    depth: int
    path: int
    patience: float
    group: bytes
    "The /24 or /48 it was first named in."
    ways: list[Way]
    "Not tried yet."
    state: int = NEW
    way: Way | None = None
    "Where it was asked last."
    tried: set[Endpoint] = field(default_factory=set)
    late_at: Monotonic = _UNSET
    records: tuple[Record, ...] = ()
    answered_at: Endpoint | None = None
    kept: int = 0
    "Nodes it named that answered."
    broken: int = 0
    "Nodes it named that were silent where it said."
    sample: int = NEW
    "Whether a sample of the region was asked of it, beside the nearest."

    @property
    def endpoint(self) -> Endpoint:
        """Where it is, as far as is known."""
        if self.answered_at is not None:
            return self.answered_at
        return self.ways[0].endpoint if self.way is None else self.way.endpoint

    @property
    def entry(self) -> ContactEntry:
        """It, as it is handed on."""
        return ContactEntry(self.id, self.endpoint)

    @property
    def names(self) -> int:
        """How often it was named; being in our own table counts twice."""
        ways = self.ways if self.way is None else (*self.ways, self.way)
        return sum(len(way.namers) or 2 for way in ways)

    @property
    def is_doubted(self) -> bool:
        """All who named it named more silent nodes than others."""
        return self._is_named_only_by(lambda namer: namer.broken > namer.kept)

    @property
    def is_discredited(self) -> bool:
        """All who named it named next to nobody who answers."""
        return self._is_named_only_by(
            lambda namer: namer.broken >= DISCREDITED_AFTER and namer.broken > 7 * namer.kept
        )

    def _is_named_only_by(self, is_such: Callable[["Candidate"], bool]) -> bool:
        if self.state == ANSWERED:
            return False
        ways = self.ways if self.way is None else (*self.ways, self.way)
        return all(way.namers and all(map(is_such, way.namers)) for way in ways)

    def best_way(self) -> Way:
        """Take the untried address that most have named, our own table before all."""
        way = max(self.ways, key=lambda w: (not w.namers, len(w.namers)))
        self.ways.remove(way)
        self.tried.add(way.endpoint)
        self.way = way
        return way

    def was_silent(self) -> None:
        """Those who named the address it was asked at lose credit."""
        for namer in () if self.way is None else self.way.namers:
            namer.broken += 1

    def was_heard(self) -> None:
        """Those who named the address gain credit, and lose what silence cost them."""
        for namer in () if self.way is None else self.way.namers:
            namer.kept += 1
            if self.state == LATE:
                namer.broken -= 1


class Candidates:
    """Everybody who was named in a lookup, nearest first, within limits."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._by_id: dict[OverlayId, Candidate] = {}
        self._ordered: list[Candidate] = []
        self._groups: Counter[bytes] = Counter()

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._ordered)

    def __len__(self) -> int:
        return len(self._ordered)

    def get(self, id_: OverlayId) -> Candidate | None:
        """The candidate with this id."""
        return self._by_id.get(id_)

    def name(
        self, entry: ContactEntry, namer: Candidate | None, *, path: int, patience: float
    ) -> Candidate | None:
        """Somebody (None: our own table) named a node; return it if it is new and has room."""
        known = self._by_id.get(entry.id)
        if known is not None:
            self._named_again(known, entry.endpoint, namer)
            return None
        local = is_local(entry.endpoint)
        group = network_group(entry.endpoint.ip)
        if not local and self._groups[group] >= GROUP_PER_LOOKUP:
            return None
        distance = entry.id.number ^ self._target
        if len(self._ordered) >= MAX_CANDIDATES and not self._make_room(distance):
            return None
        candidate = Candidate(
            entry.id,
            distance,
            1 if namer is None else namer.depth + 1,
            path,
            patience,
            group,
            [Way(entry.endpoint, [] if namer is None else [namer])],
        )
        self._by_id[entry.id] = candidate
        insort(self._ordered, candidate, key=_distance)
        self._groups[group] += 1
        return candidate

    def _named_again(self, known: Candidate, endpoint: Endpoint, namer: Candidate | None) -> None:
        if known.state == ANSWERED or namer is None or namer is known:
            return
        if known.way is not None and known.way.endpoint == endpoint:
            if namer in known.way.namers:
                return
            known.way.namers.append(namer)
            if known.state in (LATE, FAILED):
                namer.broken += 1
            return
        for way in known.ways:
            if way.endpoint == endpoint:
                if way.namers and namer not in way.namers:
                    way.namers.append(namer)
                return
        if len(known.ways) + len(known.tried) < MAX_ENDPOINTS and endpoint not in known.tried:
            known.ways.append(Way(endpoint, [namer]))
            if known.state == FAILED:
                known.state = NEW

    def _make_room(self, distance: int) -> bool:
        """Forget the farthest candidate that was not asked yet, if it is farther than this."""
        for farthest in reversed(self._ordered):
            if farthest.distance <= distance:
                return False
            if farthest.state == NEW and farthest.way is None:
                break
        else:
            return False
        farthest.state = FAILED  # for the path that may list it
        del self._by_id[farthest.id]
        del self._ordered[bisect_left(self._ordered, farthest.distance, key=_distance)]
        self._groups[farthest.group] -= 1
        return True


def _distance(candidate: Candidate) -> int:
    return candidate.distance
