"""The search for a place in the overlay, and for the records kept there. No sockets, no clock.

While many nodes are known, a lookup goes along up to eight *disjoint paths*: the seeds are dealt
out among them, each path walks towards the target with a short list of its own, and no node serves
two paths. One liar can spoil its own path only. When the paths have arrived, their lists are merged
and the *closing round* asks everybody in the key's region. In a network smaller than a region the
closing round is all there is: everybody is asked.

Whoever is silent for his patience no longer holds up his path, another is asked beside him. A
lookup for records ends when three answers from different networks agree with the best that is
known, or the region is done. It is *conclusive* when three quarters of the region answered: only
then does finding nothing mean that there is nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dht.messages import MAX_CONTACTS, ContactEntry
from dht.overlay_id import OverlayId
from dht.record import Record
from dht.region import region_size
from dht.scope import is_local
from dht.store import merge
from dht.table import FIRST_PATIENCE_S
from federation.model.address import Endpoint, network_group
from federation.model.clocks import Monotonic

PATHS = 8
SMALL_NETWORK = 20
"With fewer seeds than this everybody is asked at once, without paths."
PATH_LIST = 20
"Candidates that a path keeps, nearest first."
PATH_WIDTH = 2
"A path has arrived when its nearest candidates, so many of them, have answered."
PARALLEL = 8
"Requests in flight in the closing round, not counting those that are late."
MAX_ASKS = 250
MAX_CANDIDATES = 1_024
MAX_ENDPOINTS = 3
"Addresses tried for one id; liars may have named some of them."
GROUP_PER_PATH = 2
"Candidates of one /24 or /48 in a path's list."
GROUP_PER_LOOKUP = 10
AGREEING = 3
"Equal answers from different networks that settle a lookup."
CONCLUSIVE_SHARE = 0.75

NEW, ASKED, LATE, ANSWERED, FAILED = range(5)
_UNSET = Monotonic(0.0)


@dataclass(frozen=True, slots=True)
class Seed:
    """A contact to begin with."""

    entry: ContactEntry
    patience: float = FIRST_PATIENCE_S
    "Seconds to wait for it before somebody else is asked as well."


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this node; report with `answered` or `failed`."""

    id: OverlayId
    endpoint: Endpoint
    patience: float
    is_spare: bool
    "Others could answer in its place, so one transmission is enough."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a lookup ended."""

    records: tuple[Record, ...]
    "The newest record of each publisher."
    conclusive: bool
    "Three quarters of the region answered, or enough agreed: what was not found is not there."
    votes: dict[bytes, int]
    "How many nodes answered with each record, by the record's hash."
    region: tuple[ContactEntry, ...]
    "Who answered in the region, nearest first."
    outdated: tuple[ContactEntry, ...]
    "Who answered with older records than these."
    distances: tuple[int, ...]
    "Of everybody who answered, ascending."
    asked: int
    hops: int
    is_whole_network: bool
    "Everybody who was named lies in the region, so a second region has nobody else to ask."


@dataclass(slots=True)
class _Peer:
    id: OverlayId
    distance: int
    endpoints: list[Endpoint]
    depth: int
    path: int
    patience: float
    state: int = NEW
    tried: int = 0
    late_at: Monotonic = _UNSET
    records: tuple[Record, ...] = ()
    answered_at: Endpoint | None = None

    @property
    def entry(self) -> ContactEntry:
        return ContactEntry(self.id, self.answered_at or self.endpoints[0])


@dataclass(slots=True)
class _Path:
    peers: list[_Peer] = field(default_factory=list)
    groups: Counter[bytes] = field(default_factory=Counter)


class Lookup:
    """One search. Feed it events; send what it asks; stop when `outcome` is there."""

    def __init__(
        self,
        target: bytes,
        *,
        own_id: OverlayId,
        seeds: Sequence[Seed],
        wants_records: bool,
        own_records: tuple[Record, ...] = (),
        radius: int = 0,
        deadline: Monotonic,
    ) -> None:
        self.target = target
        self.outcome: Outcome | None = None
        self._target = int.from_bytes(target, "big")
        self._own_id = own_id
        self._own_distance = own_id.number ^ self._target
        self._own_records = own_records
        self.wants_records = wants_records
        self._radius = radius
        self._deadline = deadline
        self._peers: dict[OverlayId, _Peer] = {}
        self._groups: Counter[bytes] = Counter()
        self._asked = 0
        ordered = sorted(seeds, key=lambda seed: seed.entry.id.number ^ self._target)
        count = 0 if len(ordered) < SMALL_NETWORK else min(PATHS, len(ordered) // 2)
        self._paths = [_Path() for _ in range(count)]
        for index, seed in enumerate(ordered):
            path = index % count if count else -1
            self._admit(seed.entry, depth=1, path=path, patience=seed.patience)

    def start(self, *, now: Monotonic) -> list[Ask]:
        """Begin; with nobody to ask the outcome is there at once."""
        return self._advance(now)

    def answered(
        self,
        id_: OverlayId,
        *,
        contacts: Iterable[ContactEntry],
        records: tuple[Record, ...] = (),
        endpoint: Endpoint,
        now: Monotonic,
    ) -> list[Ask]:
        """A node answered from `endpoint`; `records` have been validated."""
        peer = self._peers.get(id_)
        if peer is None or self.outcome is not None or peer.state not in (ASKED, LATE):
            return []
        peer.state, peer.answered_at, peer.records = ANSWERED, endpoint, merge(records)
        for entry in tuple(contacts)[:MAX_CONTACTS]:
            self._admit(entry, depth=peer.depth + 1, path=peer.path, patience=FIRST_PATIENCE_S)
        return self._advance(now)

    def failed(self, id_: OverlayId, *, now: Monotonic) -> list[Ask]:
        """A node did not answer, or not as itself."""
        peer = self._peers.get(id_)
        if peer is None or self.outcome is not None or peer.state not in (ASKED, LATE):
            return []
        peer.state = NEW if peer.tried < len(peer.endpoints) else FAILED
        return self._advance(now)

    def next_timer(self) -> Monotonic:
        """When `handle_timer` is next needed."""
        late = (peer.late_at for peer in self._peers.values() if peer.state == ASKED)
        return min(self._deadline, min(late, default=self._deadline))

    def handle_timer(self, *, now: Monotonic) -> list[Ask]:
        """Notice who is late; end at the deadline."""
        if self.outcome is not None:
            return []
        for peer in self._peers.values():
            if peer.state == ASKED and peer.late_at <= now:
                peer.state = LATE
        if now >= self._deadline:
            self._finish()
            return []
        return self._advance(now)

    def _admit(self, entry: ContactEntry, *, depth: int, path: int, patience: float) -> None:
        if entry.id == self._own_id:
            return
        peer = self._peers.get(entry.id)
        if peer is not None:
            known = entry.endpoint in peer.endpoints or len(peer.endpoints) >= MAX_ENDPOINTS
            if not known and peer.state != ANSWERED:
                peer.endpoints.append(entry.endpoint)
                if peer.state == FAILED:
                    peer.state = NEW
            return
        group = network_group(entry.endpoint.ip)
        if not is_local(entry.endpoint) and self._groups[group] >= GROUP_PER_LOOKUP:
            return
        distance = entry.id.number ^ self._target
        peer = _Peer(entry.id, distance, [entry.endpoint], depth, path, patience)
        if len(self._peers) >= MAX_CANDIDATES and not self._make_room(distance):
            return
        self._peers[entry.id] = peer
        self._groups[group] += 1
        if path >= 0:
            self._put_on_path(peer, self._paths[path], group)

    def _make_room(self, distance: int) -> bool:
        """Forget the farthest candidate that was not asked yet, if it is farther than this."""
        waiting = [p for p in self._peers.values() if p.state == NEW]
        farthest = max(waiting, key=lambda p: p.distance, default=None)
        if farthest is None or farthest.distance <= distance:
            return False
        del self._peers[farthest.id]
        self._groups[network_group(farthest.endpoints[0].ip)] -= 1
        for path in self._paths:
            if farthest in path.peers:
                path.peers.remove(farthest)
        return True

    def _put_on_path(self, peer: _Peer, path: _Path, group: bytes) -> None:
        if not is_local(peer.endpoints[0]):
            if path.groups[group] >= GROUP_PER_PATH:
                return
            path.groups[group] += 1
        path.peers.append(peer)
        path.peers.sort(key=lambda p: p.distance)
        del path.peers[PATH_LIST:]

    def _advance(self, now: Monotonic) -> list[Ask]:
        """Everything that should be asked now; sets the outcome when nothing is left to do."""
        if self.wants_records and self._is_agreed():
            self._finish()
            return []
        asks: list[Ask] = []
        walking = [self._step(path, asks, now) for path in self._paths]
        if any(walking):
            return asks
        region = self._region()
        in_flight = sum(peer.state == ASKED for peer in region)
        for peer in region:
            if peer.state == NEW and in_flight < PARALLEL and self._asked < MAX_ASKS:
                asks.append(self._ask(peer, now, is_spare=len(region) > SMALL_NETWORK))
                in_flight += 1
        if not asks and not in_flight:
            is_waiting = any(peer.state == LATE for peer in region)
            if not is_waiting or (self.wants_records and self._best()):
                self._finish()
        return asks

    def _step(self, path: _Path, asks: list[Ask], now: Monotonic) -> bool:
        """Let one path take its next step; False when it has arrived."""
        nearest = [peer for peer in path.peers if peer.state not in (FAILED, LATE)][:PATH_WIDTH]
        if any(peer.state == ASKED for peer in path.peers):
            return True
        for peer in nearest:
            if peer.state == NEW and self._asked < MAX_ASKS:
                asks.append(self._ask(peer, now, is_spare=True))
                return True
        return False

    def _ask(self, peer: _Peer, now: Monotonic, *, is_spare: bool) -> Ask:
        endpoint = peer.endpoints[peer.tried]
        peer.tried += 1
        peer.state = ASKED
        peer.late_at = Monotonic(now + peer.patience)
        self._asked += 1
        return Ask(peer.id, endpoint, peer.patience, is_spare)

    def _region(self) -> list[_Peer]:
        """The nearest candidates that have not failed, as wide as the region rule says."""
        live = sorted(
            (peer for peer in self._peers.values() if peer.state != FAILED),
            key=lambda peer: peer.distance,
        )
        return live[: region_size([peer.distance for peer in live], self._radius)]

    def _best(self) -> tuple[Record, ...]:
        answers = (peer.records for peer in self._peers.values() if peer.state == ANSWERED)
        return merge(self._own_records, *answers)

    def _is_agreed(self) -> bool:
        best = self._best()
        if not best:
            return False
        voices: set[bytes] = set()
        if self._own_records == best:
            voices.add(b"own")
        for peer in self._peers.values():
            if peer.state == ANSWERED and peer.records == best:
                endpoint = peer.answered_at or peer.endpoints[0]
                group = bytes(peer.id) if is_local(endpoint) else network_group(endpoint.ip)
                voices.add(group)
        return len(voices) >= AGREEING

    def _finish(self) -> None:
        region = self._region()
        answered = [peer for peer in region if peer.state == ANSWERED]
        farthest = region[-1].distance if region else self._own_distance
        failed = sum(
            peer.state == FAILED and (peer.distance <= farthest or len(region) < SMALL_NETWORK)
            for peer in self._peers.values()
        )
        includes_own = len(region) < SMALL_NETWORK or self._own_distance <= farthest
        total = len(region) + failed + includes_own
        share = (len(answered) + includes_own) / total if total else 1.0
        best = self._best()
        everybody = [peer for peer in self._peers.values() if peer.state == ANSWERED]
        self.outcome = Outcome(
            records=best,
            conclusive=share >= CONCLUSIVE_SHARE or self._is_agreed(),
            votes=Counter(record.hash for peer in everybody for record in peer.records),
            region=tuple(peer.entry for peer in answered),
            outdated=tuple(p.entry for p in everybody if p.records and p.records != best),
            distances=tuple(sorted(peer.distance for peer in everybody)),
            asked=self._asked,
            hops=max((peer.depth for peer in everybody), default=0),
            is_whole_network=all(
                peer.state == FAILED or peer in region for peer in self._peers.values()
            ),
        )
