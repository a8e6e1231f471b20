"""How a quantity was spread, counted in buckets as Prometheus has them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Histogram:
    """Counts values by the smallest bound that is not below them."""

    bounds: tuple[float, ...]
    "Ascending; what is above the last one is counted beyond it."
    counts: list[int] = field(init=False)
    "One for each bound, and one for what is above all; not added up."
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> Sequence[tuple[str, int]]:
        """Each bound as text, `+Inf` last, and how many values are not above it."""
        total, rows = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows
