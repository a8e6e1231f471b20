"""The hosts this node answers for: its key name, its domains, its own addresses."""

from collections.abc import Iterable

from federation.model.address import AddressError, Endpoint, ip_text
from federation.model.identity import NodeId
from node.outer import OuterAddresses
from node.sip.flow import DEFAULT_TLS_PORT, Flow, TransportName

MAX_SEEN = 4_096
"Servers of whom it is remembered where they see this node; with more, all are forgotten."


class OwnNames:
    """Decides whether a host and port of a SIP URI mean this node."""

    def __init__(
        self,
        node: NodeId,
        *,
        domains: Iterable[str],
        addresses: Iterable[str],
        sip_port: int,
        tls_port: int = DEFAULT_TLS_PORT,
        outer: OuterAddresses | None = None,
    ) -> None:
        self.key_name = node.key_name
        self.sip_port = sip_port
        self.tls_port = tls_port
        self.outer = OuterAddresses() if outer is None else outer
        "Those outside a NAT; they are its own, too."
        self._seen: dict[Endpoint, Endpoint] = {}
        "Where servers of trunks see this node, over UDP."
        self.set_domains(domains)
        self._addresses: set[str] = set()
        self.set_addresses(addresses)

    def set_domains(self, domains: Iterable[str]) -> None:
        """Replace the own domains."""
        self.domains = tuple(domain.lower() for domain in domains)
        self._names = {self.key_name, *self.domains}

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """Replace the own IP addresses, after the network changed."""
        self._addresses = set(addresses)

    @property
    def addresses(self) -> frozenset[str]:
        """The IP addresses that mean this node."""
        return frozenset((*self._addresses, *self.outer.addresses))

    def is_own_domain(self, host: str) -> bool:
        """Whether `host` is the key name or a domain of this node."""
        return host.lower().rstrip(".") in self._names

    def is_own_address(self, host: str, port: int | None) -> bool:
        """Whether `host` is an address of this node, and `port` a SIP port of it or left out.

        An address that a server of a trunk sees counts with the port seen there, and no other.
        """
        try:
            address = ip_text(host.strip("[]"))
        except AddressError:
            return False
        if port in (None, self.sip_port, self.tls_port) and (
            address in self._addresses or address in self.outer.addresses
        ):
            return True
        return port is not None and Endpoint(address, port) in self._seen.values()

    def port_of(self, transport: TransportName) -> int:
        """Where this node listens for a transport: for Via and Record-Route."""
        return self.tls_port if transport == "TLS" else self.sip_port

    def port_at(self, flow: Flow) -> int:
        """Where this node listens: for WebSockets a port of the web server's."""
        return flow.local.port if flow.is_web else self.port_of(flow.transport)

    def host_of(self, flow: Flow) -> str:
        """The address by which the far end of a flow reaches this node."""
        return self.outer.facing(flow.local.host, flow.remote.host)

    def learn(self, remote: Endpoint, seen: Endpoint) -> None:
        """A server sees this node at an address of a NAT, or at its own one (RFC 3581)."""
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen[remote] = seen

    def reached_at(self, flow: Flow) -> str:
        """Host and port, as in a URI, by which the far end of a flow reaches this node.

        What it sees itself counts where no outer address is known.
        """
        seen = self._seen.get(flow.remote) if flow.transport == "UDP" else None
        if seen is not None and self.host_of(flow) == flow.local.host:
            return str(seen)
        return str(Endpoint(self.host_of(flow), self.port_at(flow)))

    def is_own(self, host: str, port: int | None) -> bool:
        """Whether a URI's host and port mean this node."""
        return self.is_own_domain(host) or self.is_own_address(host, port)
