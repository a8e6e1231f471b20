"""The smaller cores: puzzle, scope, table, pending requests, region, publisher, claims, cache."""

import asyncio
import threading
from pathlib import Path

import pytest
from kademlia import routing

from dht.messages import Ping
from dht.number_claims import MAX_QUEUED, ClaimVerifier
from dht.overlay_id import OverlayId, OverlayIdCache, PuzzleError, overlay_id, solve
from dht.pending import MAX_PENDING, Pending, PendingTable, Repeat, Silent
from dht.publisher import (
    ADDRESS_INTERVAL_S,
    FIRST_RETRY_S,
    PACE,
    PACE_BURST,
    ROUTE_INTERVAL_S,
    Issuer,
    Publication,
    Publisher,
)
from dht.record import Kind, RecordError
from dht.region import MOST_IN_REGION, RegionEstimator, region_size
from dht.scope import is_preferable, may_name, may_try
from dht.table import (
    BUCKET_SIZE,
    GROUP_PER_BUCKET,
    GROUP_PER_TABLE,
    Contact,
    DiverseBucket,
    SecureTable,
)
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemEntropy, UnixTime
from federation.model.errors import UsageError
from federation.model.identity import AccountId, AccountKey, NodeKey
from federation.model.network import Network
from federation.model.number import Number, derive_number
from tests.support.dht_network import SeededEntropy, check_inline, quick_number
from tests.support.dht_records import NODE
from tests.support.virtual_loop import LoopClock, run_virtually

T0 = Monotonic(100.0)

# Numbers and the puzzle

VECTORS = [
    (1, "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c", "089205597442847"),
    (2, "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394", "022510142910158"),
    (3, "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1", "021715428861289"),
]


@pytest.mark.parametrize(("seed", "public", "number"), VECTORS)
def test_number_vectors(seed: int, public: str, number: str) -> None:
    """The real derivation gives the numbers of docs/number-vectors.md, which names them all."""
    account = AccountKey(bytes([seed]) * 32)
    assert account.id.hex() == public
    assert derive_number(account.id) == number
    page = Path(__file__).parents[3] / "docs" / "number-vectors.md"
    assert f"| {public} | `{number}` |" in page.read_text()


def test_the_puzzle_is_solved_and_checked() -> None:
    """A solution holds for its key and network only; progress is told."""
    network = Network.named("puzzle", puzzle_bits=6)
    told: list[tuple[int, int]] = []
    nonce = solve(
        NODE.id,
        network,
        entropy=SystemEntropy(),
        threads=2,
        on_progress=lambda tries, expected: told.append((tries, expected)),
    )
    assert overlay_id(NODE.id, nonce, network) == overlay_id(NODE.id, nonce, network)
    assert told[-1][0] >= 1
    assert told[-1][1] == 64
    assert overlay_id(NODE.id, nonce, network) != overlay_id(
        NODE.id, nonce, Network.named("other", puzzle_bits=6)
    )
    wrong = 0
    for n in range(20):
        try:
            overlay_id(NODE.id, n.to_bytes(8, "big"), network)
        except PuzzleError:
            wrong += 1
    assert wrong >= 15
    with pytest.raises(PuzzleError):
        overlay_id(NODE.id, bytes(7), network)


def test_the_search_can_be_stopped() -> None:
    stop = threading.Event()
    network = Network.named("puzzle", puzzle_bits=32)
    with pytest.raises(UsageError):
        solve(
            NODE.id,
            network,
            entropy=SystemEntropy(),
            threads=1,
            stop=stop,
            on_progress=lambda tries, expected: stop.set(),
        )


def test_an_overlay_id_vector() -> None:
    """Fixed for good: nodes that disagree here do not find each other."""
    assert overlay_id(NODE.id, bytes(8), Network.named("test", puzzle_bits=0)).hex() == (
        "f54f6abc2548db51b5f634a2a449dc2d2c2b1eb7b0abcc3789ff91cfb7af6af2"
    )


async def test_ids_are_computed_once() -> None:
    computed = 0

    async def count(check: object) -> OverlayId:
        nonlocal computed
        computed += 1
        return await check_inline(check)  # type: ignore[arg-type]

    ids = OverlayIdCache(Network.named("test", puzzle_bits=6), count)
    nonce = solve(NODE.id, Network.named("test", puzzle_bits=6), entropy=SystemEntropy(), threads=1)
    assert ids.known(NODE.id, nonce) is None
    assert await ids.check(NODE.id, nonce) == await ids.check(NODE.id, nonce)
    assert computed == 1
    bad = next(n.to_bytes(8, "big") for n in range(999) if not solves(n))
    for _ in range(2):
        with pytest.raises(PuzzleError):
            await ids.check(NODE.id, bad)
    with pytest.raises(PuzzleError):
        ids.known(NODE.id, bad)
    assert computed == 2


