"""The hosts and ports that mean this node, and the port that each transport has."""

import pytest

from federation.model.identity import NodeKey
from node.names import OwnNames

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
