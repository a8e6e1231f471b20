"""The lookup core against whatever Hypothesis lets other nodes say."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dht.candidates import MAX_CANDIDATES, MAX_ENDPOINTS
from dht.lookup import AGREEING, MAX_ASKS, MAX_SAMPLES, Ask, Lookup, Seed
from dht.messages import ContactEntry
from dht.overlay_id import OverlayId
from dht.record import Record
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from tests.support.dht_records import NOW, a_record

BUDGET = 4.0
OWN = OverlayId(bytes([255]) * 32)
TARGET = bytes(32)
OLD, NEW = a_record(now=NOW), a_record(now=NOW + 1)


def entry(rng: random.Random, *, near: bool = False) -> ContactEntry:
    """A made-up node, perhaps right beside the target."""
    head = bytes(8) if near else rng.randbytes(8)
    host = f"{rng.randint(1, 99)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    return ContactEntry(OverlayId(head + rng.randbytes(24)), Endpoint(host, 7060))


class Run:
    """Drives a lookup with a virtual clock; events come in the order of their times."""

    def __init__(self, lookup: Lookup, rng: random.Random) -> None:
        self.lookup, self.rng, self.now = lookup, rng, Monotonic(0.0)
        self.waiting: list[tuple[float, int, Ask]] = []
        self.asked: list[Ask] = []
        self.add(lookup.start(now=self.now))

    def add(self, asks: list[Ask]) -> None:
        for ask in asks:
            self.asked.append(ask)
            delay = self.rng.choice([0.01, 0.05, 0.3, 0.9, 2.0])
            self.waiting.append((self.now + delay, len(self.asked), ask))

    def to_the_end(self, behave: "Script") -> None:
        steps = 0
        while self.lookup.outcome is None:
            steps += 1
            assert steps < 5_000, "the lookup does not end"
            timer = self.lookup.next_timer()
            first = min(self.waiting, default=None)
            if first is None or timer < first[0]:
                self.now = Monotonic(max(self.now, timer))
                self.add(self.lookup.handle_timer(now=self.now))
                continue
            self.waiting.remove(first)
            self.now = Monotonic(max(self.now, first[0]))
            answer = behave(first[2], self.rng)
            if answer is None:
                self.add(self.lookup.failed(first[2], now=self.now))
            elif first[2].radius is not None:
                contacts, _ = answer
                self.add(self.lookup.sampled(first[2].id, contacts=contacts, now=self.now))
            else:
                contacts, records = answer
                self.add(
                    self.lookup.answered(
                        first[2].id,
                        contacts=contacts,
                        records=records,
                        endpoint=first[2].endpoint,
                        now=self.now,
                    )
                )


Reply = tuple[list[ContactEntry], tuple[Record, ...]] | None


class Script:
    """Peers that are silent, lie, flood or tell the truth, as the numbers say."""

    def __init__(self, kinds: list[int]) -> None:
        self.kinds = kinds or [0]

    def __call__(self, ask: Ask, rng: random.Random) -> Reply:
        match self.kinds[ask.id[-1] % len(self.kinds)]:
            case 0:
                return [], ()
            case 1:
                return None
            case 2:
                return [entry(rng, near=True) for _ in range(20)], ()
            case 3:
                return [entry(rng) for _ in range(500)], (OLD,)
            case 4:
                same = entry(rng).endpoint
                return [ContactEntry(entry(rng, near=True).id, same) for _ in range(20)], ()
            case 5:
                return [
                    ContactEntry(ask.id, entry(rng).endpoint),
                    ContactEntry(OWN, same_host()),
                ], ()
            case _:
                return [entry(rng) for _ in range(3)], (NEW,)


def same_host() -> Endpoint:
    return Endpoint("192.0.2.1", 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=12),
    st.integers(0, 60),
    st.booleans(),
    st.sampled_from([0, 2**200, 2**256 - 1]),
    st.integers(0, 2**32),
)
def test_no_script_of_replies_breaks_the_budgets(
    kinds: list[int], seeds: int, wants_records: bool, radius: int, seed: int
) -> None:
    """It ends in time, asks no more than it may, and nobody twice at one address."""
    rng = random.Random(seed)
    lookup = Lookup(
        TARGET,
        own_id=OWN,
        seeds=[Seed(entry(rng)) for _ in range(seeds)],
        wants_records=wants_records,
        radius=radius,
        deadline=Monotonic(BUDGET),
    )
    run = Run(lookup, rng)
    run.to_the_end(Script(kinds))
    assert run.now <= BUDGET
    assert lookup.outcome is not None
    assert len(run.asked) == lookup.outcome.asked <= MAX_ASKS
    assert len(lookup._peers) <= MAX_CANDIDATES
    pairs = [(ask.id, ask.endpoint, ask.radius) for ask in run.asked]
    assert len(pairs) == len(set(pairs))
    for id_ in {ask.id for ask in run.asked}:
        assert sum(ask.id == id_ and ask.radius is None for ask in run.asked) <= MAX_ENDPOINTS
    assert sum(ask.radius is not None for ask in run.asked) <= MAX_SAMPLES
    assert OWN not in {ask.id for ask in run.asked}
    assert list(lookup.outcome.distances) == sorted(lookup.outcome.distances)
    assert lookup.answered(OWN, contacts=[], endpoint=same_host(), now=run.now) == []
    assert lookup.handle_timer(now=Monotonic(99.0)) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_the_newest_record_wins(seeds: int, seed: int, data: st.DataObject) -> None:
    """If anybody who is asked holds the newer record, it is in the result, unless three agreed."""
    rng = random.Random(seed)
    entries = [entry(rng) for _ in range(seeds)]
    holds = {e.id: data.draw(st.sampled_from([(), (OLD,), (NEW,)])) for e in entries}
    lookup = Lookup(
        TARGET,
        own_id=OWN,
        seeds=[Seed(e) for e in entries],
        wants_records=True,
        deadline=Monotonic(BUDGET),
    )
    run = Run(lookup, rng)
    heard: list[tuple[Record, ...]] = []

    class Truth(Script):
        def __call__(self, ask: Ask, rng: random.Random) -> Reply:
            heard.append(holds[ask.id])
            return [], holds[ask.id]

    run.to_the_end(Truth([]))
    assert lookup.outcome is not None
    found = [record for records in heard for record in records]
    assert lookup.outcome.records == (() if not found else (NEW,) if NEW in found else (OLD,))
    if len(run.asked) > len(heard) and found:
        assert heard.count(lookup.outcome.records) >= AGREEING or run.waiting


def test_without_anybody_to_ask_the_outcome_is_there_at_once() -> None:
    lookup = Lookup(TARGET, own_id=OWN, seeds=[], wants_records=True, deadline=Monotonic(4.0))
    assert lookup.start(now=Monotonic(0.0)) == []
    assert lookup.outcome is not None
    assert lookup.outcome.conclusive
    assert lookup.outcome.is_whole_network


def test_silence_is_inconclusive() -> None:
    """Three of four must answer before absence counts."""
    for silent, conclusive in ((0, True), (1, True), (2, False), (4, False)):
        rng = random.Random(silent)
        entries = [entry(rng) for _ in range(4)]
        quiet = {e.id for e in entries[:silent]}
        lookup = Lookup(
            TARGET,
            own_id=OWN,
            seeds=[Seed(e) for e in entries],
            wants_records=True,
            deadline=Monotonic(4.0),
        )

        class Partly(Script):
            def __call__(self, ask: Ask, rng: random.Random, quiet: object = quiet) -> Reply:
                return None if ask.id in quiet else ([], ())  # type: ignore[operator]

        Run(lookup, rng).to_the_end(Partly([]))
        assert lookup.outcome is not None
        assert lookup.outcome.conclusive is conclusive


def test_paths_stay_disjoint() -> None:
    """What one path's peer names is not followed by another path before the closing round."""
    rng = random.Random(7)
    lookup = Lookup(
        TARGET,
        own_id=OWN,
        seeds=[Seed(entry(rng)) for _ in range(40)],
        wants_records=False,
        deadline=Monotonic(4.0),
    )
    first = lookup.start(now=Monotonic(0.0))
    assert len(first) == 8
    liar = first[0]
    friends = [
        ContactEntry(OverlayId(bytes(8) + rng.randbytes(24)), Endpoint(f"192.0.{n}.1", 7060))
        for n in range(20)
    ]
    asks = lookup.answered(liar.id, contacts=friends, endpoint=liar.endpoint, now=Monotonic(0.01))
    assert len(asks) == 1
    for honest in first[1:]:
        for ask in lookup.answered(
            honest.id, contacts=[], endpoint=honest.endpoint, now=Monotonic(0.02)
        ):
            assert ask.id not in {friend.id for friend in friends}
