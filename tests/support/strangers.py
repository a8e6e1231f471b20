"""Phones of other SIP networks, beside the world of `tests.support.edges`."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from federation.model.address import Endpoint
from node.edge.edge import Edge
from node.edge.outward import OutwardParts
from node.outside import Outside
from node.routing import DomainTarget, Located, Locator, Refusal, Target
from node.sip.flow import Flow, TransportName
from node.sip.locate import Hop, LocateError
from node.sip.locate import Target as NamedTarget
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


class Outdoors:
    """Other SIP networks as node A meets them: domains, and the servers each is led to."""

    def __init__(self, world: World, node: str = "A", accounts: frozenset[str] = frozenset()):
        self.world, self.node = world, node
        self.domains: dict[str, list[Hop]] = {}
        self.forbidden: set[str] = set()
        "Hosts that plain SIP may not be sent to."
        self.own_domain: str | None = None
        self.names: dict[str, list[Hop]] = {}
        "Where names inside dialogs lead, and …"
        self.name_delay = 0.0
        "… how long DNS takes to say so."
        self.looked_up: list[str] = []
        home = world[node]
        self._inner = home.edge._parts.locator
        parts = OutwardParts(
            flow_to=self._flow_to,
            may_send=lambda remote: remote.host not in self.forbidden,
            locate=self._find,
            domain=lambda: self.own_domain,
            accounts=accounts,
        )
        rebuilt(world, node, outward=parts, locator=cast(Locator, self))

    def add(self, domain: str, *servers: Phone | Endpoint, transport: TransportName = "UDP") -> str:
        """Have a domain lead to these, in this order; the URI of `carol` there."""
        self.domains[domain] = [
            Hop(transport, server.flow.local if isinstance(server, Phone) else server, domain)
            for server in servers
        ]
        return f"sip:carol@{domain}"

    async def _find(self, target: NamedTarget) -> Sequence[Hop]:
        """What `SipLocator.locate` says of a name inside a dialog."""
        self.looked_up.append(target.host)
        await asyncio.sleep(self.name_delay)
        if target.host not in self.names:
            raise LocateError(f"DNS knows no SIP server for {target.host}")
        return self.names[target.host]

    async def locate(self, target: Target) -> Located | Outside | Refusal:
        if isinstance(target, DomainTarget) and target.domain in self.domains and target.uri:
            return Outside(tuple(self.domains[target.domain]), target.uri)
        return await self._inner.locate(target)

    def forget(self, target: Target) -> None:
        self._inner.forget(target)

    def _flow_to(self, transport: TransportName, remote: Endpoint, name: str) -> Flow:
        own = Endpoint(self.world[self.node].ip, SIP_PORT)
        return Flow(transport, own, remote, 0 if transport == "UDP" else 9)


def rebuilt(world: World, node: str, **changes: Any) -> None:
    """A node's edge again, with other parts."""
    home = world[node]
    home.edge = Edge(replace(home.edge._parts, **changes))
    home.edge.start({})
    world.links.receivers[home.id] = home.edge.inbound
