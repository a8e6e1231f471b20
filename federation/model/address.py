"""IP endpoints in one normal form, and how far each kind of address reaches."""

import enum
import ipaddress
from functools import lru_cache
from typing import Any, NamedTuple

from federation.model.errors import PeerError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_CGNAT = ipaddress.ip_network("100.64.0.0/10")
_UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")


class AddressError(PeerError):
    """Not an IP address and port."""


class Scope(enum.Enum):
    """How far an address reaches."""

    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    GLOBAL = "global"
    FORBIDDEN = "forbidden"
    "Multicast, unspecified, broadcast or reserved: never a peer."


class Endpoint(NamedTuple):
    """An IP address and a port; usable as a socket address.

    `host` is the shortest text form; v4-mapped IPv6 appears as IPv4. Make one from foreign text or
    a socket's answer with `parse` or `of`, which normalise.
    """

    host: str
    port: int

    @classmethod
    def of(cls, sockaddr: tuple[Any, ...]) -> "Endpoint":
        """Normalise what `recvfrom` or `getsockname` gave."""
        host: str = sockaddr[0]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return cls(host, sockaddr[1])

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> "Endpoint":
        """Read `1.2.3.4:5` or `[::1]:5`; the port may be left out if there is a default.

        Raises:
            AddressError: the text is something else, a host name included.
        """
        host, port_text = text, ""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise AddressError(f"{text!r} is not an address")
            port_text = rest[1:]
        elif text.count(":") == 1:
            host, _, port_text = text.partition(":")
        if not port_text and default_port is None:
            raise AddressError(f"{text!r} lacks a port")
        if port_text and not (port_text.isascii() and port_text.isdigit()):
            raise AddressError(f"{text!r} has no proper port")
        port = int(port_text) if port_text else default_port
        if port is None or not 0 <= port <= 65535:
            raise AddressError(f"{text!r} has a port outside 0-65535")
        return cls.from_ip(parse_ip(host), port)

    @classmethod
    def from_ip(cls, ip: IPAddress, port: int) -> "Endpoint":
        """Join an address and a port, in normal form."""
        return cls(str(unmapped(ip)), port)

    @classmethod
    def unpack(cls, packed: bytes, port: int) -> "Endpoint":
        """Read 4 or 16 address bytes.

        Raises:
            AddressError: another length, or an impossible port.
        """
        if len(packed) not in (4, 16) or not 0 < port <= 65535:
            raise AddressError("an endpoint has 4 or 16 address bytes and a port")
        return cls.from_ip(ipaddress.ip_address(packed), port)

    @property
    def ip(self) -> IPAddress:
        """The address as a value."""
        return parse_ip(self.host)

    @property
    def packed(self) -> bytes:
        """The 4 or 16 address bytes."""
        return self.ip.packed

    @property
    def is_ipv6(self) -> bool:
        """Whether this is an IPv6 endpoint."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


@lru_cache(maxsize=4096)
def parse_ip(text: str) -> IPAddress:
    """Read an IP address; a zone (`%eth0`) is kept, v4-mapped becomes IPv4.

    Raises:
        AddressError: not an IP address.
    """
    try:
        return unmapped(ipaddress.ip_address(text))
    except ValueError as error:
        raise AddressError(f"{text!r} is not an IP address") from error


@lru_cache(maxsize=4096)
def ip_text(text: str) -> str:
    """The normal form of an IP address that was written somehow.

    Raises:
        AddressError: not an IP address.
    """
    return str(parse_ip(text))


def unmapped(ip: IPAddress) -> IPAddress:
    """IPv4 for a v4-mapped IPv6 address, anything else as it is."""
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


@lru_cache(maxsize=4096)
def scope_of(ip: IPAddress) -> Scope:
    """How far `ip` reaches. Carrier-grade NAT space (RFC 6598) counts as private."""
    ip = unmapped(ip)
    if ip.is_unspecified or ip.is_multicast:
        return Scope.FORBIDDEN
    if ip.is_loopback:
        return Scope.LOOPBACK
    if ip.is_link_local:
        return Scope.LINK_LOCAL
    if isinstance(ip, ipaddress.IPv4Address):
        if ip.is_reserved or ip == ipaddress.IPv4Address("255.255.255.255"):
            return Scope.FORBIDDEN
        return Scope.PRIVATE if ip.is_private or ip in _CGNAT else Scope.GLOBAL
    if ip in _UNIQUE_LOCAL:
        return Scope.PRIVATE
    return Scope.GLOBAL if ip.is_global else Scope.FORBIDDEN


@lru_cache(maxsize=4096)
def network_group(ip: IPAddress) -> bytes:
    """The prefix by which addresses are counted together: /24 for IPv4, /48 for IPv6."""
    packed = unmapped(ip).packed
    return packed[:3] if len(packed) == 4 else packed[:6]
