"""One client's allocation: relay ports, permissions, channels, and when each ends."""

from dataclasses import dataclass, field

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Code, Family
from media_relay.stun.message import Key, Message
from media_relay.turn.effects import Client

DEFAULT_LIFETIME = 600
"Seconds (RFC 8656 section 3.2); also the least that is granted."
MAX_LIFETIME = 3600
PERMISSION_LIFETIME = 300
"RFC 8656 section 9."
CHANNEL_LIFETIME = 600
"RFC 8656 section 12."
MAX_PERMISSIONS = 128
"Of one allocation; an ICE agent needs one for each address of its peer."
MAX_CHANNELS = 128
LOWEST_CHANNEL = 0x4000
HIGHEST_CHANNEL = 0x7FFF
"""RFC 8656 section 12 ends at 0x4FFF, for clients that tell protocols apart by their first byte;
those written for RFC 5766 choose from all of this, and a server loses nothing by it."""


@dataclass(slots=True)
class Draft:
    """An Allocate request whose ports are being opened."""

    request: Message
    key: Key
    extras: list[tuple[int, bytes]] = field(default_factory=list)
    "RESERVATION-TOKEN or ADDRESS-ERROR-CODE of the response."
    refusal: Code = Code.INSUFFICIENT_CAPACITY
    "Why the last port that was refused could not be had."


@dataclass(slots=True)
class Channel:
    """A channel number bound to a peer."""

    number: int
    peer: Endpoint
    expires: Monotonic
    is_installed: bool = False
    "Whether the shell has a route for it: the channel and the permission both hold."


@dataclass(slots=True)
class Allocation:
    """What a client has; `pending` counts the ports still to be opened."""

    client: Client
    login: str
    transaction_id: bytes
    "Of the Allocate request."
    lifetime: int
    relays: dict[Family, int] = field(default_factory=dict)
    "Relay numbers by family, opened or pending."
    relayed: dict[Family, Endpoint] = field(default_factory=dict)
    "What clients are told, by family; of opened ports."
    local: dict[Family, str] = field(default_factory=dict)
    "The hosts that these ports are bound to."
    pending: int = 0
    is_ended: bool = False
    "Its client went while ports were pending; they are closed as they come."
    draft: Draft | None = None
    "Until the Allocate request was answered."
    expires: dict[Family, Monotonic] = field(default_factory=dict)
    "When each port's time ends; both of a dual allocation can be refreshed apart."
    response: bytes = b""
    "The success response, for retransmitted requests."
    permissions: dict[str, Monotonic] = field(default_factory=dict)
    "When the permission for an IP address expires."
    channels: dict[int, Channel] = field(default_factory=dict)
    channel_of: dict[Endpoint, Channel] = field(default_factory=dict)
    "By the peer's `wire` address."
    scheduled: Monotonic | None = None
    "The earliest entry in the server's timers."

    def family_to(self, host: str) -> Family | None:
        """The family of an address, if there is a relay port for it."""
        family = Family.IPV6 if ":" in host else Family.IPV4
        return family if family in self.relayed else None

    def relay_to(self, host: str) -> int | None:
        """The open relay port whose family is that of an address."""
        family = self.family_to(host)
        return None if family is None else self.relays[family]

    def wire(self, peer: Endpoint) -> Endpoint:
        """Where datagrams for a peer go: a port of this machine, named by its outer address, is
        reached without leaving the machine."""
        family = self.family_to(peer.host)
        if family is None or peer.host != self.relayed[family].host:
            return peer
        return Endpoint(self.local[family], peer.port)

    def peer_at(self, wire: Endpoint, now: Monotonic) -> Endpoint | None:
        """The peer that datagrams from an address are of, if there is a permission for it."""
        if self.permits(wire.host, now):
            return wire
        family = self.family_to(wire.host)
        if family is None or wire.host != self.local[family]:
            return None
        peer = Endpoint(self.relayed[family].host, wire.port)
        return peer if self.permits(peer.host, now) else None

    def permits(self, host: str, now: Monotonic) -> bool:
        """Whether a permission for the address holds."""
        expires = self.permissions.get(host)
        return expires is not None and now < expires

    def unbind(self, channel: Channel) -> None:
        """Forget a channel whose route is gone."""
        del self.channels[channel.number], self.channel_of[self.wire(channel.peer)]

    def due(self) -> Monotonic:
        """When something of this ends next."""
        times = [*self.expires.values(), *self.permissions.values()]
        times += [channel.expires for channel in self.channels.values()]
        return min(times)