def solves(n: int) -> bool:
    try:
        overlay_id(NODE.id, n.to_bytes(8, "big"), Network.named("test", puzzle_bits=6))
    except PuzzleError:
        return False
    return True


# Scope


def at(host: str) -> Endpoint:
    return Endpoint(host, 7060)


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("127.0.0.2", "127.0.0.1", True),
        ("127.0.0.2", "192.168.1.1", False),
        ("192.168.1.9", "192.168.1.1", True),
        ("10.0.0.9", "192.168.1.1", False),
        ("10.1.0.9", "10.2.0.1", False),
        ("192.168.1.9", "8.8.8.8", False),
        ("224.0.0.1", "224.0.0.2", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("255.255.255.255", "127.0.0.1", False),
        ("fe80::1", "fe80::2", False),
        ("fd00::1", "fd00::2", True),
        ("::1", "127.0.0.1", False),
        ("2606:4700::1", "127.0.0.1", True),
        ("9.9.9.9", "9.9.9.9", False),
    ],
)
def test_which_addresses_from_lists_may_be_tried(host: str, own: str, expected: bool) -> None:
    assert may_try(at(host), [at(own)]) is expected


@pytest.mark.parametrize(
    ("host", "asker", "expected"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("192.168.1.9", "9.9.9.9", False),
        ("192.168.1.9", "192.168.1.7", True),
        ("192.168.1.9", "127.0.0.1", True),
        ("127.0.0.1", "192.168.1.7", False),
        ("127.0.0.1", "9.9.9.9", False),
        ("127.0.0.1", "127.0.0.2", True),
        ("fe80::1", "fe80::2", False),
        ("224.0.0.1", "127.0.0.1", False),
    ],
)
def test_which_contacts_are_named_to_whom(host: str, asker: str, expected: bool) -> None:
    assert may_name(at(host), at(asker)) is expected


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("127.0.0.1", "192.168.1.5", True),
        ("192.168.1.5", "127.0.0.1", False),
        ("192.168.1.5", "8.8.8.8", True),
        ("192.168.1.6", "192.168.1.5", True),
        ("::1", "127.0.0.1", False),
        ("2606:4700::1", "8.8.8.8", False),
    ],
)
def test_nodes_that_share_networks_settle_on_one(new: str, old: str, expected: bool) -> None:
    assert is_preferable(at(new), at(old)) is expected


# The table


def a_contact(number: int, host: str = "127.0.0.1") -> Contact:
    key = NodeKey(number.to_bytes(32, "big")).id
    id_ = OverlayId(bytes(key))
    return Contact(id_, key, bytes(8), Endpoint(host, 1000 + number % 60_000), now=T0)


def test_the_table_is_exact_and_its_buckets_cover_the_space_once() -> None:
    table = SecureTable(OverlayId(bytes(32)))
    contacts = [a_contact(n) for n in range(1, 400)]
    admitted = [contact for contact in contacts if table.add_contact(contact)]
    assert len(table) == len(admitted)
    assert BUCKET_SIZE < len(admitted) < len(contacts)
    assert [b.range[0] for b in table.buckets] == table._lows
    assert table.buckets[0].range[0] == 0
    assert table.buckets[-1].range[1] == 2**256 - 1
    for one, two in zip(table.buckets, table.buckets[1:], strict=False):
        assert one.range[1] + 1 == two.range[0]
    for bucket in table.buckets:
        assert isinstance(bucket, DiverseBucket)
        assert all(bucket.has_in_range(contact) for contact in bucket.get_nodes())
        assert len(bucket) <= BUCKET_SIZE
    assert {c.id for b in table.buckets for c in b.get_nodes()} == {c.id for c in table}
    target = bytes([0x5A]) * 32
    expected = sorted(table, key=lambda c: c.long_id ^ int.from_bytes(target, "big"))
    assert table.nearest(target, 20) == expected[:20]
    assert table.find_neighbors(routing_node(target), 7) == expected[:7]


def routing_node(target: bytes) -> Contact:
    return Contact(OverlayId(target), NODE.id, bytes(8), at("127.0.0.1"), now=T0)


def test_few_contacts_of_one_network_and_any_number_on_a_lan() -> None:
    table = SecureTable(OverlayId(bytes(32)))
    for n in range(1, 60):
        table.add_contact(a_contact(n, f"8.8.8.{n}"))
    assert len(table) <= GROUP_PER_TABLE
    assert all(len(bucket) <= GROUP_PER_BUCKET for bucket in table.buckets)
    table = SecureTable(OverlayId(bytes(32)))
    assert all(table.add_contact(a_contact(n, f"192.168.1.{n}")) for n in range(1, 20))


