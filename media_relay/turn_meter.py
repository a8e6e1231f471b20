"""Guests' datagrams in a worker: passed while there is credit, dropped and counted beyond it."""

from collections.abc import Callable
from typing import Any

from media_relay.budget import FIRST_BYTE
from media_relay.counters import Outlet
from media_relay.turn.guests import is_guest

IDLE_REPORTS = 20
"Reports with nothing to tell after which credit is given back: a second."


class OverBudget(OSError):
    """A datagram over a limit is dropped; on the way of datagrams it counts like a full buffer."""


class Meter:
    """One worker's credit, and what was passed and dropped since the last report. Bytes.

    At rest it keeps a little credit. With the first datagram afterwards `on_wake` is called, upon
    which a report should bring more.
    """

    def __init__(self, on_wake: Callable[[], None] = lambda: None) -> None:
        self.credit = FIRST_BYTE
        self.passed = 0
        self.dropped = 0
        self._on_wake = on_wake
        self._idle = IDLE_REPORTS
        self._kept = FIRST_BYTE

    def paid(self, login: str, outlet: Outlet) -> Outlet:
        """What sends datagrams for a login: the outlet itself, or for guests one that counts."""
        return self._metered(outlet) if is_guest(login) else outlet

    def lend(self, credit: int, kept: int = FIRST_BYTE) -> None:
        """More may pass; so much need not be given back."""
        self.credit += credit
        self._kept = kept

    def take(self) -> tuple[int, int, int] | None:
        """Passed, dropped and given back since the last time; `None` if there is nothing to tell.

        Call it at each report's time, whether or not there was traffic.
        """
        counts = self.passed, self.dropped, 0
        self.passed = self.dropped = 0
        if counts != (0, 0, 0):
            self._idle = 0
            return counts
        self._idle += 1
        if self._idle < IDLE_REPORTS or self.credit <= self._kept:
            return None
        returned, self.credit = self.credit - self._kept, self._kept
        return 0, 0, returned

    def untold(self, counts: tuple[int, int, int]) -> None:
        """The last report could not be sent: it is made again with the next."""
        self.passed += counts[0]
        self.dropped += counts[1]
        self.credit += counts[2]

    def _metered(self, outlet: Outlet) -> Outlet:
        def send(data: Any, target: Any) -> int:
            size = len(data)
            if self._idle >= IDLE_REPORTS:
                self._idle = 0
                self._on_wake()
            if self.credit <= 0:
                self.dropped += size
                raise OverBudget  # a new one: each raise of the same would hold on to more frames
            sent: int = outlet(data, target)
            self.credit -= size
            self.passed += size
            return sent

        return send
