"""TURN's part of the forwarding table: channel to peer and peer to channel without the core.

Sockets appear as what reads and what sends. A datagram of a client costs one look-up by its address
and channel and one send; a datagram of a peer one look-up by its address, a header put before it
and one send. What finds no route is handed to `TurnShell`, and by it to the core.
"""

import struct
from collections.abc import Callable
from typing import Any, Protocol

from federation.model.address import Endpoint
from media_relay.counters import Outlet
from media_relay.latch import SocketAddress
from media_relay.turn.effects import Client
from media_relay.turn.framing import MAX_TURN_BYTES

CLIENT_BURST = 512
"""Datagrams read in one turn from a port that clients share. Each of hundreds of relay ports has
its turn meanwhile, and the way out must not be narrower than the way back."""
ASKING_BURST = 32
"Of them, those that need the core: they cost ten times as much, and anybody can send them."
_HEAD = struct.Struct("!HH")
"ChannelData: channel number and length."
# Every datagram is read into one buffer and sent from it: allocating for each costs as much as a
# look-up. It has room for one byte too many, to notice what is too long, and for a header before.
_whole = memoryview(bytearray(4 + MAX_TURN_BYTES + 1))
_body = _whole[4:]

Drain = Callable[[float], None]
"Takes what waits in a socket; is told the time."
FromClient = Callable[[bytes, Client, float], None]
FromPeer = Callable[[int, bytes, SocketAddress, float], None]


class DatagramSocket(Protocol):
    """What is needed of a socket to read from it."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """The next datagram's size, or OSError."""

    def recvfrom_into(self, buffer: memoryview, /) -> tuple[int, SocketAddress]:
        """The next datagram's size and source, or OSError."""


def sockaddr(endpoint: Endpoint) -> SocketAddress:
    """An endpoint as `recvfrom` would give it."""
    return (*endpoint, 0, 0) if endpoint.is_ipv6 else tuple(endpoint)


class ChannelRoute:
    """One channel of one client, and the relay port it belongs to."""

    __slots__ = ("channel", "outlet", "peer", "relay", "target", "to_client")

    def __init__(self, relay: "RelayPort", channel: int, peer: Endpoint) -> None:
        self.relay = relay
        self.peer = sockaddr(peer)
        self.target: Any = self.peer
        "What the outlet is given beside the data: the peer, or 0 for a connected socket's flags."
        self.outlet: Outlet = relay.outlet
        self.channel = channel
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

    def drain(self, sock: DatagramSocket) -> Drain:
        """What reads one datagram of a peer from `sock` and passes it on."""
        # One closure instead of calls and attributes: this runs for every datagram.
        read, routes, to_client = sock.recvfrom_into, self.routes, self.to_client
        address, whole, body, pack = self.client.address, _whole, _body, _HEAD.pack_into

        def drain(now: float) -> None:
            try:
                size, source = read(body)
                if size > MAX_TURN_BYTES:
                    return
                route = routes.get(source)
                if route is not None:
                    pack(whole, 0, route.channel, size)
                    to_client(whole[: size + 4], address)
                    self.packets_to_client += 1
                    self.bytes_to_client += size
                    return
            except OSError:
                # Nothing there, or a full buffer: lost, as any datagram is.
                return
            self._from_peer(self.id, bytes(body[:size]), source, now)

        return drain

    def drain_twin(self, sock: DatagramSocket, channel: int) -> Drain:
        """The same for a socket connected to the peer of a channel: no source needs to be read."""
        read, to_client = sock.recv_into, self.to_client
        address, whole, body, pack = self.client.address, _whole, _body, _HEAD.pack_into

        def drain(now: float) -> None:
            try:
                size = read(body)
                if size > MAX_TURN_BYTES:
                    return
                pack(whole, 0, channel, size)
                to_client(whole[: size + 4], address)
            except OSError:
                return
            self.packets_to_client += 1
            self.bytes_to_client += size

        return drain

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
        self.routes: dict[tuple[SocketAddress, int], ChannelRoute] = {}
        "By client address and channel number."
        self._from_client = from_client

    def drain(self, sock: DatagramSocket) -> Drain:
        """What reads up to `CLIENT_BURST` datagrams of clients from `sock` and passes them on."""
        read, routes, burst = sock.recvfrom_into, self.routes, range(CLIENT_BURST)
        from_client, whole, unpack = self._from_client, _whole, _HEAD.unpack_from

        def drain(now: float) -> None:
            asking = 0
            for _ in burst:
                try:
                    length, source = read(whole)
                except OSError:
                    return
                channel, size = unpack(whole)
                route = routes.get((source, channel))
                # What is left in the buffer by the datagram before counts for nothing here.
                if route is None or length < 4:
                    from_client(bytes(whole[:length]), Client(self.id, source), now)
                    asking += 1
                    if asking == ASKING_BURST:
                        return
                    continue
                if size + 4 > length or length > MAX_TURN_BYTES:
                    continue
                try:
                    # Datagrams may be padded (RFC 8656 section 12.5), so the header tells the end.
                    route.outlet(whole[4 : size + 4], route.target)
                except OSError:
                    continue
                relay = route.relay
                relay.packets_to_peer += 1
                relay.bytes_to_peer += size

        return drain


def pass_on(route: ChannelRoute, data: bytes) -> None:
    """Send what a ChannelData message holds, which may be followed by padding; or drop it."""
    if len(data) < 4:
        return
    size = data[2] << 8 | data[3]
    payload = data[4 : 4 + size]
    if len(payload) != size:
        return
    try:
        route.outlet(payload, route.target)
    except OSError:
        return
    route.relay.packets_to_peer += 1
    route.relay.bytes_to_peer += size
