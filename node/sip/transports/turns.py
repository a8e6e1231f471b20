"""How long the loop's turns take while streams bring messages: each waits for the next turn."""

import asyncio
import time

from node.sip.overload import TURN, Backlog


class Turns:
    """Measures only turns in which something came."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._began: float | None = None

    def note(self) -> None:
        """A message came over a stream."""
        if self._began is None:
            self._began = time.monotonic()
            asyncio.get_running_loop().call_soon(self._turned)

    def _turned(self) -> None:
        if self._began is not None:
            seconds = time.monotonic() - self._began
            self._began = None
            self._backlog.turned(seconds)
            if seconds > TURN:
                asyncio.get_running_loop().call_soon(self._rested)

    def _rested(self) -> None:
        """Where nothing came in the turn after a long one, nothing waits, and no turn follows."""
        if self._began is None:
            self._backlog.done()
