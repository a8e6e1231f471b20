"""Which hop is next when one does not serve (RFC 3263 section 4.3), and which are spared."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Literal

from federation.model.clocks import Monotonic
from node.sip.locate import Hop

SPARED = 30.0
"Seconds a hop that failed comes last, where it did not say itself how long."
MAX_SPARED = 600.0
"Seconds at most, whatever a Retry-After says."
MAX_REMEMBERED = 1_024
"Hops remembered as failing; beyond, the oldest are forgotten."

Failure = Literal["timeout", "unreachable"]
"No response at all came; or the transport said that it cannot be delivered."
Outcome = int | Failure
"A final status, or why there is none."


class Attempts:
    """The hops of one request, tried in order; each try has a transaction and branch of its own."""

    def __init__(self, hops: Sequence[Hop]) -> None:
        """`hops` has at least one."""
        self._hops = list(hops)
        self.current = self._hops.pop(0)
        "The hop to send to now."

    def next_after(self, outcome: Outcome, *, heard: bool = False) -> Hop | None:
        """The hop to try after the current one ended so; `None`: the outcome stands.

        `heard` says that a provisional response came: the server has the request, and silence after
        that is the callee's and not the server's.
        """
        if not may_go_on(outcome, heard=heard) or not self._hops:
            return None
        self.current = self._hops.pop(0)
        return self.current


def may_go_on(outcome: Outcome, *, heard: bool) -> bool:
    """Whether another server may know better: after a 503, and where no server answered."""
    return outcome == 503 or (outcome in ("timeout", "unreachable") and not heard)


class SparedHops:
    """Remembers which hops failed lately, so that the next request begins with another."""

    def __init__(self) -> None:
        self._until: OrderedDict[Hop, Monotonic] = OrderedDict()

    def failed(self, hop: Hop, *, now: Monotonic, retry_after: float | None = None) -> None:
        """A hop gave 503, with its Retry-After in seconds if it had one, or did not answer."""
        seconds = SPARED if retry_after is None else min(max(retry_after, 0.0), MAX_SPARED)
        self._until[hop] = Monotonic(now + seconds)
        self._until.move_to_end(hop)
        if len(self._until) > MAX_REMEMBERED:
            self._until.popitem(last=False)

    def served(self, hop: Hop) -> None:
        """A hop answered."""
        self._until.pop(hop, None)

    def in_order(self, hops: Iterable[Hop], *, now: Monotonic) -> tuple[Hop, ...]:
        """The same hops, those to be spared last; none is left out."""
        return tuple(sorted(hops, key=lambda hop: self._until.get(hop, now) > now))
