"""New work is refused while this node cannot keep up, and people are told.

What waits says nothing of who sent it: it may be a flood of strangers. So registered devices have
an allowance of new work that is taken on all the same, little beside what a node can carry. A flood
then does not shut them out, and where they are too many themselves, what is beyond is refused. The
repetition of a refused one is refused like it (RFC 3261 17.2.1), or it would make a call that its
caller has given up.
"""

from collections.abc import Callable

from federation.model.address import Endpoint
from node.edge.hub import Hub
from node.sip.cheap_refusal import CheapRefusal
from node.sip.flow import Flow
from node.sip.matching import source_flow
from node.sip.overload import OverloadControl
from node.sip.token_bucket import TokenBucket

KNOWN_BURST, KNOWN_PER_SECOND = 50.0, 50.0
"New requests of all registered devices together that are taken on in an overload."
MAX_REFUSED = 8_192
"Requests of registered devices that are known to be refused; beyond, the oldest are forgotten."
_SECRET_BYTES = 8


class Shedding:
    """Stands before the transaction layer."""

    def __init__(
        self,
        hub: Hub,
        control: OverloadControl,
        *,
        emergency: frozenset[str],
        sends_from: Callable[[Endpoint], bool],
    ) -> None:
        """`emergency` numbers are never refused; `sends_from` knows registered devices."""
        self._hub = hub
        self._control = control
        secret = hub.entropy.token(_SECRET_BYTES)
        self._refusal = CheapRefusal(secret, emergency=emergency)
        self._sends_from = sends_from
        self._allowance = TokenBucket(KNOWN_BURST, hub.now())
        self._refused: dict[int, None] = {}

    def takes(self, data: bytes, flow: Flow) -> bool:
        """Whether a message needs nothing more: refused here, or the ACK to a refusal."""
        if self._refusal.is_own_ack(data):
            return True
        if not self._control.is_shedding or self._hub.layer.has_seen(data, flow):
            return False
        remote = flow.remote
        refusal = self._refusal.answer(data, remote.host, remote.port)
        if refusal is None or (self._sends_from(remote) and self._is_taken_on(data)):
            return False
        answer, port = refusal
        self._hub.wires.send(answer, source_flow(flow, port))
        if self._control.count(now=self._hub.now()) is not None:
            self._hub.log.warning("overload_began", help="new calls and registrations get 503")
        return True

    def _is_taken_on(self, data: bytes) -> bool:
        """Whether a registered device's request is within the allowance; else that is noted."""
        key = hash(data)
        if key in self._refused:
            return False
        if self._is_allowed():
            return True
        if len(self._refused) >= MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = None
        return False

    def _is_allowed(self) -> bool:
        return self._allowance.take(KNOWN_BURST, KNOWN_PER_SECOND, self._hub.now())

    def look(self) -> None:
        """Tell when an overload is over."""
        over = self._control.look(now=self._hub.now())
        if over is not None:
            self._hub.log.warning(
                "overload_over", refused=over.refused, seconds=round(over.seconds, 1)
            )

    @property
    def figures(self) -> dict[str, object]:
        """For `status`."""
        return {"now": self._control.is_overloaded, "refused": self._control.refused}
