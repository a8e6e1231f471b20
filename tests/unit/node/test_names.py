"""The hosts and ports that mean this node, and the port that each transport has."""

from dataclasses import replace

import pytest

from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from node.names import MAX_SEEN, OwnNames
from node.outer import OuterAddresses
from node.sip.flow import Flow

NAMES = OwnNames(
    NodeKey(bytes(32)).id,
    domains=["Example.org"],
    addresses=["192.0.2.7", "2001:db8::7"],
    sip_port=5070,
    tls_port=5071,
)


@pytest.mark.parametrize(
    ("host", "port", "own"),
    [
        ("192.0.2.7", None, True),
        ("192.0.2.7", 5070, True),
        ("192.0.2.7", 5071, True),
        ("[2001:DB8::7]", 5071, True),
        ("192.0.2.7", 5060, False),
        ("192.0.2.8", 5071, False),
        ("example.ORG.", 5071, True),
        ("other.example", 5071, False),
    ],
)
def test_addresses_count_with_a_port_of_this_node(host: str, port: int | None, own: bool) -> None:
    assert NAMES.is_own(host, port) is own


def test_each_transport_has_its_port() -> None:
    assert [NAMES.port_of(name) for name in ("UDP", "TCP", "TLS")] == [5070, 5070, 5071]


def test_where_servers_see_this_node_counts_for_them_where_no_outer_address_is_known() -> None:
    server, seen = Endpoint("198.51.100.7", 5060), Endpoint("203.0.113.5", 41000)
    flow = Flow("UDP", Endpoint("192.168.1.2", 5070), server)
    for outer, told in ((None, "203.0.113.5:41000"), ("203.0.113.9", "203.0.113.9:5070")):
        names = OwnNames(
            NodeKey(bytes(32)).id,
            domains=[],
            addresses=["192.168.1.2"],
            sip_port=5070,
            outer=OuterAddresses([] if outer is None else [outer]),
        )
        assert not names.is_own("203.0.113.5", 41000)
        names.learn(server, seen)
        assert names.reached_at(flow) == told
        assert names.is_own("203.0.113.5", 41000)
        assert not names.is_own("203.0.113.5", 41001)
        elsewhere = replace(flow, remote=Endpoint("198.51.100.8", 5060))
        assert names.reached_at(elsewhere).endswith(":5070")
        assert names.reached_at(replace(flow, transport="TCP")).endswith(":5070")
        for port in range(MAX_SEEN + 5):
            names.learn(Endpoint("198.51.100.9", port), seen)
        assert len(names._seen) <= MAX_SEEN


def test_where_a_server_sees_this_node_is_its_own_address_with_a_port_that_the_nat_kept() -> None:
    names = OwnNames(NodeKey(bytes(32)).id, domains=[], addresses=["192.168.1.2"], sip_port=5070)
    names.learn(Endpoint("198.51.100.7", 5060), Endpoint("203.0.113.5", 5070))
    flow = Flow("UDP", Endpoint("192.168.1.2", 5070), Endpoint("198.51.100.7", 5060))
    assert names.reached_at(flow) == "203.0.113.5:5070"
    assert names.is_own("203.0.113.5", 5070)
    assert not names.is_own("203.0.113.5", None)
    assert not names.is_own("203.0.113.6", 5070)
