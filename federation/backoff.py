"""How long to wait before dialling again."""

from federation.model.clocks import Entropy

FIRST_DELAY = 0.25
LONGEST_DELAY = 4.0


class Backoff:
    """Doubling delays with jitter, so that many nodes do not return at the same instant."""

    __slots__ = ("_delay", "_entropy")

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._delay = FIRST_DELAY

    def next_delay(self) -> float:
        """Seconds to wait now: between half and the whole of the step, which then doubles."""
        step = self._delay
        self._delay = min(2 * step, LONGEST_DELAY)
        fraction = int.from_bytes(self._entropy.token(2), "big") / 65535
        return step * (0.5 + fraction / 2)

    def reset(self) -> None:
        """Begin anew: the last attempt worked."""
        self._delay = FIRST_DELAY
