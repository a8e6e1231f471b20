"""Many timers on one timer of the event loop.

A call sets half a dozen timers, most of which are cancelled or find nothing to do when they ring
half a minute later. Here each costs an entry in a heap, and those that ring about the same time
share one wake-up.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil

from federation.model.clocks import Clock, Monotonic

GRAIN = 0.02
"Seconds: timers that are longer than `LONG` ring at multiples of this."
LONG = 1.0


class Alarm:
    """One timer."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Let it not ring; a second time, or afterwards, nothing happens."""
        self.action = None


class Alarms:
    """Rings what was asked for, until it is closed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._serial = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def later(self, delay: float, action: Callable[[], None]) -> Alarm:
        """Call `action` in `delay` seconds, up to `GRAIN` later if that is long."""
        due = self._clock.monotonic() + delay
        if delay > LONG:
            due = Monotonic(ceil(due / GRAIN) * GRAIN)
        alarm = Alarm(action)
        self._serial += 1
        heappush(self._heap, (due, self._serial, alarm))
        if self._handle is None or due < self._armed_for:
            self._arm(due)
        return alarm

    def close(self) -> None:
        """Ring nothing any more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = due
        delay = max(0.0, due - self._clock.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._handle = None
        now = self._clock.monotonic()
        heap = self._heap
        try:
            while heap and (heap[0][0] <= now or heap[0][2].action is None):
                alarm = heappop(heap)[2]
                action, alarm.action = alarm.action, None
                if action is not None:
                    action()
        finally:  # whatever one action raised, the others ring
            if heap:
                self._arm(heap[0][0])
