"""Carries out what the publisher's schedule asks for: rounds of stores, a few at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import structlog

from dht.finder import Finder
from dht.lookup import SMALL_NETWORK
from dht.messages import NEWER_HELD, QUEUED, STORED, ContactEntry, Store, Stored
from dht.overlay import Overlay
from dht.publisher import Issuer, Item, Name, Publication, Publisher
from dht.record import Kind, Record, positions
from dht.store import RecordStore
from dht.table import BUCKET_SIZE, Contact, SecureTable
from dht.tasks import Tasks
from federation.model.address import Endpoint
from federation.model.clocks import Clock

log = structlog.get_logger("dht")

KEPT = (STORED, NEWER_HELD, QUEUED)
"Answers of a storer that has the record, or will."
ROUNDS_AT_A_TIME = 4
STORES_AT_A_TIME = 16
"Within one round."
MAX_OFFERS = 256
"New contacts that wait to be given our records."
OFFER_PAUSE_S = 0.02
"Between two records given to a new contact."
GROWTH = 2.0
"Everything is published again when our neighbours have come so many times nearer."
KEEPERS_REACH = 4
"Who took an older version is given the newer one too, within so many times a region's radius."
MAX_KEEPERS = 50_000
"Remembered for all records together, each node once for each record it took."
SETTLED_S = 1.0
"After a join, when no contact came for so long, what was published alone is published again."
CLAIM_AGAIN_S = 10.0
"When a storer queued a claim, it is asked again after this."


class Publishing:
    """The publisher of one node at work."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        issuer: Issuer,
        overlay: Overlay,
        finder: Finder,
        table: SecureTable,
        store: RecordStore,
        own_endpoints: Callable[[], Iterable[Endpoint]],
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self._publisher, self._issuer = publisher, issuer
        self._overlay, self._finder = overlay, finder
        self._table, self._store = table, store
        self._own_endpoints, self._clock, self._tasks = own_endpoints, clock, tasks
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(ROUNDS_AT_A_TIME)
        self._offers: deque[Contact] = deque(maxlen=MAX_OFFERS)
        self._offered = asyncio.Event()
        self._reach = 0
        "How near our twentieth neighbour was when the network's size was last looked at."
        self._keepers = 0
        self._was_alone = False
        "A round was made with so few contacts that it went to them, and not to the regions."
        self._remembers = issuer.newest > 0
        "We know when we last issued a record, from before this start or from the network."
        self._has_forgotten = False
        "The network holds records of ours that we know nothing of."
        self._recalling = asyncio.Lock()
        self._waiting: dict[Name, list[asyncio.Future[bool]]] = {}

    def publish(self, publication: Publication) -> None:
        """Publish now, and again in time."""
        self._publisher.put(publication, now=self._clock.monotonic())
        self._wake.set()

    def withdraw(self, name: Name) -> bool:
        """Send a tombstone out; False if nothing of this name is published."""
        is_known = self._publisher.withdraw(name, now=self._clock.monotonic())
        self._wake.set()
        return is_known

    def bury(self, publication: Publication) -> None:
        """Send a tombstone out for what an earlier run published."""
        self._publisher.bury(publication, now=self._clock.monotonic())
        self._wake.set()

    def addresses_changed(self) -> None:
        """Everything that names this node's addresses goes out again."""
        self._publisher.changed(now=self._clock.monotonic())
        self._wake.set()

    def watch_growth(self) -> None:
        """When the network has doubled, our records are due: their regions have new members."""
        reach = self._reach_now()
        if not reach:
            return
        if self._reach and reach < self._reach / GROWTH:
            log.info("network_grew", by=round(self._reach / reach, 1))
            self._finder.estimator.forget()
            self.addresses_changed()
        if not self._reach or reach < self._reach / GROWTH or reach > self._reach * GROWTH:
            self._reach = reach

    def _reach_now(self) -> int:
        """How far our twentieth neighbour is; 0: there are not so many."""
        near = self._table.nearest(self._overlay.own_id, BUCKET_SIZE)
        return near[-1].long_id ^ self._overlay.own_id.number if len(near) == BUCKET_SIZE else 0

    def offer(self, contact: Contact) -> None:
        """A contact is new: it is given those of our records in whose region it lies."""
        self._offers.append(contact)
        self._offered.set()

    def published(self, name: Name) -> Awaitable[bool]:
        """Wait for the round that is due or under way; True if the record is kept somewhere.

        If nobody keeps it yet though there are peers, a round becomes due.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        item = self._publisher.get(name)
        if item is None:
            future.set_result(False)
        elif item.rounds and self._is_kept(item) and not item.is_running and not self._is_due(item):
            future.set_result(True)
        else:
            if not item.is_running and not self._is_due(item):
                self._publisher.hurry(item, now=self._clock.monotonic())
                self._wake.set()
            self._waiting.setdefault(name, []).append(future)
        return future

    def _is_due(self, item: Item) -> bool:
        return item.due is not None and item.due <= self._clock.monotonic()

    def _is_kept(self, item: Item) -> bool:
        return item.record is not None and (item.holders > 0 or not len(self._table))

    async def run(self) -> None:
        """Send out what is due; ends when cancelled."""
        while True:
            self._wake.clear()
            await self._slots.acquire()
            item = self._publisher.take_due(now=self._clock.monotonic())
            if item is not None:
                self._tasks.spawn(self._round(item))
                continue
            self._slots.release()
            due = self._publisher.next_timer()
            wait = None if due is None else max(0.001, due - self._clock.monotonic())
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def run_offers(self) -> None:
        """Give new contacts our records, slowly; ends when cancelled.

        A node that published before it had joined does so again once its contacts are together:
        their places are not those of its records' regions.
        """
        while True:
            while self._offers:
                await self._offer_to(self._offers.popleft())
            self._offered.clear()
            has_joined = self._was_alone and len(self._table) >= SMALL_NETWORK
            try:
                async with asyncio.timeout(SETTLED_S if has_joined else None):
                    await self._offered.wait()
            except TimeoutError:
                self._was_alone = False
                self._reach = self._reach_now()
                for item in self._publisher:  # tombstones too
                    self._publisher.hurry(item, now=self._clock.monotonic())
                self._wake.set()

    async def _offer_to(self, contact: Contact) -> None:
        for item in self._publisher:
            await self._recall(item)
            record = item.record
            if record is None or contact.id not in self._table:
                continue
            if self._lies_in_region(contact, record):
                entry = ContactEntry(contact.id, contact.endpoint)
                code = await self._store_at(record, entry, item)
                item.holders += code in KEPT and item.record is record
                if code == NEWER_HELD and item.record is record:
                    await self._catch_up(item, record)
                await asyncio.sleep(OFFER_PAUSE_S)

    async def repair(self, record: Record, entry: ContactEntry) -> None:
        """Give somebody who answered with an older record the newer one."""
        await self._store_at(record, entry)

    def _lies_in_region(self, contact: Contact, record: Record) -> bool:
        if len(self._table) <= SMALL_NETWORK:
            return True
        radius = self._finder.radius()
        return any(
            contact.long_id ^ int.from_bytes(place, "big") <= radius
            or contact in self._table.nearest(place, SMALL_NETWORK)
            for place in positions(record.key)
        )

    async def _round(self, item: Item) -> None:
        holders = asked = 0
        try:
            await self._recall(item)
            record = self._fresh(item)
            if record is not None:
                item.record = record
                self._store.put(record)
                codes = await self._store_everywhere(record, item)
                asked = len(codes)
                holders = sum(code in KEPT for code in codes)
                if NEWER_HELD in codes:
                    await self._catch_up(item, record)
                elif QUEUED in codes:
                    self._tasks.spawn(self._claim_again(record, item))
        finally:
            self._slots.release()
            self._publisher.done(item, holders=holders, asked=asked, now=self._clock.monotonic())
            self._wake.set()
        name = item.publication.name
        log.debug("published", kind=name.kind.name, label=name.label, asked=asked, holders=holders)
        if self._is_due(item):
            return  # changed meanwhile: what is waited for is the next round
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(self._is_kept(item))

    def _fresh(self, item: Item) -> Record | None:
        now = self._clock.unix()
        if item.is_withdrawn:
            return self._issuer.tombstone(item.publication, now=now)
        return self._issuer.issue(item.publication, tuple(self._own_endpoints()), now=now)

    async def _store_everywhere(self, record: Record, item: Item) -> list[int | None]:
        """Store at the regions of the record; one code (None: silence) for each node asked."""
        targets = self._keepers_near(record, item)
        if len(self._table) < SMALL_NETWORK:
            self._was_alone = True
            for contact in self._table:
                targets[contact.id] = ContactEntry(contact.id, contact.endpoint)
        else:
            for place in positions(record.key):
                outcome = await self._finder.nearest(place)
                targets.update((entry.id, entry) for entry in outcome.region)
        self._keepers -= len(item.keepers)
        item.keepers.clear()
        gate = asyncio.Semaphore(STORES_AT_A_TIME)

        async def one(entry: ContactEntry) -> int | None:
            async with gate:
                return await self._store_at(record, entry, item)

        return list(await asyncio.gather(*(one(entry) for entry in targets.values())))

    def _keepers_near(self, record: Record, item: Item) -> dict[bytes, ContactEntry]:
        """Those who hold an older version where somebody might ask for the record.

        The region may have become smaller, as it does in a network that grows. What they hold would
        else be found beside the newer version, until it expires.
        """
        reach = KEEPERS_REACH * self._finder.radius() or 1 << 256
        places = [int.from_bytes(place, "big") for place in positions(record.key)]
        known = (self._overlay.known(id_) for id_ in item.keepers)
        return {
            contact.id: ContactEntry(contact.id, contact.endpoint)
            for contact in known
            if contact is not None and any(contact.long_id ^ place <= reach for place in places)
        }

    async def _store_at(
        self, record: Record, entry: ContactEntry, item: Item | None = None
    ) -> int | None:
        contact = self._overlay.known(entry.id)
        if contact is None:
            return None
        request = Store(record.envelope)
        reply = await self._overlay.ask(entry.endpoint, request, recipient=contact.id)
        if reply is None or not isinstance(reply.answer, Stored):
            return None
        code = reply.answer.code
        if item is not None and code in KEPT and self._keepers < MAX_KEEPERS:
            self._keepers += contact.id not in item.keepers
            item.keepers.add(contact.id)
        return code

    async def _recall(self, item: Item) -> None:
        """After a loss of state, learn what the network holds of ours before it is given more.

        The address record, renewed every hour, tells whether there was an earlier life; only then
        is every other name looked up too. Those of accounts that are no more cannot be: nobody
        can ask for names it does not know, and they end with their ttl.
        """
        if not len(self._table):
            return
        async with self._recalling:
            if not self._remembers:
                known = self._issuer.newest
                newest = await self._newest_held(Publication(kind=Kind.ADDRESS))
                self._remembers = True
                self._has_forgotten = newest > known
                self._issuer.catch_up(newest)
                if self._has_forgotten:
                    log.warning("state_was_lost", newest_issued=newest)
        if self._has_forgotten and not item.is_recalled:
            item.is_recalled = True
            newest = await self._newest_held(item.publication)
            self._issuer.catch_up(newest)
            if item.record is not None and newest > item.record.issued:
                self._publisher.hurry(item, now=self._clock.monotonic())
                self._wake.set()

    async def _newest_held(self, publication: Publication) -> int:
        """When the newest record of ours that is held under a name was issued; 0: none is."""
        search = await self._finder.explore(publication.kind, self._issuer.key_of(publication))
        held = (record for outcome in search.outcomes for record in outcome.records)
        return max((r.issued for r in held if r.publisher == self._issuer.node), default=0)

    async def _catch_up(self, item: Item, record: Record) -> None:
        """Somebody says that it holds a newer record of ours: from before state or clock was lost.

        Only what it shows counts, so nobody can make us publish again and again.
        """
        newest = await self._newest_held(item.publication)
        if newest > record.issued and item.record is record:
            log.warning("issued_behind", kind=Kind(record.kind).name, label=record.label)
            self._issuer.catch_up(newest)
            self._publisher.hurry(item, now=self._clock.monotonic())
            self._wake.set()

    async def _claim_again(self, record: Record, item: Item) -> None:
        """Storers that queued the claim have had time to verify it."""
        await asyncio.sleep(CLAIM_AGAIN_S)
        if self._store.at_key(record.key, now=self._clock.unix()):
            await self._store_everywhere(record, item)
