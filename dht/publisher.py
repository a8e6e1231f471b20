"""What this node publishes, and when each record is due again. A core: no sockets, no clock.

Only the publisher renews a record: at half its life for addresses, every eight hours for routes and
claims, each with a jitter of a tenth, and at once when something in it changed. A withdrawn record
becomes a tombstone with the longest life its kind may have, so that no replay brings it back.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dht.prefixes import PrefixPayload
from dht.record import (
    ADDRESS_TTL,
    MAX_DELEGATION_S,
    MAX_ENDPOINTS,
    MAX_ROUTES,
    Accepts,
    AddressPayload,
    Kind,
    Payload,
    Record,
    RecordError,
    RelayOffer,
    Route,
    RoutePayload,
    check_label,
    record_key,
)
from federation.delegation import Delegation
from federation.model.address import Endpoint
from federation.model.clocks import Entropy, Monotonic, UnixTime
from federation.model.identity import AccountId, AccountKey, NodeId, NodeKey, PublicKey
from federation.model.network import Network

ROUTE_INTERVAL_S = 8 * 3600.0
ADDRESS_INTERVAL_S = ADDRESS_TTL / 2
JITTER = 0.1
FIRST_RETRY_S = 5.0
"After a round in which nobody took the record; doubled up to `LAST_RETRY_S`."
LAST_RETRY_S = 600.0
PACE = 50.0
"Records a second that are sent out when many are due."
PACE_BURST = 20.0


class Name(NamedTuple):
    """What a publication is called: its kind, its label and, for numbers, its account."""

    kind: Kind
    label: str
    account: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Something to publish and to keep published.

    Raises:
        RecordError: the label does not fit the kind, or a number comes without its account key.
    """

    kind: Kind
    label: str = ""
    accepts: Accepts = Accepts.USER
    account: AccountKey | None = None
    "The key that the number belongs to; numbers only."
    nodes: tuple[NodeId, ...] = ()
    "Who takes the calls, first choice first; empty: this node."
    prefixes: PrefixPayload | None = None
    "What a trunk offers; that kind only. None where a tombstone is all there is to send."

    def __post_init__(self) -> None:
        check_label(self.kind, self.label)
        if (self.account is not None) != (self.kind is Kind.NUMBER):
            raise RecordError("a number, and nothing else, is published with its account key")
        if self.prefixes is not None and self.kind is not Kind.PREFIXES:
            raise RecordError("prefixes are published in a record of their own")
        if len(self.nodes) > MAX_ROUTES:
            raise RecordError(f"a route names at most {MAX_ROUTES} nodes")

    @property
    def name(self) -> Name:
        """What it is called."""
        return Name(self.kind, self.label, None if self.account is None else self.account.id)


class Issuer:
    """Signs this node's records; `newest` rises with each, whatever the clock does."""

    def __init__(self, key: NodeKey, network: Network, *, newest: int = 0) -> None:
        self.newest = newest
        "When the latest record was issued, ms since 1970; to be kept over restarts."
        self.relay: RelayOffer | None = None
        "What is offered to strangers who need a relay; part of the address record."
        self._key, self._network = key, network

    @property
    def node(self) -> NodeId:
        """Who publishes."""
        return self._key.id

    def key_of(self, publication: Publication) -> bytes:
        """Under which key the records of a publication are kept."""
        account = publication.account
        owner: PublicKey = self._key.id if account is None else account.id
        return record_key(publication.kind, owner, publication.label, self._network)

    def catch_up(self, newest: int) -> None:
        """A record of ours was issued then (ms since 1970): later ones are newer."""
        self.newest = max(self.newest, newest)

    def issue(
        self, publication: Publication, endpoints: tuple[Endpoint, ...], *, now: UnixTime
    ) -> Record | None:
        """A fresh record; None where there is nothing to say: no address yet, or no prefixes."""
        payload: Payload
        if publication.kind is Kind.ADDRESS:
            if not endpoints:
                return None
            payload = AddressPayload(endpoints[:MAX_ENDPOINTS], self.relay)
        elif publication.kind is Kind.PREFIXES:
            if publication.prefixes is None:
                return None
            payload = publication.prefixes
        else:
            hint = endpoints[0] if endpoints else None
            nodes = publication.nodes or (self._key.id,)
            payload = RoutePayload(
                publication.accepts,
                tuple(
                    Route(node, priority, 0, hint if node == self._key.id else None)
                    for priority, node in enumerate(nodes)
                ),
            )
        return self._sign(publication, payload, now)

    def tombstone(self, publication: Publication, *, now: UnixTime) -> Record:
        """A record that says the publication is gone."""
        return self._sign(publication, None, now)

    def _sign(self, publication: Publication, payload: Payload | None, now: UnixTime) -> Record:
        self.newest = max(int(now * 1000), self.newest + 1)
        owner: PublicKey = self._key.id
        delegation = None
        if publication.account is not None:
            owner = publication.account.id
            start = self.newest // 1000
            delegation = Delegation.issue(
                publication.account,
                publisher=self._key.id,
                label=publication.label,
                not_before=start,
                not_after=start + MAX_DELEGATION_S,
                network=self._network,
            )
        record = Record(
            kind=publication.kind,
            owner=owner,
            label=publication.label,
            publisher=self._key.id,
            issued=self.newest,
            ttl=publication.kind.longest_ttl,
            payload=payload,
            delegation=delegation,
        )
        return record.signed(self._key, self._network)


