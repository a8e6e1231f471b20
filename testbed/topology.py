"""The network as `topology.toml` describes it: who is where, behind which gateway.

Everything that builds the testbed starts from this value: the compose file, the namespaces, the
gateways' rules and the check.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec

from federation.model.errors import ConfigError

TOPOLOGY = Path(__file__).with_name("topology.toml")
INTERNET = "internet"
"The network that stands for all that is public."
MESH_PORT, SIP_PORT, SIP_TLS_PORT, TURN_PORT, TURN_TLS_PORT = 7060, 5060, 5061, 3478, 5349
"What a node listens on, before its offset."


class TopologyError(ConfigError):
    """The topology contradicts itself; the text says where."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; other keys than those named are refused."""


class Gateway(_Part, frozen=True, kw_only=True):
    """The router of one network, with one address outside: a NAT (RFC 4787)."""

    inside: str
    inside_address: IPv4Address
    outside: str
    outside_address: IPv4Address
    ports: Literal["keep", "random"] = "keep"
    "Whether a flow keeps its port outside or gets another one each time."


class Placed(_Part, frozen=True, kw_only=True):
    """What has one address."""

    network: str
    address: IPv4Address


class Node(Placed, frozen=True, kw_only=True):
    """One `ringmesh up`."""

    port_offset: int = 0
    media: tuple[int, int] = (10000, 10199)
    "First and last UDP port for media."

    @property
    def udp_ports(self) -> tuple[int | tuple[int, int], ...]:
        """What a gateway forwards of UDP: ports, and ranges as pairs."""
        offset = self.port_offset
        return (TURN_PORT + offset, SIP_PORT + offset, MESH_PORT + offset, self.media)

    @property
    def tcp_ports(self) -> tuple[int, ...]:
        """What a gateway forwards of TCP."""
        ports = (TURN_PORT, SIP_PORT, SIP_TLS_PORT, TURN_TLS_PORT)
        return tuple(port + self.port_offset for port in ports)


class Served(Placed, frozen=True, kw_only=True):
    """What has an account or a trunk at a node."""

    node: str


class Phone(Served, frozen=True, kw_only=True):
    """One phone with one account."""


class ServerPhone(Placed, frozen=True, kw_only=True):
    """The phone of a PBX or a provider."""

    name: str
    user: str


class Pbx(Served, frozen=True, kw_only=True):
    """A PBX with a trunk to a node."""

    phone: ServerPhone


class Provider(Served, frozen=True, kw_only=True):
    """A provider at which a node has an account and a number."""

    did: str
    leads_to: str
    "The phone whose account the number is mapped to."
    phone: ServerPhone


@dataclass(frozen=True, slots=True)
class Host:
    """Something with an address: a container, or a network namespace."""

    name: str
    links: tuple[tuple[str, IPv4Address], ...]
    "Networks and its address in each."
    via: IPv4Address | None
    "Its default gateway; `None` where there is no way beyond its own networks."


class Topology(_Part, frozen=True, kw_only=True):
    """All of it. Obtain one from `read`, which checks it."""

    networks: dict[str, IPv4Network]
    gateways: dict[str, Gateway]
    nodes: dict[str, Node]
    phones: dict[str, Phone]
    pbxs: dict[str, Pbx] = {}
    providers: dict[str, Provider] = {}

    def hosts(self, *, pbx: bool = False, provider: bool = False) -> Iterator[Host]:
        """Every host; those of PBXs and providers where asked for."""
        for name, gateway in self.gateways.items():
            links = (
                (gateway.inside, gateway.inside_address),
                (gateway.outside, gateway.outside_address),
            )
            yield Host(name, links, self._router(gateway.outside))
        placed: list[tuple[str, Placed]] = [*self.nodes.items(), *self.phones.items()]
        for name, part in placed:
            yield self._host(name, part)
        servers: list[tuple[str, Pbx | Provider]] = []
        servers += self.pbxs.items() if pbx else ()
        servers += self.providers.items() if provider else ()
        for name, server in servers:
            yield self._host(name, server)
            yield self._host(server.phone.name, server.phone)

    def gateway_of(self, network: str) -> Gateway | None:
        """The gateway that has `network` inside; the internet has none."""
        return next((g for g in self.gateways.values() if g.inside == network), None)

    def external_address(self, node: str) -> IPv4Address:
        """Where `node` is reached from the internet."""
        gateway = self.gateway_of(self.nodes[node].network)
        return self.nodes[node].address if gateway is None else gateway.outside_address

    def sip_server(self, node: str) -> str:
        """What a phone anywhere enters as its server, `IP:PORT`."""
        return f"{self.external_address(node)}:{SIP_PORT + self.nodes[node].port_offset}"

    def server_of(self, phone: str) -> str:
        """What the person enters, `IP:PORT`: in the node's own network its address there."""
        part = self.phones[phone]
        node = self.nodes[part.node]
        if part.network == node.network:
            return f"{node.address}:{SIP_PORT + node.port_offset}"
        return self.sip_server(part.node)

    def mesh_target(self, node: str) -> str:
        """What other nodes are told to join at, `IP:PORT`."""
        return f"{self.external_address(node)}:{MESH_PORT + self.nodes[node].port_offset}"

    @property
    def supernode(self) -> str:
        """The node that the others are told of: the first on the internet."""
        return next(name for name, node in self.nodes.items() if node.network == INTERNET)

    def way_out(self, network: str) -> tuple[str, ...]:
        """The networks from this one to the internet, it and the internet included."""
        gateway = self.gateway_of(network)
        return (network,) if gateway is None else (network, *self.way_out(gateway.outside))

    def entered(self, here: str, there: str) -> int:
        """How many gateways a datagram comes in by from outside, from one network to another."""
        return len(set(self.way_out(there)) - set(self.way_out(here)))

    def _host(self, name: str, part: Placed) -> Host:
        return Host(name, ((part.network, part.address),), self._router(part.network))

    def _router(self, network: str) -> IPv4Address | None:
        gateway = self.gateway_of(network)
        return None if gateway is None else gateway.inside_address


