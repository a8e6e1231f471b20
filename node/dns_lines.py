"""The DNS records that make a domain lead to a node, and whether DNS has them."""

import asyncio
import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from federation.domain_proof import ResolveError, Resolver, Service, keys_in_texts
from federation.model.address import AddressError, Scope, parse_ip, scope_of
from federation.model.identity import NodeId
from node.own_domains import is_global
from node.sheet import SIP_PORT

TTL = 3600
"Seconds that the lines ask DNS servers to remember them."
HOST = "ringmesh"
"Label of the host that SRV records lead to; they cannot name an address."


class Purpose(enum.StrEnum):
    """What a line is good for."""

    PROOF = "proof"
    "Others believe that the domain is this node's. Needed, unless `other proof` is there."
    PHONES = "phones"
    "Phones find the node by the domain. Needed, unless `phones by SRV` is there."
    PHONES_BY_SRV = "phones by SRV"
    "The same for a domain whose own address leads elsewhere, to a web server say."
    OTHER_PROOF = "other proof"
    "Where no TXT record can be had: leads to the node, which then proves its key itself."


class Finding(enum.StrEnum):
    """What DNS says of a line."""

    THERE = "there"
    MISSING = "missing"
    DIFFERENT = "different"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a node is reached."""

    node: NodeId
    addresses: tuple[str, ...]
    "Its own IP addresses, best first."
    sip_port: int
    mesh_port: int


@dataclass(frozen=True, slots=True)
class DnsLine:
    """One record, as a zone file has it."""

    purpose: Purpose
    name: str
    type: str
    value: str

    def as_json(self) -> dict[str, Any]:
        """The fields, and the whole as a line to paste."""
        text = f"{self.name} {TTL} IN {self.type} {self.value}"
        return {
            "purpose": self.purpose.value,
            "name": self.name,
            "type": self.type,
            "value": self.value,
            "line": text,
        }


@dataclass(frozen=True, slots=True)
class LineCheck:
    """A line and what DNS has in its place."""

    line: DnsLine
    finding: Finding
    found: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The line's fields with `finding` and `found`."""
        return self.line.as_json() | {"finding": self.finding.value, "found": list(self.found)}


def dns_lines(domain: str, at: Whereabouts) -> tuple[DnsLine, ...]:
    """Every record that helps, the needed ones first."""
    host = f"{HOST}.{domain}."
    lines = [DnsLine(Purpose.PROOF, f"_ringmesh.{domain}.", "TXT", f'"{at.node.text}"')]
    lines += _address_lines(Purpose.PHONES, f"{domain}.", at.addresses)
    if at.sip_port == SIP_PORT:  # phones that are told a port ask for no SRV (RFC 3263 4.2)
        for transport in ("udp", "tcp"):
            service = f"_sip._{transport}.{domain}."
            lines.append(
                DnsLine(Purpose.PHONES_BY_SRV, service, "SRV", f"0 0 {at.sip_port} {host}")
            )
        lines += _address_lines(Purpose.PHONES_BY_SRV, host, at.addresses)
    service = f"_ringmesh._udp.{domain}."
    lines.append(DnsLine(Purpose.OTHER_PROOF, service, "SRV", f"0 0 {at.mesh_port} {host}"))
    if at.sip_port != SIP_PORT:
        lines += _address_lines(Purpose.OTHER_PROOF, host, at.addresses)
    return tuple(lines)


def published_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses to write into DNS: the best of each family, public ones if there are any."""
    known = list(addresses)
    best = [a for a in known if is_global(a)] or [a for a in known if not _is_loopback(a)] or known
    chosen: dict[int, str] = {}
    for address in best:
        chosen.setdefault(parse_ip(address).version, address)
    return tuple(chosen.values())


async def check_lines(
    lines: Iterable[DnsLine], at: Whereabouts, resolver: Resolver
) -> list[LineCheck]:
    """Ask DNS for all lines together: a silent server costs one time-out, not one each."""
    return list(await asyncio.gather(*(_check(line, at, resolver) for line in lines)))


def _address_lines(purpose: Purpose, name: str, addresses: Iterable[str]) -> list[DnsLine]:
    return [
        DnsLine(purpose, name, "AAAA" if ":" in address else "A", address)
        for address in published_addresses(addresses)
    ]


async def _check(line: DnsLine, at: Whereabouts, resolver: Resolver) -> LineCheck:
    name = line.name.removesuffix(".")
    try:
        if line.type == "TXT":
            return _texts(line, at.node, await resolver.texts(name))
        if line.type == "SRV":
            return _services(line, await resolver.services(name))
        return _addresses(line, at.addresses, await resolver.addresses(name))
    except ResolveError:
        return LineCheck(line, Finding.NO_ANSWER)


def _texts(line: DnsLine, node: NodeId, texts: Sequence[str]) -> LineCheck:
    found = tuple(f'"{text}"' for text in texts)
    keys = keys_in_texts(texts)
    if keys == {node}:
        return LineCheck(line, Finding.THERE, found)
    return LineCheck(line, Finding.DIFFERENT if texts else Finding.MISSING, found)


def _services(line: DnsLine, services: Sequence[Service]) -> LineCheck:
    found = tuple(f"{s.priority} {s.weight} {s.port} {s.target}" for s in services)
    _, _, port, host = line.value.split()
    for service in services:
        if service.port == int(port) and service.target.lower().rstrip(".") == host.rstrip("."):
            return LineCheck(line, Finding.THERE, found)
    return LineCheck(line, Finding.DIFFERENT if found else Finding.MISSING, found)


def _addresses(line: DnsLine, own: Collection[str], hosts: Sequence[str]) -> LineCheck:
    """Behind NAT nobody can tell whose a public address is: any will do then."""
    found = tuple(host for host in hosts if (":" in host) == (line.type == "AAAA"))
    if not found:
        return LineCheck(line, Finding.MISSING)
    is_ours = not set(own).isdisjoint(found) or not any(map(is_global, own))
    return LineCheck(line, Finding.THERE if is_ours else Finding.DIFFERENT, found)


def _is_loopback(address: str) -> bool:
    try:
        return scope_of(parse_ip(address)) is Scope.LOOPBACK
    except AddressError:
        return False
