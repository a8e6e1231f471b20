"""Many timers on one timer of the event loop.

A call sets half a dozen timers, most of which are cancelled or find nothing to do when they ring
half a minute later. Here each costs an entry in a heap, and those that ring about the same time
share one wake-up.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil, inf

from federation.model.clocks import Clock, Monotonic

GRAIN = 0.02
"Seconds: timers that are longer than `LONG` ring at multiples of this."
LONG = 1.0
LATE = 0.001
"Seconds a `Waker` rings after the instant it was set for, so that the instant has passed."


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
        self.now = clock.monotonic
        self._heap: list[tuple[float, int, Alarm]] = []
        self._serial = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def later(self, delay: float, action: Callable[[], None]) -> Alarm:
        """Call `action` in `delay` seconds, up to `GRAIN` later if that is long."""
        due = self.now() + delay
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
        delay = max(0.0, due - self.now())
        self._handle = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._handle = None
        now = self.now()
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


class Waker:
    """One wake-up for the timers of all transactions: not before their bound, and not at once.

    What rings before stays: were it put off by each message, nothing would ever ring. A wake-up
    that is early finds nothing to do, and is set again then.
    """

    def __init__(self, alarms: Alarms, action: Callable[[], None]) -> None:
        self._alarms = alarms
        self._action = action
        self._alarm: Alarm | None = None
        self._due = inf
        self.bound = inf
        "The instant it was set for; only what is before it needs `wake`."

    def wake(self, bound: Monotonic) -> None:
        """Call `action` soon after `bound`, and `GRAIN` from now at the earliest."""
        now = self._alarms.now()
        due = max(now + GRAIN, bound + LATE)
        self.bound = bound
        if due < self._due:
            if self._alarm is not None:
                self._alarm.cancel()
            self._due = due
            self._alarm = self._alarms.later(due - now, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._due = self.bound = inf
        self._action()