def bridge_address(subnet: IPv4Network) -> IPv4Address:
    """The last address, which is left to a container engine's bridge."""
    return subnet.broadcast_address - 1


def read(path: Path = TOPOLOGY) -> Topology:
    """Read a topology.

    Raises:
        TopologyError: it cannot be read, or contradicts itself.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TopologyError(f"{path}: {error}") from error
    try:
        topology = msgspec.convert(plain, Topology, dec_hook=_address)
        _check(topology)
    except (msgspec.ValidationError, TopologyError) as error:
        raise TopologyError(f"{path}: {error}") from error
    return topology


def _address(kind: type, value: Any) -> Any:
    assert kind in (IPv4Address, IPv4Network)
    return kind(value)


def _check(topology: Topology) -> None:
    hosts = list(topology.hosts(pbx=True, provider=True))
    _require_once("the name", [host.name for host in hosts])
    _require_once("the inside", [gateway.inside for gateway in topology.gateways.values()])
    _check_ways(topology)
    links = [(host.name, *link) for host in hosts for link in host.links]
    _require_once("the address", [f"{address} in {network}" for _, network, address in links])
    for name, network, address in links:
        if network not in topology.networks:
            raise TopologyError(f"{name} is in {network!r}, which is no network")
        subnet = topology.networks[network]
        kept = (subnet.network_address, subnet.broadcast_address, bridge_address(subnet))
        if address not in subnet or address in kept:
            raise TopologyError(f"{name} has {address}, which {network} has not for hosts")
    _check_parts(topology)
    _check_ports(topology)


def _check_ways(topology: Topology) -> None:
    """Every gateway leads to the internet."""
    for name, gateway in topology.gateways.items():
        passed, here = {gateway.inside}, gateway.outside
        while here != INTERNET:
            following = topology.gateway_of(here)
            if here in passed or following is None:
                raise TopologyError(f"{name} does not lead to {INTERNET!r}")
            passed.add(here)
            here = following.outside


def _check_parts(topology: Topology) -> None:
    if not any(node.network == INTERNET for node in topology.nodes.values()):
        raise TopologyError(f"no node is in {INTERNET!r}, so nobody could be joined")
    for name, node in topology.nodes.items():
        gateway = topology.gateway_of(node.network)
        if gateway is not None and gateway.outside != INTERNET:
            raise TopologyError(f"{name} is behind two gateways, where nothing leads to it")
    served: list[tuple[str, Served]] = [*topology.phones.items(), *topology.pbxs.items()]
    for name, part in (*served, *topology.providers.items()):
        if part.node not in topology.nodes:
            raise TopologyError(f"{name} is at {part.node!r}, which is no node")
    for name, provider in topology.providers.items():
        phone = topology.phones.get(provider.leads_to)
        if phone is None or phone.node != provider.node:
            raise TopologyError(f"{name} leads to {provider.leads_to!r}, no phone at its node")


def _check_ports(topology: Topology) -> None:
    """A gateway forwards a port to one node only."""
    for name, gateway in topology.gateways.items():
        inside = [node for node in topology.nodes.values() if node.network == gateway.inside]
        for protocol, ports in (
            ("udp", [span for node in inside for span in node.udp_ports]),
            ("tcp", [span for node in inside for span in node.tcp_ports]),
        ):
            spans = sorted(span if isinstance(span, tuple) else (span, span) for span in ports)
            for (_, last), (first, _) in pairwise(spans):
                if first <= last:
                    raise TopologyError(f"{name} would forward {protocol} {first} to two nodes")


def _require_once(what: str, values: list[str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise TopologyError(f"{what} {twice[0]} is there twice")
