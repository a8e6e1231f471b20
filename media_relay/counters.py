"""The plain integers every endpoint of the relay keeps, and why a datagram went nowhere."""

import enum
from typing import Any, Protocol

from media_relay.latch import SocketAddress
from media_relay.rtp import Meter

MAX_DATAGRAM_BYTES = 2048
"Longer datagrams are dropped whole; sealed ones may be longer by their overhead."
MAX_PACKETS_PER_SECOND = 2500
"""Taken from one endpoint in a second. Far above any voice or video stream; it bounds what two
anchors cost whose signalling points them at each other, so that a packet would circle for ever."""
MAX_ECHOES_PER_SECOND = 500
"The same bound for an endpoint that echoes."

Outlet = Any
"What sends from a socket. Opaque to the cores: they hand it back to the shell in a `Hop`."
Hop = tuple[Outlet, bytes, SocketAddress]
"A datagram to be sent: through which outlet, its bytes, where to. A plain tuple, for speed."


class Drop(enum.IntEnum):
    """Why a datagram went nowhere; the index of its counter."""

    SOURCE = 0
    "From an address that may not latch, or after another one did."
    KIND = 1
    "Empty, too long, not a kind that passes, or malformed."
    FORGED = 2
    "A sealed datagram whose tag does not hold: wrong key, or tampered with."
    REPLAYED = 3
    "A sealed datagram seen before, or too far behind."
    EARLY = 4
    "For a leg that is reserved and not installed."
    UNJOINED = 5
    "Nobody is joined to the endpoint it arrived at."
    EXCESS = 6
    "Over the endpoint's packets a second."
    UNSENT = 7
    "Due to be sent here, but to nowhere: no peer yet, or a told address unproven."


NO_DROPS = (0,) * len(Drop)
"Of nothing, by `Drop`."


class Tally:
    """The counters of one anchor or leg; both components count together, `meter` sees RTP only."""

    __slots__ = (
        "allowance",
        "bytes_in",
        "bytes_out",
        "drops",
        "id",
        "last_heard",
        "meter",
        "packets_in",
        "packets_out",
        "reported",
    )

    def __init__(self, endpoint_id: int) -> None:
        self.id = endpoint_id
        self.packets_in = 0
        self.packets_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.drops = [0] * len(Drop)
        self.last_heard: float | None = None
        "When anything authentic came, keepalives included; on the worker's monotonic clock."
        self.meter = Meter()
        self.allowance = MAX_PACKETS_PER_SECOND
        "`packets_in` may rise up to here; raised each second."
        self.reported: tuple[float, ...] = (0, 0, 0, -1.0)
        "What the last report said, to leave out endpoints at rest."


class Partner(Protocol):
    """The other end of a join: it turns a datagram into a hop of its own, or drops and counts."""

    def send(self, component: int, data: bytes, size: int) -> Hop | None:
        """Prepare `data` (`size` bytes) for the far side."""
