"""How long the loop's turns take while streams bring messages: each waits for the next turn.

A read takes what a connection has, a thousand messages and more. So that others are heard while
some flood, all streams together have a share of each turn; what is left of it waits for the next
turns, and its connections are not read until then.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from node.sip.overload import Backlog

SHARE = 0.01
"Seconds of a turn for messages of streams."
TURN = 0.005
"Seconds a turn of the loop may take in which streams are read, to count as having done all."


class Turns:
    """Measures only turns in which something came."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._began: float | None = None
        self._behind_since: float | None = None
        "When the first of the long turns since all was done began."
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_called = False
        "Whether those who wait go on in the next turn."

    @property
    def is_spent(self) -> bool:
        """Whether this turn has taken enough messages."""
        return self._began is not None and time.monotonic() - self._began > SHARE

    def wait(self, go_on: Callable[[], None]) -> None:
        """Have that called in one of the next turns; who waits longer comes first."""
        self._waiting.append(go_on)
        self._call()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Let those who wait go on while there is time; who is not done waits on as the last."""
        self._is_called = False
        for _ in range(len(self._waiting)):
            if self.is_spent:
                break
            self._waiting.popleft()()
        if self._waiting:
            self._call()

    def note(self) -> None:
        """A message came over a stream."""
        if self._began is None:
            self._began = time.monotonic()
            asyncio.get_running_loop().call_soon(self._turned)

    def _turned(self) -> None:
        began, now = self._began, time.monotonic()
        if began is None:
            return
        self._began = None
        if not self._waiting and now - began <= TURN:
            self._caught_up()
            return
        if self._behind_since is None:
            self._behind_since = began
        self._backlog.left(now - self._behind_since)
        asyncio.get_running_loop().call_soon(self._rested)

    def _rested(self) -> None:
        """Where nothing came in the turn after a long one, nothing waits, and no turn follows."""
        if self._began is None and not self._waiting:
            self._caught_up()

    def _caught_up(self) -> None:
        self._behind_since = None
        self._backlog.done()
