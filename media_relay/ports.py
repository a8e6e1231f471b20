"""Which port pairs of the media range may be bound next.

Given-back pairs queue behind all others, so the longest unused comes first: strays of an old call
then meet a port that nobody listens on. A pair that rested for less than ten seconds is therefore
handed out only when none that rested longer is left, and one that rested for less than a second
never.
"""

from collections import deque
from mmap import mmap

from federation.model.clocks import Monotonic

Marks = bytearray | mmap

SHORTEST_REST = 1.0
"Seconds between giving back and taking, even if that means no capacity."
MARKS = 65536
"One byte for each port number: 1 while an anchor or a relay has it."
_LONG_AGO = float("-inf")


class PortPool:
    """The even ports of `lowest`-`highest`, each standing for itself and the odd one above.

    `in_media` is written for others to read: which ports carry media now. `first` turns the order
    of never-used pairs, so that neighbours on one machine who share the range seldom try the same.
    """

    def __init__(
        self, lowest: int, highest: int, *, first: int = 0, in_media: Marks | None = None
    ) -> None:
        self._in_media = bytearray(MARKS) if in_media is None else in_media
        pairs = range(lowest, highest, 2)
        turn = first % len(pairs)
        self._waiting: deque[tuple[int, float]] = deque(
            (port, _LONG_AGO) for port in (*pairs[turn:], *pairs[:turn])
        )
        self._taken: set[int] = set()

    def take(self, *, now: Monotonic) -> int | None:
        """The even port to try next, `None` if no pair may be used now."""
        if not self._waiting or now - self._waiting[0][1] < SHORTEST_REST:
            return None
        port, _ = self._waiting.popleft()
        self._taken.add(port)
        return port

    def mark(self, port: int) -> None:
        """Note that a port of a taken pair carries media of ours, until the pair is given back."""
        self._in_media[port] = 1

    def is_marked(self, port: int) -> bool:
        """Whether a port carries media of ours now."""
        return bool(self._in_media[port])

    def give_back(self, port: int, *, now: Monotonic) -> None:
        """Return a taken pair, after use or because somebody else holds it.

        Raises:
            KeyError: it was not taken, or given back already.
        """
        self._taken.remove(port)
        self._in_media[port] = self._in_media[port + 1] = 0
        self._waiting.append((port, now))

    @property
    def in_use(self) -> int:
        """Pairs taken."""
        return len(self._taken)

    @property
    def free(self) -> int:
        """Pairs not taken, resting ones included."""
        return len(self._waiting)
