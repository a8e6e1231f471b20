"""`bye` frames that the other node has not heard: kept, and tried again.

Without them a call would go on at its other node for as long as a phone there speaks into it. A
node that is not linked is tried with one frame at a time; when a link is up all follow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from federation.messages import Bye
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId

KEPT = 90.0
"Seconds; by then the other node has noticed by itself (`node.edge.watch`)."
MAX_OWED = 4096
"Above, the node that has waited longest is left to find out by itself."


@dataclass(frozen=True, slots=True)
class OwedBye:
    """One frame."""

    node: NodeId
    frame: Bye
    until: Monotonic
    "When it is no longer worth the while."


@dataclass(slots=True)
class OwedByes:
    """Every frame that is owed, oldest first."""

    _owed: dict[tuple[NodeId, Bye], OwedBye] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._owed)

    def __iter__(self) -> Iterator[OwedBye]:
        return iter(self._owed.values())

    def add(self, owed: OwedBye) -> None:
        """It did not get through."""
        self._owed.setdefault((owed.node, owed.frame), owed)
        if len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]

    def take(self, is_linked: Callable[[NodeId], bool], *, now: Monotonic) -> list[OwedBye]:
        """Those to send now; they are owed no more unless added again."""
        now_due: list[OwedBye] = []
        later: dict[tuple[NodeId, Bye], OwedBye] = {}
        tried: set[NodeId] = set()
        for key, owed in self._owed.items():
            if owed.until <= now:
                continue
            if is_linked(owed.node) or owed.node not in tried:
                now_due.append(owed)
                tried.add(owed.node)
            else:
                later[key] = owed
        self._owed = later
        return now_due
