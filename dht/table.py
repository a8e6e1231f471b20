"""The routing table: kademlia's buckets, made to live among strangers.

What is taken from the library are buckets that split where our own id lies, and their replacement
lists. What is changed: 256 bits, exact neighbours, no clock of its own, nothing touched by other
peers' questions, limits for each network, and entry only for contacts that answered us.
"""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from dht.cookie import COOKIE_EPOCH_S
from dht.frame import NO_COOKIE
from dht.overlay_id import OverlayId
from dht.scope import is_local
from federation.model.address import Endpoint, IPAddress, network_group
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId

AsnOf = Callable[[IPAddress], int | None]
BUCKET_SIZE = 20
ID_BITS = 256
MAX_MISSES = 3
"Requests in a row without an answer, after which a contact leaves the table."
GROUP_PER_BUCKET = 2
"Contacts of one /24 or /48 in a bucket."
GROUP_PER_TABLE = 10
ASN_SHARE = 0.05
"Of the table, for contacts of one autonomous system, where a map tells them apart."
ASN_ALWAYS = 10
"So many of one autonomous system find room in the smallest table."
MAX_REPLACEMENTS = 20
"Contacts that answered us and wait for a place in a bucket."
FIRST_PATIENCE_S = 0.4
"How long a peer whose speed is not known is waited for before others are asked."
LEAST_PATIENCE_S = 0.05
MOST_PATIENCE_S = 1.5


class Contact(Node):  # type: ignore[misc]  # kademlia has no types
    """A node that answered us: its id is checked, its key and address are proven.

    What changes in it (times, misses, cookie) is kept by whoever sends to it.
    """

    def __init__(
        self, id_: OverlayId, key: NodeId, nonce: bytes, endpoint: Endpoint, *, now: Monotonic
    ) -> None:
        self.id = id_
        self.long_id = id_.number
        self.key = key
        self.nonce = nonce
        self.endpoint = endpoint
        self.first_heard = now
        self.last_heard = now
        self.misses = 0
        "Requests in a row that were not answered."
        self.rtt: float | None = None
        "Smoothed round trip, seconds (RFC 6298 2)."
        self._rtt_spread = 0.0
        self.flags = 0
        self.record_issued = 0
        self.seal_key: bytes | None = None
        self.skew: float | None = None
        "Seconds its clock is ahead of ours."
        self._cookie = NO_COOKIE
        self._cookie_at = now

    def same_home_as(self, node: "Contact") -> bool:
        """Whether both are at one address and port."""
        return self.endpoint == node.endpoint

    def __iter__(self) -> Iterator[object]:
        return iter((self.id, self.endpoint.host, self.endpoint.port))

    def __repr__(self) -> str:
        return f"Contact({self.key.text[:8]}… at {self.endpoint})"

    def __str__(self) -> str:
        return str(self.endpoint)

    def heard(self, *, now: Monotonic, rtt: float | None = None) -> None:
        """It answered, or sent something only it could send."""
        self.last_heard = now
        self.misses = 0
        if rtt is None:
            return
        if self.rtt is None:
            self.rtt, self._rtt_spread = rtt, rtt / 2
        else:
            self._rtt_spread += (abs(rtt - self.rtt) - self._rtt_spread) / 4
            self.rtt += (rtt - self.rtt) / 8

    @property
    def patience(self) -> float:
        """Seconds to wait for an answer before something else is tried (RFC 6298 2)."""
        if self.rtt is None:
            return FIRST_PATIENCE_S
        wait = self.rtt + max(LEAST_PATIENCE_S, 4 * self._rtt_spread)
        return min(wait * (1 + self.misses), MOST_PATIENCE_S)

    def keep_cookie(self, cookie: bytes, *, now: Monotonic) -> None:
        """Remember the cookie of its latest answer."""
        self._cookie, self._cookie_at = cookie, now

    def cookie(self, *, now: Monotonic) -> bytes:
        """A cookie it will still take, or zeros."""
        return self._cookie if now - self._cookie_at < COOKIE_EPOCH_S else NO_COOKIE


