"""The record store against a simple model, and the merge that everything rests on."""

from dataclasses import replace
from functools import cache
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dht.acceptance import CLOCK_SKEW_S
from dht.messages import FULL, NEWER_HELD, OUTSIDE_REGION, STORED
from dht.record import Accepts, Kind, Record, positions
from dht.store import (
    MAX_KEY_BYTES,
    MAX_SLOTS,
    PUBLISHER_BASE,
    REGION_CAP,
    RecordStore,
    merge,
    revokes,
)
from federation.model.clocks import UnixTime
from federation.model.identity import AccountKey, NodeKey
from tests.support.dht_records import ACCOUNT, NET, NOW, NUMBER, a_record

KEYS = tuple(NodeKey(bytes([n]) * 32) for n in (1, 2))
THIEF = AccountKey(bytes([8]) * 32)


@cache
def pool() -> tuple[Record, ...]:
    """Records that meet in the same slots: older and newer, tombstones, own and delegated."""
    made = []
    for step in range(3):
        for key in KEYS:
            made.extend(
                a_record(key=key, now=NOW + step, accepts=accepts)
                for accepts in (Accepts.USER, Accepts.TRUNK)
            )
            made.append(a_record(key=key, now=NOW + step, tombstone=True))
            made.extend(
                a_record(Kind.NUMBER, NUMBER, key=key, account=account, now=NOW + step)
                for account in (ACCOUNT, THIEF)
            )
        for tombstone in (True, False):
            own = a_record(Kind.NUMBER, NUMBER, now=NOW + step + 0.5, tombstone=tombstone)
            made += [own_word(own)]
    return tuple(made)


def own_word(record: Record) -> Record:
    """The same, said by the account key itself."""
    return Record(
        kind=record.kind,
        owner=ACCOUNT.id,
        label=record.label,
        publisher=ACCOUNT.id,
        issued=record.issued,
        ttl=record.ttl,
        payload=record.payload,
    ).signed(ACCOUNT, NET)


picks = st.lists(st.integers(0, 35), max_size=8).map(
    lambda indexes: tuple(pool()[i % len(pool())] for i in indexes)
)


@settings(max_examples=100, deadline=None)
@given(picks, picks, picks)
def test_merge_is_commutative_associative_and_idempotent(
    one: tuple[Record, ...], two: tuple[Record, ...], three: tuple[Record, ...]
) -> None:
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == merge(one) == merge(merge(one))


@settings(max_examples=60, deadline=None)
@given(picks)
def test_a_store_holds_the_merge_in_whatever_order_records_came(
    records: tuple[Record, ...],
) -> None:
    forth, back = RecordStore(lambda _: 0), RecordStore(lambda _: 0)
    for record in records:
        forth.put(record)
    for record in reversed(records):
        back.put(record)
        back.put(record)
    expected = {
        record.hash
        for key in {r.key for r in records}
        for record in merge(tuple(r for r in records if r.key == key))
    }
    assert {record.hash for record in forth} == expected
    assert {record.hash for record in back} == expected
    assert forth.used == back.used


def test_no_replay_undoes_a_tombstone() -> None:
    """In no order; and the tombstone outlives every replay of what it killed."""
    old, stone = a_record(now=NOW), a_record(now=NOW + 1, tombstone=True)
    for order in permutations([old, stone, old]):
        store = RecordStore(lambda _: 0)
        codes = [store.put(record) for record in order]
        assert list(store) == [stone]
        assert STORED in codes
    late = NOW + old.ttl + CLOCK_SKEW_S
    store = RecordStore(lambda _: 0)
    store.put(stone)
    assert store.expire(now=UnixTime(late)) == 0, (
        "the tombstone outlives every replay of the record"
    )


def test_slots_and_bytes_of_a_key_are_limited() -> None:
    """Nine claims of one number: the ninth has no place, and the first eight stay."""
    store = RecordStore(lambda _: 0)
    claims = [a_record(Kind.NUMBER, NUMBER, key=NodeKey(bytes([n]) * 32)) for n in range(20, 29)]
    assert [store.put(claim) for claim in claims] == [STORED] * MAX_SLOTS + [FULL]
    assert set(store) == set(claims[:MAX_SLOTS])
    assert sum(len(claim.envelope) for claim in store) <= MAX_KEY_BYTES
    assert store.put(claims[0]) == STORED


def test_far_records_are_refused_and_the_farthest_leave_first() -> None:
    """A rank of 160 is outside; over the byte limit those of highest rank go."""
    ranks: dict[bytes, int] = {}
    store = RecordStore(lambda position: ranks.get(position, 0), max_bytes=20_000)
    records = [a_record(label=f"u{n}") for n in range(40)]
    for rank, record in enumerate(records):
        for position in positions(record.key):
            ranks[position] = 2 * rank
    for record in records[::-1]:
        store.put(record)
    assert 0 < store.used <= 20_000
    assert records[0] in set(store)
    kept = {record.label for record in store}
    assert kept == {f"u{n}" for n in range(len(kept))}
    for position in positions(records[39].key):
        ranks[position] = REGION_CAP
    assert store.put(records[39]) == OUTSIDE_REGION


def test_a_publisher_has_a_quota() -> None:
    """Beyond its share of the store a publisher is refused; others are not."""
    store = RecordStore(lambda _: 0, max_bytes=1_400_000)
    record = a_record()
    codes = [
        store.put(replace(record, key=number.to_bytes(32, "big")))
        for number in range(PUBLISHER_BASE + 220)
    ]
    assert codes[:PUBLISHER_BASE] == [STORED] * PUBLISHER_BASE
    assert codes[-1] == FULL
    assert store.put(a_record(key=KEYS[1])) == STORED


class StoreWalk(RuleBasedStateMachine):
    """Puts in any order with the clock going on; a dict says what must be held."""

    def __init__(self) -> None:
        super().__init__()
        self.store = RecordStore(lambda _: 0)
        self.now = NOW
        self.held: dict[tuple[bytes, bytes], Record] = {}

    @rule(index=st.integers(0, 100))
    def put(self, index: int) -> None:
        record = pool()[index % len(pool())]
        code = self.store.put(record)
        held = self.held.get(record.slot)
        revoked = any(revokes(own, record) for own in self.held.values())
        if held is not None:
            assert code == (STORED if record.rank >= held.rank else NEWER_HELD)
        else:
            assert code == (NEWER_HELD if revoked else STORED)
        if code == STORED:
            self.held[record.slot] = record
            self.held = {
                slot: other for slot, other in self.held.items() if not revokes(record, other)
            }

    @rule(seconds=st.integers(0, 60_000))
    def wait(self, seconds: int) -> None:
        self.now = UnixTime(self.now + seconds)
        gone = [s for s, r in self.held.items() if self.now > r.expires + CLOCK_SKEW_S]
        assert self.store.expire(now=self.now) == len(gone)
        for slot in gone:
            del self.held[slot]

    @invariant()
    def holds_what_it_should(self) -> None:
        assert set(self.store) == set(self.held.values())
        assert self.store.used == sum(1024 + len(r.envelope) for r in self.held.values())
        for key in {record.key for record in pool()}:
            mine = [
                r
                for r in self.held.values()
                if r.key == key and self.now <= r.expires + CLOCK_SKEW_S
            ]
            assert set(self.store.at_key(key, now=self.now)) == set(mine)


TestStoreWalk = StoreWalk.TestCase
TestStoreWalk.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
