"""What a hostile answer may leave behind, and what it may cost: faults once found, kept away."""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256

import pytest

from dht import messages
from dht import store as store_module
from dht.answers import joined
from dht.candidates import Candidates
from dht.messages import MAX_CONTACTS, MAX_RECORDS, ContactEntry, Observed, Part, Records
from dht.overlay_id import MAX_WAITING, OverlayId, OverlayIdCache, overlay_id
from dht.record import Accepts, Kind, Record, record_key
from dht.store import RecordStore, merge
from dht.table import GROUP_PER_BUCKET, GROUP_PER_TABLE, Contact, SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.identity import AccountKey, NodeKey
from tests.support.dht_network import TESTNET, MemoryNetwork
from tests.support.dht_records import NET, NUMBER, a_record
from tests.support.virtual_loop import run_virtually

CPU_GOAL_S = 0.005
"What a single hostile datagram may cost."


def least_cpu(work: Callable[[], object], tries: int = 3) -> float:
    """CPU seconds of this thread, the best of some tries."""
    best = float("inf")
    for _ in range(tries):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best


def claims(count: int) -> list[Record]:
    """Claims of one number by as many accounts: anybody can sign such a thing."""
    return [
        a_record(Kind.NUMBER, NUMBER, account=AccountKey(n.to_bytes(32, "big")))
        for n in range(1, count + 1)
    ]


def test_merging_many_claims_takes_time_in_proportion() -> None:
    """Each of many hostile holders may answer with other claims; they are merged at every step."""
    answers = [(claim,) for claim in claims(800)]
    few = least_cpu(lambda: merge(*answers[:100]))
    many = least_cpu(lambda: merge(*answers))
    assert many < 8 * few * 3
    assert many < CPU_GOAL_S * 2


def test_parts_hold_no_more_than_one_answer_may() -> None:
    seen = Observed(Endpoint("127.0.0.1", 9), bytes(16))
    parts = {
        number: Part(
            number,
            3,
            seen,
            Records(
                tuple(bytes([number, n]) for n in range(MAX_RECORDS)),
                tuple(
                    ContactEntry(OverlayId(bytes([number, n]) * 16), Endpoint("127.0.0.1", 7 + n))
                    for n in range(MAX_CONTACTS)
                ),
            ),
        )
        for number in range(3)
    }
    answer = joined(parts)
    assert isinstance(answer, Records)
    assert len(answer.envelopes) == MAX_RECORDS
    assert len(answer.contacts) == MAX_CONTACTS


