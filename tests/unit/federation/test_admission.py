"""Which link makes room: by network, never one under use."""

from dataclasses import dataclass

import pytest

from federation import admission
from federation.admission import MAX_LINKS, MAX_LINKS_FROM_GROUP, room_for
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic


@dataclass(eq=False)
class Seat:
    endpoint: Endpoint | None
    up_at: Monotonic | None
    is_dialler: bool
    exchange_count: int


def at(host: str, since: float = 1.0, *, busy: bool = False, ours: bool = False) -> Seat:
    return Seat(Endpoint(host, 7060), Monotonic(since), ours, int(busy))


def full(hosts: list[str], *, busy: bool = False) -> list[Seat]:
    """As many links as one network may have, the oldest first."""
    return [at(hosts[n % len(hosts)], float(n + 1), busy=busy) for n in range(MAX_LINKS_FROM_GROUP)]


@pytest.mark.parametrize(
    ("hosts", "newcomer"),
    [
        (["9.9.9.1", "9.9.9.2"], "9.9.9.3"),
        (["2001:4860:1:1::1", "2001:4860:1:2::1"], "2001:4860:1:ffff::1"),
        (["192.168.1.5"], "192.168.1.5"),
        (["127.0.0.1"], "127.0.0.1"),
    ],
)
def test_a_network_with_its_share_gives_up_its_oldest(hosts: list[str], newcomer: str) -> None:
    seated = full(hosts)
    assert room_for(at(newcomer), seated[1:]) == []
    assert room_for(at(newcomer), seated) == [seated[0]]
    seated[0].exchange_count = 1
    assert room_for(at(newcomer), seated) == [seated[1]]
    assert room_for(at(newcomer), full(hosts, busy=True)) is None


@pytest.mark.parametrize("newcomer", ["9.9.8.1", "10.0.0.7", "2001:4860:1::1"])
def test_other_networks_are_not_touched(newcomer: str) -> None:
    assert room_for(at(newcomer), full(["9.9.9.1"], busy=True)) == []


def test_on_a_lan_each_address_has_its_own_share() -> None:
    assert room_for(at("192.168.1.6"), full(["192.168.1.5"], busy=True)) == []


def test_what_this_node_dials_is_neither_counted_nor_limited() -> None:
    seated = full(["9.9.9.1"], busy=True)
    assert room_for(at("9.9.9.2", ours=True), seated) == []
    for seat in seated:
        seat.is_dialler = True
    assert room_for(at("9.9.9.2"), seated) == []


def test_with_no_place_left_the_most_crowded_network_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "MAX_LINKS", 6)
    called = at("8.8.8.8", 0.0, ours=True)
    crowd = [at("9.9.9.1", 5.0), at("9.9.9.2", 4.0), at("9.9.9.3", 3.0, busy=True)]
    alone = [at("7.7.7.7", 1.0), at("6.6.6.6", 2.0)]
    seated = [called, *crowd, *alone]
    assert room_for(at("5.5.5.5"), seated[1:]) == []
    assert room_for(at("5.5.5.5"), seated) == [crowd[1]]
    for seat in crowd:
        seat.exchange_count = 1
    assert room_for(at("5.5.5.5"), seated) == [alone[0]]
    for seat in alone:
        seat.exchange_count = 1
    assert room_for(at("5.5.5.5"), seated) == [called]
    for seat in seated:
        seat.exchange_count = 1
    assert room_for(at("5.5.5.5"), seated) is None


def test_one_stranger_cannot_fill_all_places() -> None:
    """Sixteen networks it would take; and whoever called is not among those who go."""
    assert MAX_LINKS // MAX_LINKS_FROM_GROUP >= 16
