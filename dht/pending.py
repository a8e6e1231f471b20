"""Requests that wait for their answer. Each ends exactly once: answered, given up or dropped."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dht.frame import NO_COOKIE
from dht.messages import Part, Request
from dht.overlay_id import OverlayId
from dht.sealing import RequestSeal
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId

MAX_PENDING = 4_096
"Requests that may wait at a time; more are not sent."
LAST_WAIT_FACTOR = 2.0
"The wait after the last transmission, in units of the patience."
T = TypeVar("T")
_UNSET = Monotonic(0.0)


@dataclass(slots=True, eq=False)
class Pending(Generic[T]):
    """One request on its way. `owner` is whatever the caller wants back with the outcome."""

    txid: bytes
    endpoint: Endpoint
    request: Request
    owner: T
    patience: float
    "Seconds after which it is sent again."
    sends_left: int
    recipient: OverlayId | None = None
    key: NodeId | None = None
    "The recipient's public key, if it is known, or of who answered first."
    nonce: bytes = b""
    "The puzzle solution of who answered first: an answer has one sender."
    checking: int = 0
    "Datagrams of the answer that wait until its sender's id is checked."
    datagram: bytes = b""
    cookie: bytes = NO_COOKIE
    seal: RequestSeal | None = None
    sent_at: Monotonic = _UNSET
    was_challenged: bool = False
    was_repeated: bool = False
    parts: dict[int, Part] = field(default_factory=dict)
    deadline: Monotonic = _UNSET


@dataclass(frozen=True, slots=True)
class Repeat(Generic[T]):
    """Send the same datagram again."""

    pending: Pending[T]


@dataclass(frozen=True, slots=True)
class Silent(Generic[T]):
    """It was not answered, or only in part; it is no longer in the table."""

    pending: Pending[T]


class PendingTable(Generic[T]):
    """Requests by transaction id, with their deadlines."""

    def __init__(self) -> None:
        self._by_txid: dict[bytes, Pending[T]] = {}
        self._deadlines: list[tuple[Monotonic, int, Pending[T]]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._by_txid)

    def __iter__(self) -> Iterator[Pending[T]]:
        return iter(tuple(self._by_txid.values()))

    @property
    def is_full(self) -> bool:
        """Whether no further request may be sent."""
        return len(self._by_txid) >= MAX_PENDING

    def sent(self, pending: Pending[T], *, now: Monotonic) -> None:
        """A request was handed to the socket, for the first time or with a new cookie."""
        pending.sent_at = now
        pending.sends_left -= 1
        self._by_txid[pending.txid] = pending
        self._schedule(pending, now)

    def match(self, txid: bytes, source: Endpoint, sender: NodeId) -> Pending[T] | None:
        """The request that an answer belongs to: its id, address and key must all fit."""
        pending = self._by_txid.get(txid)
        if pending is None or pending.endpoint != source:
            return None
        return pending if pending.key is None or pending.key == sender else None

    def is_waiting(self, pending: Pending[T]) -> bool:
        """Whether this request still waits."""
        return self._by_txid.get(pending.txid) is pending

    def finish(self, pending: Pending[T]) -> bool:
        """Take a request out; False if it had ended before."""
        if not self.is_waiting(pending):
            return False
        del self._by_txid[pending.txid]
        return True

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed."""
        while self._deadlines:
            deadline, _, pending = self._deadlines[0]
            if self.is_waiting(pending) and pending.deadline == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None

    def handle_timer(self, *, now: Monotonic) -> list[Repeat[T] | Silent[T]]:
        """What to send again, and what to give up."""
        effects: list[Repeat[T] | Silent[T]] = []
        while (deadline := self.next_timer()) is not None and deadline <= now:
            _, _, pending = heapq.heappop(self._deadlines)
            if pending.sends_left > 0:
                pending.was_repeated = True
                pending.sends_left -= 1
                self._schedule(pending, now)
                effects.append(Repeat(pending))
            else:
                del self._by_txid[pending.txid]
                effects.append(Silent(pending))
        return effects

    def _schedule(self, pending: Pending[T], now: Monotonic) -> None:
        wait = pending.patience * (1.0 if pending.sends_left > 0 else LAST_WAIT_FACTOR)
        pending.deadline = Monotonic(now + wait)
        self._serial += 1
        heapq.heappush(self._deadlines, (pending.deadline, self._serial, pending))
