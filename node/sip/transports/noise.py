"""What is not SIP, told in the log without letting strangers fill it."""

import structlog

from federation.model.clocks import Clock, Monotonic

INTERVAL = 1.0
"Seconds between two lines about one source."
MAX_LINES = 20
"Lines about all sources together in one interval; forged sources do not add up to more."
MAX_SOURCES = 1024
"Sources remembered; with more, all are forgotten."


class NoiseLog:
    """At most one line a source and interval, and a bounded number of lines altogether."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log = structlog.get_logger("sip")
        self._told: dict[str, Monotonic] = {}
        self._window = Monotonic(float("-inf"))
        self._lines = 0
        self._complaints = 0

    @property
    def complaints(self) -> int:
        """How many there were, told or not."""
        return self._complaints

    def complain(self, source: str, reason: str) -> None:
        """Note that `source` (an IP address) sent something unusable."""
        self._complaints += 1
        now = self._clock.monotonic()
        told = self._told.get(source)
        if told is not None and now < told + INTERVAL:
            return
        if now >= self._window + INTERVAL:
            self._window, self._lines = now, 0
        if self._lines >= MAX_LINES:
            return
        if len(self._told) >= MAX_SOURCES:
            self._told.clear()
        self._told[source] = now
        self._lines += 1
        self._log.warning("sip_unusable_input", source=source, reason=reason)
