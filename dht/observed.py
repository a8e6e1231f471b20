"""The address that peers see this node at: where it is reached from outside a NAT. A core.

Every answer says from where its question came. One peer may be wrong or lie, and one network of
peers may do so together; so an address is believed once peers in three networks saw it, twice as
many as saw any other, and once this node is known to be reached (`reachability`), since every NAT
shows an address, also one that lets nothing in. A NAT that gives each peer another port shows
addresses that differ, and none is believed.

What was believed holds while somebody still sees it, and ends at once when others agree on another.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from dht.reachability import CONFIRMATIONS, FamilyReach
from dht.scope import is_local, wide_network
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic

AGREEING = 3
"Networks of peers that must have seen the same address."
SEEN_S = 7_200.0
"How long it counts that a network saw an address."
MAX_NETWORKS = 64
"Networks whose view is kept, each family."


class OuterAddress(NamedTuple):
    """Where this node is reached from outside, as far as its peers can tell."""

    endpoint: Endpoint
    networks: int
    "Networks of peers that see it there."


class _View(NamedTuple):
    seen: Endpoint
    at: Monotonic


class _Side:
    """One family."""

    def __init__(self) -> None:
        self.views: OrderedDict[bytes, _View] = OrderedDict()
        self.held: Endpoint | None = None

    def note(self, network: bytes, view: _View) -> None:
        self.views[network] = view
        self.views.move_to_end(network)
        while len(self.views) > MAX_NETWORKS:
            self.views.popitem(last=False)

    def counted(self, now: Monotonic) -> Counter[Endpoint]:
        """How many networks see each address."""
        for network, view in list(self.views.items()):
            if now - view.at > SEEN_S:
                del self.views[network]
        return Counter(view.seen for view in self.views.values())

    def settle(self, reach: FamilyReach, now: Monotonic) -> OuterAddress | None:
        counts = self.counted(now)
        agreed = _agreed(counts)
        if self.held is not None and (agreed not in (None, self.held) or not counts[self.held]):
            self.held = None
        elif self.held is None and reach.confirmed >= CONFIRMATIONS:
            self.held = agreed
        return None if self.held is None else OuterAddress(self.held, counts[self.held])


def _agreed(counts: Counter[Endpoint]) -> Endpoint | None:
    if not counts:
        return None
    first, *others = counts.most_common(2)
    rival = others[0][1] if others else 0
    return first[0] if first[1] >= max(AGREEING, 2 * rival) else None


class ObservedAddresses:
    """What peers said, and what can be believed of it."""

    def __init__(self) -> None:
        self._sides = {4: _Side(), 6: _Side()}

    def note(self, seen: Endpoint, peer: Endpoint, *, now: Monotonic) -> None:
        """A peer that answered saw this node at `seen`."""
        if seen.is_ipv6 is peer.is_ipv6 and not is_local(peer) and not is_local(seen):
            side = self._sides[6 if peer.is_ipv6 else 4]
            side.note(wide_network(peer.ip), _View(seen, now))

    def outer(
        self, reach: Iterable[FamilyReach], hosts: Iterable[str], *, now: Monotonic
    ) -> tuple[OuterAddress, ...]:
        """Where this node is reached beside its own addresses, `hosts`: IPv4, then IPv6."""
        own = set(hosts)
        settled = [self._sides[one.family].settle(one, now) for one in reach]
        return tuple(one for one in settled if one is not None and one.endpoint.host not in own)
