"""Which addresses a node may be sent to, and which may be named to whom.

Loopback, link-local and private addresses count only among nodes that share the network: they are
accepted from another's list where this node has an address in the same network, and named only to
who asks from there. That is why nodes on one machine or LAN find each other at once, and why no
stranger can point a node at its own LAN.
"""

from collections.abc import Iterable

from federation.model.address import Endpoint, IPAddress, Scope, scope_of, unmapped

_IPV4_LAN_BYTES = 2
"Private IPv4 addresses whose first bytes agree (/16) are taken for one network."
_IPV6_LAN_BYTES = 6
"Unique local IPv6 addresses of one /48 are one network (RFC 4193 3.1)."


def same_network(one: IPAddress, other: IPAddress) -> bool:
    """Whether two addresses that are not global lie in one network."""
    if one.version != other.version or scope_of(one) is not scope_of(other):
        return False
    match scope_of(one):
        case Scope.LOOPBACK | Scope.LINK_LOCAL:
            return True
        case Scope.PRIVATE:
            size = _IPV4_LAN_BYTES if one.version == 4 else _IPV6_LAN_BYTES
            return one.packed[:size] == other.packed[:size]
        case _:
            return False


def wide_network(ip: IPAddress) -> bytes:
    """The prefix by which peers count as being in different networks: /16 for IPv4, /32 for IPv6.

    Wider than the group that limits tables, since whoever has many addresses has them together.
    """
    packed = unmapped(ip).packed
    return packed[:2] if len(packed) == 4 else packed[:4]


def is_local(endpoint: Endpoint) -> bool:
    """Whether this endpoint is anything else than global."""
    return scope_of(endpoint.ip) is not Scope.GLOBAL


def may_try(endpoint: Endpoint, own: Iterable[Endpoint]) -> bool:
    """Whether an address from another's list may be sent to, given this node's own endpoints."""
    if endpoint in own:
        return False
    scope = scope_of(endpoint.ip)
    if scope is Scope.GLOBAL:
        return True
    if scope is Scope.FORBIDDEN or (scope is Scope.LINK_LOCAL and endpoint.is_ipv6):
        return False
    return any(same_network(endpoint.ip, address.ip) for address in own)


def may_name(endpoint: Endpoint, asker: Endpoint) -> bool:
    """Whether the address of a contact may be named to who asks from `asker`.

    Who asks over loopback is on this machine, so this machine's networks are its own.
    """
    scope = scope_of(endpoint.ip)
    if scope is Scope.GLOBAL:
        return True
    if scope is Scope.FORBIDDEN or (scope is Scope.LINK_LOCAL and endpoint.is_ipv6):
        return False
    if scope_of(asker.ip) is Scope.LOOPBACK and endpoint.is_ipv6 == asker.is_ipv6:
        return True
    return same_network(endpoint.ip, asker.ip)


def is_preferable(new: Endpoint, old: Endpoint) -> bool:
    """Whether a node that answers at both is rather sent to at `new`.

    The narrower scope wins, so that two nodes that share several networks settle on the same one;
    within a scope the newer address does, unless it is of the other family.
    """
    ranks = [_PREFERENCE[scope_of(endpoint.ip)] for endpoint in (new, old)]
    return ranks[0] < ranks[1] or (ranks[0] == ranks[1] and new.is_ipv6 == old.is_ipv6)


_PREFERENCE = {
    Scope.LOOPBACK: 0,
    Scope.LINK_LOCAL: 1,
    Scope.PRIVATE: 2,
    Scope.GLOBAL: 3,
    Scope.FORBIDDEN: 4,
}
