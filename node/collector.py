"""When the garbage collector looks for reference cycles: while little happens.

Calls and registrations leave no cycles, yet what they leave behind lingers for half a minute and
longer in the collector's way: by its own thresholds it takes up to a tenth of the processor under
load, and stops everything for up to half a second. So it never runs by itself here. Once a second
what was made since is looked through if that is little; if it is much it is put aside unseen
(`gc.freeze`, which costs nothing), and everything is looked through at the next rest. Whatever is
in no cycle is freed at once all the while, by its reference count.
"""

import asyncio
import enum
import gc
import time

TICK = 1.0
"Seconds between two looks."
FEW = 2_000
"Objects made since the last look and not freed; fewer are not worth one, and a sign of rest."
MANY = 20_000
"The same, from which on they are put aside: a look would take longer than a call may wait."
REST = 30.0
"Seconds without more than `FEW` a tick, after which everything may be looked through."
ALL_EVERY = 900.0
"Seconds between two looks at everything, at rest."
ALL_AT_LAST = 6 * 3600.0
"The same where there never is a rest; such a look takes 0.3 s with 100,000 phones."


class Look(enum.Enum):
    """What is done at a tick."""

    NOTHING = enum.auto()
    YOUNG = enum.auto()
    "Look through what was made since the last look."
    PUT_ASIDE = enum.auto()
    ALL = enum.auto()


class Rhythm:
    """Decides what is done; `now` in seconds."""

    def __init__(self, now: float) -> None:
        self._restless_at = self._all_at = now

    def look(self, made: int, now: float) -> Look:
        """`made` objects since the last look are still there."""
        if made >= FEW:
            self._restless_at = now
        rests = now - self._restless_at >= REST
        if now - self._all_at >= (ALL_EVERY if rests else ALL_AT_LAST):
            self._all_at = now
            return Look.ALL
        if made >= MANY:
            return Look.PUT_ASIDE
        return Look.YOUNG if made >= FEW else Look.NOTHING


class Collector:
    """Runs Python's collector by that rhythm, in this process."""

    def __init__(self) -> None:
        gc.disable()
        gc.collect()
        gc.freeze()
        self._rhythm = Rhythm(time.monotonic())

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look now, and every `TICK` seconds from now on, as long as `loop` runs."""
        loop.call_later(TICK, self.follow, loop)
        look = self._rhythm.look(gc.get_count()[0], time.monotonic())
        if look is Look.YOUNG:
            gc.collect(0)
        elif look is Look.PUT_ASIDE:
            gc.freeze()
        elif look is Look.ALL:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