@dataclass(slots=True, eq=False)
class Item:
    """One publication and how far it has come."""

    publication: Publication
    is_withdrawn: bool = False
    record: Record | None = None
    "What was last sent out."
    due: Monotonic | None = None
    "None while a round is under way, and once a tombstone has been taken."
    is_running: bool = False
    "A round is under way."
    retry: float = FIRST_RETRY_S
    rounds: int = 0
    holders: int = 0
    "Nodes, this one left out, that took the record in the last round."
    is_recalled: bool = False
    "The network was asked what it holds of this from before our memory begins."
    is_changed: bool = False
    "Something changed during the round that is under way."
    keepers: set[bytes] = field(default_factory=set)
    "The ids of those who took the latest version."


class Publisher:
    """The schedule. Ask `take_due` for work, report with `done`."""

    def __init__(self, *, entropy: Entropy, now: Monotonic) -> None:
        self._entropy = entropy
        self._items: dict[Name, Item] = {}
        self._queue: list[tuple[Monotonic, int, Item]] = []
        self._serial = 0
        self._tokens, self._tokens_at = PACE_BURST, now

    def __len__(self) -> int:
        return sum(not item.is_withdrawn for item in self._items.values())

    def __iter__(self) -> Iterator[Item]:
        return iter(tuple(self._items.values()))

    def get(self, name: Name) -> Item | None:
        """The item of this name, withdrawn ones included while their tombstone lives."""
        return self._items.get(name)

    def put(self, publication: Publication, *, now: Monotonic) -> Item:
        """Publish, or publish anew in another form; due at once."""
        item = self._items.get(publication.name)
        if item is None:
            item = self._items[publication.name] = Item(publication)
        item.publication, item.is_withdrawn = publication, False
        self.hurry(item, now=now)
        return item

    def withdraw(self, name: Name, *, now: Monotonic) -> bool:
        """Replace a publication by its tombstone; False if there is none."""
        item = self._items.get(name)
        if item is None or item.is_withdrawn:
            return False
        item.is_withdrawn = True
        self.hurry(item, now=now)
        return True

    def bury(self, publication: Publication, *, now: Monotonic) -> None:
        """Send a tombstone for something that an earlier run of this node published."""
        self.put(publication, now=now).is_withdrawn = True

    def changed(self, *, now: Monotonic) -> None:
        """This node's addresses changed: everything that names them is due."""
        for item in self._items.values():
            if not item.is_withdrawn:
                self.hurry(item, now=now)

    def next_timer(self) -> Monotonic | None:
        """When something is due, or may be sent again if many things are."""
        due = self._first()
        if due is None:
            return None
        refilled = Monotonic(self._tokens_at + max(0.0, 1.0 - self._tokens) / PACE)
        return max(due, refilled)

    def take_due(self, *, now: Monotonic) -> Item | None:
        """The item whose turn it is; it stays out of turn until `done`."""
        self._tokens = min(PACE_BURST, self._tokens + (now - self._tokens_at) * PACE)
        self._tokens_at = now
        due = self._first()
        if due is None or due > now or self._tokens < 1.0:
            return None
        item = heapq.heappop(self._queue)[2]
        self._tokens -= 1.0
        item.due, item.is_changed, item.is_running = None, False, True
        return item

    def done(self, item: Item, *, holders: int, asked: int, now: Monotonic) -> None:
        """A round ended: `holders` of the `asked` nodes took the record."""
        item.rounds += 1
        item.holders = holders
        item.is_running = False
        if item.is_changed:
            self._schedule(item, now)
        elif asked and not holders:
            self._schedule(item, self._later(now, item.retry))
            item.retry = min(item.retry * 2, LAST_RETRY_S)
        else:
            item.retry = FIRST_RETRY_S
            is_address = item.publication.kind is Kind.ADDRESS
            interval = ADDRESS_INTERVAL_S if is_address else ROUTE_INTERVAL_S
            if not item.is_withdrawn:
                self._schedule(item, self._later(now, interval))

    def forget_expired(self, *, now: UnixTime) -> None:
        """Drop withdrawn items whose tombstone has expired."""
        for name, item in list(self._items.items()):
            if item.is_withdrawn and item.record is not None and item.record.expires < now:
                del self._items[name]

    def hurry(self, item: Item, *, now: Monotonic) -> None:
        """Make an item due now, or as soon as its round is over."""
        if item.is_running:
            item.is_changed = True
        else:
            self._schedule(item, now)

    def _schedule(self, item: Item, due: Monotonic) -> None:
        item.due = due
        self._serial += 1
        heapq.heappush(self._queue, (due, self._serial, item))

    def _first(self) -> Monotonic | None:
        """When the first item is due; entries that were overtaken are dropped on the way."""
        while self._queue:
            due, _, item = self._queue[0]
            if item.due == due:
                return due
            heapq.heappop(self._queue)
        return None

    def _later(self, now: Monotonic, interval: float) -> Monotonic:
        share = int.from_bytes(self._entropy.token(4), "big") / 2**32
        return Monotonic(now + interval * (1 - JITTER + 2 * JITTER * share))
