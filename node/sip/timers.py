"""The timers of RFC 3261 (table 4) and RFC 6026, and a queue that holds tens of thousands of them.

A transaction never needs more than one wake-up at a time: the nearer of "send again" and "give
up". So each owns at most one live entry of the queue; moving or clearing a wake-up leaves a dead
entry behind, swept once dead entries outnumber the living.

Most wake-ups are the ends of finished transactions, all of them after one of few delays. What is
set with the same delay comes due in the order it was set, so each such delay has a lane, which
costs an append; only the others, soon over, stand in a heap.
"""

from collections import deque
from heapq import heapify, heappop, heappush
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
MAX_LANES = 8
"Delays that have a lane; more would be no few delays."


class Timed:
    """Something that can be woken once. Subclasses are what `TimerQueue.due` hands back."""

    __slots__ = ("wake_at",)

    def __init__(self) -> None:
        self.wake_at: Monotonic | None = None
        "When it is to be woken; `None`: not at all. Set by `TimerQueue` only."


T = TypeVar("T", bound=Timed)


class TimerQueue(Generic[T]):
    """Wake-ups in order of time; those set for the same instant in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[Monotonic, int, T]] = []
        self._lanes: dict[float, deque[tuple[Monotonic, int, T]]] = {}
        self._serial = 0
        self._dead = 0
        self.bound: Monotonic | None = None
        "No wake-up is before this instant; `None` while there is none. Cheaper than `next`."

    def __len__(self) -> int:
        return len(self._heap) + sum(map(len, self._lanes.values()))

    def set(self, owner: T, wake_at: Monotonic) -> None:
        """Wake `owner` at that instant and at no other."""
        if owner.wake_at is not None:
            self._bury()
        owner.wake_at = wake_at
        self._serial += 1
        heappush(self._heap, (wake_at, self._serial, owner))
        if self.bound is None or wake_at < self.bound:
            self.bound = wake_at

    def set_after(self, owner: T, delay: float, now: Monotonic) -> None:
        """Wake `owner` in `delay` seconds, one of a few delays, and at no other time."""
        wake_at = Monotonic(now + delay)
        lane = self._lanes.get(delay)
        if lane is None and len(self._lanes) < MAX_LANES:
            lane = self._lanes[delay] = deque()
        if lane is None or (lane and lane[-1][0] > wake_at):
            self.set(owner, wake_at)
            return
        if owner.wake_at is not None:
            self._bury()
        owner.wake_at = wake_at
        self._serial += 1
        lane.append((wake_at, self._serial, owner))
        if self.bound is None or wake_at < self.bound:
            self.bound = wake_at

    def clear(self, owner: T) -> None:
        """Do not wake `owner`."""
        if owner.wake_at is not None:
            owner.wake_at = None
            self._bury()

    def next(self) -> Monotonic | None:
        """The instant of the next wake-up; `None` while there is none."""
        heap, first = self._heap, None
        while heap and heap[0][2].wake_at != heap[0][0]:
            heappop(heap)
            self._dead -= 1
        if heap:
            first = heap[0][0]
        for lane in self._lanes.values():
            while lane and lane[0][2].wake_at != lane[0][0]:
                lane.popleft()
                self._dead -= 1
            if lane and (first is None or lane[0][0] < first):
                first = lane[0][0]
        self.bound = first
        return first

    def due(self, now: Monotonic) -> list[T]:
        """Take out everything to be woken at `now` or before, in order."""
        found: list[tuple[Monotonic, int, T]] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            found.append(heappop(heap))
        sources = 1
        for lane in self._lanes.values():
            while lane and lane[0][0] <= now:
                found.append(lane.popleft())
                sources = 2
        if sources > 1:
            found.sort()
        owners: list[T] = []
        for at, _, owner in found:
            if owner.wake_at == at:
                owner.wake_at = None
                owners.append(owner)
            else:
                self._dead -= 1
        self.next()
        return owners

    def _bury(self) -> None:
        """An entry has died."""
        self._dead += 1
        if self._dead > SWEEP_MINIMUM and self._dead * 2 > len(self):
            self._heap = [entry for entry in self._heap if entry[2].wake_at == entry[0]]
            heapify(self._heap)
            for delay, lane in self._lanes.items():
                self._lanes[delay] = deque(e for e in lane if e[2].wake_at == e[0])
            self._dead = 0
