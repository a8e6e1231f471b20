"""The search for a place in the overlay, and for the records kept there. No sockets, no clock.

While many nodes are known, a lookup goes along up to eight *disjoint paths*: the seeds are dealt
out among them, each path walks towards the target with a short list of its own, and no node serves
two paths. One liar can spoil its own path only. When the paths have arrived, their lists are merged
and the *closing round* asks everybody in the key's region. In a network smaller than a region the
closing round is all there is: everybody is asked.

Whoever is silent for his patience no longer holds up his path, another is asked beside him. A
region that holds many more nodes than it should is *crowded*: somebody placed ids there, behind
which honest neighbours stay unnamed, since a list of the nearest has room for 20. Those who
answered in it are then asked for a sample of everybody they know in the region.

A lookup for records ends when three answers of the region from different networks agree with the
best that is known and nobody asked there may still object, or when five agree, or when the region
is done. It is *conclusive* when three quarters of the region answered: only then does finding
nothing mean that there is nothing. A region as wide as it may be proves no absence, since holders
may lie beyond it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dht.candidates import ANSWERED, ASKED, FAILED, LATE, NEW, Candidate, Candidates
from dht.messages import MAX_CONTACTS, ContactEntry
from dht.overlay_id import OverlayId
from dht.record import Record
from dht.region import EXPECTED_IN_REGION, MOST_IN_REGION, region_size
from dht.scope import is_local
from dht.store import merge
from dht.table import FIRST_PATIENCE_S, AsnOf
from federation.model.address import Endpoint, network_group
from federation.model.clocks import Monotonic

PATHS = 8
SMALL_NETWORK = 20
"With fewer seeds than this everybody is asked at once, without paths."
PATH_LIST = 60
"Candidates that a path keeps, nearest first."
PATH_WIDTH = 2
"A path has arrived when its nearest candidates, so many of them, have answered."
FURTHER_AFTER_S = 0.4
"However slow a node is known to be, others are asked beside it after this."
PARALLEL = 16
"Requests in flight in the closing round, not counting those that are late."
MAX_ASKS = 250
GROUP_PER_PATH = 2
"Candidates of one /24 or /48 in a path's list."
AGREEING = 3
"Equal answers from different networks that settle a lookup, if nobody asked may still object."
AGREEING_ANYWAY = 5
"Equal answers that settle a lookup even while others in the region are waited for."
REACH = 2
"Votes count from within so many times the region's radius: estimates of its size differ."
CONCLUSIVE_SHARE = 0.75
CROWDED = 2 * EXPECTED_IN_REGION
"Nodes in a region above which samples of it are asked for."
MAX_SAMPLES = 32
"Nodes that are asked for a sample."


@dataclass(frozen=True, slots=True)
class Seed:
    """A contact to begin with."""

    entry: ContactEntry
    patience: float = FIRST_PATIENCE_S
    "Seconds to wait for it before somebody else is asked as well; at most `FURTHER_AFTER_S` count."
    is_suspect: bool = False
    "It did not answer last time: no path begins with it while there are enough others."


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this node; report with `answered`, `sampled` or `failed`."""

    id: OverlayId
    endpoint: Endpoint
    patience: float
    is_spare: bool
    "Others could answer in its place, so one transmission is enough."
    radius: int | None = None
    "Set: ask for a sample of the contacts within this distance, and report with `sampled`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a lookup ended."""

    records: tuple[Record, ...]
    "The newest record of each publisher."
    conclusive: bool
    "Three quarters of the region answered, or enough agreed: what was not found is not there."
    agreed: bool
    "Enough answers from different networks were the same."
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
class _Path:
    peers: list[Candidate] = field(default_factory=list)
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
        patience: float = FIRST_PATIENCE_S,
        deadline: Monotonic,
        asn_of: AsnOf | None = None,
    ) -> None:
        self._asn_of = asn_of
        self.target = target
        self.outcome: Outcome | None = None
        self.wants_records = wants_records
        self._target = int.from_bytes(target, "big")
        self._own_id = own_id
        self._own_distance = own_id.number ^ self._target
        self._own_records = own_records
        self._radius = radius
        self._patience = patience
        self._deadline = deadline
        self._peers = Candidates(self._target)
        self._asked = 0
        self._samples = 0
        ordered = sorted(seeds, key=lambda seed: seed.entry.id.number ^ self._target)
        walkers = [seed for seed in ordered if not seed.is_suspect]
        if len(walkers) < SMALL_NETWORK:
            walkers = ordered
        count = 0 if len(walkers) < SMALL_NETWORK else min(PATHS, len(walkers) // 2)
        self._paths = [_Path() for _ in range(count)]
        for index, seed in enumerate(walkers):
            path = index % count if count else -1
            self._admit(seed.entry, None, path=path, patience=seed.patience)
        for seed in ordered:
            self._admit(seed.entry, None, path=-1, patience=seed.patience)

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
        peer.was_heard()
        peer.state, peer.answered_at, peer.records = ANSWERED, endpoint, merge(records)
        for entry in tuple(contacts)[:MAX_CONTACTS]:
            self._admit(entry, peer, path=peer.path, patience=self._patience)
        return self._advance(now)

    def named(
        self, id_: OverlayId, *, contacts: Iterable[ContactEntry], now: Monotonic
    ) -> list[Ask]:
        """A node named contacts at first; what it holds is asked of it now, under seal."""
        peer = self._peers.get(id_)
        if peer is None or self.outcome is not None or peer.state not in (ASKED, LATE):
            return []
        if peer.state == ASKED:
            peer.late_at = Monotonic(now + min(peer.patience, FURTHER_AFTER_S))
        for entry in tuple(contacts)[:MAX_CONTACTS]:
            self._admit(entry, peer, path=peer.path, patience=self._patience)
        return self._advance(now)

    def near_target(self, random: bytes) -> bytes | None:
        """A place about as far from the target as the region is wide; None without regions."""
        if not self._radius:
            return None
        offset = int.from_bytes(random, "big") % self._radius
        return (self._target ^ offset).to_bytes(32, "big")

    def may_hold(self, id_: OverlayId) -> bool:
        """Whether a node is near enough to the target to be asked for records."""
        reach = REACH * self._radius
        return not reach or id_.number ^ self._target <= reach

    def sampled(
        self, id_: OverlayId, *, contacts: Iterable[ContactEntry], now: Monotonic
    ) -> list[Ask]:
        """A node answered with a sample of the region."""
        peer = self._peers.get(id_)
        if peer is None or self.outcome is not None or peer.sample not in (ASKED, LATE):
            return []
        peer.sample = ANSWERED
        for entry in tuple(contacts)[:MAX_CONTACTS]:
            self._admit(entry, peer, path=peer.path, patience=self._patience)
        return self._advance(now)

    def failed(self, ask: Ask, *, now: Monotonic) -> list[Ask]:
        """A node did not answer, or not as itself."""
        peer = self._peers.get(ask.id)
        if peer is None or self.outcome is not None:
            return []
        if ask.radius is not None:
            peer.sample = FAILED
        elif peer.state in (ASKED, LATE):
            if peer.state == ASKED:
                peer.was_silent()
            peer.state = NEW if peer.ways else FAILED
        return self._advance(now)

    def next_timer(self) -> Monotonic:
        """When `handle_timer` is next needed."""
        late = (peer.late_at for peer in self._peers if ASKED in (peer.state, peer.sample))
        return min(self._deadline, min(late, default=self._deadline))

    def handle_timer(self, *, now: Monotonic) -> list[Ask]:
        """Notice who is late; end at the deadline."""
        if self.outcome is not None:
            return []
        for peer in self._peers:
            if peer.late_at > now:
                continue
            if peer.state == ASKED:
                peer.was_silent()
                peer.state = LATE
            elif peer.sample == ASKED:
                peer.sample = LATE
        if now >= self._deadline:
            self._finish()
            return []
        return self._advance(now)

    def _admit(
        self, entry: ContactEntry, namer: Candidate | None, *, path: int, patience: float
    ) -> None:
        if entry.id == self._own_id:
            return
        peer = self._peers.name(entry, namer, path=path, patience=patience)
        if peer is not None and path >= 0:
            self._put_on_path(peer, self._paths[path])

    def _put_on_path(self, peer: Candidate, path: _Path) -> None:
        if not is_local(peer.endpoint):
            if path.groups[peer.group] >= GROUP_PER_PATH:
                return
            path.groups[peer.group] += 1
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
        in_flight = sum(ASKED in (peer.state, peer.sample) for peer in region)
        for peer in sorted(region, key=_credibility):
            if peer.state == NEW and in_flight < PARALLEL and self._asked < MAX_ASKS:
                asks.append(self._ask(peer, now, is_spare=len(region) > SMALL_NETWORK))
                in_flight += 1
        if len(region) > CROWDED:
            in_flight += self._ask_for_samples(region, PARALLEL - in_flight, asks, now)
        if not asks and not in_flight:
            is_waiting = any(peer.state == LATE for peer in region)
            if not is_waiting or (self.wants_records and self._best()):
                self._finish()
        return asks

    def _step(self, path: _Path, asks: list[Ask], now: Monotonic) -> bool:
        """Let one path take its next step; False when it has arrived.

        Candidates that only doubted nodes named wait until there is nobody else.
        """
        if any(peer.state == ASKED for peer in path.peers):
            return True
        open_ = [peer for peer in path.peers if peer.state in (NEW, ANSWERED)]
        trusted = list(islice((peer for peer in open_ if not peer.is_doubted), PATH_WIDTH))
        for peer in trusted or open_[:PATH_WIDTH]:
            if peer.state == NEW and self._asked < MAX_ASKS:
                asks.append(self._ask(peer, now, is_spare=True))
                return True
        return False

    def _ask(self, peer: Candidate, now: Monotonic, *, is_spare: bool) -> Ask:
        way = peer.best_way()
        peer.state = ASKED
        peer.late_at = Monotonic(now + min(peer.patience, FURTHER_AFTER_S))
        self._asked += 1
        return Ask(peer.id, way.endpoint, peer.patience, is_spare)

    def _ask_for_samples(
        self, region: list[Candidate], most: int, asks: list[Ask], now: Monotonic
    ) -> int:
        """Ask for samples, farthest first: placed ids lie nearer than honest ones."""
        asked = 0
        for peer in reversed(region):
            if asked >= most or self._samples >= MAX_SAMPLES or self._asked >= MAX_ASKS:
                break
            if peer.state == ANSWERED and peer.sample == NEW:
                peer.sample = ASKED
                peer.late_at = Monotonic(now + min(peer.patience, FURTHER_AFTER_S))
                self._asked += 1
                self._samples += 1
                asked += 1
                asks.append(Ask(peer.id, peer.endpoint, peer.patience, True, self._radius))
        return asked

    def _region(self) -> list[Candidate]:
        """The nearest candidates that have not failed, as wide as the region rule says."""
        live: list[Candidate] = []
        for peer in self._peers:
            if peer.state != FAILED and not peer.is_discredited:
                live.append(peer)
                if len(live) == MOST_IN_REGION:
                    break
        return live[: region_size([peer.distance for peer in live], self._radius)]

    def _best(self) -> tuple[Record, ...]:
        answers = (peer.records for peer in self._peers if peer.records)
        return merge(self._own_records, *answers)

    def _is_agreed(self) -> bool:
        """Whether enough of the region gave the best answer, and nobody there may object."""
        best = self._best()
        if not best:
            return False
        reach = REACH * self._radius if self._radius and self._paths else 1 << 256
        voices: set[bytes] = set()
        if self._own_records == best:
            voices.add(b"own")
        may_object = False
        for peer in self._peers:
            if peer.distance > reach:
                break
            if peer.state == ASKED:
                may_object = True
            elif peer.state == ANSWERED and peer.records == best:
                voices.add(self._voice(peer))
        return len(voices) >= (AGREEING_ANYWAY if may_object else AGREEING)

    def _voice(self, peer: Candidate) -> bytes:
        """What it counts as among answers: its system if that is known, else its network."""
        if is_local(peer.endpoint):
            return bytes(peer.id)
        ip = peer.endpoint.ip
        system = None if self._asn_of is None else self._asn_of(ip)
        return network_group(ip) if system is None else b"AS%d" % system

    def _finish(self) -> None:
        region = self._region()
        answered = [peer for peer in region if peer.state == ANSWERED]
        farthest = region[-1].distance if region else self._own_distance
        failed = sum(
            peer.state == FAILED
            and not peer.is_discredited
            and (peer.distance <= farthest or len(region) < SMALL_NETWORK)
            for peer in self._peers
        )
        includes_own = len(region) < SMALL_NETWORK or self._own_distance <= farthest
        total = len(region) + failed + includes_own
        share = (len(answered) + includes_own) / total if total else 1.0
        best = self._best()
        agreed = self._is_agreed()
        everybody = [peer for peer in self._peers if peer.state == ANSWERED]
        in_region = set(region)
        self.outcome = Outcome(
            records=best,
            conclusive=agreed or (share >= CONCLUSIVE_SHARE and len(region) < MOST_IN_REGION),
            agreed=agreed,
            votes=Counter(record.hash for peer in everybody for record in peer.records),
            region=tuple(peer.entry for peer in answered),
            outdated=tuple(p.entry for p in everybody if p.records and p.records != best),
            distances=tuple(peer.distance for peer in everybody),
            asked=self._asked,
            hops=max((peer.depth for peer in everybody), default=0),
            is_whole_network=all(peer.state == FAILED or peer in in_region for peer in self._peers),
        )


def _credibility(peer: Candidate) -> tuple[bool, bool]:
    """Smaller is asked first: named by nodes that are trusted, and by more than one."""
    return (peer.is_doubted, peer.names < 2)
