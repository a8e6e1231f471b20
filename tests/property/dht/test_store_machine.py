"""The record store under pressure: quotas, ranks, tombstones and a clock that jumps."""

from collections import Counter
from functools import cache
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import dht.store
from dht.acceptance import CLOCK_SKEW_S
from dht.messages import FULL, NEWER_HELD, OUTSIDE_REGION, STORED
from dht.record import Kind, Record, positions
from dht.store import MAX_KEY_BYTES, MAX_SLOTS, RECORD_OVERHEAD, REGION_CAP, RecordStore, revokes
from federation.model.clocks import UnixTime
from federation.model.identity import NodeKey
from tests.support.dht_records import NOW, NUMBER, a_record

NODES = tuple(NodeKey(bytes([n]) * 32) for n in range(1, 11))
"The third has the key of the number's account: its claim is the owner's own word."
LABELS = ("ann", "bob", "cleo", "dan", "eve", "fay")
PUBLISHER_MAY = 4
"Records of one publisher, in place of a thousand."
ROOM = 14_000
"Bytes, in place of 64 MiB: some ten records."


@cache
def pool() -> tuple[Record, ...]:
    """Names of two publishers, renewed and withdrawn, and more claims of a number than fit."""
    made = []
    for step in range(3):
        now = NOW + 40_000 * step
        for key in NODES[:2]:
            made += [a_record(label=label, key=key, now=now) for label in LABELS]
            made += [a_record(label=label, key=key, now=now, tombstone=True) for label in LABELS]
        made += [a_record(Kind.NUMBER, NUMBER, key=key, now=now) for key in NODES]
        made += [a_record(Kind.ADDRESS, "", key=key, now=now) for key in NODES]
    return tuple(made)


def size(records: list[Record]) -> int:
    return sum(RECORD_OVERHEAD + len(record.envelope) for record in records)


class StoreUnderPressure(RuleBasedStateMachine):
    """What a dict with the rules written beside it holds, the store holds."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = (
            patch.object(dht.store, "PUBLISHER_BASE", PUBLISHER_MAY),
            patch.object(dht.store, "PUBLISHER_SHARE", 0.0),
        )
        for limit in self.limits:
            limit.start()
        self.ranks: dict[bytes, int] = {}
        self.store = RecordStore(lambda place: self.ranks.get(place, 0), max_bytes=ROOM)
        self.now = NOW
        self.held: dict[tuple[bytes, bytes], Record] = {}

    def teardown(self) -> None:
        for limit in self.limits:
            limit.stop()

    @initialize(ranks=st.lists(st.integers(0, REGION_CAP + 20), min_size=8, max_size=8))
    def spread(self, ranks: list[int]) -> None:
        """How near this node is to each key: all places of a key alike."""
        keys = sorted({record.key for record in pool()})
        for n, key in enumerate(keys):
            for place in positions(key):
                self.ranks[place] = ranks[n % len(ranks)]

    def expected(self, record: Record) -> int:
        held = self.held.get(record.slot)
        if held is not None:
            return STORED if record.rank >= held.rank else NEWER_HELD
        if any(revokes(own, record) for own in self.held.values()):
            return NEWER_HELD
        if self.store.rank(record) >= REGION_CAP:
            return OUTSIDE_REGION
        mates = [other for other in self.held.values() if other.key == record.key]
        used = sum(len(other.envelope) for other in mates) + len(record.envelope)
        if len(mates) >= MAX_SLOTS or used > MAX_KEY_BYTES:
            return FULL
        published = Counter(other.publisher for other in self.held.values())
        return FULL if published[record.publisher] >= PUBLISHER_MAY else STORED

    @rule(indexes=st.lists(st.integers(0, len(pool()) - 1), min_size=1, max_size=12))
    def put(self, indexes: list[int]) -> None:
        for index in (*indexes, indexes[0]):
            record = pool()[index]
            expected = self.expected(record)
            before = set(self.store)
            code = self.store.put(record)
            if expected != STORED:
                assert code == expected
                assert set(self.store) == before
                continue
            self.held[record.slot] = record
            self.held = {s: other for s, other in self.held.items() if not revokes(record, other)}
            if size(list(self.held.values())) > ROOM:
                self.some_had_to_go(record, code)
            else:
                assert code == STORED

    def some_had_to_go(self, put: Record, code: int) -> None:
        """The farthest, and no more of them than make room."""
        kept = set(self.store)
        gone = [record for record in self.held.values() if record not in kept]
        assert gone
        nearest_gone = min(map(self.store.rank, gone))
        assert all(self.store.rank(record) <= nearest_gone for record in kept)
        assert size(list(kept)) <= ROOM
        assert any(size([*kept, record]) > ROOM for record in gone)
        assert code == (FULL if put in gone else STORED)
        self.held = {slot: record for slot, record in self.held.items() if record in kept}

    @rule(seconds=st.integers(-90_000, 90_000))
    def clock_jumps(self, seconds: int) -> None:
        self.now = UnixTime(self.now + seconds)

    @rule()
    def expire(self) -> None:
        gone = [s for s, r in self.held.items() if self.now > r.expires + CLOCK_SKEW_S]
        assert self.store.expire(now=self.now) == len(gone)
        for slot in gone:
            del self.held[slot]

    @rule(index=st.integers(0, 10_000))
    def a_withdrawn_name_stays_withdrawn(self, index: int) -> None:
        """No record that a held tombstone outranks gets past it."""
        record = pool()[index % len(pool())]
        held = self.held.get(record.slot)
        if held is not None and held.is_tombstone and record.rank < held.rank:
            assert self.store.put(record) == NEWER_HELD

    @invariant()
    def holds_what_it_should(self) -> None:
        assert set(self.store) == set(self.held.values())
        assert len(self.store) == len(self.held)
        assert self.store.used == size(list(self.held.values())) <= ROOM

    @invariant()
    def shows_what_is_current(self) -> None:
        for key in {record.key for record in pool()}:
            current = [
                r
                for r in self.held.values()
                if r.key == key and self.now <= r.expires + CLOCK_SKEW_S
            ]
            shown = sorted(current, key=lambda record: record.rank)
            assert list(self.store.at_key(key, now=self.now)) == shown
            for place in positions(key):
                assert list(self.store.at_position(place, now=self.now)) == shown


TestStoreUnderPressure = StoreUnderPressure.TestCase
TestStoreUnderPressure.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_the_pool_presses_on_every_limit() -> None:
    """Otherwise the machine above would prove little."""
    records = pool()
    assert size([r for r in records if r.issued == records[0].issued]) > 2 * ROOM
    claims = [r for r in records if r.kind is Kind.NUMBER and r.issued == records[0].issued]
    assert len(claims) > MAX_SLOTS
    assert any(claim.publisher == claim.owner for claim in claims)
    assert len({r.slot for r in records if r.publisher == NODES[0].id}) > PUBLISHER_MAY
