"""Which address a phone or node is told by a node behind a static NAT."""

from ipaddress import ip_network

import pytest

from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from node.names import OwnNames
from node.outer import OuterAddresses
from node.sip.flow import Flow

INNER, OUTER = "192.168.1.5", "5.6.7.8"
INNER6, OUTER6 = "fd00::5", "2a01::8"


def behind(
    outer: tuple[str, ...] = (OUTER, OUTER6), inside: tuple[str, ...] = ()
) -> OuterAddresses:
    addresses = OuterAddresses(outer, inside)
    addresses.set_attached([ip_network("192.168.1.0/24"), ip_network("fd00::/64")])
    return addresses


@pytest.mark.parametrize(
    ("local", "remote", "told"),
    [
        (INNER, "9.9.9.9", OUTER),
        (INNER, "192.168.1.77", INNER),
        (INNER, "10.20.0.7", INNER),  # a further private network of the same site
        (INNER, "100.64.3.4", INNER),
        (INNER, OUTER, OUTER),  # led back in by the NAT
        ("127.0.0.1", "127.0.0.9", "127.0.0.1"),
        ("127.0.0.1", OUTER, OUTER),
        ("4.4.4.4", "9.9.9.9", "4.4.4.4"),  # an interface that is outside itself
        (INNER6, "2a02::1", OUTER6),
        (INNER6, "fd00::77", INNER6),
        (INNER6, "fe80::1", INNER6),
    ],
)
def test_who_is_outside_is_told_the_outer_address(local: str, remote: str, told: str) -> None:
    assert behind().facing(local, remote) == told


def test_each_family_has_its_own_outer_address() -> None:
    assert behind((OUTER,)).facing(INNER6, "2a02::1") == INNER6
    assert behind((OUTER6,)).facing(INNER, "9.9.9.9") == INNER
    assert OuterAddresses().facing(INNER, "9.9.9.9") == INNER
    assert behind((OUTER6, OUTER)).addresses == (OUTER, OUTER6)


def test_behind_a_nat_within_a_private_network_others_of_it_are_outside() -> None:
    """Only attached and listed networks are inside then."""
    nested = behind(("10.9.0.1",), inside=("172.16.4.0/24",))
    assert nested.facing(INNER, "10.9.3.3") == "10.9.0.1"
    assert nested.facing(INNER, "172.16.4.9") == INNER
    assert nested.facing(INNER, "192.168.1.9") == INNER


def test_listed_networks_are_inside_though_they_are_public() -> None:
    assert behind(inside=("9.9.9.0/24",)).facing(INNER, "9.9.9.9") == INNER


def test_a_node_answers_for_its_outer_addresses() -> None:
    names = OwnNames(
        NodeKey(bytes(32)).id, domains=[], addresses=[INNER], sip_port=5070, outer=behind()
    )
    assert names.is_own(OUTER, 5070)
    assert names.is_own(f"[{OUTER6}]", None)
    assert not names.is_own(OUTER, 5060)
    assert names.addresses == {INNER, OUTER, OUTER6}
    six = Flow("TCP", Endpoint(INNER6, 5070), Endpoint("2a02::1", 4000), 1)
    assert names.reached_at(six) == f"[{OUTER6}]:5070"
