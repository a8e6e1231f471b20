"""Our Record-Route values when they come back as Route, also after a restart (RFC 3261 16.4)."""

from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from node.edge.dialog import NodeSide, PhoneSide
from node.edge.forward import Forwarder
from node.edge.token import RouteTokens
from node.names import OwnNames
from node.sip.flow import Flow
from node.sip.message import Request
from tests.support.sip_exchange import SeededEntropy, request

NODE, OTHER = NodeKey(bytes(range(32))).id, NodeKey(bytes(range(1, 33))).id
PHONE = PhoneSide(
    Flow("UDP", Endpoint("10.0.0.1", 5060), Endpoint("10.0.0.9", 5060)), "alice", "10.0.0.1"
)
CALLEE = "sip:bob@10.0.0.9"


def a_node(*addresses: str, secret: bytes = b"k" * 32) -> Forwarder:
    """A node as it is after a start; its addresses may be others than before."""
    names = OwnNames(NODE, domains=[], addresses=addresses, sip_port=5060)
    return Forwarder(NODE, names, RouteTokens(secret), SeededEntropy(1))


def route_set() -> list[str]:
    """What a phone has of a call to another node."""
    invite = request()
    a_node("10.0.0.1").record_route(invite, PHONE, NodeSide(OTHER))
    return invite.values("Record-Route")[::-1]


def inside(routes: list[str], uri: str = CALLEE, call_id: str = "call-1") -> Request:
    headers = [("Route", route) for route in routes]
    return request("BYE", to_tag="bob", headers=headers, uri=uri, call_id=call_id)


def test_both_values_are_taken_off_and_no_further_one() -> None:
    bye = inside([*route_set(), "<sip:beyond.example;lr>"])
    assert len(route_set()) == 2
    assert a_node("10.0.0.1").strip_own_routes(bye)
    assert bye.values("Route") == ["<sip:beyond.example;lr>"]


def test_after_a_restart_they_are_known_even_at_another_address() -> None:
    bye = inside(route_set())
    assert a_node("10.0.0.77").strip_own_routes(bye)
    assert bye.values("Route") == []


def test_those_of_another_call_or_another_secret_are_not_known() -> None:
    for node, bye in (
        (a_node("10.0.0.77"), inside(route_set()[:1], call_id="another")),
        (a_node("10.0.0.77", secret=b"x" * 32), inside(route_set()[:1])),
    ):
        assert not node.strip_own_routes(bye)
        assert len(bye.values("Route")) == 1


def test_what_a_strict_router_made_of_them_is_undone() -> None:
    """RFC 3261 16.4: our value is in the Request-URI, and the target is the last Route."""
    first, second = route_set()
    bye = inside([second, f"<{CALLEE}>"], uri=first.strip("<>"))
    node = a_node("10.0.0.77")
    node.repair_strict_route(bye)
    node.strip_own_routes(bye)
    assert (bye.raw_uri, bye.values("Route")) == (CALLEE, [])


def test_a_plain_request_uri_is_left_alone() -> None:
    bye = inside(route_set())
    a_node("10.0.0.1").repair_strict_route(bye)
    assert bye.raw_uri == CALLEE
    assert bye.values("Route") == route_set()
