"""The timers of RFC 3261 (table 4) and RFC 6026, and a queue that holds tens of thousands of them.

A transaction never needs more than one wake-up at a time: the nearer of "send again" and "give
up". So each owns at most one live entry of the queue. Moving a wake-up later, the usual case,
leaves its entry where it is and moves it only when it comes to the top; ending one leaves a dead
entry behind, swept once dead entries outnumber the living.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

from federation.model.clocks import Monotonic

T1 = 0.5
"Estimated round trip, seconds (RFC 3261 section 17.1.1.1); first retransmission interval."
T2 = 4.0
"Longest retransmission interval of non-INVITE requests and INVITE responses, seconds."
T4 = 5.0
"How long a message may linger in the network, seconds."

TIMER_B = TIMER_F = TIMER_H = 64 * T1
"A request, or an INVITE's final response, is given up after this."
TIMER_D = 64 * T1
"How long a client answers repeated non-2xx finals with ACK over UDP (at least 32 s)."
TIMER_I = TIMER_K = T4
"How long late ACKs (server) and late responses (client) are absorbed over UDP."
TIMER_J = 64 * T1
"How long a non-INVITE server repeats its answer over UDP."
TIMER_L = TIMER_M = 64 * T1
"How long an INVITE answered 2xx stays, server and client (RFC 6026 sections 8.7 and 8.8)."
TIMER_C = 181.0
"How long a proxied INVITE may ring without news, seconds (RFC 3261 section 16.6: over 3 minutes)."
LATE_TRYING = 7 * T1
"When Timer E of a client reaches T2; earlier no non-INVITE gets a 100 (RFC 4320 section 4.1)."
CANCEL_PATIENCE = 64 * T1
"After a CANCEL the INVITE is over without its final response (RFC 3261 section 9.1)."

SWEEP_MINIMUM = 1024
"Dead entries are not swept before there are this many."


class Timed:
    """Something that can be woken once. Subclasses are what `TimerQueue.due` hands back."""

    __slots__ = ("_queued", "wake_at")

    def __init__(self) -> None:
        self.wake_at: Monotonic | None = None
        "When it is to be woken; `None`: not at all. Set by `TimerQueue` only."
        self._queued: Monotonic | None = None


T = TypeVar("T", bound=Timed)


class TimerQueue(Generic[T]):
    """Wake-ups in order of time; those at the same instant in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[Monotonic, int, T]] = []
        self._serial = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, owner: T, wake_at: Monotonic) -> None:
        """Wake `owner` at that instant and at no other."""
        owner.wake_at = wake_at
        queued = owner._queued
        if queued is None or wake_at < queued:
            self._push(owner, wake_at)

    def clear(self, owner: T) -> None:
        """Do not wake `owner`."""
        if owner.wake_at is not None:
            owner.wake_at = None
            self._dead += 1
            if self._dead > SWEEP_MINIMUM and self._dead * 2 > len(self._heap):
                self._sweep()

    @property
    def bound(self) -> Monotonic | None:
        """No wake-up is before this instant; `None` while there is none. Cheaper than `next`."""
        return self._heap[0][0] if self._heap else None

    def next(self) -> Monotonic | None:
        """The instant of the next wake-up; `None` while there is none."""
        heap = self._heap
        while heap:
            at, _, owner = heap[0]
            wake_at = owner.wake_at
            if owner._queued != at:
                heappop(heap)  # superseded by an earlier entry
            elif wake_at is None:
                heappop(heap)
                owner._queued = None
                self._dead -= 1
            elif wake_at > at:
                self._serial += 1
                owner._queued = wake_at
                heapreplace(heap, (wake_at, self._serial, owner))
            else:
                return at
        self._dead = 0
        return None

    def due(self, now: Monotonic) -> list[T]:
        """Take out everything to be woken at `now` or before, in order."""
        found: list[T] = []
        while (at := self.next()) is not None and at <= now:
            owner = heappop(self._heap)[2]
            owner.wake_at = owner._queued = None
            found.append(owner)
        return found

    def _push(self, owner: T, wake_at: Monotonic) -> None:
        self._serial += 1
        owner._queued = wake_at
        heappush(self._heap, (wake_at, self._serial, owner))

    def _sweep(self) -> None:
        live = [e for e in self._heap if e[2].wake_at is not None and e[2]._queued == e[0]]
        for _, _, owner in self._heap:
            if owner.wake_at is None:
                owner._queued = None
        self._heap = live
        heapify(live)
        self._dead = 0
