"""So many at once, then so many a second."""

from dataclasses import dataclass

from federation.model.clocks import Monotonic


@dataclass(slots=True)
class TokenBucket:
    """What is left of one allowance; one that was left alone for long is full again."""

    tokens: float
    at: Monotonic

    def take(self, burst: float, per_second: float, now: Monotonic) -> bool:
        """Whether it may be done once more, which is counted."""
        self.tokens = min(burst, self.tokens + (now - self.at) * per_second)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
