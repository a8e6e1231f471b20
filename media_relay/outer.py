"""Addresses by which this machine is reached from outside a NAT, turned into its own.

Phones outside are told them for anchors and relay ports, and then name them to each other. Between
two ports of this node media does not go out and back in: many NATs would not let it in again.
"""

from collections.abc import Callable, Iterable

from federation.model.address import Endpoint, parse_ip


class OuterHosts:
    """The outer addresses of a pool; may change while it runs."""

    def __init__(self, is_media_port: Callable[[int], bool]) -> None:
        """`is_media_port`: whether an anchor or a relay of this node has a port now."""
        self._is_media_port = is_media_port
        self.hosts: frozenset[str] = frozenset()

    def replace(self, hosts: Iterable[str]) -> None:
        """Take over other addresses.

        Raises:
            AddressError: one is none.
        """
        self.hosts = frozenset(str(parse_ip(host)) for host in hosts)

    def inward(self, told: Endpoint, local: str) -> Endpoint:
        """Where `told` is reached from `local`, an address of this machine."""
        if told.host in self.hosts and self._is_media_port(told.port):
            return Endpoint(local, told.port)
        return told

    def sources(self, told: Iterable[str], local: str) -> set[str]:
        """The IP addresses that datagrams come from which were announced as coming from `told`."""
        sources = set(told)
        return sources if self.hosts.isdisjoint(sources) else {*sources, local}