class DiverseBucket(KBucket):  # type: ignore[misc]
    """A bucket with few contacts of one network, whose vacancies are not filled unasked."""

    def __init__(self, low: int, high: int, size: int) -> None:
        self.last_looked_up = Monotonic(0.0)
        super().__init__(low, high, size)

    def touch_last_updated(self) -> None:
        """Nothing: the table keeps times, since it is handed `now`."""

    def split(self) -> tuple["DiverseBucket", "DiverseBucket"]:
        """Two buckets of half the range each."""
        low, high = self.range
        middle = (low + high) // 2
        one = DiverseBucket(low, middle, self.ksize)
        two = DiverseBucket(middle + 1, high, self.ksize)
        one.last_looked_up = two.last_looked_up = self.last_looked_up
        for contact in self.nodes.values():
            (one if contact.long_id <= middle else two).nodes[contact.id] = contact
        for contact in self.replacement_nodes.values():
            half = one if contact.long_id <= middle else two
            half.replacement_nodes[contact.id] = contact
        return one, two

    def add_node(self, node: Contact) -> bool:
        """Take a contact, to the end of the list if it is here already; False if it must wait."""
        if node.id in self.nodes:
            self.nodes.move_to_end(node.id)
            return True
        if len(self.nodes) < self.ksize and self._is_diverse_with(node):
            self.replacement_nodes.pop(node.id, None)
            self.nodes[node.id] = node
            return True
        self.replacement_nodes[node.id] = node
        while len(self.replacement_nodes) > MAX_REPLACEMENTS:
            self.replacement_nodes.popitem(last=False)
        return False

    def remove_node(self, node: Contact) -> None:
        """Forget a contact. Its place stays empty until somebody answers again."""
        self.replacement_nodes.pop(node.id, None)
        self.nodes.pop(node.id, None)

    def _is_diverse_with(self, node: Contact) -> bool:
        if is_local(node.endpoint):
            return True
        group = network_group(node.endpoint.ip)
        mates = (c for c in self.nodes.values() if network_group(c.endpoint.ip) == group)
        return sum(1 for _ in mates) < GROUP_PER_BUCKET


