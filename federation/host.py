"""What each peer asks of `Links`, which holds them all."""

from typing import Protocol

from federation.link import Link, LinkEvents
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from federation.model.identity import NodeId
from federation.ports import AddressLookup, LinkReceiver


class PeerHost(Protocol):
    """What a peer asks of the whole of links."""

    clock: Clock
    entropy: Entropy
    receiver: LinkReceiver
    addresses: AddressLookup
    is_draining: bool

    def make_link(self, endpoint: Endpoint, expected: NodeId | None, events: LinkEvents, /) -> Link:
        """Dial one address."""

    def peer_changed(self, peer: "Forgettable") -> None:
        """The peer may have nothing left to remember."""

    def own_id(self) -> NodeId:
        """This node."""

    def last_endpoint(self, node: NodeId) -> Endpoint | None:
        """Where a link to that node was, the last time."""

    def note_endpoint(self, node: NodeId, endpoint: Endpoint) -> None:
        """Remember where a link to that node is."""


class Forgettable(Protocol):
    """A peer, as far as its host needs to know it here."""

    node: NodeId

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
