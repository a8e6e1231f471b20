"""The addresses by which this node is reached from outside a NAT, and who is outside.

A static NAT forwards ports one to one, so only the host differs. Whoever is outside must be told
the outer one, in SIP and in descriptions of media; whoever is inside the inner one, since many NATs
do not lead back in what comes from inside.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from federation.model.address import IPAddress, Scope, parse_ip, scope_of

Network = IPv4Network | IPv6Network
_NEAR = frozenset({Scope.LOOPBACK, Scope.LINK_LOCAL})


class OuterAddresses:
    """Decides which of its addresses a node tells to whom."""

    def __init__(self, outer: Iterable[str] = (), inside: Iterable[str] = ()) -> None:
        """`inside` are networks that reach this machine itself though it is not attached to them.

        Raises:
            AddressError: an outer address is none.
            ValueError: a network is none.
        """
        self._inside = tuple(map(ip_network, inside))
        self._attached: tuple[Network, ...] = ()
        self._outer: dict[int, str] = {}
        self.set_outer(outer)

    def set_outer(self, outer: Iterable[str]) -> None:
        """Replace the outer addresses, at most one of each family."""
        self._outer = {ip.version: str(ip) for ip in map(parse_ip, outer)}

    def set_attached(self, networks: Iterable[Network]) -> None:
        """Replace the networks that this machine has an interface in."""
        self._attached = tuple(networks)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every outer address, IPv4 first."""
        return tuple(self._outer[version] for version in sorted(self._outer))

    def facing(self, local: str, remote: str) -> str:
        """What `remote` is told, who is in touch with this machine's address `local`."""
        if not self._outer:
            return local
        here, there = parse_ip(local), parse_ip(remote)
        outer = self._outer.get(here.version)
        return local if outer is None or self._is_inside(here, there, parse_ip(outer)) else outer

    def _is_inside(self, here: IPAddress, there: IPAddress, outer: IPAddress) -> bool:
        if there == outer:
            return False  # From inside, led back in by the NAT: that way works both times.
        scopes = scope_of(here), scope_of(there), scope_of(outer)
        if scopes[0] is Scope.GLOBAL or not _NEAR.isdisjoint(scopes[:2]):
            return True
        if any(there in network for network in (*self._attached, *self._inside)):
            return True
        # Further private networks lie on this side of a NAT that leads into the public one. Behind
        # a NAT within a private network they need not.
        return scopes[1] is not Scope.GLOBAL and scopes[2] is Scope.GLOBAL
