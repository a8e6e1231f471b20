"""Which addresses this machine has, which of them a node listens on, and what names stand for."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

import ifaddr

from federation.model.address import Endpoint, IPAddress, Scope, parse_ip, scope_of
from node.config import split_target

RESOLVE_TIMEOUT = 5.0
"Seconds after which a name's addresses are no longer waited for."
_RANK = {Scope.GLOBAL: 0, Scope.PRIVATE: 1, Scope.LOOPBACK: 2}
_PROBE = ("192.0.2.1", 9)
"A documentation address (RFC 5737): connecting a UDP socket to it sends nothing."


def listen_hosts(listen: str | None) -> tuple[str, ...]:
    """The hosts to bind: the one that was given, else all of IPv4 and, where it exists, IPv6."""
    if listen is not None:
        return (str(parse_ip(listen)),)
    return ("0.0.0.0", "::") if has_ipv6() else ("0.0.0.0",)  # noqa: S104 (asked for)


def own_addresses(listen: str | None) -> tuple[str, ...]:
    """The concrete addresses a node can be reached at, best first, loopback last.

    One that was given stands alone; `0.0.0.0` and `::` mean all of their family. Link-local
    addresses are left out: they mean nothing without the name of an interface.
    """
    given = None if listen is None else parse_ip(listen)
    if given is not None and not given.is_unspecified:
        return (str(given),)
    found: set[IPAddress] = set()
    for adapter in ifaddr.get_adapters():
        for held in adapter.ips:
            found.add(ipaddress.ip_address(held.ip if isinstance(held.ip, str) else held.ip[0]))
    found.add(ipaddress.ip_address("127.0.0.1"))
    usable = [
        ip
        for ip in found
        if scope_of(ip) in _RANK and (given is None or ip.version == given.version)
    ]
    preferred = _default_source()
    usable.sort(key=lambda ip: (_RANK[scope_of(ip)], ip.version, str(ip) != preferred, ip))
    return tuple(str(ip) for ip in usable)


def attached_networks() -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks that this machine has an interface in."""
    found = {
        ipaddress.ip_interface(
            (held.ip if isinstance(held.ip, str) else held.ip[0], prefix)
        ).network
        for adapter in ifaddr.get_adapters()
        for held in adapter.ips
        if (prefix := held.network_prefix)
    }
    return tuple(found)


def mesh_endpoints(
    port: int, addresses: Sequence[str], outer: Sequence[Endpoint] = ()
) -> tuple[Endpoint, ...]:
    """Where other nodes reach this one: from outside a NAT first, then as it stands here."""
    here = (Endpoint.from_ip(parse_ip(host), port) for host in addresses)
    return tuple(dict.fromkeys((*outer, *here)))


async def resolve_targets(targets: Sequence[str]) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """Look up `HOST:PORT` texts without holding the loop up.

    Returns the endpoints found, and one sentence for each target that could not be resolved.
    """
    answers = await asyncio.gather(*(_resolve(target) for target in targets))
    endpoints: list[Endpoint] = []
    complaints: list[str] = []
    for target, answer in zip(targets, answers, strict=True):
        if isinstance(answer, str):
            complaints.append(f"{target} cannot be found: {answer}")
        else:
            endpoints += answer
    return tuple(dict.fromkeys(endpoints)), tuple(complaints)


async def _resolve(target: str) -> list[Endpoint] | str:
    host, port = split_target(target)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            answers = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except TimeoutError:
        return f"no answer in {RESOLVE_TIMEOUT:g} s"
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return [Endpoint.of(sockaddr) for *_, sockaddr in answers if isinstance(sockaddr[0], str)]


def has_ipv6() -> bool:
    """Whether this machine speaks IPv6 at all."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _default_source() -> str:
    """The address the machine would speak to strangers from; empty without a default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_PROBE)
        except OSError:
            return ""
        host: str = probe.getsockname()[0]
        return host
