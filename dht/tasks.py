"""The owner of a shell's background tasks."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any


class Tasks:
    """Starts tasks and ends them all in `close`. What a task raises reaches the loop's handler."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task; after `close` nothing starts any more."""
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler(
                {"message": "a task of the directory failed", "exception": error, "task": task}
            )


async def ignored(outcome: Awaitable[object]) -> None:
    """Wait for something whose outcome nobody asks for."""
    await outcome
