"""Whom a lookup believes: credit of namers, votes for addresses, samples of crowded regions."""

import random

from dht.candidates import DISCREDITED_AFTER, FAILED, MAX_CANDIDATES, Candidates
from dht.lookup import (
    AGREEING,
    AGREEING_ANYWAY,
    CROWDED,
    MAX_SAMPLES,
    PARALLEL,
    Ask,
    Lookup,
    Seed,
)
from dht.messages import ContactEntry
from dht.overlay_id import OverlayId
from dht.region import MOST_IN_REGION, RegionEstimator
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from tests.support.dht_records import NOW, a_record

OWN = OverlayId(bytes([255]) * 32)
T0 = Monotonic(0.0)
OLD, NEW = a_record(now=NOW), a_record(now=NOW + 1)


def an_entry(distance: int, group: int | None = None) -> ContactEntry:
    """A node at a distance from the target zero, in a network of its own."""
    n = distance % 60_000 if group is None else group
    return ContactEntry(
        OverlayId(distance.to_bytes(32, "big")), Endpoint(f"20.{n // 250}.{n % 250}.1", 7060)
    )


def a_lookup(seeds: list[ContactEntry], *, radius: int = 0, wants_records: bool = True) -> Lookup:
    return Lookup(
        bytes(32),
        own_id=OWN,
        seeds=[Seed(entry) for entry in seeds],
        wants_records=wants_records,
        radius=radius,
        deadline=Monotonic(4.0),
    )


def test_the_address_that_most_have_named_is_tried_first() -> None:
    candidates = Candidates(0)
    namers = [candidates.name(an_entry(n), None, path=0, patience=1.0) for n in range(10, 14)]
    true, false = Endpoint("8.8.8.8", 1), Endpoint("9.9.9.9", 1)
    id_ = OverlayId((5).to_bytes(32, "big"))
    named = candidates.name(ContactEntry(id_, false), namers[0], path=0, patience=1.0)
    for namer in namers[1:]:
        candidates.name(ContactEntry(id_, true), namer, path=0, patience=1.0)
    assert named is not None
    assert [named.best_way().endpoint, named.best_way().endpoint] == [true, false]


def test_credit_is_lost_by_silence_and_won_back_by_answers() -> None:
    """Doubted after one silence, discredited after three; a single answer restores trust."""
    candidates = Candidates(0)
    liar = candidates.name(an_entry(100), None, path=0, patience=1.0)
    named = [candidates.name(an_entry(n), liar, path=0, patience=1.0) for n in range(1, 8)]
    assert liar is not None
    first, second, third, fourth, *_, last = named
    for silent in (first, second, third):
        assert silent is not None
        silent.best_way()
        silent.was_silent()
    assert last is not None
    assert last.is_doubted
    assert last.is_discredited
    assert not liar.is_doubted
    assert fourth is not None
    fourth.best_way()
    fourth.was_heard()
    assert last.is_doubted
    assert not last.is_discredited
    honest = candidates.name(an_entry(101), None, path=0, patience=1.0)
    candidates.name(last.entry, honest, path=0, patience=1.0)
    assert not last.is_doubted
    assert DISCREDITED_AFTER == 3


def test_the_nearest_are_kept_when_there_is_no_room() -> None:
    candidates = Candidates(0)
    for n in range(MAX_CANDIDATES):
        candidates.name(an_entry((n + 2) * 1_000, group=n), None, path=0, patience=1.0)
    farthest = candidates.get(an_entry((MAX_CANDIDATES + 1) * 1_000).id)
    assert candidates.name(an_entry(1, group=5_000), None, path=0, patience=1.0) is not None
    assert candidates.name(an_entry(10**9, group=5_001), None, path=0, patience=1.0) is None
    assert len(candidates) == MAX_CANDIDATES
    assert farthest is not None
    assert farthest.state == FAILED
    assert [c.distance for c in candidates] == sorted(c.distance for c in candidates)


def ids(asks: list[Ask]) -> set[OverlayId]:
    return {ask.id for ask in asks}


