"""How much of each turn of the loop the messages of streams have, and how long they wait.

A read takes what a connection has, a thousand messages and more. So that others are heard while
some flood, all streams together have a share of each turn, and each connection a part of that; what
is left waits for the next turns, and its connection is not read until then. The connection's own
flow control slows who sends too much.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from node.sip.overload import Backlog

SHARE = 0.01
"Seconds of a turn for the messages of all streams."
PART = 0.002
"Seconds of it for those of one connection."


class Turns:
    """Gives streams their turns, and says how long what came over them waits."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._began: float | None = None
        "When the first message of a stream came in this turn."
        self._waiting: deque[tuple[Callable[[], None], float]] = deque()
        self._is_called = False
        "Whether those who wait go on in the next turn."

    def note(self) -> float:
        """Something comes over a stream; the time."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._turned)
        return now

    def until(self) -> float:
        """When a connection that begins now has to let others go on."""
        now = time.monotonic()
        return min(now + PART, (now if self._began is None else self._began) + SHARE)

    def wait(self, go_on: Callable[[], None], since: float) -> None:
        """Call `go_on` in one of the next turns: what it does waits since then."""
        self._waiting.append((go_on, since))
        self._call()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Let those who wait go on while there is time; who is not done waits on as the last."""
        self._is_called = False
        end = self.note() + SHARE
        try:
            for _ in range(len(self._waiting)):
                go_on, _ = self._waiting.popleft()
                go_on()
                if time.monotonic() > end:
                    break
        finally:  # whatever one of them did, the others have their turns
            if self._waiting:
                self._call()

    def _turned(self) -> None:
        self._began = None
        if self._waiting:
            self._backlog.left(time.monotonic() - min(since for _, since in self._waiting))
        else:
            self._backlog.done()
