"""Telephone numbers that trunks of other nodes reach (records of kind 4), for calls from here.

Nobody can prove an offer, and a call by it is as good as the node that makes it. So the operator
names each trunk whose offers count, and only those are looked up. A number that no trunk here takes
goes to the offer with its longest prefix, then to the one of lowest priority, then of most weight.
"""

import asyncio
from collections.abc import Sequence

from dht.finder import Found, Inconclusive, LookupResult
from federation.model.clocks import Clock, Monotonic
from node.lookups import PrefixLookups
from node.offerer import Offerer

OFFERS_CACHE_TIME = 600.0
"Seconds that an offer which was found, or found to be none, serves further calls."
UNSURE_CACHE_TIME = 15.0
"The same where the network gave no sure answer."


_Known = tuple[Monotonic, LookupResult]


class Offers:
    """Finds the trunks of other nodes that offer a number."""

    def __init__(self, offerers: Sequence[Offerer], lookups: PrefixLookups, clock: Clock) -> None:
        self.offerers = tuple(offerers)
        self._lookups = lookups
        self._clock = clock
        self._known: dict[Offerer, _Known] = {}

    async def find(self, number: str, *, budget: float) -> tuple[Offerer, ...] | str:
        """Who offers a number, the best first; a sentence where it is not sure that nobody does."""
        results = await asyncio.gather(*(self._ask(one, budget) for one in self.offerers))
        fitting = []
        for offerer, result in zip(self.offerers, results, strict=True):
            payload = result.records[0].prefixes if isinstance(result, Found) else None
            offer = None if payload is None else payload.offer_for(number)
            if offer is not None:
                rank = (-len(offer.prefix), offer.priority, -offer.weight, str(offerer))
                fitting.append((rank, offerer))
        unsure = [result.reason for result in results if isinstance(result, Inconclusive)]
        if not fitting and unsure:
            return unsure[0]
        return tuple(offerer for _, offerer in sorted(fitting, key=lambda entry: entry[0]))

    def forget(self) -> None:
        """A call by an offer failed, or somebody asks how it is now: look again next time."""
        self._known.clear()

    async def _ask(self, offerer: Offerer, budget: float) -> LookupResult:
        now, known = self._clock.monotonic(), self._known.get(offerer)
        if known is not None and now < known[0]:
            return known[1]
        found = await self._lookups.find_prefixes(offerer.node, offerer.trunk, budget=budget)
        seconds = UNSURE_CACHE_TIME if isinstance(found, Inconclusive) else OFFERS_CACHE_TIME
        self._known[offerer] = Monotonic(self._clock.monotonic() + seconds), found
        return found
