"""Which relay to ask: the nearest that is not full (core)."""

from collections.abc import Iterable
from dataclasses import dataclass

from dht.record import RelayOffer
from federation.model.address import Endpoint
from federation.model.identity import NodeId

NEARNESS = 1.5
"Relays whose round trip is at most this many times that of the nearest count as equally near,"
NEARNESS_SECONDS = 0.01
"as do those that are not further by more than this."
LEAST_KBITS = 64
"One call's share: a relay with less is full."


@dataclass(frozen=True, slots=True)
class RelayCandidate:
    """A node that says it relays for strangers."""

    node: NodeId
    endpoint: Endpoint
    rtt: float | None
    "Seconds; `None` where it was not measured."
    offer: RelayOffer | None = None
    "What its address record says it has free; `None` where none was found."

    @property
    def is_full(self) -> bool:
        """Whether asking is in vain, as far as its record says."""
        offer = self.offer
        return offer is None or offer.kbits_free < LEAST_KBITS or not offer.sessions_free


def in_order(candidates: Iterable[RelayCandidate]) -> list[RelayCandidate]:
    """Whom to ask, first to last; full ones are left out.

    Nearest first. Among those that are about as near, the one with most free comes first, so that
    not everybody of a region asks the same one.
    """
    usable = [one for one in candidates if not one.is_full]
    usable.sort(key=lambda one: (_distance(one), bytes(one.node)))
    ordered: list[RelayCandidate] = []
    while usable:
        nearest = _distance(usable[0])
        reach = max(nearest * NEARNESS, nearest + NEARNESS_SECONDS)
        equal = [one for one in usable if _distance(one) <= reach]
        usable = usable[len(equal) :]
        equal.sort(key=lambda one: (-_free(one), _distance(one), bytes(one.node)))
        ordered += equal
    return ordered


def _distance(candidate: RelayCandidate) -> float:
    return float("inf") if candidate.rtt is None else candidate.rtt


def _free(candidate: RelayCandidate) -> int:
    return 0 if candidate.offer is None else candidate.offer.kbits_free
