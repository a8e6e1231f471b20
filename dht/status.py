"""What a directory tells of itself, for status pages and metrics."""

from dataclasses import dataclass, field
from typing import Self

from dht.overlay_id import OverlayId
from dht.reachability import FamilyReach
from dht.serving import Traffic
from dht.table import Contact
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.histogram import Histogram
from federation.model.identity import NodeId


@dataclass(frozen=True, slots=True)
class ContactInfo:
    """A contact, for people to see."""

    node: NodeId
    id: OverlayId
    endpoint: Endpoint
    rtt: float | None
    "Seconds."
    last_heard: float
    "Seconds ago."
    misses: int
    flags: int

    @classmethod
    def of(cls, contact: Contact, now: Monotonic) -> Self:
        """A contact as it stands at `now`."""
        heard = now - contact.last_heard
        return cls(
            contact.key,
            contact.id,
            contact.endpoint,
            contact.rtt,
            heard,
            contact.misses,
            contact.flags,
        )


@dataclass(frozen=True, slots=True)
class DhtStats:
    """Figures for status pages and metrics."""

    contacts: int
    records: int
    record_bytes: int
    published: int
    network_size: float | None
    "Estimated nodes; None while too few are known."
    lookups: dict[str, int]
    "By outcome: Found, NotFound, Inconclusive."
    waiting: int
    queued_claims: int
    clock_skew: float | None
    "Seconds the peers' clocks are ahead of ours: the median of their networks."
    clock: str
    "In words, for people: whether the clock will do."
    observed: Endpoint | None
    "Our address as the peer that answered last saw it."
    reach: tuple[FamilyReach, ...]
    "For IPv4 and IPv6, whether strangers are served; empty where that is not asked."
    traffic: Traffic
    lookup_times: tuple[float, ...] = ()
    "Seconds that the latest lookups took, oldest first."
    lookup_durations: Histogram = field(default_factory=lambda: Histogram(()))
    "Of all lookups, in seconds."
