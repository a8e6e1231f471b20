"""When a busy socket is looked at: at each arrival, or at intervals (as network cards do it).

Each wake-up of a process costs more than the message that caused it. Where hundreds of messages
arrive a second, a socket is therefore left alone for `PAUSE` between two looks, and whatever came
meanwhile is taken at once; a quiet socket is looked at as soon as something arrives.
"""

PAUSE = 0.004
"Seconds between two looks at a busy socket: what a message may wait at most."
WINDOW = 0.02
"Seconds over which arrivals are counted."
BUSY = 1000.0
"Messages a second from which a socket is busy."
CALM = 600.0
"Messages a second below which it is quiet again."


class Moderation:
    """Tells from the arrivals of one socket whether it is busy."""

    __slots__ = ("_began", "_count", "is_busy")

    def __init__(self, now: float) -> None:
        self._began = now
        self._count = 0
        self.is_busy = False

    def note(self, count: int, now: float) -> bool:
        """`count` messages were taken at `now`; whether the socket is busy from here on."""
        self._count += count
        passed = now - self._began
        if passed >= WINDOW:
            rate = self._count / passed
            self.is_busy = rate >= (CALM if self.is_busy else BUSY)
            self._began, self._count = now, 0
        return self.is_busy