def test_a_full_store_makes_room_without_looking_at_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ranks asked for by one more store do not grow with what is kept."""
    asked = 0

    def rank_of(position: bytes) -> int:
        nonlocal asked
        asked += 1
        return position[0] % store_module.REGION_CAP

    store = RecordStore(rank_of, max_bytes=400_000)
    keys = [NodeKey(bytes([9, n]) + bytes(30)) for n in range(5)]
    records = [a_record(label=f"u{n}", key=keys[n % 5]) for n in range(500)]
    worst = 0
    for record in records:
        asked = 0
        store.put(record)
        worst = max(worst, asked)
    assert store.used > 390_000
    assert worst <= 8
    nearest = min(records, key=store.rank)
    assert nearest in set(store)
    assert max(map(store.rank, store)) < max(map(store.rank, records))


def test_among_equally_far_records_those_that_were_there_first_stay() -> None:
    """A flood of new records does not push out what others keep here."""
    store = RecordStore(lambda _: 3, max_bytes=100_000)
    records = [a_record(label=f"u{n}") for n in range(200)]
    codes = [store.put(record) for record in records]
    held = set(store)
    assert held == set(records[: len(held)])
    assert codes == [messages.STORED] * len(held) + [messages.FULL] * (200 - len(held))
    newer = a_record(label="u3", now=1_900_000_100.0)
    assert store.put(newer) == messages.STORED
    assert newer in set(store)


def test_naming_a_friend_twenty_times_earns_the_credit_of_once() -> None:
    candidates = Candidates(0)
    liar = candidates.name(entry(100), None, path=0, patience=1.0)
    assert liar is not None
    friend = candidates.name(entry(5), liar, path=0, patience=1.0)
    assert friend is not None
    friend.best_way()
    for _ in range(20):
        candidates.name(entry(5), liar, path=0, patience=1.0)
    friend.was_heard()
    assert liar.kept == 1


def entry(distance: int) -> ContactEntry:
    return ContactEntry(OverlayId(distance.to_bytes(32, "big")), Endpoint("127.0.0.1", distance))


def contact(number: int, host: str) -> Contact:
    key = NodeKey(number.to_bytes(32, "big"))
    id_ = OverlayId(sha256(number.to_bytes(4, "big")).digest())
    return Contact(id_, key.id, bytes(8), Endpoint(host, 7060), now=Monotonic(0.0))


def test_contacts_that_move_do_not_gather_in_one_network() -> None:
    """Each came in by another network, and answered from the one /24 afterwards."""
    table = SecureTable(OverlayId(bytes(32)))
    for number in range(40):
        mover = contact(number, f"20.0.{number}.1")
        table.add_contact(mover)
        table.moved(mover, Endpoint(f"20.99.99.{number + 1}", 7060))
    gathered = [c for c in table if c.endpoint.host.startswith("20.99.99.")]
    assert 0 < len(gathered) <= GROUP_PER_TABLE
    for bucket in table.buckets:
        mates = [c for c in bucket.nodes.values() if c in gathered]
        assert len(mates) <= GROUP_PER_BUCKET
    assert all(len(c.endpoint.host) > 3 for c in table)


def test_a_contact_that_keeps_moving_leaves_nothing_behind() -> None:
    table = SecureTable(OverlayId(bytes(32)))
    mover = contact(1, "20.0.0.1")
    table.add_contact(mover)
    for number in range(300):
        table.moved(mover, Endpoint(f"20.1.{number % 250}.{number // 250 + 1}", 7060))
        assert table.get(mover.id) is mover
    assert len(table._groups) == 1


async def test_one_pair_is_checked_once_however_many_ask_meanwhile() -> None:
    """A hostile node repeats its answer while the id behind it is still being computed."""
    computed = 0
    gate = asyncio.Event()

    async def slow(check: Callable[[], OverlayId]) -> OverlayId:
        nonlocal computed
        computed += 1
        await gate.wait()
        return check()

    ids = OverlayIdCache(NET, slow)
    key = NodeKey(bytes([5]) * 32).id
    waiting = [asyncio.ensure_future(ids.check(key, bytes(8))) for _ in range(2 * MAX_WAITING)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    other = asyncio.ensure_future(ids.check(key, bytes([1]) * 8))
    waiting[0].cancel()
    gate.set()
    await other
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert set(results[1:]) == {overlay_id(key, bytes(8), NET)}
    assert computed == 2


def test_published_means_what_was_published_last() -> None:
    """A change during a store round is waited for until its own round is over."""

    async def run() -> None:
        network = MemoryNetwork()
        one, two, three = [await network.node(n) for n in (1, 2, 3)]
        for node in (two, three):
            await node.directory.join([one.endpoint])
        await asyncio.sleep(30)
        one.directory.publish_user("alice", Accepts.USER)
        await asyncio.sleep(0.015)
        one.directory.publish_user("alice", Accepts.TRUNK)
        assert await one.directory.published(Kind.USER, "alice")
        key = record_key(Kind.USER, one.key.id, "alice", TESTNET)
        for node in (two, three):
            (record,) = node.directory._store.at_key(key, now=node.clock.unix())
            assert record.route is not None
            assert record.route.accepts is Accepts.TRUNK
        await network.close()

    run_virtually(run())