def test_a_vacancy_is_offered_not_filled() -> None:
    """The next in line is returned, to be asked whether it lives; long-lived ones stay before."""
    table = SecureTable(OverlayId(bytes([255]) * 32))
    low = [a_contact(n) for n in range(1, 300) if NodeKey(n.to_bytes(32, "big")).id[0] < 128]
    for contact in low[:25]:
        table.add_contact(contact)
    first = table.nearest(low[0].id, 1)[0]
    assert first is low[0]
    waiting = table.remove_contact(low[0])
    assert waiting is not None
    assert waiting not in list(table)
    assert low[0].id not in table
    assert table.add_contact(waiting)


def test_other_peers_questions_touch_no_bucket() -> None:
    table = SecureTable(OverlayId(bytes(32)))
    table.add_contact(a_contact(1))
    table.nearest(bytes(32))
    table.find_neighbors(routing_node(bytes(32)))
    assert table.lonely_buckets(now=Monotonic(10_000.0)) == table.buckets
    table.looked_up(bytes(32), now=Monotonic(9_000.0))
    assert table.lonely_buckets(now=Monotonic(10_000.0)) == []


def test_the_names_used_of_kademlia_are_there() -> None:
    """Canary: what is overridden or relied on still exists in the library."""
    bucket = routing.KBucket(0, 10, 3)
    assert (bucket.range, bucket.ksize) == ((0, 10), 3)
    assert bucket.nodes == {}
    assert bucket.replacement_nodes == {}
    for name in ("split", "add_node", "remove_node", "touch_last_updated", "has_in_range"):
        assert callable(getattr(routing.KBucket, name))
    for name in ("flush", "split_bucket", "lonely_buckets", "get_bucket_for", "find_neighbors"):
        assert callable(getattr(routing.RoutingTable, name))
    table = routing.RoutingTable(None, 3, a_contact(1))
    assert len(table.buckets) == 1


def test_patience_follows_the_round_trip() -> None:
    contact = a_contact(1)
    assert contact.patience == 0.4
    for _ in range(50):
        contact.heard(now=T0, rtt=0.002)
    assert 0.05 <= contact.patience < 0.06
    for _ in range(50):
        contact.heard(now=T0, rtt=0.3)
    assert 0.3 < contact.patience < 0.5
    contact.misses = 9
    assert contact.patience == 1.5


# Pending requests


def a_pending(number: int, sends: int = 2) -> Pending[int]:
    txid = number.to_bytes(8, "big")
    return Pending(txid, at("127.0.0.1"), Ping(0), number, 0.4, sends)


def test_every_request_ends_exactly_once() -> None:
    table: PendingTable[int] = PendingTable()
    one, two = a_pending(1), a_pending(2, sends=1)
    table.sent(one, now=T0)
    table.sent(two, now=T0)
    assert table.match(one.txid, at("127.0.0.2"), NODE.id) is None
    assert table.match(one.txid, at("127.0.0.1"), NODE.id) is one
    assert table.next_timer() == T0 + 0.4
    assert table.handle_timer(now=Monotonic(T0 + 0.4)) == [Repeat(one)]
    assert table.handle_timer(now=Monotonic(T0 + 0.8)) == [Silent(two)]
    assert table.finish(one)
    assert not table.finish(one)
    assert not table.finish(two)
    assert table.handle_timer(now=Monotonic(T0 + 99)) == []
    assert table.next_timer() is None
    assert len(table) == 0


def test_requests_in_flight_are_bounded() -> None:
    table: PendingTable[int] = PendingTable()
    for n in range(MAX_PENDING):
        assert not table.is_full
        table.sent(a_pending(n), now=T0)
    assert table.is_full


# Region


