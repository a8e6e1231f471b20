"""Phones of other SIP networks, beside the world of `tests.support.edges`."""

import itertools

from federation.model.address import Endpoint
from node.sip.flow import Flow, TransportName
from tests.support.edge_phone import Phone
from tests.support.edges import SIP_PORT, World, _Wire

ELSEWHERE = "elsewhere.test"
_ports = itertools.count(6000)


def stranger(
    world: World,
    node: str,
    login: str = "carol",
    *,
    ip: str = "198.51.100.7",
    domain: str = ELSEWHERE,
    transport: TransportName = "UDP",
) -> Phone:
    """A phone that sends plain SIP to a node, which does not know it."""
    home = world[node]
    own = Endpoint(ip, next(_ports))
    flow = Flow(transport, own, Endpoint(home.ip, SIP_PORT), 0 if transport == "UDP" else 7)
    phone = Phone(_Wire(world, home), flow, login, "a guess", world.clock, domain)
    home.phones[own] = phone
    return phone
