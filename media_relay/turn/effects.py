"""What a `TurnServer` asks its shell to do, and how it names clients."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from federation.model.address import Endpoint
from media_relay.stun.attributes import Family


class Client(NamedTuple):
    """The 5-tuple of a client, as the shell knows it."""

    listener: int
    "Which of our transport addresses it talks to."
    address: tuple[Any, ...]
    "Its own, as `recvfrom` gives it."
    connection: int = 0
    "The serial of its TCP or TLS connection; 0 for UDP."

    @property
    def host(self) -> str:
        """Its IP address."""
        host: str = self.address[0]
        return host

    @property
    def endpoint(self) -> Endpoint:
        """Its IP address and port, in normal form."""
        return Endpoint.of(self.address)


@dataclass(frozen=True, slots=True)
class Reply:
    """Send a STUN response to a client."""

    data: bytes
    client: Client


@dataclass(frozen=True, slots=True)
class DataToClient:
    """Send a client what a peer sent; may be dropped if the client does not keep up."""

    data: bytes
    client: Client
    relay: int
    size: int
    "Bytes of it that are the peer's."


@dataclass(frozen=True, slots=True)
class OpenRelay:
    """Bind a relay port and answer with `relay_opened` or `relay_refused`."""

    relay: int
    "The number this port has from now on."
    client: Client
    family: Family
    even: bool
    "Its number must be even."
    reserve: bool
    "Keep the next higher port as well, under a token (RFC 8656 section 7.2)."
    token: bytes | None
    "Not a new port, but the one kept under this token."
    login: str


@dataclass(frozen=True, slots=True)
class CloseRelay:
    """Close a port that `relay_opened` told of."""

    relay: int


@dataclass(frozen=True, slots=True)
class InstallRoute:
    """Pass ChannelData of this channel to the peer, and its datagrams back, without asking."""

    relay: int
    client: Client
    channel: int
    peer: Endpoint


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Take back an `InstallRoute`."""

    relay: int
    client: Client
    channel: int
    peer: Endpoint


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """Send a datagram from a relay port."""

    relay: int
    data: bytes
    peer: Endpoint
    dont_fragment: bool = False


Effect = Reply | DataToClient | OpenRelay | CloseRelay | InstallRoute | RemoveRoute | SendToPeer