def test_the_region_grows_past_ids_placed_near_a_key() -> None:
    space = 1 << 256
    estimator = RegionEstimator()
    assert estimator.size is None
    assert estimator.radius == 0
    honest = [space * n // 10_000 for n in range(1, 200)]
    for _ in range(5):
        estimator.observe(honest)
    assert 9_000 < (estimator.size or 0) < 11_000
    assert region_size(honest, estimator.radius) == 25
    crowded = sorted([*honest, *range(1, 101)])
    assert region_size(crowded, estimator.radius) == 125
    assert region_size(sorted([*honest, *range(1, 301)]), estimator.radius) == MOST_IN_REGION
    assert region_size(honest[:5], estimator.radius) == 5


# Publisher


def test_records_are_renewed_in_time_and_with_jitter() -> None:
    publisher = Publisher(entropy=SeededEntropy(1), now=T0)
    for publication, interval in (
        (Publication(kind=Kind.ADDRESS), ADDRESS_INTERVAL_S),
        (Publication(kind=Kind.USER, label="alice"), ROUTE_INTERVAL_S),
    ):
        item = publisher.put(publication, now=T0)
        assert publisher.take_due(now=T0) is item
        assert publisher.take_due(now=T0) is None
        publisher.done(item, holders=2, asked=2, now=T0)
        assert item.due is not None
        assert 0.9 * interval <= item.due - T0 <= 1.1 * interval


def test_a_round_that_nobody_took_is_tried_again_soon() -> None:
    publisher = Publisher(entropy=SeededEntropy(1), now=T0)
    item = publisher.put(Publication(kind=Kind.USER, label="alice"), now=T0)
    publisher.take_due(now=T0)
    publisher.done(item, holders=0, asked=3, now=T0)
    assert item.due is not None
    assert item.due - T0 <= 1.1 * FIRST_RETRY_S


def test_a_change_during_a_round_makes_another() -> None:
    publisher = Publisher(entropy=SeededEntropy(1), now=T0)
    item = publisher.put(Publication(kind=Kind.USER, label="alice"), now=T0)
    publisher.take_due(now=T0)
    publisher.changed(now=T0)
    assert item.due is None
    publisher.done(item, holders=2, asked=2, now=T0)
    assert item.due == T0


def test_many_records_leave_paced() -> None:
    publisher = Publisher(entropy=SeededEntropy(1), now=T0)
    for n in range(500):
        publisher.put(Publication(kind=Kind.USER, label=f"u{n}"), now=T0)
    now, taken = T0, 0
    while now < T0 + 5:
        while (item := publisher.take_due(now=now)) is not None:
            publisher.done(item, holders=1, asked=1, now=now)
            taken += 1
        now = Monotonic(now + 0.01)
    assert PACE_BURST + 5 * PACE - 2 <= taken <= PACE_BURST + 5 * PACE


def test_a_tombstone_is_sent_once_and_forgotten_when_it_has_expired() -> None:
    publisher = Publisher(entropy=SeededEntropy(1), now=T0)
    publication = Publication(kind=Kind.USER, label="alice")
    item = publisher.put(publication, now=T0)
    assert publisher.withdraw(publication.name, now=T0)
    assert not publisher.withdraw(publication.name, now=T0)
    assert publisher.take_due(now=T0) is item
    publisher.done(item, holders=2, asked=2, now=T0)
    assert item.due is None
    assert len(publisher) == 0

    item.record = Issuer(NODE, Network.named("test")).tombstone(publication, now=UnixTime(1e9))
    publisher.forget_expired(now=UnixTime(1e9 + 80_000))
    assert publisher.get(publication.name) is item
    publisher.forget_expired(now=UnixTime(1e9 + 90_000))
    assert publisher.get(publication.name) is None


def test_a_number_is_published_with_its_key_and_nothing_else_is() -> None:
    with pytest.raises(RecordError):
        Publication(kind=Kind.NUMBER, label="021715428861289")
    with pytest.raises(RecordError):
        Publication(kind=Kind.USER, label="alice", account=AccountKey(bytes([1]) * 32))


# Claims


def test_claims_of_strangers_use_a_quarter_of_a_core() -> None:
    """Each derivation of one second is followed by three of rest; who looks up waits for none."""

    async def run() -> None:
        async def slow(account: AccountId) -> Number:
            await asyncio.sleep(1.0)
            return quick_number(account)

        clock = LoopClock(asyncio.get_running_loop())
        verifier = ClaimVerifier(slow, clock=clock)
        work = asyncio.ensure_future(verifier.run())
        accounts = [AccountKey(bytes([n]) * 32).id for n in range(1, 6)]
        verdicts: list[bool] = []
        for account in accounts:
            assert verifier.enqueue(quick_number(account), account, verdicts.append)
        wrong = Number("020000000000000")
        assert verifier.enqueue(wrong, accounts[0], verdicts.append)
        await asyncio.sleep(13.5)
        assert len(verdicts) == 4
        other = AccountKey(bytes([99]) * 32).id
        before = clock.monotonic()
        assert await verifier.verify(quick_number(other), other)
        assert clock.monotonic() - before == pytest.approx(1.0)
        await asyncio.sleep(20)
        assert verdicts == [True] * 5 + [False]
        assert verifier.known(wrong, accounts[0]) is False
        work.cancel()

    run_virtually(run())


async def test_the_queue_of_claims_is_bounded() -> None:
    async def never(account: AccountId) -> Number:
        raise AssertionError(account)

    verifier = ClaimVerifier(never, clock=LoopClock(asyncio.get_running_loop()))
    number = Number("020000000000000")
    keys = [AccountId(NodeKey(n.to_bytes(32, "big")).public) for n in range(1, MAX_QUEUED + 2)]
    answers = [verifier.enqueue(number, key, lambda _: None) for key in keys]
    assert answers == [True] * MAX_QUEUED + [False]


# The peer cache
