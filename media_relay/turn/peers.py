"""Which addresses may be peers of a relay.

A TURN server sends from an address of its own, often inside a network that trusts it. So it never
sends to addresses that mean something only near it: loopback, private, carrier-grade NAT,
link-local, multicast, broadcast, unspecified and reserved ones, and the metadata services of
clouds. IPv6 forms that carry an IPv4 address (v4-mapped, v4-compatible, NAT64, 6to4, Teredo,
ISATAP) are judged by that address as well. Addresses of this node may be peers at ports that are
themselves a relay or an anchor in use, so that two clients who can use only relays meet.
`allow` opens networks in spite of all that.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator

from federation.model.address import AddressError, Endpoint, IPAddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DENIED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host, unspecified
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host services
        "169.254.0.0/16",  # link-local; metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4",
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",
        "::1/128",
        "::ffff:0:0/96",  # v4-mapped: never a destination on the wire
        "64:ff9b:1::/48",  # NAT64 of local use
        "100::/64",  # discard
        "fc00::/7",  # unique local; AWS's metadata service
        "fe80::/10",
        "fec0::/10",  # site-local
        "ff00::/8",
    )
)
"Ranges that are no peers, before embedded addresses are looked at."
MAX_REMEMBERED = 4096
"Verdicts about addresses kept at hand."

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


class PeerPolicy:
    """Decides who may be a peer."""

    def __init__(
        self,
        *,
        allow: Iterable[Network] = (),
        own: Iterable[IPAddress] = (),
        is_media_port: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """Give networks that are open, addresses of this node, and which ports carry its media."""
        self._allow = tuple(allow)
        self._own = frozenset(own)
        self._is_media_port = is_media_port
        self._verdicts: dict[str, bool | None] = {}

    def may_permit(self, host: str) -> bool:
        """Whether a permission for this address may be installed."""
        return self._verdict(host) is not False

    def may_send(self, peer: Endpoint) -> bool:
        """Whether a datagram may go to this address and port."""
        verdict = self._verdict(peer.host)
        return self._is_media_port(peer.port) if verdict is None else verdict and peer.port > 0

    def _verdict(self, host: str) -> bool | None:
        """Yes, no, or `None` for: depends on the port."""
        if host in self._verdicts:
            return self._verdicts[host]
        if len(self._verdicts) >= MAX_REMEMBERED:
            self._verdicts.clear()
        verdict = self._verdicts[host] = self._judge(host)
        return verdict

    def _judge(self, host: str) -> bool | None:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if any(address in network for network in self._allow):
            return True
        if address in self._own:
            return None
        return not any(
            _is_denied(form) or (form != address and form in self._own) for form in forms(address)
        )


def read_network(text: str) -> Network:
    """Read an address or a network in prefix notation.

    Raises:
        AddressError: neither.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise AddressError(f"{text!r} is not a network") from error


def forms(address: IPAddress) -> Iterator[IPAddress]:
    """An address, and the IPv4 addresses that it may be turned into on its way."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    low = int(address) & 0xFFFFFFFF
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64 or address in _COMPATIBLE:
        yield ipaddress.IPv4Address(low)
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(low)


def _is_denied(address: IPAddress) -> bool:
    return any(address in network for network in DENIED)
