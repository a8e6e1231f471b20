"""Drives lookups over the overlay and makes of their outcome what a caller can use."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from dht.acceptance import RecordValidator
from dht.asking import Arrival, Asking, Inbox
from dht.lookup import Ask, Lookup, Outcome, Seed
from dht.messages import ContactEntry, Nodes, Records
from dht.number_claims import ClaimVerifier
from dht.overlay import Overlay
from dht.overlay_id import OverlayId
from dht.record import Kind, Record, RecordError, positions
from dht.region import LEAST_SAMPLE, RegionEstimator
from dht.scope import may_try
from dht.store import MAX_SLOTS, RecordStore, merge
from dht.table import FIRST_PATIENCE_S, LEAST_PATIENCE_S, AsnOf, SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy, Monotonic
from federation.model.histogram import Histogram
from federation.model.identity import AccountId
from federation.model.number import Number

log = structlog.get_logger("dht")

LOOKUP_BUDGET_S = 4.0
"How long a lookup may take when its caller does not say."
MAX_SEEDS = 40
MAX_REPAIRS = 3
"Holders of an older record that are given the newer one after a lookup."
MAX_CLAIMS_VERIFIED = 16
"Claims of one number whose derivation is checked in one lookup."
NEXT_REGION_S = 0.8
"The second region is searched beside the first if that has not settled the lookup by then."
FEW_ROUND_TRIPS = 10
"Contacts whose round trip is known, below which nothing is concluded about strangers."
LEAST_STRANGER_S = 0.15
"The least patience with nodes that were never met."
MAX_LOOKUPS = 256
"Lookups at a time; beyond, the answer is inconclusive at once."
MAX_TIMES = 1_000
"Lookups of late whose duration is remembered."
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"Seconds by which all lookups are counted."


@dataclass(frozen=True, slots=True)
class Found:
    """The newest record of each publisher, oldest first; tombstones are left out."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class NotFound:
    """Three quarters of those who would know answered, and nobody holds such a record."""


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Too few answered to say that there is no such record."""

    reason: str


LookupResult: TypeAlias = Found | NotFound | Inconclusive


@dataclass(frozen=True, slots=True)
class Step:
    """One question of a lookup, when its answer was there or given up."""

    region: int
    "0 or 1: for which of the key's places."
    at: float
    "Seconds after the lookup began."
    id: OverlayId
    endpoint: Endpoint
    answered: bool
    named: int
    "Contacts it named that may be tried."
    records: int
    "Valid records it gave."
    refused: int
    "Records it gave that are not valid: forged, expired, or of another key."


@dataclass(frozen=True, slots=True)
class Search:
    """A lookup that is over: its result, and what it took."""

    result: LookupResult
    outcomes: tuple[Outcome, ...]
    "One for each region that was searched to its end."
    seconds: float
    steps: tuple[Step, ...] = ()
    "Everybody who was asked, in the order of the answers."

    @property
    def asked(self) -> int:
        """Requests, repeated transmissions not counted."""
        return sum(outcome.asked for outcome in self.outcomes)

    @property
    def hops(self) -> int:
        """How many nodes named one another on the longest way to an answer."""
        return max((outcome.hops for outcome in self.outcomes), default=0)


class Finder:
    """Lookups of one node."""

    def __init__(
        self,
        *,
        overlay: Overlay,
        table: SecureTable,
        store: RecordStore,
        validator: RecordValidator,
        verifier: ClaimVerifier,
        own_endpoints: Callable[[], Iterable[Endpoint]],
        clock: Clock,
        repair: Callable[[Record, ContactEntry], None],
        entropy: Entropy,
        sealed: bool = True,
        asn_of: AsnOf | None = None,
    ) -> None:
        self._asking = Asking(
            overlay=overlay, own_endpoints=own_endpoints, entropy=entropy, sealed=sealed
        )
        self._asn_of = asn_of
        self.estimator = RegionEstimator()
        self.results: Counter[str] = Counter()
        "How many lookups ended in which way."
        self.times: deque[float] = deque(maxlen=MAX_TIMES)
        "Seconds that the latest lookups took, oldest first."
        self.durations = Histogram(DURATION_BOUNDS)
        self._overlay, self._table, self._store = overlay, table, store
        self._validator, self._verifier = validator, verifier
        self._own_endpoints, self._clock, self._repair = own_endpoints, clock, repair
        self._running = 0

    async def find(
        self, kind: Kind, key: bytes, *, budget: float = LOOKUP_BUDGET_S
    ) -> LookupResult:
        """Look a key up, in its second region too if the first does not settle it."""
        return (await self.explore(kind, key, budget=budget)).result

    async def explore(self, kind: Kind, key: bytes, *, budget: float = LOOKUP_BUDGET_S) -> Search:
        """Look a key up as `find` does, and tell what it took."""
        started = self._clock.monotonic()
        deadline = Monotonic(started + budget)
        steps: list[Step] = []
        if self._running >= MAX_LOOKUPS:
            return Search(Inconclusive("too many lookups are running"), (), 0.0)
        self._running += 1
        try:
            outcomes = await self._regions(key, deadline, steps)
        finally:
            self._running -= 1
        result = await self._judged(kind, outcomes, deadline)
        self.results[type(result).__name__] += 1
        seconds = self._clock.monotonic() - started
        self.times.append(seconds)
        self.durations.observe(seconds)
        return Search(result, tuple(outcomes), seconds, tuple(steps))

    async def _regions(self, key: bytes, deadline: Monotonic, steps: list[Step]) -> list[Outcome]:
        """Search the regions of a key until one settles it.

        The second is begun when the first is done without settling it, or takes its time.
        """
        outcomes: list[Outcome] = []
        started = self._clock.monotonic()
        waiting = list(enumerate(positions(key)))
        running: set[asyncio.Task[Outcome]] = set()
        try:
            while waiting or running:
                if waiting:
                    region, position = waiting.pop(0)
                    work = self._run(position, key, deadline, _Notes(region, started, steps))
                    running.add(asyncio.ensure_future(work))
                done, running = await asyncio.wait(
                    running,
                    timeout=NEXT_REGION_S if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                finished = [task.result() for task in done]
                outcomes += finished
                if any(outcome.agreed or outcome.is_whole_network for outcome in finished):
                    break
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return outcomes

    async def nearest(self, target: bytes, *, budget: float = LOOKUP_BUDGET_S) -> Outcome:
        """Find the living nodes nearest to a place; whoever answers may enter the table."""
        deadline = Monotonic(self._clock.monotonic() + budget)
        return await self._run(target, None, deadline)

    async def _judged(
        self, kind: Kind, outcomes: list[Outcome], deadline: Monotonic
    ) -> LookupResult:
        newest = merge(*(outcome.records for outcome in outcomes))
        records = tuple(record for record in newest if not record.is_tombstone)
        if kind is not Kind.NUMBER:
            self._spread_news(newest, outcomes)
        elif records:
            records, is_complete = await self._proven_claims(
                self._likely_first(records, outcomes), deadline
            )
            self._spread_news(records + self._proven_ends(newest), outcomes)
            if not records and not is_complete:
                return Inconclusive("the claims could not be verified in time")
        if records:
            return Found(records)
        if all(outcome.conclusive for outcome in outcomes):
            return NotFound()
        return Inconclusive("too few of the nodes that would know answered")

    def _proven_ends(self, newest: tuple[Record, ...]) -> tuple[Record, ...]:
        """The tombstones of numbers whose owner was verified before."""
        return tuple(
            record
            for record in newest
            if record.is_tombstone
            and self._verifier.known(Number(record.label), AccountId(record.owner))
        )

    def _spread_news(self, records: tuple[Record, ...], outcomes: list[Outcome]) -> None:
        """Give those who answered with something older what is proven to be newer."""
        outdated = [entry for outcome in outcomes for entry in outcome.outdated][:MAX_REPAIRS]
        for entry in outdated:
            for record in records[:MAX_SLOTS]:
                self._repair(record, entry)

    def _likely_first(
        self, records: tuple[Record, ...], outcomes: list[Outcome]
    ) -> tuple[Record, ...]:
        """Verified claims first, then those that most nodes hold: a liar's inventions come last."""
        votes = Counter[bytes]()
        for outcome in outcomes:
            votes.update(outcome.votes)

        def order(record: Record) -> tuple[bool, int]:
            verdict = self._verifier.known(Number(record.label), AccountId(record.owner))
            return (verdict is not True, -votes[record.hash])

        return tuple(sorted(records, key=order))

    async def _proven_claims(
        self, records: tuple[Record, ...], deadline: Monotonic
    ) -> tuple[tuple[Record, ...], bool]:
        """The claims whose owner's number it is, and whether all could be checked in time."""
        proven: list[Record] = []
        for record in records[:MAX_CLAIMS_VERIFIED]:
            left = deadline - self._clock.monotonic()
            number, account = Number(record.label), AccountId(record.owner)
            try:
                async with asyncio.timeout(max(0.0, left)):
                    holds = await self._verifier.verify(number, account)
            except TimeoutError:
                return tuple(proven), False
            if holds:
                proven.append(record)
        return tuple(proven), True

    async def _run(
        self,
        position: bytes,
        key: bytes | None,
        deadline: Monotonic,
        notes: "_Notes | None" = None,
    ) -> Outcome:
        """Carry one lookup out; `key` is None when nodes are looked for and not records."""
        now = self._clock.monotonic()
        own = () if key is None else self._store.at_key(key, now=self._clock.unix())
        contacts = self._table.nearest(position, MAX_SEEDS)
        lookup = Lookup(
            position,
            own_id=self._overlay.own_id,
            seeds=[
                Seed(ContactEntry(c.id, c.endpoint), c.patience, c.misses > 0) for c in contacts
            ],
            wants_records=key is not None,
            own_records=own,
            radius=self.radius(),
            patience=self._patience_with_strangers(),
            deadline=deadline,
            asn_of=self._asn_of,
        )
        self._table.looked_up(position, now=now)
        inbox: Inbox = asyncio.Queue()
        self._asking.send(lookup, lookup.start(now=now), inbox)
        while lookup.outcome is None:
            wait = max(0.0, lookup.next_timer() - self._clock.monotonic())
            try:
                async with asyncio.timeout(wait):
                    arrival = await inbox.get()
            except TimeoutError:
                asks = lookup.handle_timer(now=self._clock.monotonic())
            else:
                asks = self._take(lookup, key, arrival, notes)
            self._asking.send(lookup, asks, inbox)
        if lookup.outcome.conclusive and not lookup.outcome.agreed:
            self.estimator.observe(lookup.outcome.distances)
        return lookup.outcome

    def radius(self) -> int:
        """The distance within which a key's records are kept; 0: not known."""
        own_id = self._overlay.own_id
        near = self._table.nearest(own_id, LEAST_SAMPLE)
        return self.estimator.radius_beside([c.long_id ^ own_id.number for c in near])

    def _patience_with_strangers(self) -> float:
        """How long nineteen of twenty nodes that we know would take to answer."""
        known = sorted(contact.rtt for contact in self._table if contact.rtt is not None)
        if len(known) < FEW_ROUND_TRIPS:
            return FIRST_PATIENCE_S
        usual = known[int(0.95 * (len(known) - 1))] + LEAST_PATIENCE_S
        return min(max(usual, LEAST_STRANGER_S), FIRST_PATIENCE_S)

    def _take(
        self,
        lookup: Lookup,
        key: bytes | None,
        arrival: Arrival,
        notes: "_Notes | None",
    ) -> list[Ask]:
        now = self._clock.monotonic()
        ask, reply, is_first = arrival
        envelopes: tuple[bytes, ...] = ()
        match None if reply is None else reply.answer:
            case Nodes(contacts):
                pass
            case Records(envelopes, contacts):
                pass
            case _:
                if notes is not None:
                    notes.add(ask, now)
                return lookup.failed(ask, now=now)
        records = self._valid(envelopes, key)
        own = tuple(self._own_endpoints())
        named = [entry for entry in contacts if may_try(entry.endpoint, own)]
        if is_first:
            return lookup.named(ask.id, contacts=named, now=now)
        if notes is not None:
            notes.add(ask, now, (len(named), len(records), len(envelopes) - len(records)))
        if ask.radius is not None:
            return lookup.sampled(ask.id, contacts=named, now=now)
        return lookup.answered(
            ask.id, contacts=named, records=records, endpoint=ask.endpoint, now=now
        )

    def _valid(self, envelopes: tuple[bytes, ...], key: bytes | None) -> tuple[Record, ...]:
        """What may be believed of an answer; the rest of it counts for nothing."""
        records = []
        for envelope in envelopes:
            try:
                records.append(self._validator.check(envelope, key, now=self._clock.unix()))
            except RecordError as error:
                log.debug("record_refused", reason=str(error))
        return tuple(records)


@dataclass(frozen=True, slots=True)
class _Notes:
    """Where the steps of one region's lookup are written down."""

    region: int
    started: Monotonic
    steps: list[Step]

    def add(self, ask: Ask, now: Monotonic, counts: tuple[int, int, int] | None = None) -> None:
        """An answer came (with how much in it), or none did."""
        answered = counts is not None
        at = now - self.started
        numbers = counts or (0, 0, 0)
        self.steps.append(Step(self.region, at, ask.id, ask.endpoint, answered, *numbers))
