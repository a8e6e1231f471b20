"""TURN's part of the forwarding table: channel to peer and peer to channel without the core.

A datagram of a client costs one look-up by its address and first two bytes, one slice and one
send; a datagram of a peer one look-up by its address, one join and one send. What finds no route
is handed to `TurnShell`, and by it to the core.
"""

from collections.abc import Callable
from typing import Any

from federation.model.address import Endpoint
from media_relay.counters import Hop, Outlet
from media_relay.latch import SocketAddress
from media_relay.turn.effects import Client

LENGTHS = tuple(size.to_bytes(2, "big") for size in range(4097))
"The length field of a ChannelData header, ready-made."

FromClient = Callable[[bytes, Client, float], None]
FromPeer = Callable[[int, bytes, SocketAddress, float], None]


def sockaddr(endpoint: Endpoint) -> SocketAddress:
    """An endpoint as `recvfrom` would give it."""
    return (*endpoint, 0, 0) if endpoint.is_ipv6 else tuple(endpoint)


class ChannelRoute:
    """One channel of one client, and the relay port it belongs to."""

    __slots__ = ("head", "outlet", "peer", "relay", "target", "to_client")

    def __init__(self, relay: "RelayPort", channel: int, peer: Endpoint) -> None:
        self.relay = relay
        self.peer = sockaddr(peer)
        self.target: Any = self.peer
        "What the outlet is given beside the data: the peer, or 0 for a connected socket's flags."
        self.outlet: Outlet = relay.outlet
        self.head = channel.to_bytes(2, "big")
        self.to_client = relay.to_client


class RelayPort:
    """A relay port: its routes by peer, and its counters."""

    __slots__ = (
        "_from_peer", "bytes_to_client", "bytes_to_peer", "client", "id", "login", "outlet",
        "packets_to_client", "packets_to_peer", "reported", "routes", "to_client",
    )  # fmt: skip

    def __init__(
        self,
        relay_id: int,
        login: str,
        client: Client,
        *,
        outlet: Outlet,
        to_client: Outlet,
        from_peer: FromPeer,
    ) -> None:
        self.id = relay_id
        self.login = login
        self.client = client
        self.outlet = outlet
        self.to_client = to_client
        self.routes: dict[SocketAddress, ChannelRoute] = {}
        self._from_peer = from_peer
        self.packets_to_peer = self.bytes_to_peer = 0
        self.packets_to_client = self.bytes_to_client = 0
        self.reported = (0, 0, 0, 0)

    def receive(self, data: bytes, source: SocketAddress, now: float) -> Hop | None:
        """Take a datagram of a peer."""
        route = self.routes.get(source)
        if route is None:
            self._from_peer(self.id, data, source, now)
            return None
        size = len(data)
        if size > 4096:
            return None
        self.packets_to_client += 1
        self.bytes_to_client += size
        return self.to_client, route.head + LENGTHS[size] + data, self.client.address

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """Packets and bytes to peers, then to the client."""
        return (
            self.packets_to_peer,
            self.bytes_to_peer,
            self.packets_to_client,
            self.bytes_to_client,
        )


class ClientPort:
    """A UDP port of ours that clients talk to."""

    __slots__ = ("_from_client", "id", "outlet", "routes")

    def __init__(self, listener: int, outlet: Outlet, from_client: FromClient) -> None:
        self.id = listener
        self.outlet = outlet
        self.routes: dict[tuple[SocketAddress, bytes], ChannelRoute] = {}
        "By client address and channel number."
        self._from_client = from_client

    def receive(self, data: bytes, source: SocketAddress, now: float) -> Hop | None:
        """Take a datagram of a client."""
        route = self.routes.get((source, data[:2]))
        if route is None:
            self._from_client(data, Client(self.id, source), now)
            return None
        return forward(route, data)


def forward(route: ChannelRoute, data: bytes) -> Hop | None:
    """The hop of a ChannelData message; datagrams may be padded (RFC 8656 section 12.5)."""
    if len(data) < 4:
        return None
    size = data[2] << 8 | data[3]
    payload = data[4 : 4 + size]
    if len(payload) != size:
        return None
    relay = route.relay
    relay.packets_to_peer += 1
    relay.bytes_to_peer += size
    return route.outlet, payload, route.target
