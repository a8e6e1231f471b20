"""Threads that derive numbers: a quarter of a second of one core and 64 MiB each."""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from federation.model.identity import AccountId
from federation.model.number import Number, derive_number

NICENESS = 10
"How much the threads give way to the rest of the process, where the system can do that."


class NumberDeriver:
    """Derives numbers on all cores, in the order asked for."""

    def __init__(
        self,
        *,
        threads: int | None = None,
        derive: Callable[[AccountId], Number] = derive_number,
    ) -> None:
        self._derive = derive
        self._pool = ThreadPoolExecutor(
            max_workers=threads or os.cpu_count() or 1,
            thread_name_prefix="numbers",
            initializer=_give_way,
        )

    def submit(self, account: AccountId) -> "Future[Number]":
        """Have the number of an account's key derived."""
        return self._pool.submit(self._derive, account)

    def close(self) -> None:
        """Take no more; what has not begun is cancelled, what has begun ends in its thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # Linux has a priority for each thread, others may not
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