class SecureTable(RoutingTable):  # type: ignore[misc]
    """Verified contacts by distance. Only `add_contact` after a checked answer fills it.

    `asn_of` tells an address's autonomous system, or None; systems have limits too.
    """

    def __init__(self, own_id: OverlayId, asn_of: AsnOf | None = None) -> None:
        self._asn_of = asn_of
        self._systems: Counter[int] = Counter()
        self._lows: list[int] = [0]
        self._by_id: dict[bytes, Contact] = {}
        self._groups: Counter[bytes] = Counter()
        super().__init__(None, BUCKET_SIZE, Node(own_id))

    def flush(self) -> None:
        """Forget everybody."""
        self.buckets: list[DiverseBucket] = [DiverseBucket(0, 2**ID_BITS - 1, self.ksize)]
        self._lows = [0]
        self._by_id.clear()
        self._groups.clear()
        self._systems.clear()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Contact]:
        return iter(tuple(self._by_id.values()))

    def __contains__(self, id_: object) -> bool:
        return id_ in self._by_id

    def get(self, id_: bytes) -> Contact | None:
        """The contact with this id."""
        return self._by_id.get(id_)

    def split_bucket(self, index: int) -> None:
        """Put two halves in a bucket's place."""
        one, two = self.buckets[index].split()
        self.buckets[index : index + 1] = [one, two]
        self._lows.insert(index + 1, two.range[0])

    def get_bucket_for(self, node: Node) -> int:
        """The index of the bucket whose range holds this id."""
        return bisect_right(self._lows, node.long_id) - 1

    def add_contact(self, node: Contact) -> bool:
        """Take a contact that answered us; True if it is new in the table.

        A full bucket is split where our own id lies, else the contact waits for a place.
        """
        if node.id in self._by_id:
            self.buckets[self.get_bucket_for(node)].add_node(node)
            return False
        if node.id == self.node.id or not self._has_room_for(node):
            return False
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.add_node(node):
                break
            if len(bucket) < bucket.ksize or not bucket.has_in_range(self.node):
                return False
            self.split_bucket(index)
        self._by_id[node.id] = node
        self._count(node.endpoint, 1)
        return True

    def _has_room_for(self, node: Contact) -> bool:
        if is_local(node.endpoint):
            return True
        if self._groups[_group(node.endpoint)] >= GROUP_PER_TABLE:
            return False
        system = self._system(node.endpoint)
        most = max(ASN_ALWAYS, int(ASN_SHARE * len(self._by_id)))
        return system is None or self._systems[system] < most

    def _system(self, endpoint: Endpoint) -> int | None:
        return None if self._asn_of is None else self._asn_of(endpoint.ip)

    def _count(self, endpoint: Endpoint, by: int) -> None:
        group, system = _group(endpoint), self._system(endpoint)
        self._groups[group] += by
        if not self._groups[group]:
            del self._groups[group]
        if system is not None:
            self._systems[system] += by
            if not self._systems[system]:
                del self._systems[system]

    def moved(self, node: Contact, endpoint: Endpoint) -> None:
        """A contact answered from another address.

        If that network has its share already it leaves the table, or else whoever has one address
        to spare could bring any number of contacts in by it and gather them in one network.
        """
        is_in_table = node.id in self._by_id
        if is_in_table:
            self.remove_contact(node)
        node.endpoint = endpoint
        if is_in_table:
            self.add_contact(node)

    def remove_contact(self, node: Contact) -> Contact | None:
        """Forget a contact; return one that waits for the place, to be asked whether it lives."""
        bucket = self.buckets[self.get_bucket_for(node)]
        bucket.remove_node(node)
        if self._by_id.pop(node.id, None) is not None:
            self._count(node.endpoint, -1)
        waiting: Contact | None = next(iter(bucket.replacement_nodes.values()), None)
        return waiting

    def lonely_buckets(self, *, now: Monotonic, age: float = 3600.0) -> list[DiverseBucket]:
        """Buckets in whose range we looked nothing up for `age` seconds."""
        return [bucket for bucket in self.buckets if bucket.last_looked_up < now - age]

    def looked_up(self, target: bytes, *, now: Monotonic) -> None:
        """One of our own lookups went through the bucket of `target`."""
        self.buckets[self.get_bucket_for(Node(target))].last_looked_up = now

    def find_neighbors(
        self, node: Node, k: int | None = None, exclude: Node | None = None
    ) -> list[Contact]:
        """The nearest contacts, exactly, nearest first."""
        return nearest(self._by_id.values(), node.long_id, k or self.ksize, exclude)

    def nearest(self, target: bytes, count: int = BUCKET_SIZE) -> list[Contact]:
        """The `count` contacts nearest to `target`, nearest first."""
        return nearest(self._by_id.values(), int.from_bytes(target, "big"), count)

    def rank_of(self, position: bytes) -> int:
        """How many known contacts are nearer to `position` than we are."""
        target = int.from_bytes(position, "big")
        own = self.node.long_id ^ target
        return sum(contact.long_id ^ target < own for contact in self._by_id.values())


def nearest(
    contacts: Iterable[Contact], target: int, count: int, exclude: Node | None = None
) -> list[Contact]:
    """The `count` of `contacts` nearest to `target`, nearest first."""
    rest = contacts if exclude is None else (c for c in contacts if c.id != exclude.id)
    return heapq.nsmallest(count, rest, key=lambda contact: contact.long_id ^ target)


def _group(endpoint: Endpoint) -> bytes:
    return network_group(endpoint.ip)
