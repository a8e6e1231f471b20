"""What a hostile answer may leave behind, and what it may cost: faults once found, kept away."""

import time
from collections.abc import Callable

import pytest

from dht import store as store_module
from dht.answers import joined
from dht.messages import MAX_CONTACTS, MAX_RECORDS, ContactEntry, Observed, Part, Records
from dht.overlay_id import OverlayId
from dht.record import Kind, Record
from dht.store import RecordStore, merge
from federation.model.address import Endpoint
from federation.model.identity import AccountKey, NodeKey
from tests.support.dht_records import NUMBER, a_record

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
    assert codes == [store_module.STORED] * len(held) + [store_module.FULL] * (200 - len(held))
    newer = a_record(label="u3", now=1_900_000_100.0)
    assert store.put(newer) == store_module.STORED
    assert newer in set(store)
