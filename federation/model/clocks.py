"""Two kinds of time that must not be mixed, and where they come from.

Timers use `Monotonic`, signed statements use `UnixTime`; both are seconds. Cores never read a
clock: they are handed `now`. Shells read one through a `Clock`, which tests replace.
"""

import os
import time
from collections.abc import Callable
from typing import NewType, Protocol, cast

Monotonic = NewType("Monotonic", float)
"Seconds since an arbitrary start; never goes back."
UnixTime = NewType("UnixTime", float)
"Seconds since 1970-01-01T00:00:00Z; may jump when the system's clock is set."


class Clock(Protocol):
    """Reads both kinds of time."""

    def monotonic(self) -> Monotonic:
        """Time for timers."""

    def unix(self) -> UnixTime:
        """Time for signed statements and storage."""


class Entropy(Protocol):
    """A source of random bytes that tests can seed."""

    def token(self, size: int) -> bytes:
        """Return `size` unpredictable bytes."""


class SystemClock:
    """The operating system's clocks.

    `time.monotonic` and not the event loop's `time()`: uvloop's counts whole milliseconds.
    """

    monotonic = staticmethod(cast("Callable[[], Monotonic]", time.monotonic))
    "Time for timers; the function itself, since a call through SIP asks dozens of times."

    def unix(self) -> UnixTime:
        """Time for signed statements and storage."""
        return UnixTime(time.time())


class SystemEntropy:
    """The operating system's random bytes."""

    def token(self, size: int) -> bytes:
        """Return `size` unpredictable bytes."""
        return os.urandom(size)


class PooledEntropy:
    """The operating system's random bytes, fetched in advance for the many small tokens of a call.

    For one thread: two that ask at once might be given the same bytes.
    """

    POOL = 4096
    "Bytes fetched at once."

    def __init__(self) -> None:
        self._pool = b""
        self._taken = 0

    def token(self, size: int) -> bytes:
        """Return `size` unpredictable bytes."""
        end = self._taken + size
        if end > len(self._pool):
            self._pool, self._taken, end = os.urandom(max(self.POOL, size)), 0, size
        token = self._pool[self._taken : end]
        self._taken = end
        return token
