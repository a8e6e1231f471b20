"""Whom a lookup waits for, and how long."""

from dht.lookup import FURTHER_AFTER_S, PATH_WIDTH, PATHS, Ask, Lookup, Seed
from dht.messages import ContactEntry
from dht.overlay_id import OverlayId
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic

T0 = Monotonic(0.0)


def an_entry(distance: int) -> ContactEntry:
    """A node at a distance from the target zero, in a network of its own."""
    endpoint = Endpoint(f"20.{distance // 250}.{distance % 250}.1", 7060)
    return ContactEntry(OverlayId(distance.to_bytes(32, "big")), endpoint)


def a_lookup(seeds: list[Seed]) -> tuple[Lookup, list[Ask]]:
    lookup = Lookup(
        bytes(32),
        own_id=OverlayId(bytes([255]) * 32),
        seeds=seeds,
        wants_records=True,
        deadline=Monotonic(4.0),
    )
    return lookup, lookup.start(now=T0)


def test_a_contact_known_to_be_slow_holds_a_path_up_no_longer_than_a_stranger() -> None:
    lookup, asks = a_lookup([Seed(an_entry(n), patience=1.5) for n in range(1, 41)])
    assert len(asks) == PATHS
    assert {ask.patience for ask in asks} == {1.5}  # it may still answer that late
    assert lookup.next_timer() == FURTHER_AFTER_S
    further = lookup.handle_timer(now=Monotonic(FURTHER_AFTER_S))
    assert len(further) == PATHS
    assert not {ask.id for ask in asks} & {ask.id for ask in further}


def test_a_quick_contact_is_waited_for_as_long_as_it_needs() -> None:
    lookup, _ = a_lookup([Seed(an_entry(n), patience=0.1) for n in range(1, 41)])
    assert lookup.next_timer() == 0.1


def walked(suspects: set[int], seeds: int = 40) -> list[int]:
    """The distances of those asked first when seeds at these distances did not answer before."""
    _, asks = a_lookup([Seed(an_entry(n), is_suspect=n in suspects) for n in range(1, seeds + 1)])
    return [ask.id.number for ask in asks]


def test_paths_begin_with_contacts_that_answered_last_time() -> None:
    assert walked(set()) == list(range(1, PATHS + 1))
    assert walked(set(range(1, 11))) == list(range(11, 11 + PATHS))


def test_with_too_few_others_suspects_are_asked_like_everybody() -> None:
    assert walked(set(range(1, 25))) == list(range(1, PATHS + 1))


def test_suspects_are_asked_when_the_region_is() -> None:
    """Who does not answer counts against the proof of absence, so the closing round asks them."""
    lookup, asks = a_lookup([Seed(an_entry(n), is_suspect=n < 4) for n in range(1, 41)])
    heard: list[int] = []
    now = 0.0
    while asks and lookup.outcome is None:
        now += 0.01
        ask = asks.pop(0)
        heard.append(ask.id.number)
        asks += lookup.answered(ask.id, contacts=(), endpoint=ask.endpoint, now=Monotonic(now))
    assert not {1, 2, 3} & set(heard[: PATHS * PATH_WIDTH])
    assert {1, 2, 3} <= set(heard)
    assert lookup.outcome is not None
    assert lookup.outcome.conclusive
