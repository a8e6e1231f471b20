"""Where one anchor port sends to, and from where it takes datagrams.

A phone behind NAT sends from another address than its SDP says, and only its packets tell which.
Believing any packet would hand the call to whoever guesses the port ("rtpbleed"), so a different
source is taken only from an IP address that the signalling named. The first media packet locks the
choice; STUN moves it but does not lock, since ICE tries every path before it uses one. A new offer
may open the lock again.
"""

from collections.abc import Set
from typing import Any

from federation.model.address import Endpoint

SocketAddress = tuple[Any, ...]
"An address as `recvfrom` gives it and `sendto` takes it: host, port, and more for IPv6."


class Latch:
    """One port's idea of its peer.

    `peer` is where datagrams are sent, `accepted` the only source taken once it is locked.
    """

    __slots__ = ("accepted", "peer", "signalled", "sources")

    def __init__(self) -> None:
        self.signalled: Endpoint | None = None
        self.sources: Set[str] = frozenset()
        self.peer: SocketAddress | None = None
        self.accepted: SocketAddress | None = None

    def expect(self, signalled: Endpoint | None, sources: frozenset[str], *, relatch: bool) -> None:
        """Take over what signalling says now.

        `signalled` may change place, `sources` are IP addresses that may latch besides its own.
        A locked peer stays unless `relatch`; even then it is sent to until another packet comes,
        as long as its address is still a source and the signalled one did not change.
        """
        moved = signalled != self.signalled
        self.signalled = signalled
        self.sources = sources if signalled is None else sources | {signalled.host}
        if relatch:
            self.accepted = None
        if self.accepted is not None:
            return
        if (signalled is not None and moved) or (
            self.peer is not None and self.peer[0] not in self.sources
        ):
            self.peer = signalled

    def admits(self, source: SocketAddress, *, locks: bool) -> bool:
        """Whether a datagram from `source` is taken; if so the peer follows, and locks on media."""
        if self.accepted is not None:
            return source == self.accepted
        if source[0] not in self.sources:
            return False
        self.peer = source
        if locks:
            self.accepted = source
        return True

    def restore(self, peer: SocketAddress, *, locked: bool) -> None:
        """Put back what an earlier worker had learned, after the same `expect`."""
        self.peer = peer
        self.accepted = peer if locked else None
