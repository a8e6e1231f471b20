"""How large the network is, and so how wide the region of a key must be.

A record lives at all nodes within a distance that should hold 25 honest ones. The distance comes
from the network's size, estimated from many lookups; ids that somebody placed near one key do not
change it, so the region grows past them, up to a cap.
"""

from collections import deque
from collections.abc import Sequence
from statistics import median

EXPECTED_IN_REGION = 25
LEAST_IN_REGION = 20
MOST_IN_REGION = 160
REMEMBERED_LOOKUPS = 32
LEAST_SAMPLE = 20
"Nearest peers of a lookup that make one estimate."
_SPACE = 1 << 256


class RegionEstimator:
    """Keeps estimates of the network's size; the median counts."""

    def __init__(self) -> None:
        self._sizes: deque[float] = deque(maxlen=REMEMBERED_LOOKUPS)

    def observe(self, distances: Sequence[int]) -> None:
        """Learn from the ascending distances of the nearest living peers.

        The lookup must have asked all of its region: one that ended sooner has met fewer of the
        nearest, and would make the network look small.
        """
        if len(distances) >= LEAST_SAMPLE:
            nth = LEAST_SAMPLE
            self._sizes.append(nth * _SPACE / max(1, distances[nth - 1]))

    def forget(self) -> None:
        """The network has changed so much that what was learnt is of another one."""
        self._sizes.clear()

    def radius_beside(self, own_distances: Sequence[int]) -> int:
        """The radius; without an estimate, what our nearest contacts' distances from us suggest.

        The table holds everybody near its owner, whom it asked itself.
        """
        if self._sizes or len(own_distances) < LEAST_SAMPLE:
            return self.radius
        return min(_SPACE - 1, own_distances[LEAST_SAMPLE - 1] * EXPECTED_IN_REGION // LEAST_SAMPLE)

    @property
    def size(self) -> float | None:
        """Nodes in the network; None while no lookup met enough of them."""
        return median(self._sizes) if self._sizes else None

    @property
    def radius(self) -> int:
        """The distance that should hold 25 nodes; 0 while the size is not known."""
        size = self.size
        return 0 if size is None else min(_SPACE - 1, int(EXPECTED_IN_REGION / size * _SPACE))


def region_size(distances: Sequence[int], radius: int) -> int:
    """How many of these ascending distances lie in the region."""
    within = sum(distance <= radius for distance in distances)
    return min(len(distances), max(LEAST_IN_REGION, min(within, MOST_IN_REGION)))
