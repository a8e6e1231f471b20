"""When an address is believed that peers see this node at."""

import pytest

from dht.observed import MAX_NETWORKS, SEEN_S, ObservedAddresses, OuterAddress
from dht.reachability import FamilyReach
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic

OUTER, OTHER = Endpoint("5.6.7.8", 7060), Endpoint("5.6.7.9", 7060)
REACHED = (FamilyReach(4, True, 3, 3), FamilyReach(6, True, 3, 3))
UNREACHED = (FamilyReach(4, False, 2, 3), FamilyReach(6, False, 0, 0))


def peer(network: int) -> Endpoint:
    return Endpoint(f"9.{network}.0.1", 7060)


def seen_by(*networks: int, at: Endpoint = OUTER, now: float = 0.0) -> ObservedAddresses:
    observed = ObservedAddresses()
    note(observed, *networks, at=at, now=now)
    return observed


def note(
    observed: ObservedAddresses, *networks: int, at: Endpoint = OUTER, now: float = 0.0
) -> None:
    for network in networks:
        observed.note(at, peer(network), now=Monotonic(now))


def outer(
    observed: ObservedAddresses,
    now: float = 1.0,
    *,
    reach: tuple[FamilyReach, ...] = REACHED,
    hosts: tuple[str, ...] = ("10.0.0.5",),
) -> tuple[OuterAddress, ...]:
    return observed.outer(reach, hosts, now=Monotonic(now))


def test_three_networks_that_agree_are_believed() -> None:
    assert outer(seen_by(1, 2)) == ()
    assert outer(seen_by(1, 2, 3)) == (OuterAddress(OUTER, 3),)


def test_many_peers_of_one_network_count_once() -> None:
    observed = ObservedAddresses()
    for number in range(9):
        observed.note(OUTER, Endpoint(f"9.1.{number}.1", 7060), now=Monotonic(0))
    assert outer(observed) == ()


def test_an_address_that_lets_nothing_in_is_none() -> None:
    assert outer(seen_by(1, 2, 3, 4), reach=UNREACHED) == ()


def test_a_third_that_lies_does_no_harm_and_a_half_stops_it() -> None:
    observed = seen_by(1, 2, 3, 4)
    note(observed, 5, 6, at=OTHER)
    assert outer(observed) == (OuterAddress(OUTER, 4),)
    fresh = seen_by(1, 2, 3, 4)
    note(fresh, 5, 6, 7, at=OTHER)
    assert outer(fresh) == ()


def test_a_nat_with_a_port_for_each_peer_shows_nothing() -> None:
    observed = ObservedAddresses()
    for number in range(1, 9):
        note(observed, number, at=Endpoint(OUTER.host, 40_000 + number))
    assert outer(observed) == ()


def test_an_own_address_is_no_outer_one() -> None:
    assert outer(seen_by(1, 2, 3), hosts=(OUTER.host,)) == ()


@pytest.mark.parametrize(
    ("seen", "asked"),
    [
        (OUTER, Endpoint("192.168.1.9", 7060)),
        (Endpoint("10.0.0.7", 7060), peer(1)),
        (Endpoint("2a01::8", 7060), peer(1)),
    ],
)
def test_what_peers_near_by_or_of_the_other_family_say_does_not_count(
    seen: Endpoint, asked: Endpoint
) -> None:
    observed = seen_by(2, 3)
    observed.note(seen, asked, now=Monotonic(0))
    assert outer(observed) == ()


def test_it_holds_while_seen_though_confirmations_are_sought_anew() -> None:
    observed = seen_by(1, 2, 3)
    assert outer(observed)
    assert outer(observed, reach=UNREACHED) == (OuterAddress(OUTER, 3),)
    note(observed, 1, now=SEEN_S)
    assert outer(observed, SEEN_S + 1, reach=UNREACHED) == (OuterAddress(OUTER, 1),)
    assert outer(observed, 2 * SEEN_S + 1) == ()


def test_another_address_ends_it_and_has_to_be_reached_itself() -> None:
    observed = seen_by(1, 2, 3)
    assert outer(observed)
    note(observed, 1, 2, 3, 4, at=OTHER, now=9)
    assert outer(observed, 9) == ()
    assert outer(observed, 9, reach=UNREACHED) == ()
    assert outer(observed, 9) == (OuterAddress(OTHER, 4),)


def test_views_are_bounded() -> None:
    observed = seen_by(*range(1, 3 + MAX_NETWORKS))
    assert outer(observed) == (OuterAddress(OUTER, MAX_NETWORKS),)


def test_families_stand_alone() -> None:
    observed = seen_by(1, 2, 3)
    six = Endpoint("2a01::8", 7060)
    for number in range(3):
        observed.note(six, Endpoint(f"2a0{number + 2}::1", 7060), now=Monotonic(0))
    assert outer(observed) == (OuterAddress(OUTER, 3), OuterAddress(six, 3))
