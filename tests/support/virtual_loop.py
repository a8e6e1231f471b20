"""An asyncio loop whose time jumps to the next timer: nothing waits, and a run repeats exactly."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from federation.model.clocks import Monotonic, UnixTime

T = TypeVar("T")
START = 1_900_000_000.0


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self._clock_resolution = 1e-9
        loop, real = self, self._selector

        class Jump:
            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def select(self, timeout: float | None) -> Any:
                if timeout is None:
                    raise RuntimeError("nothing is scheduled: deadlock")
                if timeout > 0:
                    loop.elapsed += timeout
                return real.select(0)

        self._selector = Jump()

    def time(self) -> float:
        return self.elapsed


class LoopClock:
    """Both kinds of time, from a loop; a node's wall clock may be off."""

    def __init__(self, loop: asyncio.AbstractEventLoop, skew: float = 0.0) -> None:
        self._loop, self.skew = loop, skew

    def monotonic(self) -> Monotonic:
        return Monotonic(self._loop.time() + 1000.0)

    def unix(self) -> UnixTime:
        return UnixTime(START + self._loop.time() + self.skew)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_end_the_rest())
        loop.close()


async def _end_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
