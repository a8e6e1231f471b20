"""The DHT as the rest of the program sees it: join, find, publish.

The pieces are made here and joined: table, store, overlay, finder, publishing. What remains is
maintenance: contacts that were not heard are asked, own neighbourhoods are looked up now and then,
lost peers are tried again, expired records leave, and peers are remembered on disk.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from dht.acceptance import RecordValidator
from dht.answers import Answerer
from dht.clock_check import clock_skew, judged_clock
from dht.confirming import Confirming
from dht.finder import LOOKUP_BUDGET_S, Finder, Found, LookupResult, NotFound, Search
from dht.hand_over import HandOver
from dht.maintenance import Maintenance
from dht.memory import Memory
from dht.messages import ContactEntry
from dht.number_claims import ClaimVerifier, Derive
from dht.overlay import Overlay
from dht.overlay_id import Offload, OverlayId, OverlayIdCache, overlay_id
from dht.prefixes import PrefixOffer, PrefixPayload
from dht.publisher import Issuer, Name, Publication, Publisher
from dht.publishing import Publishing
from dht.record import Accepts, Kind, Record, RelayOffer, record_key
from dht.service import Service
from dht.status import ContactInfo, DhtStats
from dht.store import RecordStore
from dht.table import AsnOf, Contact, SecureTable
from dht.tasks import Tasks, ignored
from dht.willing import WillingRelays
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from federation.model.identity import AccountId, AccountKey, NodeId, NodeKey, PublicKey
from federation.model.network import Network
from federation.model.number import Number, derive_number

log = structlog.get_logger("dht")

MAX_RECENT = 64
"Contacts that were lost and are tried again now and then."
REJOIN_FIRST = 20
"Remembered peers that are asked at once; the others follow."
REJOIN_PER_S = 20.0


class Directory:
    """One node of the DHT.

    `send` takes a datagram and where it goes; datagrams that come with first byte 0x08 are handed
    to `datagram_received`. Between `start` and `close` the directory keeps itself and what it
    publishes alive. `derive` and `offload` are where Argon2id runs; the default is a thread each.
    `send_apart` sends from another port of this machine: with it, peers are asked whether they
    reach this node, and are told; without it the node serves everybody and asks nobody.
    `sealed` has strangers asked for records under seal only, at the price of a round trip.
    `asn_of` is where a map tells autonomous systems apart (`asn_map.AsnMap.asn_of`).

    Raises:
        PuzzleError: `nonce` does not solve the network's puzzle for `key`.
    """

    def __init__(
        self,
        *,
        key: NodeKey,
        nonce: bytes,
        network: Network,
        send: Callable[[bytes, Endpoint], None],
        own_endpoints: Callable[[], Sequence[Endpoint]],
        clock: Clock,
        entropy: Entropy,
        cache: Path | None = None,
        send_apart: Callable[[bytes, Endpoint], None] | None = None,
        asn_of: AsnOf | None = None,
        sealed: bool = True,
        derive: Derive | None = None,
        offload: Offload | None = None,
    ) -> None:
        self._key, self._network, self._clock = key, network, clock
        self._own_endpoints = own_endpoints
        self._threads = [ThreadPoolExecutor(1, name) for name in ("dht-ids", "dht-numbers")]
        self._tasks = Tasks()
        now = clock.monotonic()
        self._memory = Memory(cache, network, clock)
        self._asn_of = asn_of
        self._table = SecureTable(overlay_id(key.id, nonce, network), asn_of)
        self._store = RecordStore(self._table.rank_of)
        self._validator = RecordValidator(network)
        self._verifier = ClaimVerifier(derive or self._derive, clock=clock)
        self._publisher = Publisher(entropy=entropy, now=now)
        self._issuer = Issuer(key, network, newest=self._memory.newest_issued)
        self._lost: deque[Endpoint] = deque(maxlen=MAX_RECENT)
        self._confirming = Confirming(
            key=key,
            nonce=nonce,
            network=network,
            send_apart=send_apart,
            clock=clock,
            entropy=entropy,
        )
        self._service = self._make_service(entropy)
        self._overlay = Overlay(
            key=key,
            nonce=nonce,
            network=network,
            send=send,
            table=self._table,
            ids=OverlayIdCache(network, offload or self._offload),
            server=self._service,
            confirming=self._confirming,
            on_contact=self._on_contact,
            on_lost=lambda contact: self._lost.append(contact.endpoint),
            clock=clock,
            entropy=entropy,
            tasks=self._tasks,
        )
        self._finder = self._make_finder(entropy, sealed)
        self._publishing = self._make_publishing()
        self._hand_over = HandOver(
            own=key.id,
            table=self._table,
            store=self._store,
            give=self._publishing.repair,
            clock=clock,
        )
        self._maintenance = self._make_maintenance(entropy)
        self.outer = self._confirming.outer
        self.relays = WillingRelays(self._overlay, self._table, clock, entropy)

    def _make_service(self, entropy: Entropy) -> Service:
        answerer = Answerer(
            table=self._table,
            store=self._store,
            validator=self._validator,
            verdict=self._verifier.known,
            entropy=entropy,
        )
        return Service(
            answerer=answerer,
            publisher=self._publisher,
            verifier=self._verifier,
            store=self._store,
            seal_key=lambda: self._overlay.seal_key,
            clock=self._clock,
        )

    def _make_finder(self, entropy: Entropy, sealed: bool) -> Finder:
        return Finder(
            overlay=self._overlay,
            table=self._table,
            store=self._store,
            validator=self._validator,
            verifier=self._verifier,
            own_endpoints=self._own_endpoints,
            clock=self._clock,
            repair=self._repair,
            entropy=entropy,
            sealed=sealed,
            asn_of=self._asn_of,
        )

    def _make_publishing(self) -> Publishing:
        return Publishing(
            publisher=self._publisher,
            issuer=self._issuer,
            overlay=self._overlay,
            finder=self._finder,
            table=self._table,
            store=self._store,
            own_endpoints=self._own_endpoints,
            clock=self._clock,
            tasks=self._tasks,
        )

    def _make_maintenance(self, entropy: Entropy) -> Maintenance:
        return Maintenance(
            overlay=self._overlay,
            confirming=self._confirming,
            finder=self._finder,
            table=self._table,
            store=self._store,
            publisher=self._publisher,
            publishing=self._publishing,
            issuer=self._issuer,
            own_endpoints=self._own_endpoints,
            lost=self._lost,
            memory=self._memory,
            clock=self._clock,
            entropy=entropy,
            tasks=self._tasks,
        )

    # Living

    async def start(self) -> None:
        """Begin to publish and to look after contacts; remembered peers are pinged."""
        self._publishing.publish(Publication(kind=Kind.ADDRESS))
        for work in (
            self._publishing.run(),
            self._publishing.run_offers(),
            self._hand_over.run(),
            self._verifier.run(),
            self._maintenance.run(),
        ):
            self._tasks.spawn(work)
        if self._memory.endpoints():
            self._tasks.spawn(self._rejoin())

    async def close(self) -> None:
        """Stop everything and remember the peers. What is published stays published."""
        self._maintenance.save()
        self._overlay.close()
        await self._tasks.close()
        await self._verifier.close()
        for threads in self._threads:
            threads.shutdown(wait=False, cancel_futures=True)

    def datagram_received(self, data: bytes, source: Endpoint) -> None:
        """Take a datagram whose first byte is 0x08. Nothing in it makes this raise."""
        self._overlay.datagram_received(data, source)

    async def join(self, endpoints: Sequence[Endpoint]) -> int:
        """Ping these addresses and look our own place up; return how many contacts are known.

        It goes on as soon as one of them answered. Those that did not are tried again later.
        """
        own = set(self._own_endpoints())
        wanted = [endpoint for endpoint in endpoints if endpoint not in own]
        self._lost.extend(endpoint for endpoint in wanted if endpoint not in self._lost)
        pings = [asyncio.ensure_future(self._overlay.ping(endpoint)) for endpoint in wanted]
        for answered in asyncio.as_completed(pings):
            if await answered is not None:
                await self._finder.nearest(self._overlay.own_id)
                break
        return len(self._table)

    def add_candidate(self, endpoint: Endpoint) -> None:
        """A node may be at this address: ping it soon."""
        if endpoint not in self._own_endpoints():
            self._overlay.greet(endpoint)

    async def _rejoin(self) -> None:
        """Ask those who were known, longest known first, whether they are still there."""
        remembered = self._memory.endpoints()
        await self.join(remembered[:REJOIN_FIRST])
        for endpoint in remembered[REJOIN_FIRST:]:
            if all(contact.endpoint != endpoint for contact in self._table):
                self._tasks.spawn(ignored(self._overlay.ping(endpoint, sends=1)))
            await asyncio.sleep(1 / REJOIN_PER_S)

    # Finding

    async def find(
        self,
        kind: Kind,
        owner: PublicKey | None,
        label: str,
        *,
        budget: float = LOOKUP_BUDGET_S,
    ) -> LookupResult:
        """Find the newest records of a name, within `budget` seconds.

        `owner` is None for numbers, whose claims may have many owners: all valid ones are found.
        Under our own key nobody else can publish, so those names are answered at once.
        """
        key = record_key(kind, owner, label, self._network)
        if owner is not None and owner == self._key.id and kind is not Kind.NUMBER:
            held = self._store.at_key(key, now=self._clock.unix())
            current = tuple(record for record in held if not record.is_tombstone)
            return Found(current) if current else NotFound()
        return await self._finder.find(kind, key, budget=budget)

    async def explore(
        self,
        kind: Kind,
        owner: PublicKey | None,
        label: str,
        *,
        budget: float = LOOKUP_BUDGET_S,
    ) -> Search:
        """Look a name up as `find` does among others, and tell every step and what it took."""
        key = record_key(kind, owner, label, self._network)
        return await self._finder.explore(kind, key, budget=budget)

    async def find_address(self, node: NodeId, *, budget: float = LOOKUP_BUDGET_S) -> LookupResult:
        """Where a node is reached."""
        return await self.find(Kind.ADDRESS, node, "", budget=budget)

    async def find_user(
        self, node: NodeId, login: str, *, budget: float = LOOKUP_BUDGET_S
    ) -> LookupResult:
        """Where an account of a node is reached."""
        return await self.find(Kind.USER, node, login, budget=budget)

    async def find_domain(
        self, node: NodeId, domain: str, *, budget: float = LOOKUP_BUDGET_S
    ) -> LookupResult:
        """Which nodes answer for a domain, as the node named by its proof says."""
        return await self.find(Kind.DOMAIN, node, domain, budget=budget)

    async def find_number(self, number: Number, *, budget: float = LOOKUP_BUDGET_S) -> LookupResult:
        """Who has a number: every claim whose account key derives to it."""
        return await self.find(Kind.NUMBER, None, number, budget=budget)

    async def find_prefixes(
        self, node: NodeId, trunk: str, *, budget: float = LOOKUP_BUDGET_S
    ) -> LookupResult:
        """Which numbers a trunk of a node offers to reach; to be asked of allowed nodes only.

        The records' `prefixes` hold the offers. Nothing proves that a trunk may serve them.
        """
        return await self.find(Kind.PREFIXES, node, trunk, budget=budget)

    def trust_number(self, number: Number, account: AccountId) -> None:
        """A pair that was verified before needs no Argon2id again."""
        self._verifier.trust(number, account)

    async def verify_number(self, number: Number, account: AccountId) -> bool:
        """Whether a number follows from an account key; remembered."""
        return await self._verifier.verify(number, account)

    # Publishing

    def publish(self, publication: Publication) -> None:
        """Publish now and keep published, or change what is published under the same name.

        A number has to be the one that its account's key derives to.
        """
        if publication.account is not None:
            self._verifier.trust(Number(publication.label), publication.account.id)
        self._publishing.publish(publication)

    def publish_user(self, login: str, accepts: Accepts = Accepts.USER) -> None:
        """Publish that an account of this node is reached here."""
        self.publish(Publication(kind=Kind.USER, label=login, accepts=accepts))

    def publish_number(
        self, number: Number, account: AccountKey, accepts: Accepts = Accepts.USER
    ) -> None:
        """Publish that a number is reached here."""
        self.publish(Publication(kind=Kind.NUMBER, label=number, account=account, accepts=accepts))

    def publish_domain(self, domain: str, nodes: Sequence[NodeId] = ()) -> None:
        """Publish which nodes answer for a domain that names this node's key."""
        self.publish(Publication(kind=Kind.DOMAIN, label=domain, nodes=tuple(nodes)))

    def publish_prefixes(self, trunk: str, offers: Sequence[PrefixOffer]) -> None:
        """Publish which numbers a trunk of this node reaches, for nodes that allow this one.

        Raises:
            CanonicalError: no offer, too many, or a prefix that is not digits or comes twice.
        """
        payload = PrefixPayload(tuple(sorted(offers)))
        self.publish(Publication(kind=Kind.PREFIXES, label=trunk, prefixes=payload))

    def offer_relay(self, offer: RelayOffer | None) -> None:
        """Say, or say no more, that this node relays for strangers, and how much it has free."""
        changes = self._service.relays != (offer is not None)
        self._service.relays = offer is not None
        if changes:
            self._tasks.spawn(self._tell_flags())
        if self._issuer.relay != offer:
            self._issuer.relay = offer
            self._publishing.publish(Publication(kind=Kind.ADDRESS))

    def withdraw(self, kind: Kind, label: str, account: AccountId | None = None) -> bool:
        """Say that a record is gone, by a tombstone; False if it was not published."""
        return self._publishing.withdraw(Name(kind, label, account))

    def bury(self, publication: Publication) -> None:
        """Say that a record is gone which an earlier run published: removed while stopped."""
        self._publishing.bury(publication)

    async def published(
        self, kind: Kind, label: str = "", account: AccountId | None = None
    ) -> bool:
        """Wait for the store round that is due or under way; True if the record is kept."""
        return await self._publishing.published(Name(kind, label, account))

    # Looking at it

    @property
    def own_id(self) -> OverlayId:
        """This node's place in the overlay."""
        return self._overlay.own_id

    def contacts(self) -> tuple[ContactInfo, ...]:
        """Everybody in the table, heard last first."""
        now = self._clock.monotonic()
        ordered = sorted(self._table, key=lambda contact: contact.last_heard, reverse=True)
        return tuple(ContactInfo.of(contact, now) for contact in ordered)

    def stats(self) -> DhtStats:
        """Figures as of now."""
        skew = clock_skew(self._table)
        spoken = {6 if endpoint.is_ipv6 else 4 for endpoint in self._own_endpoints()}
        return DhtStats(
            contacts=len(self._table),
            records=len(self._store),
            record_bytes=self._store.used,
            published=len(self._publisher),
            network_size=self._finder.estimator.size,
            lookups=dict(self._finder.results),
            waiting=self._overlay.waiting,
            queued_claims=self._verifier.queued,
            clock_skew=skew,
            clock=judged_clock(skew).text,
            observed=self._overlay.observed,
            reach=tuple(reach for reach in self._confirming.families() if reach.family in spoken),
            traffic=self._overlay.traffic,
            lookup_times=tuple(self._finder.times),
            lookup_durations=self._finder.durations,
        )

    # Between the pieces

    def _on_contact(self, contact: Contact) -> None:
        log.debug("contact_new", node=contact.key.text, endpoint=str(contact.endpoint))
        self._memory.recognise(contact)
        self._confirming.learned(contact.endpoint)
        self._publishing.offer(contact)
        self._hand_over.offer(contact)
        if contact.seal_key is None:
            self._tasks.spawn(ignored(self._overlay.check(contact)))

    async def _tell_flags(self) -> None:
        """Ping all contacts: what this node says of itself in pings has changed."""
        for contact in list(self._table):
            self._tasks.spawn(ignored(self._overlay.check(contact)))
            await asyncio.sleep(1 / REJOIN_PER_S)

    def _repair(self, record: Record, entry: ContactEntry) -> None:
        self._tasks.spawn(self._publishing.repair(record, entry))

    async def _offload(self, check: Callable[[], OverlayId]) -> OverlayId:
        return await asyncio.get_running_loop().run_in_executor(self._threads[0], check)

    async def _derive(self, account: AccountId) -> Number:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[1], derive_number, account)