def test_three_agree_if_nobody_may_object_and_five_agree_anyway() -> None:
    entries = [an_entry(n) for n in range(1, 9)]
    lookup = a_lookup(entries)
    assert ids(lookup.start(now=T0)) == {entry.id for entry in entries}

    def answer(n: int, *records: object) -> None:
        lookup.answered(
            entries[n].id,
            contacts=[],
            records=records,  # type: ignore[arg-type]
            endpoint=entries[n].endpoint,
            now=T0,
        )

    for n in range(AGREEING_ANYWAY - 1):
        answer(n, OLD)
        assert lookup.outcome is None
    answer(4, NEW)
    assert lookup.outcome is None
    for n in (5, 6):
        answer(n, NEW)
    assert lookup.outcome is None
    answer(7)
    assert lookup.outcome is not None
    assert lookup.outcome.records == (NEW,)
    assert lookup.outcome.agreed
    assert len(lookup.outcome.outdated) == AGREEING_ANYWAY - 1
    assert AGREEING == 3


def test_votes_from_outside_the_region_do_not_count() -> None:
    """Far nodes that agree on an old record settle nothing while the region was not asked."""
    far = [an_entry((1 << 250) + n) for n in range(30)]
    lookup = a_lookup(far, radius=1_000)
    asked = lookup.start(now=T0)
    near = [an_entry(n) for n in range(1, 4)]
    for ask in asked:
        lookup.answered(ask.id, contacts=near, records=(OLD,), endpoint=ask.endpoint, now=T0)
    assert lookup.outcome is None


def test_a_crowded_region_is_sampled_and_another_is_not() -> None:
    for count, samples in ((CROWDED // 2, 0), (CROWDED + 10, MAX_SAMPLES)):
        seeds = [an_entry((1 << 250) + n) for n in range(30)]
        inside = [an_entry(n) for n in range(1, count + 1)]
        lookup = a_lookup(seeds, radius=10_000, wants_records=False)
        rng, asked, now = random.Random(1), lookup.start(now=T0), T0
        told: list[Ask] = []
        while asked:
            assert sum(ask.radius is None for ask in asked) <= PARALLEL + len(seeds)
            ask = asked.pop(0)
            told.append(ask)
            named = rng.sample(inside, 20)
            now = Monotonic(now + 0.001)
            if ask.radius is not None:
                asked += lookup.sampled(ask.id, contacts=named, now=now)
            else:
                asked += lookup.answered(ask.id, contacts=named, endpoint=ask.endpoint, now=now)
        assert lookup.outcome is not None
        assert sum(ask.radius is not None for ask in told) == samples
        assert {entry.id for entry in inside} <= {entry.id for entry in lookup.outcome.region}


def test_a_region_that_is_too_crowded_to_be_asked_proves_no_absence() -> None:
    """More ids within the radius than are ever asked: holders may lie behind them."""
    for count, conclusive in ((100, True), (MOST_IN_REGION + 40, False)):
        lookup = a_lookup([an_entry(n) for n in range(1, count + 1)], radius=10_000)
        asked = lookup.start(now=T0)
        while asked:
            ask = asked.pop(0)
            if ask.radius is not None:
                asked += lookup.sampled(ask.id, contacts=[], now=T0)
            else:
                asked += lookup.answered(ask.id, contacts=[], endpoint=ask.endpoint, now=T0)
        assert lookup.outcome is not None
        assert lookup.outcome.conclusive is conclusive


def test_the_radius_of_a_tiny_network_fits_an_id() -> None:
    """Fewer nodes than a region should hold: the region is everything, and 32 bytes hold it."""
    estimator = RegionEstimator()
    estimator.observe([(1 << 256) - 1 - n for n in range(20, 0, -1)])
    assert estimator.radius == (1 << 256) - 1
    assert RegionEstimator().radius_beside([(1 << 256) - 1] * 20) == (1 << 256) - 1
    assert RegionEstimator().radius_beside([1 << 200] * 19) == 0
    assert RegionEstimator().radius_beside([1 << 200] * 20) == (1 << 200) * 25 // 20
