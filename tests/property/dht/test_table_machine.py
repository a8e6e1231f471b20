"""The routing table, whoever comes, goes and moves: its limits and its neighbours are exact."""

from collections import Counter
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dht.overlay_id import OverlayId
from dht.scope import is_local
from dht.table import (
    BUCKET_SIZE,
    GROUP_PER_BUCKET,
    GROUP_PER_TABLE,
    MAX_REPLACEMENTS,
    Contact,
    DiverseBucket,
    SecureTable,
)
from federation.model.address import Endpoint, network_group
from federation.model.clocks import Monotonic
from tests.support.dht_records import NODE

T0 = Monotonic(0.0)
OWN = OverlayId(bytes.fromhex("a5") * 32)
HOSTS = (
    *(f"20.0.{n}.{m}" for n in range(30) for m in (1, 2, 3)),
    *(f"20.9.9.{m}" for m in range(40)),
    *(f"2001:db8:{n:x}::1" for n in range(30)),
    *(f"2001:db8:ffff:{m:x}::1" for m in range(20)),
    *(f"192.168.1.{m}" for m in range(1, 60)),
)
"Many networks, one that has many addresses, and a LAN."
hosts = st.sampled_from(HOSTS)
ids = st.tuples(st.integers(0, 255), st.integers(0, 2**16)).map(
    # As many leading bits in common with our own id as there are ways to split a bucket.
    lambda pair: OverlayId(
        (OWN.number ^ (1 << pair[0]) ^ pair[1] << max(0, pair[0] - 16)).to_bytes(32, "big")
    )
)


def a_contact(id_: OverlayId, host: str) -> Contact:
    return Contact(id_, NODE.id, bytes(8), Endpoint(host, 7060), now=T0)


class Comings(RuleBasedStateMachine):
    """`proven` is everybody who ever answered; nobody else may be in the table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = SecureTable(OWN)
        self.proven: dict[bytes, Contact] = {}
        self.inside: dict[bytes, Contact] = {}

    def add(self, id_: OverlayId, host: str) -> None:
        contact = self.inside.get(id_)
        if contact is None:
            contact = self.proven.get(id_) or a_contact(id_, host)
        self.proven[id_] = contact
        is_new = self.table.add_contact(contact)
        assert not (is_new and id_ in self.inside)
        assert not (is_new and id_ == OWN)
        if is_new:
            self.inside[id_] = contact

    @rule(id_=ids, host=hosts)
    def one_answered(self, id_: OverlayId, host: str) -> None:
        self.add(id_, host)

    @rule(many=st.lists(st.tuples(ids, hosts), min_size=20, max_size=60))
    def many_answered(self, many: list[tuple[OverlayId, str]]) -> None:
        for id_, host in many:
            self.add(id_, host)

    @rule(host=hosts)
    def we_answered_ourselves(self, host: str) -> None:
        self.add(OWN, host)

    @rule(pick=st.integers(0, 10_000))
    def one_left(self, pick: int) -> None:
        if not self.inside:
            return
        contact = list(self.inside.values())[pick % len(self.inside)]
        waiting = self.table.remove_contact(contact)
        del self.inside[contact.id]
        if waiting is not None:  # to be asked, not yet let in
            assert waiting.id in self.proven
            assert waiting.id not in self.table

    @rule(picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=20), host=hosts)
    def some_moved(self, picks: list[int], host: str) -> None:
        """They stay while their new network has room, and are out otherwise."""
        for pick in picks if self.proven else ():
            contact = list(self.proven.values())[pick % len(self.proven)]
            was_inside = contact.id in self.inside
            self.table.moved(contact, Endpoint(host, 7060))
            assert contact.endpoint.host == host
            self.inside.pop(contact.id, None)
            if contact.id in self.table:
                assert was_inside
                self.inside[contact.id] = contact

    @rule(place=ids)
    def we_looked_up(self, place: OverlayId) -> None:
        self.table.looked_up(place, now=Monotonic(9.0))
        assert self.table.buckets[self.table.get_bucket_for(a_contact(place, HOSTS[0]))] not in (
            self.table.lonely_buckets(now=Monotonic(10.0), age=5.0)
        )

    @invariant()
    def only_who_answered_is_inside(self) -> None:
        assert {c.id: c for c in self.table} == self.inside
        assert len(self.table) == len(self.inside)
        assert OWN not in self.table

    @invariant()
    def buckets_cover_the_space_once(self) -> None:
        buckets = self.table.buckets
        assert [b.range[0] for b in buckets] == self.table._lows
        assert buckets[0].range[0] == 0
        assert buckets[-1].range[1] == 2**256 - 1
        for one, two in pairwise(buckets):
            assert one.range[1] + 1 == two.range[0]
        inside = [c for b in buckets for c in b.get_nodes()]
        assert len(inside) == len(self.inside)
        assert {c.id for c in inside} == set(self.inside)
        for bucket in buckets:
            assert isinstance(bucket, DiverseBucket)
            assert len(bucket) <= BUCKET_SIZE
            assert len(bucket.replacement_nodes) <= MAX_REPLACEMENTS
            everybody = (*bucket.get_nodes(), *bucket.replacement_nodes.values())
            assert all(bucket.has_in_range(contact) for contact in everybody)
            assert not set(bucket.nodes) & set(bucket.replacement_nodes)

    @invariant()
    def counts_of_networks_are_exact(self) -> None:
        counted = Counter(network_group(c.endpoint.ip) for c in self.inside.values())
        assert {g: n for g, n in self.table._groups.items() if n} == dict(counted)
        strangers = [c for c in self.inside.values() if not is_local(c.endpoint)]
        shares = Counter(network_group(c.endpoint.ip) for c in strangers)
        assert max(shares.values(), default=0) <= GROUP_PER_TABLE
        for bucket in self.table.buckets:
            mates = Counter(
                network_group(c.endpoint.ip) for c in bucket.get_nodes() if not is_local(c.endpoint)
            )
            assert max(mates.values(), default=0) <= GROUP_PER_BUCKET

    @rule(place=ids, count=st.integers(1, 45), pick=st.integers(0, 10_000))
    def neighbours_are_exact(self, place: OverlayId, count: int, pick: int) -> None:
        ordered = sorted(self.inside.values(), key=lambda c: c.long_id ^ place.number)
        assert self.table.nearest(place, count) == ordered[:count]
        wanted = a_contact(place, HOSTS[0])
        assert self.table.find_neighbors(wanted) == ordered[:BUCKET_SIZE]
        if ordered:
            absent = ordered[pick % len(ordered)]
            rest = [c for c in ordered if c is not absent]
            assert self.table.find_neighbors(wanted, count, absent) == rest[:count]
        own = OWN.number ^ place.number
        assert self.table.rank_of(place) == sum(
            c.long_id ^ place.number < own for c in self.inside.values()
        )


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
