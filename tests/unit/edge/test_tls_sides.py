"""What phones on TLS see of this node: its TLS port in Via and in both Record-Routes."""

from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from node.edge.dialog import PhoneSide
from node.edge.forward import Forwarder
from node.edge.token import RouteTokens
from node.names import OwnNames
from node.sip.flow import Flow
from node.sip.headers import NameAddr
from tests.support.sip_exchange import SeededEntropy, request

NODE = NodeKey(bytes(range(32))).id
NAMES = OwnNames(NODE, domains=[], addresses=["10.0.0.1"], sip_port=5070, tls_port=5071)
TLS = PhoneSide(
    Flow("TLS", Endpoint("10.0.0.1", 5071), Endpoint("10.0.0.9", 40_000), 7), "alice", "10.0.0.1"
)
UDP = PhoneSide(
    Flow("UDP", Endpoint("10.0.0.1", 5070), Endpoint("10.0.0.8", 5060)), "bob", "10.0.0.1"
)


def forwarder() -> Forwarder:
    return Forwarder(NODE, NAMES, RouteTokens(b"k" * 32), SeededEntropy(1))


def test_the_via_names_the_transport_and_its_port() -> None:
    assert str(forwarder().via(TLS, "b1")) == "SIP/2.0/TLS 10.0.0.1:5071;rport;branch=b1"
    assert str(forwarder().via(UDP, "b1")) == "SIP/2.0/UDP 10.0.0.1:5070;rport;branch=b1"


def test_each_side_has_a_route_of_its_own_transport() -> None:
    """RFC 5658: two values where the two sides differ, the receiver's on top."""
    invite = request()
    edge = forwarder()
    edge.record_route(invite, TLS, UDP)
    top, below = [NameAddr.parse(value).uri for value in invite.values("Record-Route")]
    assert (top.port, top.param("transport")) == (5070, None)
    assert (below.port, below.param("transport")) == (5071, "tls")
    assert NAMES.is_own(below.host, below.port)
